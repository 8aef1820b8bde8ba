// The messages of the conversation that is shown.
import { avatar, button, h, hueOf, icon } from './dom.js';
import { List } from './list.js';
import { isEmoji, pieces, plain } from './text.js';
import { has, say, spoken } from './words.js';

// usual are the reactions that are offered at once.
const usual = ['👍', '❤️', '😂'];

// together is how close messages of one person are to be drawn as one, in ms.
const together = 5 * 60_000;

const clock = (time) => new Intl.DateTimeFormat(spoken(), { hour: '2-digit', minute: '2-digit' }).format(time);
const dayOf = (time) => new Date(time).toDateString();

function dayName(time) {
  const day = dayOf(time);
  if (day === dayOf(Date.now())) return say('today');
  if (day === dayOf(Date.now() - 86_400_000)) return say('yesterday');
  return new Intl.DateTimeFormat(spoken(), { weekday: 'long', year: 'numeric', month: 'long', day: 'numeric' }).format(time);
}

// ownFile reports whether an address is of a picture on this server, which is shown.
function ownFile(address) {
  try {
    const url = new URL(address);
    return url.origin === location.origin && /\.(png|jpe?g|gif|webp|avif)$/i.test(url.pathname);
  } catch {
    return false;
  }
}

// nameOf is the name of the file at an address, which stands at its end.
function nameOf(address) {
  const name = address.split('/').pop();
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

export class Messages {
  constructor(app) {
    this.app = app;
    this.scroller = h('div', { class: 'log', role: 'log', tabindex: '0', 'aria-live': 'off' });
    this.jump = h('button', { type: 'button', class: 'jump above', hidden: true, onclick: () => this.toUnread() });
    this.end = h('button', { type: 'button', class: 'jump below', hidden: true, onclick: () => { this.list.toEnd(); this.app.focus(); } }, icon('down'), ' ', say('toEnd'));
    this.element = h('div', { class: 'logbox' }, this.scroller, this.jump, this.end);
    this.list = new List(this.scroller, {
      row: (m, i) => this.row(m, i), key: (m) => m.key ?? m.label,
      version: (m, i) => this.version(m, i), onTop: () => this.older(), onView: () => this.viewed(),
    });
    this.scroller.onkeydown = (e) => this.keyed(e);
    this.buffer = null;
  }

  // show draws a conversation.
  show(b) {
    const another = b !== this.buffer;
    if (another) {
      this.buffer = b;
      this.divider = b.unread > 0 ? b.readAt : null;
      this.scroller.setAttribute('aria-label', say('messages', { name: b.name }));
    }
    const { settings, model } = this.app;
    const said = settings.events ? b.messages : b.messages.filter((m) => !m.event || m.kind === 'topic' || m.kind === 'kick');
    const waiting = model.outbox.filter((e) => model.same(e.target, b.name));
    this.first = this.divider === null ? undefined : said.find((m) => m.time > this.divider && !m.own && !m.event);
    this.list.show([...said, ...waiting], another);
    this.viewed();
  }

  older() {
    if (this.buffer !== null) this.app.client.older(this.buffer);
  }

  viewed() {
    const b = this.buffer;
    if (b === null) return;
    this.end.hidden = this.list.atEnd;
    this.jump.hidden = this.first === undefined || !this.list.isAbove(this.first.key);
    if (!this.jump.hidden) {
      const n = b.messages.filter((m) => m.time > this.divider && !m.own && !m.event).length;
      this.jump.replaceChildren(say('jumpNew', { n }));
    }
    if (this.list.atEnd) this.app.seen(b);
  }

  toUnread() {
    if (this.first !== undefined) this.focusRow(this.first.key);
    this.jump.hidden = true;
  }

  focusRow(key) {
    const row = this.list.reveal(key);
    row?.focus({ preventScroll: true });
    return row;
  }

  // go shows a message by its id, if it is here.
  go(id) {
    const m = this.buffer?.byId.get(id);
    if (m === undefined) return false;
    this.found = m;
    this.list.draw();
    return this.focusRow(m.key) !== null;
  }

  // head reports whether a message begins a new group.
  head(m, i) {
    const before = this.list.items[i - 1];
    return before === undefined || before.event || before.label !== undefined || before.nick !== m.nick || m.reply !== '' || before.kind !== m.kind ||
      m.time - before.time > together || dayOf(before.time) !== dayOf(m.time) || this.first === m;
  }

  version(m, i) {
    if (m.label !== undefined) return `${m.state} ${m.why} ${this.app.model.beginsWaiting(this.list.items[i - 1])} ${this.app.model.shownName(this.app.model.nick)}`;
    const before = this.list.items[i - 1];
    const day = before === undefined || before.label !== undefined || dayOf(before.time) !== dayOf(m.time);
    return `${m.version} ${m.event || this.head(m, i)} ${day} ${this.first === m} ${this.found === m} ${this.app.model.shownName(m.nick)} ${this.app.model.pictureOf(m.nick)} ${i === 0 && this.buffer.isWhole}`;
  }

  row(m, i) {
    if (m.label !== undefined) return this.waiting(m, this.app.model.beginsWaiting(this.list.items[i - 1]));
    const before = this.list.items[i - 1];
    const parts = [];
    if (i === 0 && this.buffer.isWhole) parts.push(h('p', { class: 'beginning' }, say('beginning', { name: this.buffer.name })));
    if (before === undefined || before.label !== undefined || dayOf(before.time) !== dayOf(m.time)) parts.push(h('div', { class: 'day' }, h('span', {}, dayName(m.time))));
    if (this.first === m) parts.push(h('div', { class: 'fresh' }, h('span', {}, say('newMessages'))));
    parts.push(m.event ? this.event(m) : this.message(m, this.head(m, i)));
    return h('div', { class: `row${this.found === m ? ' found' : ''}`, tabindex: '-1', role: 'article', 'aria-label': say('says', { nick: m.nick, time: clock(m.time) }), 'data-key': m.key }, parts);
  }

  event(m) {
    const text = ['part', 'quit'].includes(m.kind) ? (m.text === '' ? '' : `: ${plain(m.text)}`) : plain(m.text);
    const key = m.kind === 'join' ? 'join1' : m.kind;
    return h('div', { class: 'event' }, has(key) ? say(key, { nick: m.nick, text }) : text, ' ', h('time', { datetime: new Date(m.time).toISOString() }, clock(m.time)));
  }

  message(m, head) {
    const { model } = this.app, b = this.buffer;
    const body = [];
    if (m.reply !== '') body.push(this.quote(m.reply));
    if (head) {
      body.push(h('div', { class: 'meta' },
        h('button', { type: 'button', class: `nick ${hueOf(m.nick)}`, onclick: () => this.app.person(m.nick) }, model.shownName(m.nick)),
        m.bot && h('span', { class: 'badge' }, say('bot')),
        h('time', { datetime: new Date(m.time).toISOString(), title: new Date(m.time).toLocaleString(spoken()) }, clock(m.time))));
    }
    body.push(m.redacted ? h('div', { class: 'text gone' }, say('removed')) : this.text(m));
    const replies = b.replies.get(m.id);
    if (replies !== undefined) body.push(h('button', { type: 'button', class: 'link replies', onclick: () => this.app.openThread(b, m) }, say(replies === 1 ? 'reply1' : 'replies', { n: replies })));
    if (m.reactions.size > 0) body.push(this.reactions(m));
    const side = head
      ? avatar(m.nick, model.shownName(m.nick), model.pictureOf(m.nick))
      : h('time', { class: 'at', datetime: new Date(m.time).toISOString() }, clock(m.time));
    return h('div', { class: `message${head ? ' lead' : ''}${m.mention ? ' mentioned' : ''}${m.kind === 'notice' ? ' notice' : ''}` },
      side, h('div', { class: 'body' }, body), m.redacted ? null : this.tools(m));
  }

  text(m) {
    const nick = this.app.model.nick;
    const big = m.kind === 'text' && isEmoji(m.text);
    const text = h('div', { class: `text${big ? ' big' : ''}${m.kind === 'action' ? ' action' : ''}` });
    const pictures = [];
    for (const [i, block] of pieces(m.text, m.own ? '' : nick).entries()) {
      if (block.kind === 'block') text.append(h('pre', { tabindex: '0' }, h('code', {}, block.text)));
      else text.append(h(block.kind === 'quote' ? 'blockquote' : 'div', { class: 'line' }, i === 0 && m.kind === 'action' && `${m.nick} `, this.inline(block.parts, pictures)));
    }
    if (m.edited) text.append(h('span', { class: 'edited' }, `(${say('edited')})`));
    return pictures.length === 0 ? text : h('div', {}, text, pictures);
  }

  inline(parts, pictures) {
    return parts.map((p) => {
      switch (p.kind) {
        case 'text': return p.text;
        case 'code': return h('code', {}, p.text);
        case 'bold': return h('strong', {}, this.inline(p.parts, pictures));
        case 'italic': return h('em', {}, this.inline(p.parts, pictures));
        case 'strike': return h('s', {}, this.inline(p.parts, pictures));
        case 'mention': return h('mark', {}, p.text);
        case 'channel': return h('button', { type: 'button', class: 'link', onclick: () => this.app.enter(p.text) }, p.text);
        case 'link':
          if (ownFile(p.text)) pictures.push(h('a', { href: p.text, target: '_blank', rel: 'noopener noreferrer' }, h('img', { src: p.text, alt: nameOf(p.text), loading: 'lazy' })));
          return h('a', { href: p.text, target: '_blank', rel: 'noopener noreferrer nofollow' }, p.text);
      }
      return p.text;
    });
  }

  quote(id) {
    const m = this.buffer.byId.get(id);
    const what = m === undefined ? say('unknownReply') : m.redacted ? say('removed') : plain(m.text).split('\n')[0].slice(0, 120);
    return h('button', { type: 'button', class: 'quoted', onclick: () => this.go(id) }, icon('reply'), m && h('b', { class: hueOf(m.nick) }, this.app.model.shownName(m.nick)), h('span', {}, what));
  }

  reactions(m) {
    const { model, client } = this.app;
    return h('div', { class: 'reactions' }, [...m.reactions].map(([emoji, who]) => {
      const mine = who.has(model.fold(model.nick));
      const label = say('reactedBy', { emoji: `${plain(emoji).slice(0, 24)} ${who.size}`, names: [...who.values()].join(', ') });
      return h('button', { type: 'button', class: mine ? 'mine' : '', 'aria-pressed': String(mine), title: label, 'aria-label': label, onclick: () => client.react(this.buffer, m, emoji) }, h('span', {}, plain(emoji).slice(0, 24)), ` ${who.size}`);
    }));
  }

  tools(m) {
    const { client, app } = { client: this.app.client, app: this.app };
    const b = this.buffer;
    const list = [];
    if (m.id && client.has('message-tags')) {
      for (const sign of usual) list.push(h('button', { type: 'button', class: 'tool quick', 'aria-label': `${say('react')} ${sign}`, onclick: () => client.react(b, m, sign) }, sign));
      list.push(button('smile', say('react'), (e) => app.pickEmoji(e.currentTarget, (sign) => client.react(b, m, sign))));
      list.push(button('reply', say('reply'), () => app.composer.replyTo(m)));
    }
    if (m.own && m.id && client.canEdit()) list.push(button('edit', say('edit'), () => app.composer.edit(m)));
    if (m.id && client.has('draft/message-redaction') && (m.own || client.isOperator(b))) list.push(button('bin', say('remove'), () => this.remove(m)));
    return list.length > 0 && h('div', { class: 'tools' }, list);
  }

  async remove(m) {
    if (await this.app.ask(say('removeSure'), say('remove'))) this.app.client.redact(this.buffer, m);
  }

  // waiting is a message that is not confirmed yet.
  // waiting draws what was said and is not there yet; head: it begins a group.
  waiting(entry, head) {
    const { client, model } = this.app;
    const failed = entry.state === 'failed';
    const why = failed ? say('notSent', { text: has(entry.why) ? say(entry.why) : entry.why }) : say(entry.state === 'queued' ? 'queued' : entry.state === 'unsure' ? 'queued' : 'sent');
    return h('div', { class: 'row', tabindex: '-1' }, h('div', { class: `message waiting${head ? ' lead' : ''}${failed ? ' failed' : ''}` },
      head ? avatar(model.nick, model.shownName(model.nick), model.pictureOf(model.nick)) : h('div'), h('div', { class: 'body' },
        head && h('div', { class: 'meta' }, h('span', { class: `nick ${hueOf(model.nick)}` }, model.shownName(model.nick))),
        h('div', { class: 'text' }, plain(entry.text).split('\n').map((l) => h('div', { class: 'line' }, l))),
        h('div', { class: 'why' }, why,
          failed && h('button', { type: 'button', class: 'link', onclick: () => client.retrySaying(entry) }, say('sendAgain')),
          failed && h('button', { type: 'button', class: 'link', onclick: () => { model.settle(entry); this.app.save(); } }, say('forget'))))));
  }

  // keyed moves among the messages and does what a key stands for.
  keyed(e) {
    const row = e.target.closest('.row');
    if (e.target !== this.scroller && e.target !== row) return;
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === 'ArrowUp' || e.key === 'ArrowDown') {
      this.move(row, e.key === 'ArrowUp' ? -1 : 1);
      e.preventDefault();
      return;
    }
    const m = this.buffer?.messages.find((x) => String(x.key) === row?.dataset.key);
    if (m === undefined || m.event || m.redacted || !m.id) return;
    const { client } = this.app;
    switch (e.key) {
      case 'r': this.app.composer.replyTo(m); break;
      case 't': this.app.openThread(this.buffer, m); break;
      case 'e': this.app.pickEmoji(row, (sign) => client.react(this.buffer, m, sign)); break;
      case 'Delete': if (client.has('draft/message-redaction') && m.own) this.remove(m); break;
      default: return;
    }
    e.preventDefault();
  }

  move(row, step) {
    const items = this.list.items;
    let i = row === null ? items.length - 1 : items.findIndex((m) => String(m.key) === row.dataset.key) + step;
    i = Math.max(0, Math.min(items.length - 1, i));
    if (items[i] === undefined) return;
    this.focusRow(items[i].key ?? items[i].label)?.scrollIntoView({ block: 'nearest' });
  }
}
