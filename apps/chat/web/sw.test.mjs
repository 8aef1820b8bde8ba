import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import vm from 'node:vm';

// worker runs the service worker with what a browser gives it, and returns what it does.
function worker(...windows) {
  const shown = [], went = [], handlers = {};
  const self = {
    location: 'https://chat.example.org/sw.js',
    addEventListener: (name, fn) => { handlers[name] = fn; },
    clients: { matchAll: async () => windows, openWindow: async (address) => { went.push(address); } },
    registration: { showNotification: async (title, options) => { shown.push({ title, ...options }); } },
  };
  vm.runInNewContext(readFileSync(new URL('sw.js', import.meta.url), 'utf8'), { self, URL });
  const happen = async (name, event) => {
    let done;
    handlers[name]({ waitUntil: (promise) => { done = promise; }, ...event });
    await done;
  };
  return { shown, went, push: (line) => happen('push', { data: line === null ? null : { text: () => line } }), click: (data) => happen('notificationclick', { notification: { data, close() {} } }) };
}

test('a push message is shown with who said it, and where', async () => {
  const w = worker({ visibilityState: 'hidden' });
  await w.push('@time=2030-01-01T00:00:00.000Z;msgid=a :bob!u@h PRIVMSG #lobby :ann: look at <b>this</b>\r\n');
  await w.push(':bob!u@h PRIVMSG ann hello');
  await w.push(':bob!u@h PRIVMSG ann :\x01ACTION waves\x01');
  assert.deepEqual(w.shown.map(({ title, body, tag, data }) => [title, body, tag, data]), [
    ['bob · #lobby', 'ann: look at <b>this</b>', '#lobby', '#lobby'], ['bob', 'hello', 'bob', 'bob'], ['bob', 'bob waves', 'bob', 'bob'],
  ]);
});

test('while somebody looks at the page, that shows it', async () => {
  const w = worker({ visibilityState: 'visible' });
  await w.push(':bob!u@h PRIVMSG ann :hello');
  assert.deepEqual(w.shown, []);
});

test('what is no message is not shown, and nothing in one turns or ends the line', async () => {
  const w = worker();
  for (const line of [null, '', 'PING x', ':bob!u@h REDACT #lobby a', ':bob!u@h PRIVMSG']) await w.push(line);
  assert.deepEqual(w.shown, []);
  await w.push(`:bob!u@h PRIVMSG ann :\u202egnp.exe\x03\x01${'x'.repeat(500)}`);
  assert.match(w.shown[0].body, /^gnp\.exe {2}x+$/);
  assert.equal(w.shown[0].body.length, 200);
});

test('a notification leads to its conversation, in the page that is open or in one more', async () => {
  const posts = [];
  const open = worker({ visibilityState: 'hidden', postMessage: (m) => posts.push(m.show), focus: async () => {} });
  await open.click('#lobby');
  assert.deepEqual(posts, ['#lobby']);
  const closed = worker();
  await closed.click('#lobby');
  assert.deepEqual(closed.went, ['./']);
});
