import assert from 'node:assert/strict';
import test from 'node:test';
import { directionOf, headings, walk, WorldMap } from './map.js';
import { Replica } from './replica.js';

const steps = [{ straight: 14, diagonal: 9 }, { straight: 9, diagonal: 9 }];
const map = new WorldMap(7, 8, 8);
const welcome = { self: 1, width: 8, height: 8, steps, tick: 10, x: 4096, y: 4096, epoch: 0 };
const entity = (id, x, y, more = {}) => ({ id, kind: 0, x, y, direction: 0, speed: 0, health: 100, level: 1, name: 'n' + id, ...more });
const begun = () => new Replica(welcome, map);
const tick = (n, more = {}) => ({ type: 'tick', tick: n, sequence: 0, done: 0, epoch: 0, x: 4096, y: 4096, health: 100, ...more });

test('directions and headings are each other', () => {
  headings.forEach(([x, y], d) => assert.equal(directionOf(x * 5, y * 5), d));
});

test('a full block takes the place of what was in its cell', () => {
  const r = begun();
  r.frame([tick(11), { type: 'full', cell: 3, entities: [entity(5, 1, 1), entity(6, 2, 2)] }, { type: 'full', cell: 4, entities: [entity(7, 1, 1)] }]);
  r.frame([tick(12), { type: 'full', cell: 3, entities: [entity(6, 2, 2)] }]);
  assert.deepEqual([...r.entities.keys()].sort(), [6, 7]);
});

test('one that goes to a cell of the view stays, one that goes elsewhere goes', () => {
  const r = begun();
  r.frame([tick(11), { type: 'full', cell: 3, entities: [entity(5, 1, 1), entity(6, 2, 2)] }, { type: 'full', cell: 4, entities: [] }]);
  r.frame([tick(12), { type: 'delta', cell: 3, base: 1, left: [{ id: 5, to: 4 }, { id: 6, to: 9 }], came: [], moved: [] }]);
  assert.deepEqual([...r.entities.keys()], [5]);
  r.frame([tick(13), { type: 'drop', cells: [4] }]);
  assert.equal(r.entities.size, 0);
});

test('others move on by themselves, and are drawn between what is known', () => {
  const r = begun();
  r.frame([tick(11), { type: 'full', cell: 0, entities: [entity(5, 100, 100, { direction: 3 })] }]);
  r.frame([tick(15), { type: 'delta', cell: 0, base: 4, left: [], came: [], moved: [{ id: 5, x: 156, y: 100, direction: 0, speed: 0 }] }]);
  const e = r.entities.get(5);
  assert.deepEqual(r.at(e, 13), { x: 128, y: 100, direction: 3 });
  assert.deepEqual(r.at(e, 15), { x: 156, y: 100, direction: 0 });
});

test('the own player is where the server says and the moves under way lead', () => {
  const r = begun();
  r.move(3);
  r.move(3);
  const two = walk(map, walk(map, { x: 4096, y: 4096 }, 3, steps[0]), 3, steps[0]);
  assert.deepEqual(r.me, two);
  const one = walk(map, { x: 4096, y: 4096 }, 3, steps[0]);
  r.frame([tick(11, { sequence: 1, x: one.x, y: one.y })]);
  assert.deepEqual(r.me, two);
  assert.equal(r.moves.length, 1);
});

test('a correction ends the moves under way', () => {
  const r = begun();
  r.move(3);
  r.frame([tick(11, { epoch: 1, sequence: 1, x: 500, y: 600 }), { type: 'correction', epoch: 1, x: 500, y: 600, reason: 1 }]);
  assert.deepEqual(r.me, { x: 500, y: 600 });
  assert.equal(r.move(5).epoch, 1);
  assert.equal(r.moves[0].sequence, 2);
});

test('ticks go through the end of their numbers', () => {
  const r = new Replica({ ...welcome, tick: 0xfffffffe }, map);
  r.frame([tick(0xffffffff), { type: 'full', cell: 0, entities: [entity(5, 100, 100)] }]);
  r.frame([tick(0), { type: 'delta', cell: 0, base: 1, left: [], came: [], moved: [{ id: 5, x: 114, y: 100, direction: 3, speed: 0 }] }]);
  assert.equal(r.entities.get(5).trail.length, 2);
});
