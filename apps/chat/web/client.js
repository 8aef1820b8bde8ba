// The client's side of IRC: it negotiates what the server offers, keeps the model true,
// and comes back after the connection is lost. It knows no page; the socket and the
// clock are given.
import { actionOf, escape, format, parse, size, split, splitSource } from './irc.js';

// wanted are the capabilities that are asked for, where the server has them.
const wanted = new Set([
  'account-notify', 'account-tag', 'away-notify', 'batch', 'cap-notify', 'chghost', 'draft/channel-rename', 'draft/chathistory',
  'draft/event-playback', 'draft/message-editing', 'draft/message-redaction', 'draft/metadata-2', 'draft/multiline', 'draft/read-marker', 'echo-message',
  'extended-join', 'invite-notify', 'labeled-response', 'message-tags', 'multi-prefix', 'sasl', 'server-time', 'setname',
  'draft/webpush', 'soju.im/search', 'standard-replies', 'userhost-in-names',
]);

// editing is the capability for changing messages.
const editing = 'draft/message-editing';

// waits are the times between tries to connect, in ms; the last goes on.
const waits = [500, 1000, 2000, 5000, 10_000, 30_000];
// quiet is the silence after which the server is asked for a sign of life, and
// patience how long it has for that, in ms.
const quiet = 100_000, patience = 15_000;
const pageSize = 100, repairSize = 1000, repairPages = 10;
const typingEvery = 3000;
const subprotocol = 'text.ircv3.net';
const welcome = '001', isupport = '005', endOfMOTD = '376', noMOTD = '422';
// refusals are numerics about a message or a channel that could not be served.
const refusals = new Set(['401', '403', '404', '405', '407', '412', '415', '417', '471', '473', '474', '475', '476', '477', '482', '489', '531', '716', '717']);
const quietNumerics = new Set(['002', '003', '004', '250', '251', '252', '253', '254', '255', '265', '266', '375', '372', '376', '422', '333', '366', '315', '329', '221', '900', '903', '305', '306', '331', '766', '762', '770', '771', '772']);

// least are the parameters that a command has at least; with fewer it is ignored.
const least = {
  AUTHENTICATE: 1, BATCH: 1, CAP: 2, FAIL: 2, INVITE: 2, JOIN: 1, KICK: 2, MARKREAD: 1, METADATA: 1, MODE: 1, NICK: 1, NOTICE: 2, PART: 1,
  PRIVMSG: 2, REDACT: 2, RENAME: 2, TAGMSG: 1, TOPIC: 1, NOTE: 3, WARN: 1, '332': 3, '331': 2, '353': 4, '354': 5, '366': 2, '900': 3,
};

export class Client {
  // options has url, open(url, subprotocol) for a socket as WebSocket is one, and
  // setTimeout and clearTimeout.
  constructor(model, options) {
    this.model = model;
    this.url = options.url;
    this.openSocket = options.open;
    this.timers = options.timers;
    this.login = null;
    this.tries = 0;
    this.resumed = false;
    this.results = []; // searches that wait for their answer
    this.waiters = []; // for a page of history
    this.onSaved = () => {}; // what lasts has changed
    this.reset();
  }

  reset() {
    this.caps = new Map(); // that are on, with their values
    this.offered = new Map();
    this.support = new Map();
    this.batches = new Map();
    this.names = new Map();
    this.live = false;
    this.pendingHistory = new Map(); // by the folded target
    this.typingSent = new Map();
  }

  // connect begins; login has nick, and account and password for who has an account,
  // and the channels to join.
  connect(login) {
    this.login = login;
    this.tries = 0;
    this.resumed = false;
    this.begin();
  }

  begin() {
    this.timers.clearTimeout(this.retry);
    this.reset();
    this.model.set({ state: 'connecting', problem: '', nick: this.model.nick || this.login.nick });
    const socket = this.openSocket(this.url, subprotocol);
    this.socket = socket;
    socket.onopen = () => {
      this.send('CAP', 'LS', '302');
      if (this.login.serverPassword) this.send('PASS', this.login.serverPassword);
      this.send('NICK', this.login.nick);
      this.send('USER', 'web', '0', '*', this.login.realname || this.login.nick);
    };
    socket.onmessage = (e) => {
      if (socket !== this.socket) return;
      this.alive();
      for (const line of String(e.data).split('\n')) {
        const m = parse(line);
        if (m !== null) this.receive(m);
      }
    };
    socket.onclose = () => this.lost(socket);
  }

