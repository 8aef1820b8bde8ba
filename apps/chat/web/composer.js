// Where one writes.
import { button, h } from './dom.js';
import { plain } from './text.js';
import { say } from './words.js';

const commands = ['/me', '/join', '/part', '/msg', '/nick', '/topic', '/invite', '/kick', '/away', '/mode', '/whois', '/quote'];
const mostShown = 8;

export class Composer {
  constructor(app) {
    this.app = app;
    this.drafts = new Map(); // by buffer
    this.target = null; // the message that is answered or changed
    this.field = h('textarea', { id: 'field', rows: '1', autocomplete: 'off', 'aria-autocomplete': 'list', 'aria-controls': 'suggestions', oninput: () => this.typed(), onkeydown: (e) => this.keyed(e), onpaste: (e) => this.pasted(e), onblur: () => this.suggest([]) });
    this.about = h('div', { class: 'about', hidden: true });
    this.suggestions = h('ul', { id: 'suggestions', role: 'listbox', 'aria-label': say('list'), class: 'suggestions', hidden: true });
    this.files = h('input', { type: 'file', hidden: true, 'aria-label': say('attach'), multiple: true, onchange: () => { this.app.upload(this.files.files); this.files.value = ''; } });
    this.attach = button('file', say('attach'), () => this.files.click(), { hidden: true });
    this.element = h('form', { class: 'composer', onsubmit: (e) => { e.preventDefault(); this.send(); } },
      this.about, this.suggestions,
      h('div', { class: 'fieldbox' }, this.attach, this.files, this.field,
        button('smile', say('emoji'), (e) => this.app.pickEmoji(e.currentTarget, (sign) => this.insert(sign))),
        h('button', { type: 'submit', class: 'tool send', title: say('send'), 'aria-label': say('send') }, button('send', '', null).firstChild)));
    this.choices = [];
    this.chosen = 0;
    this.findEmoji = () => []; // until they are loaded
  }

  show(b) {
    if (this.buffer !== undefined) this.drafts.set(this.buffer, this.field.value);
    this.buffer = b;
    this.field.value = this.drafts.get(b) ?? '';
    this.clearTarget();
    this.label();
    this.grow();
    this.suggest([]);
  }

  label() {
    const label = say('write', { name: this.buffer.name });
    this.field.placeholder = label;
    this.field.setAttribute('aria-label', label);
    this.attach.hidden = this.app.fileHost() === '';
  }

