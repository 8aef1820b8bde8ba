import assert from 'node:assert/strict';
import test from 'node:test';
import { Model } from './model.js';

function setUp() {
  const model = new Model(() => 1_000_000);
  model.set({ nick: 'me' });
  const b = model.open('#c', true);
  b.readAt = 0;
  const add = (id, time, text = id, fields = {}, options = {}) => model.add(b, { id, time, nick: 'other', account: '', kind: 'text', text, reply: '', ...fields }, options);
  return { model, b, add };
}

const texts = (b) => b.messages.map((m) => m.text).join(' ');

test('messages are in order, whatever order they come in', () => {
  const { b, add } = setUp();
  add('c', 30);
  add('a', 10);
  add('d', 40);
  add('b', 20);
  assert.equal(texts(b), 'a b c d');
});

test('a message is there once', () => {
  const { b, add } = setUp();
  assert.notEqual(add('a', 10), null);
  assert.equal(add('a', 10), null);
  assert.equal(add('a', 99), null);
  assert.equal(b.messages.length, 1);
  assert.equal(b.unread, 1);
});

test('pages of older history go before what is of the same time', () => {
  const { b, add } = setUp();
  for (const id of ['c', 'd']) add(id, 10);
  for (const id of ['b', 'a']) add(id, 10, id, {}, { older: true });
  add('e', 10);
  assert.equal(texts(b), 'a b c d e');
});

test('unread and mentions are counted from the marker on', () => {
  const { model, b, add } = setUp();
  add('a', 10);
  add('b', 20, 'hello me!');
  add('c', 30, 'own', { nick: 'Me' });
  add('d', 40, 'menace');
  assert.deepEqual([b.unread, b.mentions], [3, 1]);
  model.read(b, 10);
  assert.deepEqual([b.unread, b.mentions], [2, 1]);
  model.read(b, 5);
  assert.equal(b.readAt, 10);
  model.redact(b, 'b', 'other', '');
  assert.deepEqual([b.unread, b.mentions], [1, 0]);
  model.read(b, 40);
  assert.deepEqual([b.unread, b.mentions], [0, 0]);
  add('old', 35);
  assert.equal(b.unread, 0);
});

test('in a conversation with one person every message is a mention', () => {
  const { model } = setUp();
  const q = model.open('other', false);
  model.add(q, { id: '1', time: 5, nick: 'other', kind: 'text', text: 'hi' });
  assert.deepEqual([q.unread, q.mentions], [1, 1]);
});

test('reactions find their message, also when they come first', () => {
  const { model, b, add } = setUp();
  model.react(b, 'a', 'x', '👍', true);
  model.react(b, 'a', 'y', '👍', true);
  model.react(b, 'a', 'X', '👍', false);
  const m = add('a', 10);
  assert.deepEqual([...m.reactions.get('👍').values()], ['y']);
  model.react(b, 'a', 'y', '👍', false);
  assert.equal(m.reactions.size, 0);
});

test('only its sender edits a message', () => {
  const { model, b, add } = setUp();
  const m = add('a', 10);
  model.edit(b, 'a', 'stranger', 'forged');
  assert.equal(m.text, 'a');
  model.edit(b, 'a', 'OTHER', 'better');
  assert.equal(m.text, 'better');
  assert.ok(m.edited);
});

test('a listener gets the message that is edited or deleted', () => {
  const { model, b, add } = setUp();
  const m = add('a', 10);
  const seen = [];
  model.on((what, _, changed) => seen.push([what, changed, changed?.text]));
  model.edit(b, 'a', 'other', 'better');
  model.redact(b, 'a', 'other', '');
  assert.deepEqual(seen, [['messages', m, 'better'], ['messages', m, '']]);
});

test('a nick changes everywhere', () => {
  const { model, b } = setUp();
  model.member(b, 'Ann', { prefix: '@' });
  model.open('ann', false);
  model.know('ann', 'display-name', 'Ann Lee');
  model.changeNick('ann', 'Bea');
  assert.equal(b.members.get('bea').prefix, '@');
  assert.equal(model.get('bea').name, 'Bea');
  assert.equal(model.shownName('Bea'), 'Ann Lee');
  assert.equal(model.get('ann'), undefined);
});

test('what is restored from the last visit may have been sent or not', () => {
  const { model } = setUp();
  model.restore([{ target: '#c', text: 'one', state: 'queued' }, { target: '#c', text: 'two', state: 'sent', at: 5 }, { target: 7 }, {}]);
  assert.deepEqual(model.outbox.map((e) => [e.text, e.state]), [['one', 'queued'], ['two', 'unsure']]);
  assert.equal(model.match('#C', { text: 'two', time: 6 })?.text, 'two');
  assert.equal(model.match('#C', { text: 'one', time: 6 }), undefined);
  assert.equal(model.match('#C', { text: 'two', time: 5 - 200_000 }), undefined);
});

test('50,000 messages', () => {
  const { b, add } = setUp();
  for (let i = 0; i < 50_000; i++) add(`m${i}`, i);
  for (let i = 0; i < 1000; i++) add(`o${i}`, -i, 'x', {}, { older: true });
  assert.equal(b.messages.length, 51_000);
  for (let i = 1; i < b.messages.length; i++) assert.ok(b.messages[i - 1].time <= b.messages[i].time);
});

test('what waits does not look like what somebody else has said', () => {
  const { model, b, add } = setUp();
  assert.ok(model.beginsWaiting(undefined));
  add('a', 1);
  assert.ok(model.beginsWaiting(b.messages.at(-1)));
  add('b', 2, 'mine', { nick: 'me', own: true });
  assert.ok(!model.beginsWaiting(b.messages.at(-1)));
  add('c', 3, '', { nick: 'me', own: true, kind: 'join', event: true });
  assert.ok(model.beginsWaiting(b.messages.at(-1)));
  assert.ok(!model.beginsWaiting({ label: 1, text: 'waits, too' }));
});