  // lost notes that the connection has ended. What was on its way may have arrived
  // or not; the history shows which.
  lost(socket) {
    if (socket !== this.socket) return;
    this.socket = null;
    this.timers.clearTimeout(this.watch);
    const was = this.live;
    this.live = false;
    if (was) this.resumed = true;
    for (const entry of this.model.outbox) if (entry.state === 'sent') entry.state = 'unsure';
    for (const b of this.model.buffers.values()) {
      b.wasJoined ||= b.joined;
      b.joined = b.asked = false;
      b.since ??= b.last()?.time;
      b.typing.clear();
    }
    for (const wait of this.results.splice(0)) wait.fail('offline');
    for (const wait of this.waiters.splice(0)) wait.resolve();
    if (this.model.state === 'refused' || this.model.state === 'idle') return;
    this.model.set({ state: 'waiting' });
    const wait = waits[Math.min(this.tries++, waits.length - 1)];
    this.retry = this.timers.setTimeout(() => this.begin(), wait);
  }

  // hurry tries at once: the network is back, or somebody looks.
  hurry() {
    if (this.model.state === 'waiting') {
      this.tries = 0;
      this.begin();
    } else if (this.live) this.probe();
  }

  probe() {
    this.send('PING', 'alive');
    this.timers.clearTimeout(this.watch);
    this.watch = this.timers.setTimeout(() => this.drop(), patience);
  }

  // drop gives a connection up that does not answer. Its close event may take long.
  drop() {
    const socket = this.socket;
    if (socket === null) return;
    socket.close();
    this.lost(socket);
  }

  alive() {
    this.timers.clearTimeout(this.watch);
    this.watch = this.timers.setTimeout(() => this.probe(), quiet);
  }

  // leave ends the session for good.
  leave() {
    this.timers.clearTimeout(this.retry);
    this.timers.clearTimeout(this.watch);
    this.model.set({ state: 'idle' });
    this.send('QUIT');
    this.socket?.close();
    this.socket = null;
    this.live = false;
  }

  refuse(problem) {
    this.model.set({ state: 'refused', problem });
    this.socket?.close();
  }

  has(cap) { return this.caps.has(cap); }

  send(command, ...params) { this.sendTagged(new Map(), command, ...params); }

  sendTagged(tags, command, ...params) {
    if (this.socket === null || this.socket.readyState !== 1) return false;
    this.socket.send(format({ tags, command, params }));
    return true;
  }

  // receive takes a line; what is in a batch waits for its end.
  receive(m) {
    if (m.params.length < (least[m.command] ?? 0)) return;
    if (m.command === 'BATCH') {
      this.batch(m);
      return;
    }
    const batch = this.batches.get(m.tags.get('batch'));
    if (batch !== undefined) {
      batch.items.push(m);
      return;
    }
    this.handle(m, { label: m.tags.get('label'), history: false });
  }

  batch(m) {
    const [ref, type, ...params] = m.params;
    if (ref.startsWith('+')) {
      const parent = this.batches.get(m.tags.get('batch'));
      this.batches.set(ref.slice(1), { isBatch: true, type, params, tags: m.tags, source: m.source, parent, items: [] });
      return;
    }
    const batch = this.batches.get(ref.slice(1));
    if (batch === undefined) return;
    this.batches.delete(ref.slice(1));
    if (batch.parent !== undefined) batch.parent.items.push(batch);
    else this.finish(batch, { label: batch.tags.get('label'), history: false });
  }

  finish(batch, context) {
    const label = batch.tags.get('label') ?? context.label;
    switch (batch.type) {
      case 'chathistory': this.history(batch); break;
      case 'draft/multiline': this.multiline(batch, { ...context, label }); break;
      case 'draft/chathistory-targets': this.targets(batch); break;
      case 'soju.im/search': this.found(batch); break;
      default: for (const item of batch.items) this.item(item, { ...context, label });
    }
  }

  item(item, context) {
    if (item.isBatch) this.finish(item, context);
    else this.handle(item, context);
  }

  // multiline makes one message of the lines of a batch.
  multiline(batch, context) {
    let text = '', first = null;
    for (const m of batch.items) {
      if (m.isBatch || m.params.length < 2) continue;
      if (first !== null && !m.tags.has('draft/multiline-concat')) text += '\n';
      text += m.params[1];
      first ??= m;
    }
    if (first === null) return;
    this.handle({ ...first, source: batch.source || first.source, tags: new Map([...first.tags, ...batch.tags]), params: [batch.params[0], text] }, context);
  }

  time(m) {
    const at = Date.parse(m.tags.get('time') ?? '');
    return Number.isNaN(at) ? this.model.now() : at;
  }

  handle(m, context) {
    const fn = this[`on${m.command}`];
    const { nick } = splitSource(m.source);
    if (fn !== undefined) fn.call(this, m, nick, context);
    else if (/^\d{3}$/.test(m.command)) this.numeric(m, context);
  }

  // Negotiation.

  onCAP(m) {
    const [, sub, ...rest] = m.params;
    const words = (rest[rest.length - 1] ?? '').split(' ').filter((w) => w !== '');
    switch (sub.toUpperCase()) {
      case 'LS':
        this.offer(words);
        if (rest[0] !== '*' || rest.length < 2) this.request();
        break;
      case 'NEW':
        this.offer(words);
        this.request(words);
        break;
      case 'ACK':
        for (const word of words) {
          const name = word.split('=')[0];
          if (name.startsWith('-')) this.caps.delete(name.slice(1));
          else this.caps.set(name, this.offered.get(name) ?? '');
        }
        if (!this.live) this.authenticate();
        break;
      case 'NAK':
        if (!this.live) this.send('CAP', 'END');
        break;
      case 'DEL':
        for (const name of words) {
          this.caps.delete(name);
          this.offered.delete(name);
        }
        this.model.changed('state');
        break;
    }
  }

