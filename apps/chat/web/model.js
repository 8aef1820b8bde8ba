// What the client knows: one store of facts, from which all views are drawn. It
// knows no page and no connection.
import { folder } from './irc.js';
import { mentions } from './text.js';

// typingTime is how long somebody counts as typing after the last sign of it
// (https://ircv3.net/specs/client-tags/typing), in milliseconds.
const typingTime = 6000;

// A Buffer is one conversation: a channel, or one person.
class Buffer {
  constructor(name, isChannel) {
    this.name = name;
    this.isChannel = isChannel;
    this.joined = false;
    this.topic = '';
    this.messages = []; // in order
    this.byId = new Map();
    this.replies = new Map(); // by the id of a message: how many answer it
    this.members = new Map(); // by the folded nick: {nick, prefix, account, away}
    this.typing = new Map(); // by nick: until when
    this.readAt = 0; // up to where it was read, in ms; -1: nobody knows
    this.unread = 0;
    this.mentions = 0;
    this.isWhole = false; // there is no older history
    this.asked = false; // a page of history is on its way
    this.orphans = new Map(); // reactions to messages that are not here yet, by id
    this.version = 0;
  }

  last() { return this.messages[this.messages.length - 1]; }
}

export class Model {
  // now returns the time in ms.
  constructor(now = () => Date.now()) {
    this.now = now;
    this.fold = folder('ascii');
    this.nick = '';
    this.account = '';
    this.network = '';
    this.state = 'idle'; // connecting, ready, waiting, refused
    this.problem = '';
    this.buffers = new Map(); // by the folded name
    this.people = new Map(); // by the folded nick: metadata
    this.outbox = []; // what was typed and is not confirmed, in order
    this.listeners = [];
    this.nextKey = 1;
    this.nextLabel = 1;
  }

  // on has fn called with (what, buffer, message) after each change, until what it
  // returns is called.
  on(fn) {
    this.listeners.push(fn);
    return () => { this.listeners = this.listeners.filter((other) => other !== fn); };
  }

  changed(what, buffer = null, message = null) {
    if (buffer !== null) buffer.version++;
    for (const fn of this.listeners) fn(what, buffer, message);
  }

  set(fields) {
    Object.assign(this, fields);
    this.changed('state');
  }

  useCasemapping(mapping) { this.fold = folder(mapping); }

  same(a, b) { return this.fold(a) === this.fold(b); }

  isMe(nick) { return this.same(nick, this.nick); }

  get(name) { return this.buffers.get(this.fold(name)); }

  // open returns the buffer of a name, made when it is not there.
  open(name, isChannel) {
    let b = this.get(name);
    if (b === undefined) {
      b = new Buffer(name, isChannel);
      this.buffers.set(this.fold(name), b);
      this.changed('buffers', b);
    }
    return b;
  }

  close(name) {
    if (this.buffers.delete(this.fold(name))) this.changed('buffers');
  }

  rename(from, to) {
    const b = this.get(from);
    if (b === undefined) return;
    this.buffers.delete(this.fold(from));
    b.name = to;
    this.buffers.set(this.fold(to), b);
    for (const entry of this.outbox) if (this.same(entry.target, from)) entry.target = to;
    this.changed('buffers', b);
  }

  // sorted returns the buffers as a list shows them: channels, then people.
  sorted() {
    return [...this.buffers.values()].sort((a, b) => Number(b.isChannel) - Number(a.isChannel) || a.name.localeCompare(b.name));
  }

  // add puts a message at its place. m has {id, time, nick, account, kind, text,
  // reply}; kind is text, action, notice, or a kind of event. It returns the
  // message, or null for one that is there already. older: where times are equal it
  // goes before what is there, as a page of earlier history does; live: it has just
  // been said.
  add(b, m, { older = false, live = false } = {}) {
    if (m.id && b.byId.has(m.id)) return null;
    m.key = this.nextKey++;
    m.version = 0;
    m.reactions ??= new Map();
    m.own = this.isMe(m.nick);
    m.event = !['text', 'action', 'notice'].includes(m.kind);
    const list = b.messages;
    let at = list.length;
    const isAfter = (other) => (older ? other.time >= m.time : other.time > m.time);
    if (at > 0 && isAfter(list[at - 1])) {
      let low = 0;
      while (low < at) {
        const middle = (low + at) >> 1;
        if (isAfter(list[middle])) at = middle;
        else low = middle + 1;
      }
    }
    list.splice(at, 0, m);
    if (m.id) {
      b.byId.set(m.id, m);
      this.adopt(b, m);
    }
    if (m.reply && !m.event) {
      b.replies.set(m.reply, (b.replies.get(m.reply) ?? 0) + 1);
      const above = b.byId.get(m.reply);
      if (above !== undefined) above.version++;
    }
    if (!m.event) {
      b.typing.delete(m.nick);
      m.mention = !m.own && (!b.isChannel || mentions(m.text, this.nick));
      if (!m.own && b.readAt >= 0 && m.time > b.readAt) this.count(b, m, 1);
    }
    this.changed(live ? 'said' : 'messages', b, m);
    return m;
  }

  // adopt gives a message the reactions that came before it.
  adopt(b, m) {
    for (const { nick, emoji, on } of b.orphans.get(m.id) ?? []) this.put(m, nick, emoji, on);
    b.orphans.delete(m.id);
  }

  count(b, m, n) {
    b.unread += n;
    if (m.mention) b.mentions += n;
  }

  // react notes that somebody reacts to a message, or takes it back.
  react(b, id, nick, emoji, on) {
    const m = b.byId.get(id);
    if (m === undefined) {
      const waiting = b.orphans.get(id) ?? [];
      waiting.push({ nick, emoji, on });
      b.orphans.set(id, waiting);
      return;
    }
    this.put(m, nick, emoji, on);
    this.changed('messages', b);
  }

