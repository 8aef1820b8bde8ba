// What the client knows of the world: it applies frames by the rules of
// docs/world-protocol.md. It knows neither the page nor the network.

import { cell, headings, walk } from './map.js';

const noCell = 0xffff;
// maxHeld is how many ticks one Move may say.
const maxHeld = 10;

const later = (a, b) => (a - b) | 0; // ticks begin again at 0

export class Replica {
  constructor(welcome, map) {
    this.map = map;
    this.self = welcome.self;
    this.width = welcome.width;
    this.steps = welcome.steps;
    this.tick = welcome.tick;
    this.entities = new Map();
    this.cells = new Map();
    this.acknowledged = { x: welcome.x, y: welcome.y }; // by the server
    this.me = this.acknowledged; // predicted
    this.before = this.me; // one tick earlier
    this.health = 100;
    this.epoch = welcome.epoch;
    this.sequence = 0;
    this.moves = []; // sent and not carried out yet
    this.corrections = 0;
  }

  // frame applies the messages of a frame, and returns those that are not about the
  // state.
  frame(messages) {
    const others = [];
    for (const m of messages) {
      switch (m.type) {
        case 'tick': this.onTick(m); break;
        case 'full': this.onFull(m); break;
        case 'delta': this.onDelta(m); break;
        case 'drop': this.onDrop(m); break;
        case 'correction': this.onCorrection(m); break;
        default: others.push(m);
      }
    }
    return others;
  }

  onTick(m) {
    this.tick = m.tick;
    this.health = m.health;
    if (m.epoch !== this.epoch) return; // Correction follows
    while (this.moves.length > 0 && this.moves[0].sequence <= m.sequence) this.moves.shift();
    const done = this.moves.length > 0 && this.moves[0].sequence === m.sequence + 1 ? m.done : 0;
    this.acknowledged = { x: m.x, y: m.y };
    this.me = this.acknowledged;
    this.before = this.me;
    this.moves.forEach((move, i) => {
      for (let n = i === 0 ? done : 0; n < move.ticks; n++) this.stepMe(move.direction);
    });
  }

  stepMe(direction) {
    this.before = this.me;
    this.me = walk(this.map, this.me, direction, this.steps[0]);
  }

  // move notes a tick in a direction, and returns what to send; null while too much
  // is on its way.
  move(direction) {
    const waiting = this.moves.reduce((n, m) => n + m.ticks, 0);
    if (waiting >= 4 * maxHeld) return null;
    const m = { epoch: this.epoch, sequence: ++this.sequence, direction, ticks: 1 };
    this.moves.push(m);
    this.stepMe(direction);
    return m;
  }

  stand() { this.before = this.me; }

  onCorrection(m) {
    this.corrections++;
    this.epoch = m.epoch;
    this.moves = [];
    this.acknowledged = { x: m.x, y: m.y };
    this.me = this.acknowledged;
    this.before = this.me;
  }

  set(cellNumber, e) {
    const have = this.entities.get(e.id) ?? { id: e.id, trail: [] };
    Object.assign(have, { kind: e.kind, name: e.name, health: e.health, level: e.level });
    this.entities.set(e.id, have);
    this.place(have, cellNumber, e);
  }

  // place keeps where an entity was before, so that it can be drawn in the past.
  place(e, cellNumber, p) {
    e.cell = cellNumber;
    const now = {
      tick: this.tick, direction: p.direction, speed: p.speed,
      x: (cellNumber % this.width) * cell + p.x, y: Math.floor(cellNumber / this.width) * cell + p.y,
    };
    const last = e.trail.at(-1);
    if (last !== undefined && later(now.tick, last.tick) === 0) e.trail.pop();
    e.trail.push(now);
    if (e.trail.length > 4) e.trail.shift();
  }

  onFull(m) {
    this.cells.set(m.cell, this.tick);
    const listed = new Set(m.entities.map((e) => e.id));
    for (const [id, e] of this.entities) if (e.cell === m.cell && !listed.has(id)) this.entities.delete(id);
    for (const e of m.entities) this.set(m.cell, e);
  }

  onDelta(m) {
    this.cells.set(m.cell, this.tick);
    for (const { id, to } of m.left) {
      const e = this.entities.get(id);
      if (e === undefined || e.cell !== m.cell) continue;
      if (to !== noCell && this.cells.has(to)) e.cell = to;
      else this.entities.delete(id);
    }
    for (const { entity } of m.came) this.set(m.cell, entity);
    for (const v of m.moved) {
      const e = this.entities.get(v.id);
      if (e !== undefined) this.place(e, m.cell, v);
    }
  }

  onDrop(m) {
    for (const c of m.cells) this.cells.delete(c);
    for (const [id, e] of this.entities) if (!this.cells.has(e.cell)) this.entities.delete(id);
  }

  // at returns where an entity is at a tick, which may have a fraction.
  at(e, tick) {
    let p = e.trail[0], next = null;
    for (const t of e.trail) {
      if (tick - t.tick >= 0) p = t;
      else if (next === null) next = t;
    }
    const [hx, hy] = headings[p.direction];
    const step = this.steps[p.speed];
    const d = hx !== 0 && hy !== 0 ? step.diagonal : step.straight;
    const ticks = Math.max(0, Math.min(tick - p.tick, 200));
    const x = p.x + hx * d * ticks, y = p.y + hy * d * ticks;
    if (next === null || tick < p.tick) return { x, y, direction: p.direction };
    // Towards what is known of later, so that nothing jumps.
    const part = ticks / Math.max(1, next.tick - p.tick);
    const ahead = next.tick - p.tick;
    const ex = p.x + hx * d * ahead, ey = p.y + hy * d * ahead;
    return { x: x + (next.x - ex) * part, y: y + (next.y - ey) * part, direction: p.direction };
  }
}
