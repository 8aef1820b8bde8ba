// The map, made from the seed: docs/world-protocol.md, The map. All numbers are
// unsigned and of 32 bits.

export const grass = 0, road = 1, floor = 2, rock = 3, water = 4, tree = 5;
export const tile = 64, cellSide = 16, cell = tile * cellSide, reach = 24;

const mix = (a) => {
  a = Math.imul(a ^ (a >>> 16), 0x7feb352d);
  a = Math.imul(a ^ (a >>> 15), 0x846ca68b);
  return (a ^ (a >>> 16)) >>> 0;
};

const between = (v, least, most) => least <= v && v <= most;

export class WorldMap {
  constructor(seed, width, height) {
    this.seed = mix((seed + 0x9e3779b9) >>> 0);
    this.width = width * cellSide;
    this.height = height * cellSide;
    this.tiles = new Uint8Array(this.width * this.height).fill(255); // 255: not looked at yet
  }

  at(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return rock;
    const i = y * this.width + x;
    if (this.tiles[i] === 255) this.tiles[i] = this.ground(x, y);
    return this.tiles[i];
  }

  hash(x, y) { return mix(mix(this.seed ^ Math.imul(x, 0x85ebca6b)) ^ Math.imul(y, 0xc2b2ae35)); }

  noise(x, y, s) {
    const side = 1 << s, u = x % side, v = y % side, cx = x >>> s, cy = y >>> s;
    const corner = (i, j) => this.hash(cx + i, cy + j) >>> 24;
    const above = corner(0, 0) * (side - u) + corner(1, 0) * u;
    const below = corner(0, 1) * (side - u) + corner(1, 1) * u;
    return (above * (side - v) + below * v) >>> (2 * s);
  }

  relief(x, y) {
    return Math.floor((this.noise(x, y, 5) * 4 + this.noise(x + 1000, y, 4) * 2 + this.noise(x, y + 1000, 3)) / 7);
  }

  ground(x, y) {
    if (x === 0 || y === 0 || x === this.width - 1 || y === this.height - 1) return rock;
    const u = x % 128, v = y % 128;
    const onRoad = between(u, 63, 64) || between(v, 63, 64);
    const inTown = between(u, 52, 75) && between(v, 52, 75);
    if (inTown && !onRoad && (u === 52 || u === 75 || v === 52 || v === 75)) return rock;
    if (inTown) return floor;
    if (onRoad) return road;
    const relief = this.relief(x, y);
    if (relief < 96) return water;
    if (relief > 138 && this.hash(x + 1, y) % 4 === 0) return tree;
    return grass;
  }

  // free reports whether an entity can be at a place.
  free(x, y) {
    const ok = (px, py) => this.at(Math.floor(px / tile), Math.floor(py / tile)) <= floor;
    return x >= reach && y >= reach && ok(x - reach, y - reach) && ok(x + reach, y - reach) && ok(x - reach, y + reach) && ok(x + reach, y + reach);
  }
}

// headings are by direction: none, north, and on clockwise.
export const headings = [[0, 0], [0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1]];

export const directionOf = (dx, dy) => headings.findIndex(([x, y]) => x === Math.sign(dx) && y === Math.sign(dy));

// walk goes one tick from a place, as the server does.
export function walk(map, at, direction, step) {
  const [hx, hy] = headings[direction];
  const d = hx !== 0 && hy !== 0 ? step.diagonal : step.straight;
  let { x, y } = at;
  if (hx !== 0 && map.free(x + hx * d, y)) x += hx * d;
  if (hy !== 0 && map.free(x, y + hy * d)) y += hy * d;
  return { x, y };
}