  put(m, nick, emoji, on) {
    const who = m.reactions.get(emoji) ?? new Map();
    if (on) who.set(this.fold(nick), nick);
    else who.delete(this.fold(nick));
    if (who.size > 0) m.reactions.set(emoji, who);
    else m.reactions.delete(emoji);
    m.version++;
  }

  // beginsWaiting reports whether what waits to be sent is drawn with one's name: it is not to
  // look like a part of what somebody else has said before it.
  beginsWaiting(before) {
    return before === undefined || before.label === undefined && (Boolean(before.event) || !this.same(before.nick, this.nick));
  }

  // redact takes a message's text away, and what it counted.
  redact(b, id, by, reason) {
    const m = b.byId.get(id);
    if (m === undefined || m.redacted) return;
    if (!m.own && b.readAt >= 0 && m.time > b.readAt) this.count(b, m, -1);
    Object.assign(m, { redacted: { by, reason }, text: '', mention: false, reactions: new Map() });
    m.version++;
    this.changed('messages', b, m);
  }

  // edit changes a message's text, if it is its sender's.
  edit(b, id, nick, text) {
    const m = b.byId.get(id);
    if (m === undefined || m.redacted || !this.same(m.nick, nick)) return;
    m.text = text;
    m.edited = true;
    m.version++;
    this.changed('messages', b, m);
  }

  // read moves the marker forward, never back.
  read(b, time) {
    if (!(time > b.readAt)) return false;
    b.readAt = time;
    b.unread = b.mentions = 0;
    for (let i = b.messages.length - 1; i >= 0 && b.messages[i].time > time; i--) {
      const m = b.messages[i];
      if (!m.event && !m.own && !m.redacted) this.count(b, m, 1);
    }
    this.changed('read', b);
    return true;
  }

  // Members of channels.
  member(b, nick, fields = {}) {
    const key = this.fold(nick);
    const was = b.members.get(key);
    b.members.set(key, { nick, prefix: '', account: '', away: false, ...was, ...fields });
    if (was === undefined || Object.keys(fields).some((k) => was[k] !== fields[k])) this.changed('members', b);
  }

  leave(b, nick) {
    b.typing.delete(nick);
    if (b.members.delete(this.fold(nick))) this.changed('members', b);
  }

  // withMember returns the channels that somebody is in.
  withMember(nick) {
    const key = this.fold(nick);
    return [...this.buffers.values()].filter((b) => b.members.has(key));
  }

  changeNick(from, to) {
    const seen = this.withMember(from);
    for (const b of seen) {
      const m = b.members.get(this.fold(from));
      b.members.delete(this.fold(from));
      b.members.set(this.fold(to), { ...m, nick: to });
      this.changed('members', b);
    }
    const person = this.people.get(this.fold(from));
    if (person !== undefined) {
      this.people.delete(this.fold(from));
      this.people.set(this.fold(to), person);
    }
    const query = this.get(from);
    if (query !== undefined && !query.isChannel && this.get(to) === undefined) this.rename(from, to);
    if (this.isMe(from)) this.set({ nick: to });
    return seen;
  }

  know(nick, key, value) {
    const person = this.people.get(this.fold(nick)) ?? {};
    if (value === '') delete person[key];
    else person[key] = value;
    this.people.set(this.fold(nick), person);
    this.changed('people');
  }

  // pictureOf is the address of somebody's picture; undefined without one.
  pictureOf(nick) { return this.people.get(this.fold(nick))?.avatar; }

  // shownName is what somebody wants to be called.
  shownName(nick) { return this.people.get(this.fold(nick))?.['display-name'] ?? nick; }

  typingIn(b) {
    const now = this.now();
    return [...b.typing].filter(([nick, until]) => until > now && !this.isMe(nick)).map(([nick]) => nick);
  }

  types(b, nick, state) {
    if (state === 'active') b.typing.set(nick, this.now() + typingTime);
    else b.typing.delete(nick);
    this.changed('typing', b);
  }

  // queue keeps what was typed until the server has confirmed it. state is queued
  // (to be sent), sent (nobody knows yet), failed (with why).
  queue(target, text, reply = '', kind = 'text') {
    const entry = { label: `w${this.nextLabel++}`, target, text, reply, kind, state: 'queued', at: this.now(), why: '' };
    this.outbox.push(entry);
    this.changed('outbox', this.get(target) ?? null);
    return entry;
  }

  restore(entries) {
    for (const e of entries) {
      if (typeof e.target !== 'string' || typeof e.text !== 'string') continue;
      this.outbox.push({ reply: '', kind: 'text', why: '', at: this.now(), ...e, label: `w${this.nextLabel++}`, state: e.state === 'queued' ? 'queued' : 'unsure' });
    }
    if (entries.length > 0) this.changed('outbox');
  }

  labelled(label) { return this.outbox.find((e) => e.label === label); }

  // settle takes an entry out: it has been said, or its author has given up.
  settle(entry) {
    const at = this.outbox.indexOf(entry);
    if (at < 0) return;
    this.outbox.splice(at, 1);
    this.changed('outbox', this.get(entry.target) ?? null);
  }

  mark(entry, state, why = '') {
    Object.assign(entry, { state, why });
    this.changed('outbox', this.get(entry.target) ?? null);
  }

  // match finds the entry that a message in the history is, of those that were on
  // their way when the connection was lost. slack allows for clocks that differ.
  match(target, m, slack = 120_000) {
    return this.outbox.find((e) => e.state === 'unsure' && this.same(e.target, target) && e.text === m.text && m.time >= e.at - slack);
  }
}
