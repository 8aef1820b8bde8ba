// A world in the common manner: players in a map, who see others within two cells. It
// has the map, the steps and the places of epi world, so that all servers have the same
// to do.
import { cell, tile, walk, WorldMap } from '../../../world/web/map.js';

export const hz = 20;
const seed = 1;
const step = { straight: 14, diagonal: 9 };
const reach = 2; // cells
const townEvery = 128, townFrom = 53, townSide = 22; // tiles
const maxHeld = 10; // ticks of moves

export class Arena {
  constructor(side) {
    this.side = side;
    this.map = new WorldMap(seed, side, side);
    this.cells = Array.from({ length: side * side }, () => new Set());
    this.players = new Map();
    this.joined = 0;
  }

  // join puts a player into a town, where nobody stands in a wall.
  join(id) {
    const towns = Math.max(1, Math.floor(this.side * 16 / townEvery));
    const n = this.joined++;
    const at = (part) => (part % towns) * townEvery + townFrom + (n * 7919 + part * 31) % townSide;
    const p = { id, name: `Bot${n}`, x: at(n) * tile + tile / 2, y: at(Math.floor(n / towns)) * tile + tile / 2, direction: 0, moves: [] };
    this.players.set(id, p);
    p.cell = this.cellOf(p);
    this.cells[p.cell].add(p);
    return p;
  }

  leave(id) {
    const p = this.players.get(id);
    if (p === undefined) return;
    this.cells[p.cell].delete(p);
    this.players.delete(id);
  }

  move(p, direction) {
    if (Number.isInteger(direction) && direction >= 0 && direction <= 8 && p.moves.length < maxHeld) p.moves.push(direction);
  }

  cellOf(p) { return Math.floor(p.y / cell) * this.side + Math.floor(p.x / cell); }

  step() {
    for (const p of this.players.values()) {
      const direction = p.moves.shift() ?? 0;
      p.direction = direction;
      if (direction === 0) continue;
      const to = walk(this.map, p, direction, step);
      p.x = to.x;
      p.y = to.y;
      const now = this.cellOf(p);
      if (now === p.cell) continue;
      this.cells[p.cell].delete(p);
      this.cells[now].add(p);
      p.cell = now;
    }
  }

  // visible calls f with those whom a player sees.
  visible(p, f) {
    const column = p.cell % this.side, row = Math.floor(p.cell / this.side);
    for (let y = Math.max(0, row - reach); y <= Math.min(this.side - 1, row + reach); y++) {
      for (let x = Math.max(0, column - reach); x <= Math.min(this.side - 1, column + reach); x++) {
        for (const other of this.cells[y * this.side + x]) f(other);
      }
    }
  }
}

// every calls f at the beat of ticks, which is counted from the start.
export function every(f) {
  const start = performance.now();
  let n = 0;
  (function next() {
    n++;
    setTimeout(() => { f(); next(); }, Math.max(0, start + n * 1000 / hz - performance.now()));
  })();
}