  offer(words) {
    for (const word of words) {
      const at = word.indexOf('=');
      this.offered.set(at < 0 ? word : word.slice(0, at), at < 0 ? '' : word.slice(at + 1));
    }
  }

  request(only) {
    const names = [...this.offered.keys()].filter((name) => wanted.has(name) && (only === undefined || only.some((w) => w.split('=')[0] === name)));
    if (names.length > 0) this.send('CAP', 'REQ', names.join(' '));
    else if (only === undefined) this.send('CAP', 'END');
  }

  authenticate() {
    if (!this.login.password) {
      this.send('CAP', 'END');
      return;
    }
    if (!this.has('sasl')) {
      this.refuse('noAccounts');
      return;
    }
    this.send('AUTHENTICATE', 'PLAIN');
  }

  onAUTHENTICATE(m) {
    if (m.params[0] !== '+') return;
    const bytes = new TextEncoder().encode(`\0${this.login.account}\0${this.login.password}`);
    const text = btoa(String.fromCharCode(...bytes));
    for (let i = 0; i < text.length; i += 400) this.send('AUTHENTICATE', text.slice(i, i + 400));
    if (text.length % 400 === 0) this.send('AUTHENTICATE', '+');
  }

  numeric(m, context) {
    const p = m.params, model = this.model;
    const text = p[p.length - 1] ?? '';
    switch (m.command) {
      case welcome:
        model.set({ nick: p[0] });
        return;
      case isupport:
        this.supports(p.slice(1, -1));
        return;
      case endOfMOTD:
      case noMOTD:
        this.ready();
        return;
      case '900': model.set({ account: p[2] }); return;
      case '903': this.send('CAP', 'END'); return;
      case '902': case '904': case '905': case '906': this.refuse('wrongPassword'); return;
      case '464': this.refuse('serverPassword'); return;
      case '465': this.refuse('banned'); return;
      case '432': if (!this.live) { this.refuse('badNick'); return; } break;
      case '433':
        if (!this.live) {
          this.login = { ...this.login, nick: `${this.login.nick}_` };
          if (this.login.nick.length > 40) this.refuse('nickTaken');
          else this.send('NICK', this.login.nick);
          return;
        }
        break;
      case '332': this.topic(p[1], text); return;
      case '331': this.topic(p[1], ''); return;
      case '353': this.namesLine(p[2], text); return;
      case '366': this.namesEnd(p[1]); return;
      case '354': this.whox(p); return;
      case '761': if (p.length >= 5) model.know(p[1], p[2], p[4]); return;
      case '301': return;
    }
    if (refusals.has(m.command)) {
      this.failed(context.label, p[1], text);
      return;
    }
    if (!quietNumerics.has(m.command) && this.live) this.note(p.slice(1).join(' '));
  }

  // supports reads what 005 says.
  supports(tokens) {
    for (const token of tokens) {
      if (token.startsWith('-')) {
        this.support.delete(token.slice(1));
        continue;
      }
      const at = token.indexOf('=');
      const name = at < 0 ? token : token.slice(0, at);
      this.support.set(name, at < 0 ? '' : token.slice(at + 1).replace(/\\x([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))));
    }
    this.model.useCasemapping(this.support.get('CASEMAPPING') ?? 'rfc1459');
    if (this.support.has('NETWORK')) this.model.set({ network: this.support.get('NETWORK') });
  }

  isChannel(name) { return (this.support.get('CHANTYPES') ?? '#&').includes(name[0]); }

  // ready is the end of the welcome.
  ready() {
    if (this.live) return;
    this.live = true;
    this.tries = 0;
    this.model.set({ state: 'ready' });
    const channels = new Set(this.login.channels ?? []);
    for (const b of this.model.buffers.values()) if (b.isChannel && b.wasJoined) channels.add(b.name);
    for (const name of channels) if (!this.model.get(name)?.joined) this.send('JOIN', name);
    if (this.has('draft/metadata-2')) this.send('METADATA', '*', 'SUB', 'display-name', 'avatar');
    if (this.has('draft/chathistory')) {
      this.send('CHATHISTORY', 'TARGETS', 'timestamp=1970-01-01T00:00:00.000Z', `timestamp=${new Date(this.model.now() + 86_400_000).toISOString()}`, '50');
    }
    for (const b of this.model.buffers.values()) if (!b.isChannel) this.catchUp(b);
    this.flush();
  }

  // History.

