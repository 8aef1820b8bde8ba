// The sprites, drawn by code at the start: 16 by 16 pixels each, in one row.
export const side = 16;

const grounds = [
  (p) => p.fill('#4d8a4a').dots('#5a9a55', 22, 1).dots('#417a40', 14, 2), // grass
  (p) => p.fill('#b59a6a').dots('#a4885a', 18, 3).dots('#c6ad7f', 12, 4), // road
  (p) => p.fill('#a9a293').grid('#968f80'), // floor
  (p) => p.fill('#5e5a58').dots('#76716e', 22, 5).dots('#484443', 18, 6), // rock
  (p) => p.fill('#2f6f9f').waves('#4b8cbb'), // water
  (p) => p.fill('#4d8a4a').dots('#417a40', 14, 2).disc('#24502c', 8, 7, 6).disc('#3a7a41', 7, 6, 3).box('#5a3d24', 7, 12, 2, 4), // tree
];

const bodies = [
  (p) => p.disc('#f0c9a0', 8, 5, 3).box('#c23b3b', 5, 8, 6, 5).box('#2d3550', 5, 13, 2, 3).box('#2d3550', 9, 13, 2, 3), // others
  (p) => p.disc('#5ec27a', 8, 11, 5).box('#14201a', 6, 9, 1, 2).box('#14201a', 10, 9, 1, 2), // slime
  (p) => p.box('#77736f', 3, 8, 10, 4).box('#77736f', 10, 5, 4, 4).box('#55514e', 4, 12, 2, 3).box('#55514e', 10, 12, 2, 3).box('#e8d46a', 12, 6, 1, 1), // wolf
  (p) => p.disc('#dfe7f5cc', 8, 7, 5).box('#dfe7f5cc', 3, 7, 10, 6).box('#223', 6, 6, 1, 2).box('#223', 10, 6, 1, 2), // ghost
  (p) => p.disc('#f4f1e4', 8, 9, 5).box('#30343f', 7, 7, 3, 3).box('#30343f', 3, 9, 2, 2).box('#30343f', 11, 10, 2, 2), // what a game adds
  (p) => p.box('#77736f', 5, 5, 6, 10).disc('#77736f', 8, 6, 3).box('#55514e', 7, 6, 2, 6).box('#55514e', 6, 8, 4, 2), // one that lies
  (p) => p.disc('#f0c9a0', 8, 5, 3).box('#2f62c9', 5, 8, 6, 5).box('#2d3550', 5, 13, 2, 3).box('#2d3550', 9, 13, 2, 3), // me
];

// What lies, from firstThing on, in the order of the kinds.
const things = [
  (p) => p.box('#6b4423', 2, 6, 12, 9).box('#8a5a30', 3, 7, 10, 3).box('#4a2f18', 2, 10, 12, 1).box('#e0b84c', 7, 9, 2, 4), // chest
  (p) => p.box('#c9b79a', 7, 3, 2, 2).box('#dfe7f5', 6, 5, 4, 2).disc('#d0405a', 8, 10, 3).box('#f28a9c', 6, 8, 1, 2), // potion
  (p) => p.disc('#8a5a2a', 8, 10, 4).disc('#c98f4a', 8, 9, 3).box('#8a5a2a', 6, 8, 1, 2).box('#8a5a2a', 9, 8, 1, 2), // bread
  (p) => p.box('#8c8078', 4, 6, 8, 7).box('#8c8078', 3, 5, 2, 2).box('#8c8078', 11, 5, 2, 2).box('#a89c92', 6, 7, 4, 5), // pelt
  (p) => p.disc('#cfd8ea', 8, 10, 3).disc('#ffffff', 7, 9, 1), // pearl
  (p) => p.box('#b8a070', 5, 7, 6, 6).box('#8f7a50', 7, 7, 2, 6), // anything else
];

export const groundSprites = grounds.length;
export const me = groundSprites + bodies.length - 1;
export const fallen = me - 1;
export const firstThing = 8, firstOwn = 16;
export const isThing = (kind) => kind >= firstThing && kind < firstOwn;
// The kinds of a game are all the same.
export const spriteOf = (kind) => isThing(kind) ? me + 1 + Math.min(kind - firstThing, things.length - 1) : groundSprites + Math.min(kind, bodies.length - 3);
export const count = groundSprites + bodies.length + things.length;

// A Pen draws one sprite.
class Pen {
  constructor(context, x) { this.c = context; this.x = x; }
  box(color, x, y, w, h) { this.c.fillStyle = color; this.c.fillRect(this.x + x, y, w, h); return this; }
  fill(color) { return this.box(color, 0, 0, side, side); }
  dots(color, n, seed) {
    for (let i = 0, h = seed * 7919; i < n; i++) {
      h = Math.imul(h ^ (h >>> 13), 0x5bd1e995) + 17 >>> 0;
      this.box(color, h % side, (h >>> 8) % side, 1, 1);
    }
    return this;
  }
  grid(color) { return this.box(color, 0, 0, side, 1).box(color, 0, 8, side, 1).box(color, 0, 0, 1, 8).box(color, 8, 8, 1, 8); }
  waves(color) { for (let y = 2; y < side; y += 5) this.box(color, (y * 3) % 9, y, 5, 1); return this; }
  disc(color, cx, cy, r) {
    for (let y = -r; y <= r; y++) {
      const w = Math.floor(Math.sqrt(r * r - y * y));
      this.box(color, cx - w, cy + y, 2 * w + 1, 1);
    }
    return this;
  }
}

export function draw() {
  const canvas = document.createElement('canvas');
  canvas.width = count * side;
  canvas.height = side;
  const context = canvas.getContext('2d');
  [...grounds, ...bodies, ...things].forEach((paint, i) => paint(new Pen(context, i * side)));
  return canvas;
}

// icon is one sprite as a picture of its own.
export function icon(index) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = side;
  atlas ??= draw();
  canvas.getContext('2d').drawImage(atlas, index * side, 0, side, side, 0, 0, side, side);
  canvas.setAttribute('aria-hidden', 'true');
  return canvas;
}
let atlas = null;
