// What the player has, and what it trades: the panels of the page for bag, chest and
// trade. The server says what is so; nothing here changes before it has.
import { icon, firstThing, spriteOf } from './atlas.js';
import { dealt, itemName, say } from './words.js';

const $ = (id) => document.getElementById(id);

function element(name, fields = {}, ...inside) {
  const e = Object.assign(document.createElement(name), fields);
  e.append(...inside);
  return e;
}

const button = (words, click, label) => {
  const b = element('button', { type: 'button', textContent: words });
  if (label !== undefined) b.setAttribute('aria-label', label);
  b.addEventListener('click', click);
  return b;
};

export class Goods {
  // send(type, message) goes to the server; nameOf(id) is an entity's name; write(line)
  // goes into the log.
  constructor(send, nameOf, write) {
    Object.assign(this, { send, nameOf, write });
    this.begin();
  }

  // begin forgets all, for another connection.
  begin() {
    this.gold = 0;
    this.items = [];
    this.deal = null;
    this.contents = null;
    this.asker = 0;
    for (const id of ['deal', 'chest', 'question']) $(id).hidden = true;
    this.paintBag();
  }

  // take gets the messages that are about things, and reports whether this is one.
  take(m) {
    switch (m.type) {
      case 'bag': this.onBag(m); break;
      case 'asked': this.onAsked(m); break;
      case 'deal': this.onDeal(m); break;
      case 'dealt': this.onDealt(m); break;
      case 'contents': this.onContents(m); break;
      default: return false;
    }
    return true;
  }

  onBag(m) {
    const had = new Set(this.items.map((i) => i.number));
    if (this.known) for (const i of m.items) if (!had.has(i.number)) this.write(say('got', { item: itemName(i.kind) }));
    if (this.known && m.gold > this.gold) this.write(say('gotGold', { gold: m.gold - this.gold }));
    this.known = true;
    this.gold = m.gold;
    this.items = m.items;
    this.paintBag();
    if (this.deal !== null) this.paintDeal();
  }

  toggleBag(show = $('bag').hidden) {
    $('bag').hidden = !show;
    $('open').setAttribute('aria-expanded', String(show));
    if (show) ($('bag').querySelector('button') ?? $('open')).focus();
    else $('open').blur();
  }

  // row is an item with what can be done with it.
  row(item, ...actions) {
    const name = itemName(item.kind);
    const picture = icon(spriteOf(firstThing + item.kind));
    return element('li', {}, picture, element('span', { textContent: name }), ...actions.map(([words, click]) => button(words, click, `${words}: ${name}`)));
  }

  // painted puts a panel together, and leaves the focus where it was, as far as that is
  // there still.
  painted(id, ...inside) {
    const panel = $(id);
    const all = () => [...panel.querySelectorAll('button, input')];
    const at = all().indexOf(document.activeElement);
    panel.replaceChildren(...inside);
    if (at >= 0) (all()[Math.min(at, all().length - 1)] ?? document.body).focus();
  }

  paintBag() {
    const list = element('ul');
    for (const item of this.items) {
      const actions = [];
      const about = { item: item.number };
      if (this.deal !== null) {
        const given = this.deal.yours.items.some((i) => i.number === item.number);
        actions.push([say(given ? 'keep' : 'offer'), () => this.offer(about)]);
      } else if (this.contents !== null) {
        actions.push([say('putIn'), () => this.send('putIn', { chest: this.contents.chest, ...about })]);
      } else {
        if (item.kind <= 2) actions.push([say('use'), () => this.send('use', about)]);
        actions.push([say('drop'), () => this.send('putDown', about)]);
      }
      list.append(this.row(item, ...actions));
    }
    this.painted('bag', element('h2', { textContent: say('bag') }), element('p', { className: 'gold', textContent: say('gold', { gold: this.gold }) }),
      this.items.length > 0 ? list : element('p', { textContent: say('empty') }));
  }