  // historyOf asks for a page: 'latest', 'before' what is there, or 'after' a place.
  historyOf(b, kind, reference) {
    if (!this.live || !this.has('draft/chathistory') || b.asked) return false;
    b.asked = true;
    const limit = this.pageLimit(kind === 'after' ? repairSize : pageSize);
    this.pendingHistory.set(this.model.fold(b.name), { kind, limit });
    this.send('CHATHISTORY', kind.toUpperCase(), b.name, reference, String(limit));
    this.model.changed('history', b);
    return true;
  }

  pageLimit(most) {
    const limit = Number(this.support.get('CHATHISTORY') ?? 0);
    return limit > 0 ? Math.min(limit, most) : most;
  }

  older(b) {
    if (b.isWhole) return false;
    const first = b.messages.find((m) => m.id || m.time);
    if (first === undefined) return this.historyOf(b, 'latest', '*');
    return this.historyOf(b, 'before', first.id ? `msgid=${first.id}` : `timestamp=${new Date(first.time).toISOString()}`);
  }

  // catchUp asks for what was said while nobody was here.
  catchUp(b) {
    if (!this.has('draft/chathistory')) {
      b.since = undefined;
      this.giveUp(b.name);
      return;
    }
    b.repaired = 0;
    if (b.since === undefined) this.historyOf(b, 'latest', '*');
    else this.historyOf(b, 'after', `timestamp=${new Date(b.since - 1).toISOString()}`);
    if (!b.isChannel && this.has('draft/read-marker')) this.send('MARKREAD', b.name);
  }

  history(batch) {
    const name = batch.params[0];
    const b = this.model.open(name, this.isChannel(name));
    const pending = this.pendingHistory.get(this.model.fold(name));
    this.pendingHistory.delete(this.model.fold(name));
    b.asked = false;
    const older = pending?.kind === 'before';
    const items = older ? [...batch.items].reverse() : batch.items;
    for (const item of items) this.item(item, { history: true, older, buffer: b });
    if (pending !== undefined && pending.kind !== 'after' && batch.items.length === 0) b.isWhole = true;
    if (pending?.kind === 'after') this.repaired(b, batch, pending);
    else if (pending?.kind === 'latest') this.caughtUp(b);
    this.wake(b);
    this.model.changed('history', b);
  }

  // repaired goes on until there is no gap between what was here and what comes.
  repaired(b, batch, pending) {
    const ids = batch.items.map((m) => m.tags.get('msgid')).filter((id) => id !== undefined);
    if (batch.items.length < pending.limit || ids.length === 0) {
      this.caughtUp(b);
      return;
    }
    if (++b.repaired < repairPages) {
      this.historyOf(b, 'after', `msgid=${ids[ids.length - 1]}`);
      return;
    }
    b.messages = [];
    b.byId.clear();
    b.replies.clear();
    b.isWhole = false;
    this.historyOf(b, 'latest', '*');
  }

  // caughtUp: what was on its way and is not in the history has not arrived.
  caughtUp(b) {
    b.since = undefined;
    for (const e of this.model.outbox) if (e.state === 'unsure' && this.model.same(e.target, b.name)) e.state = 'queued';
    this.flush();
  }

  // giveUp leaves it to the author: without a history nobody knows what has arrived.
  giveUp(name) {
    for (const e of this.model.outbox) if (e.state === 'unsure' && this.model.same(e.target, name)) this.model.mark(e, 'failed', 'unsure');
  }

  targets(batch) {
    for (const m of batch.items) {
      const [sub, name] = m.params;
      if (sub !== 'TARGETS' || name === undefined || this.isChannel(name)) continue;
      if (this.model.get(name) === undefined) this.catchUp(this.openQuery(name));
    }
  }

  openQuery(name) {
    const b = this.model.open(name, false);
    b.joined = true;
    return b;
  }

  // What people say.

  onPRIVMSG(m, nick, context) { this.said(m, nick, context, 'text'); }

  onNOTICE(m, nick, context) { this.said(m, nick, context, 'notice'); }

