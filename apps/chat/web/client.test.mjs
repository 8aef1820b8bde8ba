import assert from 'node:assert/strict';
import test from 'node:test';
import { Client } from './client.js';
import { parse } from './irc.js';
import { Model } from './model.js';

const everything = 'batch cap-notify draft/chathistory draft/message-redaction draft/multiline=max-bytes=400,max-lines=5 draft/read-marker echo-message labeled-response message-tags sasl=PLAIN server-time soju.im/search';

// A Room is a client with a server that the test plays.
class Room {
  constructor(caps = everything, login = { nick: 'me', channels: ['#c'] }) {
    this.now = Date.parse('2030-01-01T00:00:00Z');
    this.caps = caps;
    this.timers = new Map();
    this.sockets = [];
    this.said = []; // lines of the client
    this.next = 1;
    this.model = new Model(() => this.now);
    this.client = new Client(this.model, {
      url: 'ws://test', open: () => this.socket(),
      timers: { setTimeout: (fn, ms) => { this.timers.set(this.next, { fn, ms }); return this.next++; }, clearTimeout: (t) => this.timers.delete(t) },
    });
    this.client.connect(login);
  }

  socket() {
    const s = { readyState: 1, send: (line) => this.said.push(line), close: () => { s.readyState = 3; } };
    this.sockets.push(s);
    return s;
  }

  get last() { return this.sockets[this.sockets.length - 1]; }

  // hear gives the client lines.
  hear(...lines) { for (const data of lines) this.last.onmessage({ data }); }

  // took returns what the client said since, without the keep-alive.
  took() { return this.said.splice(0).filter((l) => !l.startsWith('PING')); }

  welcome() {
    this.last.onopen();
    this.hear(`:s CAP * LS :${this.caps}`);
    const asked = this.took().map(parse).find((m) => m.command === 'CAP' && m.params[0] === 'REQ');
    if (asked !== undefined) this.hear(`:s CAP * ACK :${asked.params[1]}`);
    this.hear(':s 001 me :hi', ':s 005 me CASEMAPPING=ascii CHANTYPES=# PREFIX=(qaohv)~&@%+ CHATHISTORY=3 NETWORK=Net :are supported', ':s 376 me :end');
    return this.took();
  }

  join() {
    this.hear('@time=2030-01-01T00:00:00.000Z :me!u@h JOIN #c', ':s 353 me = #c :me @ann', ':s 366 me #c :End');
    return this.took();
  }

  // history answers with messages [id, time in s, nick, text].
  history(target, ...messages) {
    const ref = `h${this.next++}`;
    this.hear(`:s BATCH +${ref} chathistory ${target}`,
      ...messages.map(([id, s, nick, text]) => `@batch=${ref};msgid=${id};time=${new Date(Date.parse('2030-01-01T00:00:00Z') + s * 1000).toISOString()} :${nick}!u@h PRIVMSG ${target} :${text}`),
      `:s BATCH -${ref}`);
  }

  lose() {
    this.last.readyState = 3;
    this.last.onclose();
    const [id, timer] = [...this.timers].find(([, t]) => t.ms <= 30_000 && t.fn.toString().includes('begin'));
    this.timers.delete(id);
    timer.fn();
  }

  texts(name = '#c') { return this.model.get(name).messages.filter((m) => !m.event).map((m) => m.text); }
}

test('it asks for what is offered and for nothing else', () => {
  const r = new Room('batch sasl=PLAIN unknown/cap sts=port=1');
  r.last.onopen();
  r.hear(':s CAP * LS * :batch sasl=PLAIN', ':s CAP * LS :unknown/cap sts=port=1');
  assert.deepEqual(r.took(), ['CAP LS 302', 'NICK me', 'USER web 0 * me', 'CAP REQ :batch sasl']);
  r.hear(':s CAP * ACK :batch sasl');
  assert.deepEqual(r.took(), ['CAP END']);
});

test('it logs in with SASL PLAIN', () => {
  const r = new Room('sasl=PLAIN', { nick: 'ann', account: 'ann', password: '비밀', channels: [] });
  r.last.onopen();
  r.hear(':s CAP * LS :sasl=PLAIN', ':s CAP * ACK :sasl');
  r.took();
  r.hear('AUTHENTICATE +');
  assert.equal(Buffer.from(r.took()[0].split(' ')[1], 'base64').toString(), '\0ann\0비밀');
  r.hear(':s 900 ann ann!u@h ann :ok', ':s 903 ann :ok');
  assert.deepEqual(r.took(), ['CAP END']);
  assert.equal(r.model.account, 'ann');
});

