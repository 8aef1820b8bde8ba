import assert from 'node:assert/strict';
import test from 'node:test';
import { Model } from './model.js';
import { rootOf } from './thread.js';

test('a thread begins at the first message that is here, also where replies go in a circle', () => {
  const model = new Model(() => 1_000_000);
  const b = model.open('#c', true);
  const add = (id, reply) => model.add(b, { id, time: 1, nick: 'a', account: '', kind: 'text', text: id, reply });
  const first = add('1', ''), second = add('2', '1'), third = add('3', '2'), lost = add('4', 'gone');
  assert.equal(rootOf(b, third), first);
  assert.equal(rootOf(b, first), first);
  assert.equal(rootOf(b, lost), lost);
  const one = add('x', 'y');
  add('y', 'x');
  assert.ok([one, b.byId.get('y')].includes(rootOf(b, one)));
  assert.equal(b.replies.get('1'), 1);
  assert.equal(second.version, 1);
});