  said(m, nick, context, kind) {
    const model = this.model;
    let [target, text] = m.params;
    if (!this.live && !context.history) return;
    if (text.startsWith('\x01')) {
      const does = actionOf(text);
      if (does === null) return; // other CTCP is for no person
      text = does;
      kind = 'action';
    }
    if (kind === 'notice' && (!m.source.includes('!') || (/Serv$/.test(nick) && model.get(nick) === undefined))) {
      this.note(text);
      return;
    }
    target = target.replace(/^[~&@%+]+(?=[#&])/, '');
    const toChannel = this.isChannel(target);
    const mine = model.isMe(nick);
    const b = context.buffer ?? (toChannel ? model.open(target, true) : this.openQuery(mine ? target : nick));
    const message = {
      id: m.tags.get('msgid') ?? '', time: this.time(m), nick, account: m.tags.get('account') ?? '', kind, text,
      reply: m.tags.get('+reply') ?? m.tags.get('+draft/reply') ?? '', bot: m.tags.has('bot'), edited: m.tags.has('draft/edited'),
    };
    const edits = m.tags.get('+draft/edit');
    if (edits) {
      model.edit(b, edits, nick, text);
      this.confirm(context.label, b, message, mine && context.history);
      return;
    }
    model.add(b, message, { older: context.older, live: !context.history });
    if (mine) this.confirm(context.label, b, message, context.history);
  }

  // confirm takes from the outbox what has come back.
  confirm(label, b, message, fromHistory) {
    const entry = fromHistory ? this.model.match(b.name, message) : this.model.labelled(label) ?? this.echoed(b, message);
    if (entry !== undefined && (entry.state !== 'unsure' || fromHistory)) this.model.settle(entry);
  }

  // echoed finds an entry without labels: the first of that text.
  echoed(b, message) {
    if (this.has('labeled-response')) return undefined;
    return this.model.outbox.find((e) => e.state === 'sent' && this.model.same(e.target, b.name) && e.text === message.text);
  }

  onTAGMSG(m, nick, context) {
    const target = m.params[0];
    const model = this.model;
    const b = context.buffer ?? model.get(this.isChannel(target) || model.isMe(nick) ? target : nick);
    if (b === undefined) return;
    const typing = m.tags.get('+typing');
    if (typing !== undefined && !context.history) model.types(b, nick, typing);
    const id = m.tags.get('+reply') ?? m.tags.get('+draft/reply');
    if (!id) return;
    const on = m.tags.get('+draft/react') ?? m.tags.get('+react');
    const off = m.tags.get('+draft/unreact') ?? m.tags.get('+unreact');
    if (on) model.react(b, id, nick, on, true);
    if (off) model.react(b, id, nick, off, false);
  }

  onREDACT(m, nick, context) {
    const [target, id, reason = ''] = m.params;
    const b = context.buffer ?? this.model.get(this.isChannel(target) || this.model.isMe(nick) ? target : nick);
    if (b !== undefined) this.model.redact(b, id, nick, reason);
  }

  onMARKREAD(m) {
    const [target, value] = m.params;
    const b = this.model.get(target);
    if (b === undefined || value === undefined) return;
    const at = Date.parse(value.replace(/^timestamp=/, ''));
    if (!Number.isNaN(at)) this.model.read(b, at);
    else if (b.readAt < 0) this.model.read(b, this.model.now());
  }

  onMETADATA(m) {
    const [target, key, , value = ''] = m.params;
    if (key !== undefined) this.model.know(target === '*' ? this.model.nick : target, key, value);
  }

  // Comings and goings.

  // event adds a line about what happened, which is no message.
  event(b, m, kind, nick, text = '') { this.model.add(b, { id: m.tags.get('msgid') ?? '', time: this.time(m), nick, account: '', kind, text, reply: '' }); }

  onJOIN(m, nick, context) {
    const [name, account = ''] = m.params;
    const model = this.model;
    const b = context.buffer ?? model.open(name, true);
    if (context.history) {
      this.event(b, m, 'join', nick);
      return;
    }
    model.member(b, nick, { account: account === '*' ? '' : account, prefix: '' });
    if (!model.isMe(nick)) {
      this.event(b, m, 'join', nick);
      return;
    }
    b.joined = b.wasJoined = true;
    b.members.clear();
    model.member(b, nick);
    if (b.readAt < 0 && !this.has('draft/read-marker')) model.read(b, this.time(m));
    model.changed('joined', b);
    this.send('WHO', b.name, '%tnfa,7');
  }

  gone(b, nick) {
    this.model.leave(b, nick);
    if (!this.model.isMe(nick)) return;
    b.joined = b.wasJoined = false;
    b.members.clear();
    this.model.changed('parted', b);
    this.model.changed('members', b);
  }

  onPART(m, nick, context) {
    const b = context.buffer ?? this.model.get(m.params[0]);
    if (b === undefined) return;
    this.event(b, m, 'part', nick, m.params[1] ?? '');
    if (context.history) return;
    this.gone(b, nick);
    if (this.model.isMe(nick)) this.model.close(b.name);
  }

  onKICK(m, nick, context) {
    const [name, who, reason = ''] = m.params;
    const b = context.buffer ?? this.model.get(name);
    if (b === undefined) return;
    this.event(b, m, 'kick', who, `${nick}${reason === '' ? '' : `: ${reason}`}`);
    if (!context.history) this.gone(b, who);
  }

  onQUIT(m, nick, context) {
    if (context.history) {
      this.event(context.buffer, m, 'quit', nick, m.params[0] ?? '');
      return;
    }
    for (const b of this.model.withMember(nick)) {
      this.event(b, m, 'quit', nick, m.params[0] ?? '');
      this.model.leave(b, nick);
    }
  }

  onNICK(m, nick, context) {
    const to = m.params[0];
    if (context.history) {
      this.event(context.buffer, m, 'nick', nick, to);
      return;
    }
    for (const b of this.model.changeNick(nick, to)) this.event(b, m, 'nick', nick, to);
  }

  onTOPIC(m, nick, context) {
    const [name, text = ''] = m.params;
    const b = context.buffer ?? this.model.get(name);
    if (b === undefined) return;
    this.event(b, m, 'topic', nick, text);
    if (!context.history) this.topic(name, text);
  }

  topic(name, text) {
    const b = this.model.get(name);
    if (b === undefined) return;
    b.topic = text;
    this.model.changed('topic', b);
  }

  onRENAME(m) { this.model.rename(m.params[0], m.params[1]); }

  onAWAY(m, nick) { for (const b of this.model.withMember(nick)) this.model.member(b, nick, { away: m.params.length > 0 && m.params[0] !== '' }); }

  onACCOUNT(m, nick) { for (const b of this.model.withMember(nick)) this.model.member(b, nick, { account: m.params[0] === '*' ? '' : m.params[0] }); }

  // onMODE follows the ranks of members.
  onMODE(m, nick, context) {
    const [name, modes = '', ...values] = m.params;
    const b = this.model.get(name);
    if (b === undefined || context.history) return;
    const [, letters, prefixes] = /^\((\w*)\)(.*)$/.exec(this.support.get('PREFIX') ?? '(ov)@+') ?? ['', 'ov', '@+'];
    const [lists = '', always = '', onSet = ''] = (this.support.get('CHANMODES') ?? '').split(',');
    let on = true;
    for (const letter of modes) {
      if (letter === '+' || letter === '-') {
        on = letter === '+';
        continue;
      }
      const rank = letters.indexOf(letter);
      const value = rank >= 0 || lists.includes(letter) || always.includes(letter) || (on && onSet.includes(letter)) ? values.shift() : undefined;
      if (rank < 0 || value === undefined) continue;
      const had = b.members.get(this.model.fold(value))?.prefix ?? '';
      const has = [...prefixes].filter((p) => (p === prefixes[rank] ? on : had.includes(p))).join('');
      this.model.member(b, value, { prefix: has });
    }
    this.event(b, m, 'mode', nick, m.params.slice(1).join(' '));
  }

  namesLine(name, text) {
    const b = this.model.get(name);
    if (b === undefined) return;
    const list = this.names.get(b) ?? new Map();
    this.names.set(b, list);
    const [, prefixes = '@+'] = /\)(.*)$/.exec(this.support.get('PREFIX') ?? '(ov)@+') ?? [];
    for (const word of text.split(' ')) {
      let i = 0;
      while (i < word.length && prefixes.includes(word[i])) i++;
      const { nick } = splitSource(word.slice(i));
      if (nick !== '') list.set(nick, word.slice(0, i));
    }
  }

  namesEnd(name) {
    const b = this.model.get(name);
    if (b === undefined) return;
    const list = this.names.get(b) ?? new Map();
    this.names.delete(b);
    const known = new Set([...list.keys()].map((n) => this.model.fold(n)));
    for (const [key, member] of b.members) if (!known.has(key)) this.model.leave(b, member.nick);
    for (const [nick, prefix] of list) this.model.member(b, nick, { prefix });
    this.catchUp(b);
  }

  whox([, token, nick, flags, account]) {
    if (token !== '7') return;
    for (const b of this.model.withMember(nick)) this.model.member(b, nick, { away: flags?.startsWith('G') ?? false, account: account === '0' ? '' : account });
  }

  onPING(m) { this.send('PONG', m.params[0] ?? ''); }

  onERROR(m) {
    if (!this.live && !this.resumed && this.model.state === 'connecting') this.model.set({ problem: m.params[0] ?? '' });
  }

  onINVITE(m, nick) {
    if (this.model.isMe(m.params[0])) this.model.changed('invited', null, { nick, channel: m.params[1] });
  }

  onFAIL(m, nick, context) {
    const [command, code, ...rest] = m.params;
    const text = rest[rest.length - 1] ?? code;
    if (command === 'CHATHISTORY') {
      const waiting = [...this.pendingHistory.keys()].filter((key) => rest.some((r) => this.model.fold(r) === key));
      for (const key of waiting) {
        this.pendingHistory.delete(key);
        const b = this.model.buffers.get(key);
        if (b === undefined) continue;
        b.asked = false;
        b.isWhole = true;
        this.wake(b);
        b.since = undefined;
        this.giveUp(b.name);
      }
      return;
    }
    if (command === 'SEARCH') {
      this.results.shift()?.fail(text);
      return;
    }
    this.failed(context.label, rest[0], text);
  }

  // onNOTE: one's rights on the server may have changed.
  onNOTE(m) {
    if (m.params[1] === 'ROLE_CHANGED') this.model.changed('role');
    this.note(m.params[m.params.length - 1]);
  }

  onWARN(m) { this.note(m.params[m.params.length - 1]); }

  onACK(m, nick, context) {
    const entry = this.model.labelled(context.label);
    if (entry !== undefined) this.sayLocally(entry);
  }

  // failed marks what the server did not take; what belongs to nothing is shown.
  failed(label, target, text) {
    const entry = this.model.labelled(label) ?? (label === undefined ? this.model.outbox.find((e) => e.state === 'sent' && target !== undefined && this.model.same(e.target, target)) : undefined);
    if (entry !== undefined) this.model.mark(entry, 'failed', text);
    else this.note(target === undefined || target === text ? text : `${target}: ${text}`);
  }

  // note shows a line of the server's.
  note(text) { this.model.changed('note', null, { text }); }

  // loadBackTo has all since a time here, page by page, as far as the history goes.
  async loadBackTo(b, time) {
    while (this.live && !b.isWhole && !(b.messages[0]?.time < time)) {
      const first = b.messages[0];
      await new Promise((resolve) => {
        this.waiters.push({ buffer: b, resolve });
        if (!this.older(b) && !b.asked) this.wake(b);
      });
      if (b.messages[0] === first && !b.isWhole) return;
    }
  }

  // wake goes on with what waited for a page of history.
  wake(b) {
    const ready = this.waiters.filter((w) => w.buffer === b);
    this.waiters = this.waiters.filter((w) => w.buffer !== b);
    for (const w of ready) w.resolve();
  }

  // Search (soju.im/search).

  search(fields) {
    if (!this.live || !this.has('soju.im/search')) return Promise.reject(new Error('unsupported'));
    const parts = Object.entries(fields).filter(([, v]) => v !== '').map(([k, v]) => `${k}=${escape(String(v))}`);
    return new Promise((resolve, reject) => {
      this.results.push({ done: resolve, fail: (why) => reject(new Error(why)) });
      this.send('SEARCH', parts.join(';'));
    });
  }

  found(batch) {
    const list = [];
    for (const m of batch.items) {
      if (m.isBatch || m.params.length < 2) continue;
      const { nick } = splitSource(m.source), [target, text] = m.params, does = actionOf(text);
      list.push({ id: m.tags.get('msgid') ?? '', time: this.time(m), nick, target, text: does === null ? text : `${nick} ${does}` });
    }
    this.results.shift()?.done(list);
  }

  // What the user does.

  // say queues a message and sends it when it can be.
  say(target, text, { reply = '', kind = 'text' } = {}) {
    this.model.queue(target, text, reply, kind);
    this.typingDone(target);
    this.flush();
    this.onSaved();
  }

  retrySaying(entry) {
    this.model.mark(entry, 'queued');
    this.flush();
  }

  // flush sends what waits, in order. What is to follow something that nobody knows
  // the fate of, in the same conversation, waits too.
  flush() {
    if (!this.live) return;
    const held = new Set();
    for (const entry of [...this.model.outbox]) {
      const key = this.model.fold(entry.target);
      if (entry.state === 'unsure') held.add(key);
      if (entry.state !== 'queued' || held.has(key)) continue;
      const b = this.model.get(entry.target);
      if (b?.isChannel && !b.joined) continue;
      const texts = this.fit(entry.target, entry.text);
      if (texts.length > 1) this.divide(entry, texts);
      else this.transmit(entry);
    }
    this.onSaved();
  }

  // divide replaces an entry by several.
  divide(entry, texts) {
    const at = this.model.outbox.indexOf(entry);
    const parts = texts.map((text, i) => ({ ...entry, text, reply: i === 0 ? entry.reply : '', label: i === 0 ? entry.label : `w${this.model.nextLabel++}` }));
    this.model.outbox.splice(at, 1, ...parts);
    for (const part of parts) this.transmit(part);
  }

  room(target) {
    const prefix = 32 + 18 + 63 + 3; // :nick!user@host, at their longest
    return Math.max(100, 510 - prefix - size(` PRIVMSG ${target} :`) - '\x01ACTION \x01'.length);
  }

  multilineLimits() {
    const value = new Map((this.caps.get('draft/multiline') ?? '').split(',').map((p) => p.split('=')));
    return { bytes: Number(value.get('max-bytes') ?? 4096), lines: Number(value.get('max-lines') ?? 24) };
  }

  // lines cuts a text as it goes on the wire: [text, isConcat].
  lines(target, text) {
    const all = [];
    for (const one of text.split('\n')) split(one, this.room(target)).forEach((part, i) => all.push([part, i > 0]));
    return all;
  }

  canMultiline() { return this.has('draft/multiline') && this.has('batch'); }

  // fit returns a text as texts that can be sent as one message each.
  fit(target, text) {
    const lines = this.lines(target, text);
    if (lines.length === 1) return [text];
    if (!this.canMultiline()) return lines.map(([l]) => l).filter((l) => l.trim() !== '');
    const limits = this.multilineLimits();
    const texts = [];
    let current = '', count = 0, bytes = 0;
    for (const [part, concat] of lines) {
      if (count > 0 && (count + 1 > limits.lines || bytes + size(part) + 1 > limits.bytes)) {
        texts.push(current);
        current = part;
        count = 1;
        bytes = size(part);
        continue;
      }
      current += count === 0 || concat ? part : `\n${part}`;
      count++;
      bytes += size(part) + 1;
    }
    texts.push(current);
    return texts.filter((t) => t.trim() !== '');
  }

  transmit(entry) {
    const tags = new Map();
    if (this.has('message-tags') && entry.reply !== '') tags.set('+reply', entry.reply).set('+draft/reply', entry.reply);
    if (this.has('labeled-response')) tags.set('label', entry.label);
    const lines = entry.kind === 'action' ? [[entry.text.replace(/\n/g, ' '), false]] : this.lines(entry.target, entry.text);
    if (lines.length > 1) this.sendBatch(entry.label, tags, entry.target, lines);
    else this.sendTagged(tags, 'PRIVMSG', entry.target, entry.kind === 'action' ? `\x01ACTION ${lines[0][0]}\x01` : lines[0][0]);
    entry.at = this.model.now();
    this.model.mark(entry, 'sent');
    if (!this.has('echo-message')) this.sayLocally(entry);
  }

  // sendBatch sends lines as one message.
  sendBatch(ref, tags, target, lines) {
    this.sendTagged(tags, 'BATCH', `+${ref}`, 'draft/multiline', target);
    for (const [text, concat] of lines) {
      const own = new Map([['batch', ref]]);
      if (concat) own.set('draft/multiline-concat', '');
      this.sendTagged(own, 'PRIVMSG', target, text);
    }
    this.send('BATCH', `-${ref}`);
  }

  // sayLocally shows a message that the server does not send back.
  sayLocally(entry) {
    const b = this.model.get(entry.target) ?? this.openQuery(entry.target);
    this.model.add(b, { id: '', time: this.model.now(), nick: this.model.nick, account: this.model.account, kind: entry.kind, text: entry.text, reply: entry.reply }, { live: true });
    this.model.settle(entry);
  }

  react(b, m, emoji) {
    if (!this.has('message-tags') || !m.id) return;
    const on = !m.reactions.get(emoji)?.has(this.model.fold(this.model.nick));
    const tags = new Map([[on ? '+draft/react' : '+draft/unreact', emoji], ['+reply', m.id], ['+draft/reply', m.id]]);
    this.sendTagged(tags, 'TAGMSG', b.name);
    if (!this.has('echo-message')) this.model.react(b, m.id, this.model.nick, emoji, on);
  }

  redact(b, m) { this.send('REDACT', b.name, m.id); }

  canEdit() { return this.has(editing); }

  // edit changes what one has said.
  // It returns what is wrong, as {problem}.
  edit(b, m, text) {
    if (text === m.text) return {};
    const tags = new Map([['+draft/edit', m.id]]);
    const lines = m.kind === 'action' ? [[`\x01ACTION ${text.replace(/\n/g, ' ')}\x01`, false]] : this.lines(b.name, text);
    if (lines.length === 1) this.sendTagged(tags, 'PRIVMSG', b.name, lines[0][0]);
    else if (this.fit(b.name, text).length === 1) this.sendBatch(`w${this.model.nextLabel++}`, tags, b.name, lines);
    else return { problem: 'tooLong' };
    return {};
  }

  // isOperator reports whether one may delete what others say.
  isOperator(b) { return /[~&@%]/.test(b.members.get(this.model.fold(this.model.nick))?.prefix ?? ''); }

  // typing notifies others, at most every few seconds.
  typing(b, text) {
    if (!this.live || !this.has('message-tags') || text.startsWith('/')) return;
    if (text === '') {
      this.typingDone(b.name, true);
      return;
    }
    const key = this.model.fold(b.name), now = this.model.now();
    if (now - (this.typingSent.get(key) ?? -typingEvery) < typingEvery) return;
    this.typingSent.set(key, now);
    this.sendTagged(new Map([['+typing', 'active']]), 'TAGMSG', b.name);
  }

  // typingDone forgets that one was typing; the message itself shows that to others.
  typingDone(target, tell = false) {
    const was = this.typingSent.delete(this.model.fold(target));
    if (was && tell && this.live) this.sendTagged(new Map([['+typing', 'done']]), 'TAGMSG', target);
  }

  markRead(b) {
    const last = b.last();
    if (last === undefined || !this.model.read(b, last.time)) return;
    if (this.has('draft/read-marker')) this.send('MARKREAD', b.name, `timestamp=${new Date(last.time).toISOString()}`);
    this.onSaved();
  }

  join(name, key) {
    if (key) this.send('JOIN', name, key);
    else this.send('JOIN', name);
  }

  part(b) {
    if (b.isChannel && b.joined) this.send('PART', b.name);
    else this.model.close(b.name);
    this.onSaved();
  }

  setMetadata(key, value) {
    if (!this.has('draft/metadata-2')) return;
    if (value === '') this.send('METADATA', '*', 'SET', key);
    else this.send('METADATA', '*', 'SET', key, value);
    this.model.know(this.model.nick, key, value);
  }
}