test('a wrong password is said, and not tried again', () => {
  const r = new Room('sasl', { nick: 'ann', account: 'ann', password: 'x' });
  r.last.onopen();
  r.hear(':s CAP * LS :sasl', ':s CAP * ACK :sasl', ':s 904 ann :no');
  assert.deepEqual([r.model.state, r.model.problem], ['refused', 'wrongPassword']);
  r.last.onclose();
  assert.equal(r.sockets.length, 1);
});

test('a server without capabilities will do', () => {
  const r = new Room('');
  assert.deepEqual(r.welcome(), ['JOIN #c']);
  assert.deepEqual(r.join(), ['WHO #c %tnfa,7']);
  r.client.say('#c', 'one\n\ntwo');
  assert.deepEqual(r.took(), ['PRIVMSG #c one', 'PRIVMSG #c two']);
  assert.deepEqual(r.texts(), ['one', 'two']);
  assert.equal(r.model.outbox.length, 0);
  r.hear(':ann!u@h PRIVMSG #c :hi me');
  assert.deepEqual([r.model.get('#c').unread, r.model.get('#c').mentions], [1, 1]);
});

test('history is asked for once a channel is joined', () => {
  const r = new Room();
  assert.ok(r.welcome().includes('JOIN #c'));
  assert.ok(r.join().includes('CHATHISTORY LATEST #c * 3'));
  r.history('#c', ['b', 2, 'ann', 'two'], ['c', 3, 'me', 'three']);
  r.client.older(r.model.get('#c'));
  assert.deepEqual(r.took(), ['CHATHISTORY BEFORE #c msgid=b 3']);
  r.history('#c', ['a', 1, 'ann', 'one']);
  assert.deepEqual(r.texts(), ['one', 'two', 'three']);
  r.client.older(r.model.get('#c'));
  r.took();
  r.history('#c');
  assert.equal(r.client.older(r.model.get('#c')), false);
});

test('what is typed is there once, when its echo has come', () => {
  const r = new Room();
  r.welcome();
  r.join();
  r.history('#c');
  r.client.say('#c', 'hello');
  assert.deepEqual(r.took(), ['@label=w1 PRIVMSG #c hello']);
  assert.deepEqual([r.texts(), r.model.outbox.length], [[], 1]);
  r.hear('@label=w1;msgid=x;time=2030-01-01T00:00:01.000Z :me!u@h PRIVMSG #c hello');
  assert.deepEqual([r.texts(), r.model.outbox.length], [['hello'], 0]);
});

test('a message with lines is a batch, and comes back as one', () => {
  const r = new Room();
  r.welcome();
  r.join();
  r.history('#c');
  r.client.say('#c', `a\n\n${'x'.repeat(375)}`, { reply: 'id1' });
  const lines = r.took();
  assert.equal(lines[0], '@+reply=id1;+draft/reply=id1;label=w1 BATCH +w1 draft/multiline #c');
  assert.deepEqual(lines.slice(1, 3), ['@batch=w1 PRIVMSG #c a', '@batch=w1 PRIVMSG #c :']);
  assert.ok(lines.some((l) => l.startsWith('@batch=w1;draft/multiline-concat ')));
  assert.equal(lines[lines.length - 1], 'BATCH -w1');
  r.hear('@label=w1;msgid=y :me!u@h BATCH +5 draft/multiline #c', ...lines.slice(1, -1).map((l) => `${l.replace('batch=w1', 'batch=5').replace(' PRIVMSG', ' :me!u@h PRIVMSG')}`), ':s BATCH -5');
  assert.deepEqual([r.texts(), r.model.outbox.length], [[`a\n\n${'x'.repeat(375)}`], 0]);
});

test('a text that is too long for a message is several', () => {
  const r = new Room();
  r.welcome();
  r.join();
  r.history('#c');
  r.client.say('#c', ['1', '2', '3', '4', '5', '6', '7'].join('\n'));
  assert.equal(r.took().filter((l) => l.includes(' BATCH +')).length, 2);
  assert.equal(r.model.outbox.length, 2);
});