  onAsked(m) {
    if (this.asker !== 0) this.answer(false);
    this.asker = m.by;
    const line = say('asks', { name: this.nameOf(m.by) });
    this.write(line);
    this.painted('question', element('p', { textContent: line }),
      button(say('yes'), () => this.answer(true)), button(say('no'), () => this.answer(false)));
    $('question').hidden = false;
  }

  // answer answers who wants to trade.
  answer(yes) {
    if (yes) this.send('trade', { with: this.asker });
    else this.send('cancel', {});
    this.asker = 0;
    $('question').hidden = true;
  }

  // ask asks somebody for a trade, or answers who has asked.
  ask(id) {
    if (this.asker !== 0) this.answer(true);
    else if (this.deal === null && id !== 0) {
      this.send('trade', { with: id });
      this.write(say('asked', { name: this.nameOf(id) }));
    }
  }

  onDeal(m) {
    const begins = this.deal === null;
    this.deal = m;
    this.giving = { gold: m.yours.gold, numbers: new Set(m.yours.items.map((i) => i.number)) };
    this.asker = 0;
    $('question').hidden = true;
    this.paintDeal();
    this.paintBag();
    if (!begins) return;
    $('deal').hidden = false;
    this.toggleBag(true);
  }

  // offer changes what the player gives: an item, which is taken back when it is given
  // already, or the gold.
  offer({ item, gold }) {
    const g = this.giving;
    if (gold !== undefined) g.gold = gold;
    if (item !== undefined && !g.numbers.delete(item)) g.numbers.add(item);
    this.send('offer', { gold: g.gold, items: [...g.numbers].map((number) => ({ number })) });
  }

  paintDeal() {
    const { deal } = this;
    const side = (title, s, ...more) => {
      const list = element('ul');
      for (const item of s.items) list.append(this.row(item));
      return element('div', { className: s.agreed === 1 ? 'agreed' : '' }, element('h3', { textContent: title + (s.agreed === 1 ? ' ✓' : '') }), ...more, list);
    };
    const gold = element('input', { id: 'give', type: 'number', min: 0, max: this.gold, value: deal.yours.gold });
    gold.addEventListener('change', () => this.offer({ gold: Math.max(0, Math.min(this.gold, Math.floor(Number(gold.value) || 0))) }));
    const name = this.nameOf(deal.with);
    const agree = button(say('agree'), () => this.send('confirm', { version: deal.version }));
    agree.disabled = deal.yours.agreed === 1;
    this.painted('deal', element('h2', { textContent: say('dealWith', { name }) }),
      element('div', { className: 'sides' }, side(say('youGive'), deal.yours, element('label', {}, say('goldToGive'), gold)),
        side(say('theyGive', { name }), deal.theirs, element('p', { className: 'gold', textContent: say('gold', { gold: deal.theirs.gold }) }))),
      agree, button(say('cancel'), () => this.send('cancel', {})));
  }

  onDealt(m) {
    this.write(dealt(m.result));
    this.deal = null;
    $('deal').hidden = true;
    this.paintBag();
  }

  onContents(m) {
    const begins = this.contents === null;
    this.contents = m;
    const list = element('ul');
    for (const item of m.items) list.append(this.row(item, [say('takeOut'), () => this.send('takeOut', { chest: m.chest, item: item.number })]));
    this.painted('chest', element('h2', { textContent: say('chest') }), m.items.length > 0 ? list : element('p', { textContent: say('empty') }),
      button(say('close'), () => this.closeChest()));
    this.paintBag();
    if (!begins) return;
    $('chest').hidden = false;
    this.toggleBag(true);
  }

  closeChest() {
    this.contents = null;
    $('chest').hidden = true;
    this.paintBag();
  }

  // escape closes what is open, the last one first; it reports whether anything was.
  escape() {
    if (this.asker !== 0) this.answer(false);
    else if (this.deal !== null) this.send('cancel', {});
    else if (this.contents !== null) this.closeChest();
    else if (!$('bag').hidden) this.toggleBag(false);
    else return false;
    return true;
  }
}
