import assert from 'node:assert/strict';
import test from 'node:test';
import { orders } from './orders.js';
import { encode } from './proto.js';

const at = { x: 7, y: 9 };

test('lines that begin with a slash are messages that can be sent', () => {
  for (const [line, type, fields] of [
    ['/who', 'who', {}],
    ['/w Bert hello  there', 'whisper', { to: 'Bert', text: 'hello there' }],
    ['/mute Bert', 'order', { kind: 1, name: 'Bert', x: 0, y: 0 }],
    ['/ban Bert', 'order', { kind: 4, name: 'Bert', x: 0, y: 0 }],
    ['/unban Bert', 'order', { kind: 6, name: 'Bert', x: 0, y: 0 }],
    ['/bring Bert', 'order', { kind: 5, name: 'Bert', x: 7, y: 9 }],
    ['/give Bert gold 50', 'give', { name: 'Bert', kind: 0, amount: 50 }],
    ['/give Bert pelt', 'give', { name: 'Bert', kind: 3, amount: 1 }],
    ['/key secret', 'moderate', { key: new TextEncoder().encode('secret') }],
  ]) {
    assert.deepEqual(orders(line, at), [type, fields]);
    assert.ok(encode(type, fields).length > 0);
  }
});

test('others mean nothing', () => {
  for (const line of ['/', '/dance', '/w', '/w Bert', '/mute', '/unban', '/key', '/give', '/give Bert', '/give Bert cake', '/give Bert gold -1', '/give Bert gold 0', '/give Bert gold 9999999999']) assert.equal(orders(line, at), null, line);
});