test('the new text of a message may have lines', () => {
  const r = new Room(`${everything} draft/message-editing`);
  r.welcome();
  r.join();
  r.hear('@msgid=a;time=2030-01-01T00:00:01.000Z :me!u@h PRIVMSG #c :one', '@msgid=b;time=2030-01-01T00:00:02.000Z :me!u@h PRIVMSG #c :\x01ACTION waves\x01');
  const b = r.model.get('#c'), [said, does] = b.messages.filter((m) => m.own && !m.event);
  r.took();
  assert.deepEqual(r.client.edit(b, said, 'one\n\ntwo'), {});
  const [opening, ...lines] = r.took();
  const ref = /\+(\w+) draft\/multiline #c$/.exec(opening)[1];
  assert.match(opening, /^@\+draft\/edit=a BATCH/);
  assert.deepEqual(lines, [`@batch=${ref} PRIVMSG #c one`, `@batch=${ref} PRIVMSG #c :`, `@batch=${ref} PRIVMSG #c two`, `BATCH -${ref}`]);
  r.hear('@msgid=d;+draft/edit=a :me!u@h BATCH +1 draft/multiline #c', '@batch=1 :me!u@h PRIVMSG #c :one', '@batch=1 :me!u@h PRIVMSG #c :', '@batch=1 :me!u@h PRIVMSG #c :two', 'BATCH -1');
  assert.equal(said.text, 'one\n\ntwo');
  assert.deepEqual(r.client.edit(b, said, 'x\n'.repeat(9)), { problem: 'tooLong' });
  r.client.edit(b, does, 'jumps');
  assert.deepEqual(r.took(), ['@+draft/edit=b PRIVMSG #c :\x01ACTION jumps\x01']);
  r.hear('@msgid=e;+draft/edit=b :me!u@h PRIVMSG #c :\x01ACTION jumps\x01');
  assert.deepEqual([does.kind, does.text], ['action', 'jumps']);
});

test('a lost connection leaves no gap, and nothing is said twice', () => {
  const r = new Room();
  r.welcome();
  r.join();
  r.history('#c', ['a', 1, 'ann', 'one']);
  r.client.say('#c', 'arrived');
  r.client.say('#c', 'lost');
  r.took();
  r.lose();
  assert.equal(r.model.state, 'connecting');
  r.client.say('#c', 'typed offline');
  const again = r.welcome();
  assert.ok(again.includes('JOIN #c'), again.join('\n'));
  assert.ok(!again.some((l) => l.includes('PRIVMSG')), 'nothing is said before the history has come');
  assert.ok(r.join().includes('CHATHISTORY AFTER #c timestamp=2030-01-01T00:00:00.999Z 3'));
  r.hear('@msgid=live;time=2030-01-01T00:01:00.000Z :ann!u@h PRIVMSG #c :live');
  r.history('#c', ['a', 1, 'ann', 'one'], ['b', 2, 'me', 'arrived'], ['c', 3, 'ann', 'three']);
  assert.deepEqual(r.took(), ['CHATHISTORY AFTER #c msgid=c 3']);
  r.history('#c', ['d', 4, 'ann', 'four']);
  const said = r.took().filter((l) => l.includes('PRIVMSG'));
  assert.deepEqual(said.map((l) => parse(l).params[1]), ['lost', 'typed offline']);
  said.forEach((l, i) => r.hear(`@label=${parse(l).tags.get('label')};msgid=z${i};time=2030-01-01T00:02:0${i}.000Z :me!u@h ${l.replace(/^@\S+ /, '')}`));
  assert.deepEqual(r.texts(), ['one', 'arrived', 'three', 'four', 'live', 'lost', 'typed offline']);
  assert.equal(r.model.outbox.length, 0);
});

test('without a history, what may have arrived is left to its author', () => {
  const r = new Room('labeled-response batch echo-message');
  r.welcome();
  r.join();
  r.client.say('#c', 'who knows');
  r.took();
  r.lose();
  r.welcome();
  r.join();
  assert.deepEqual(r.model.outbox.map((e) => [e.text, e.state]), [['who knows', 'failed']]);
  r.client.retrySaying(r.model.outbox[0]);
  assert.equal(r.took().filter((l) => l.includes('PRIVMSG')).length, 1);
});

test('a refused message says why', () => {
  const r = new Room();
  r.welcome();
  r.join();
  r.history('#c');
  r.client.say('#c', 'no');
  r.hear('@label=w1 :s 404 me #c :Cannot send to channel');
  assert.deepEqual(r.model.outbox.map((e) => [e.state, e.why]), [['failed', 'Cannot send to channel']]);
});

test('history makes no live message', () => {
  const r = new Room();
  r.welcome();
  r.join();
  const live = [];
  r.model.on((what, b, m) => { if (what === 'said') live.push(m.text); });
  r.history('#c', ['a', 1, 'ann', 'me: old']);
  r.hear('@msgid=n :ann!u@h PRIVMSG #c :me: new');
  assert.deepEqual(live, ['me: new']);
});

test('the read marker is shared', () => {
  const r = new Room();
  r.welcome();
  r.join();
  const b = r.model.get('#c');
  r.hear('MARKREAD #c timestamp=2030-01-01T00:00:01.000Z');
  r.history('#c', ['a', 1, 'ann', 'one'], ['b', 2, 'ann', 'two']);
  assert.equal(b.unread, 1);
  r.hear('MARKREAD #c timestamp=2030-01-01T00:00:02.000Z');
  assert.equal(b.unread, 0);
  r.took();
  r.hear('@msgid=c;time=2030-01-01T00:00:05.000Z :ann!u@h PRIVMSG #c :three');
  r.client.markRead(b);
  r.client.markRead(b);
  assert.deepEqual(r.took(), ['MARKREAD #c timestamp=2030-01-01T00:00:05.000Z']);
});