  // grow fits the field's height to what is in it; the style sheet bounds it.
  grow() {
    this.field.style.height = 'auto';
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  typed() {
    this.grow();
    this.app.client.typing(this.buffer, this.field.value);
    this.complete();
  }

  insert(text) {
    const f = this.field;
    f.setRangeText(text, f.selectionStart, f.selectionEnd, 'end');
    f.focus();
    this.grow();
  }

  send() {
    const text = this.field.value.replace(/\s+$/, '');
    if (text === '' || this.buffer === undefined) return;
    const { client } = this.app;
    if (this.target?.edits) {
      const { problem } = client.edit(this.buffer, this.target.message, text);
      if (problem) {
        this.app.toast(say(problem));
        return;
      }
    } else if (text.startsWith('/') && !text.startsWith('//') && !text.includes('\n')) {
      this.obey(this.buffer, text);
      return;
    } else client.say(this.buffer.name, text.startsWith('//') ? text.slice(1) : text, { reply: this.target?.message.id ?? '' });
    this.sent();
  }

  sent() {
    this.field.value = '';
    this.clearTarget();
    this.suggest([]);
    this.grow();
    this.app.messages.list.toEnd();
  }

  // obey does what a line with a slash says; one that cannot be done stays.
  async obey(b, text) {
    const result = (await this.app.part(() => import('./commands.js')))?.command(this.app.client, b, text);
    if (result === undefined) return;
    if (result.problem) {
      this.app.toast(say(result.problem));
      return;
    }
    if (this.field.value.trimEnd() === text) this.sent();
    if (result.show) this.app.showSoon(result.show);
  }

  replyTo(m) { this.setTarget({ message: m, edits: false }, say('replyTo', { name: this.app.model.shownName(m.nick) }), plain(m.text).split('\n')[0]); }

  edit(m) {
    this.setTarget({ message: m, edits: true }, say('editing'), '');
    this.field.value = m.text;
    this.grow();
  }

  setTarget(target, title, text) {
    this.target = target;
    this.about.hidden = false;
    this.about.replaceChildren(h('b', {}, title), h('span', {}, text), button('close', say('cancel'), () => this.clearTarget()));
    this.field.focus();
  }

  clearTarget() {
    if (this.target?.edits) this.field.value = '';
    this.target = null;
    this.about.hidden = true;
    this.about.replaceChildren();
  }

  // word is what is being typed before the cursor.
  word() {
    const before = this.field.value.slice(0, this.field.selectionStart);
    return /(?:^|\s)(\S*)$/.exec(before)?.[1] ?? '';
  }

  // complete offers what could be meant by @, #, : and /.
  complete() {
    const word = this.word();
    if (word === ':') this.loadEmoji();
    if (/^[@#].|^:[\w+-]{2}|^\/\w*$/u.test(word)) this.suggest(this.candidates(word), word);
    else this.suggest([]);
  }

  // loadEmoji has the emoji ready by the time that one has typed what to look for.
  async loadEmoji() {
    const emoji = await this.app.part(() => import('./emoji.js'));
    if (emoji === null) return;
    this.findEmoji = emoji.find;
    this.complete();
  }

  candidates(word) {
    const { model } = this.app;
    const rest = model.fold(word.slice(1));
    const starts = (name) => model.fold(name).startsWith(rest);
    switch (word[0]) {
      case '#': return model.sorted().filter((b) => b.isChannel && model.fold(b.name).startsWith(model.fold(word))).map((b) => ({ text: b.name, shown: b.name }));
      case ':': return this.findEmoji(word.slice(1), mostShown).map((e) => ({ text: e.sign, shown: `${e.sign} ${e.words[0]}` }));
      case '/': return this.field.value.startsWith(word) && this.field.selectionStart === word.length ? commands.filter((c) => c.startsWith(word)).map((c) => ({ text: c, shown: c })) : [];
      case '@': return this.nicks().filter(starts).map((n) => ({ text: `@${n}`, shown: n }));
    }
    return this.nicks().filter((n) => model.fold(n).startsWith(model.fold(word))).map((n) => ({ text: n, shown: n }));
  }

  // nicks are those of the conversation, who spoke last first.
  nicks() {
    const b = this.buffer, model = this.app.model;
    const seen = new Map();
    for (let i = b.messages.length - 1; i >= 0 && i > b.messages.length - 200; i--) if (!b.messages[i].event) seen.set(model.fold(b.messages[i].nick), b.messages[i].nick);
    const here = b.isChannel ? [...b.members.values()].map((m) => m.nick) : [b.name];
    const known = new Set(here.map((n) => model.fold(n)));
    return [...[...seen].filter(([key]) => known.has(key)).map(([, n]) => n), ...here.filter((n) => !seen.has(model.fold(n))).sort((x, y) => x.localeCompare(y))].filter((n) => !model.isMe(n));
  }

  suggest(choices, word = '') {
    this.choices = choices.slice(0, mostShown);
    this.chosen = 0;
    this.completing = word;
    this.suggestions.hidden = this.choices.length === 0;
    this.drawSuggestions();
  }

  drawSuggestions() {
    this.suggestions.replaceChildren(...this.choices.map((c, i) => h('li', { role: 'option', id: `suggestion${i}`, 'aria-selected': String(i === this.chosen), onmousedown: (e) => { e.preventDefault(); this.chosen = i; this.take(); } }, c.shown)));
    if (this.choices.length > 0) this.field.setAttribute('aria-activedescendant', `suggestion${this.chosen}`);
    else this.field.removeAttribute('aria-activedescendant');
  }

  take() {
    const c = this.choices[this.chosen];
    if (c === undefined) return;
    const f = this.field, to = f.selectionStart, from = to - this.completing.length;
    const end = from === 0 && !/^[/:]/.test(this.completing) && !c.text.startsWith('#') ? ': ' : ' ';
    f.setRangeText(c.text.replace(/^@/, end === ': ' ? '' : '@') + end, from, to, 'end');
    this.suggest([]);
    this.grow();
  }

  keyed(e) {
    if (e.isComposing) return; // a syllable is being put together
    if (this.choices.length > 0) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
      if (step !== undefined) {
        this.chosen = (this.chosen + step + this.choices.length) % this.choices.length;
        this.drawSuggestions();
        e.preventDefault();
        return;
      }
      if (e.key === 'Tab' || (e.key === 'Enter' && !this.field.value.startsWith('/'))) {
        this.take();
        e.preventDefault();
        return;
      }
      if (e.key === 'Escape') {
        this.suggest([]);
        e.preventDefault();
        e.stopPropagation();
        return;
      }
    }
    if (e.key === 'Enter' && !e.shiftKey && !this.inCode()) {
      e.preventDefault();
      this.send();
    } else if (e.key === 'Tab' && !e.shiftKey && this.word() !== '') {
      const word = this.word();
      const found = this.candidates(word);
      if (found.length === 0) return;
      e.preventDefault();
      this.suggest(found, word);
      if (found.length === 1) this.take();
    } else if (e.key === 'Escape' && this.target !== null) {
      this.clearTarget();
      e.stopPropagation();
    } else if (e.key === 'ArrowUp' && this.field.value === '') {
      e.preventDefault();
      const last = this.buffer.messages.findLast((m) => m.own && !m.event && !m.redacted && m.id);
      if (last !== undefined && this.app.client.canEdit()) this.edit(last);
      else this.app.messages.move(null, 0);
    }
  }

  // inCode: a block of code was begun and not ended, so Enter is a new line.
  inCode() { return (this.field.value.slice(0, this.field.selectionStart).match(/^```/gm) ?? []).length % 2 === 1; }

  pasted(e) {
    const files = [...(e.clipboardData?.files ?? [])];
    if (files.length === 0 || this.app.fileHost() === '') return;
    e.preventDefault();
    this.app.upload(files);
  }
}