test('replies, reactions and deletions', () => {
  const r = new Room();
  r.welcome();
  r.join();
  r.history('#c', ['a', 1, 'ann', 'one']);
  const b = r.model.get('#c'), m = b.byId.get('a');
  r.client.react(b, m, '👍');
  assert.deepEqual(r.took(), ['@+draft/react=👍;+reply=a;+draft/reply=a TAGMSG #c']);
  r.hear('@+draft/react=👍;+reply=a :me!u@h TAGMSG #c', '@+draft/react=👍;+draft/reply=a :ann!u@h TAGMSG #c');
  assert.deepEqual([...m.reactions.get('👍').values()], ['me', 'ann']);
  r.hear('@+draft/unreact=👍;+reply=a :me!u@h TAGMSG #c');
  assert.deepEqual([...m.reactions.get('👍').values()], ['ann']);
  r.hear(':ann!u@h REDACT #c a :oops');
  assert.deepEqual([m.text, m.redacted], ['', { by: 'ann', reason: 'oops' }]);
});

test('members come and go', () => {
  const r = new Room();
  r.welcome();
  r.join();
  const b = r.model.get('#c');
  const names = () => [...b.members.values()].map((m) => m.prefix + m.nick).sort().join(' ');
  assert.equal(names(), '@ann me');
  r.hear(':bob!u@h JOIN #c', ':ann!u@h MODE #c +v-o bob ann', ':s MODE #c +o bob', ':bob!u@h NICK rob', ':ann!u@h QUIT :bye');
  assert.equal(names(), '@+rob me');
  r.hear(':rob!u@h KICK #c me :out');
  assert.equal(b.joined, false);
});

test('search', async () => {
  const r = new Room();
  r.welcome();
  const answer = r.client.search({ text: 'a b;c', in: '#c', from: '', limit: 5 });
  assert.deepEqual(r.took(), ['SEARCH text=a\\sb\\:c;in=#c;limit=5']);
  r.hear(':s BATCH +1 soju.im/search', '@batch=1;msgid=a;time=2030-01-01T00:00:00.000Z :ann!u@h PRIVMSG #c :a b;c', '@batch=1;msgid=b :ann!u@h PRIVMSG #c :\x01ACTION waves\x01', ':s BATCH -1');
  assert.deepEqual((await answer).map((m) => [m.nick, m.text]), [['ann', 'a b;c'], ['ann', 'ann waves']]);
});

test('a changed role is said, and asked for', () => {
  const r = new Room();
  r.welcome();
  const seen = [];
  r.model.on((what, b, m) => seen.push([what, m?.text]));
  r.hear(':s NOTE * ROLE_CHANGED :You are an administrator now', ':s NOTE * OTHER_THING :Tea is ready', ':s NOTE x');
  assert.deepEqual(seen, [['role', undefined], ['note', 'You are an administrator now'], ['note', 'Tea is ready']]);
});

test('two tabs of one name: the next free one is taken', () => {
  const r = new Room('');
  r.last.onopen();
  r.hear(':s CAP * LS :', ':s 433 * me :taken');
  assert.deepEqual(r.took(), ['CAP LS 302', 'NICK me', 'USER web 0 * me', 'CAP END', 'NICK me_']);
});

test('a silent server is given up', () => {
  const r = new Room('');
  r.welcome();
  const silent = [...r.timers.values()].find((t) => t.ms > 30_000);
  silent.fn();
  assert.equal(r.said.pop(), 'PING alive');
  [...r.timers.values()].find((t) => t.ms === 15_000).fn();
  assert.equal(r.model.state, 'waiting');
});

test('whatever comes, nothing breaks', () => {
  const r = new Room();
  r.welcome();
  r.join();
  for (const command of ['PRIVMSG', 'NOTICE', 'TAGMSG', 'JOIN', 'PART', 'QUIT', 'NICK', 'KICK', 'MODE', 'TOPIC', 'AWAY', 'ACCOUNT', 'BATCH', 'CAP', 'FAIL', 'WARN', 'REDACT', 'MARKREAD', 'METADATA', 'INVITE', 'RENAME', 'ACK', 'ERROR', '353', '366', '332', '354', '401', '433', '761', '999']) {
    for (const params of ['', ' x', ' #c', ' #c x', ' me #c x y z', ' + -', ' :']) r.hear(`:ann!u@h ${command}${params}`);
  }
  assert.equal(r.model.get('#c').messages.filter((m) => m.text === undefined).length, 0);
});
