// The page around the messages: conversations, the head of the one that is shown, and
// who is in it.
import { avatar, button, h, hueOf, icon } from './dom.js';
import { plain } from './text.js';
import { say } from './words.js';

const ranks = '~&@%+';

// rankOf sorts members: the highest rank first.
const rankOf = (m) => (m.prefix === '' ? ranks.length : ranks.indexOf(m.prefix[0]));

export class View {
  constructor(app) {
    this.app = app;
    this.list = h('div', { class: 'conversations' });
    this.network = h('p', { class: 'network' });
    this.me = h('div', { class: 'me' });
    this.side = h('nav', { class: 'side', 'aria-label': say('conversations') },
      h('header', {}, this.network, button('search', say('search'), () => app.openSearch()), button('close', say('close'), () => this.toggle('side', false), { class: 'tool narrow' })),
      h('button', { type: 'button', class: 'goto', onclick: () => app.openSwitcher() }, icon('search'), h('span', {}, say('switcher')), h('kbd', {}, 'Ctrl K')),
      this.list,
      this.me);
    this.title = h('h1', {});
    this.topic = h('p', { class: 'topic' });
    this.count = h('button', { type: 'button', class: 'count', onclick: () => this.toggle('members') }, icon('people'), h('span', {}));
    this.inviteButton = button('invite', say('invite'), () => app.openInvite(), { hidden: true });
    this.mute = h('button', { type: 'button', class: 'tool', 'aria-label': say('mute'), title: say('mute'), onclick: () => app.mute(app.current) });
    this.head = h('header', { class: 'head' },
      button('menu', say('menu'), () => this.toggle('side', true), { class: 'tool narrow' }),
      h('div', { class: 'titles' }, this.title, this.topic),
      this.inviteButton, this.count, this.mute,
      button('leave', say('leave'), () => app.current && app.client.part(app.current)));
    this.banner = h('div', { class: 'banner', role: 'status' });
    this.typing = h('div', { class: 'typing', 'aria-live': 'off' });
    this.empty = h('p', { class: 'empty' }, say('start'));
    this.main = h('main', {}, this.head, this.banner, this.empty, app.messages.element, this.typing, app.composer.element);
    this.memberList = h('ul', {});
    this.members = h('aside', { class: 'members', 'aria-label': say('members') },
      h('header', {}, h('h2', {}, say('members')), button('close', say('close'), () => this.toggle('members', false))), this.memberList);
    this.scrim = h('div', { class: 'scrim', onclick: () => { this.toggle('side', false); this.toggle('members', false); } });
    this.spoken = h('div', { class: 'unseen', 'aria-live': 'polite' });
    this.announced = null; // the message in it
    this.element = h('div', { class: 'app' }, h('a', { class: 'skip', href: '#field' }, say('skip')), this.side, this.main, this.members, this.scrim, this.spoken);
    if (matchMedia('(min-width: 1000px)').matches) this.toggle('members', true);
  }

  // announce has screen readers read a message as it is now.
  announce(m) {
    this.announced = m;
    this.spoken.textContent = `${m.nick}: ${m.redacted ? say('removed') : plain(m.text)}`;
  }

  toggle(name, on) {
    this.element.classList.toggle(`show-${name}`, on);
  }

  draw(dirty) {
    if (dirty.has('state')) this.state();
    if (dirty.has('list')) this.conversations();
    if (dirty.has('head')) this.header();
    if (dirty.has('members')) this.memberRows();
    if (dirty.has('typing')) this.typers();
  }

  state() {
    const { model } = this.app;
    this.network.textContent = model.network || this.app.site.network;
    this.banner.hidden = model.state === 'ready';
    this.banner.replaceChildren(model.state === 'waiting' ? say(navigator.onLine ? 'waiting' : 'offline') : say('connecting'), ' ',
      model.state === 'waiting' && h('button', { type: 'button', class: 'link', onclick: () => this.app.client.hurry() }, say('tryNow')));
    this.me.replaceChildren(
      avatar(model.nick, model.nick, model.pictureOf(model.nick)),
      h('div', { class: 'who' }, h('b', {}, model.shownName(model.nick)), h('span', { class: 'hint' }, model.account ? `@${model.account}` : say('guest'))),
      button('settings', say('settings'), () => this.app.openSettings()));
    this.inviteButton.hidden = !this.app.mayInvite();
  }

  conversations() {
    const { model } = this.app;
    const all = model.sorted();
    const section = (title, list, extra) => h('section', {}, h('header', {}, h('h2', {}, title), extra), h('ul', {}, list.map((b) => this.conversation(b))));
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.list.replaceChildren(
      section(say('channels'), all.filter((b) => b.isChannel), button('plus', say('newChannel'), () => this.app.openNewChannel())),
      ...(all.some((b) => !b.isChannel) ? [section(say('people'), all.filter((b) => !b.isChannel))] : []));
    if (focused !== null && focused !== undefined) [...this.list.querySelectorAll('button')].find((e) => e.dataset.name === focused)?.focus();
  }

  conversation(b) {
    const { model, current } = this.app;
    const counts = [];
    if (b.mentions > 0) counts.push(say('mention', { n: b.mentions }));
    if (b.unread > 0) counts.push(say('unread', { n: b.unread }));
    const name = b.isChannel ? b.name.replace(/^[#&]/, '') : model.shownName(b.name);
    const sign = b.isChannel ? h('span', { class: 'sign', 'aria-hidden': 'true' }, '#') : avatar(b.name, name, model.pictureOf(b.name), 'small');
    const failed = model.outbox.some((e) => e.state === 'failed' && model.same(e.target, b.name));
    return h('li', {}, h('button', {
      type: 'button', 'data-name': b.name, class: `${b.unread > 0 ? 'unread' : ''} ${b.isChannel && !b.joined ? 'absent' : ''} ${this.app.isMuted(b) ? 'muted' : ''}`,
      'aria-current': b === current ? 'page' : null, 'aria-label': [b.name, ...counts].join(', '), onclick: () => this.app.show(b),
    }, sign, h('span', { class: 'name' }, name), failed && h('span', { class: 'badge failed' }, '!'),
    b.unread > 0 && h('span', { class: `badge ${b.mentions > 0 ? 'mention' : ''}` }, String(b.mentions > 0 ? b.mentions : b.unread))));
  }

  header() {
    const b = this.app.current;
    this.element.classList.toggle('none', b === null);
    this.empty.hidden = b !== null;
    if (b === null) {
      this.title.textContent = this.app.site.network;
      this.topic.textContent = '';
      return;
    }
    this.title.textContent = b.isChannel ? b.name : this.app.model.shownName(b.name);
    this.topic.textContent = plain(b.topic);
    this.topic.title = plain(b.topic);
    const muted = this.app.isMuted(b);
    this.mute.replaceChildren(icon(muted ? 'quiet' : 'bell'));
    this.mute.setAttribute('aria-pressed', String(muted));
    this.count.hidden = !b.isChannel;
    this.count.lastChild.textContent = String(b.members.size);
    this.count.setAttribute('aria-label', `${say('openMembers')}: ${say('member', { n: b.members.size })}`);
  }

  memberRows() {
    const b = this.app.current, { model } = this.app;
    if (b === null) return;
    const list = [...b.members.values()].sort((x, y) => Number(x.away) - Number(y.away) || rankOf(x) - rankOf(y) || x.nick.localeCompare(y.nick));
    this.memberList.replaceChildren(...list.slice(0, mostMembers).map((m) => h('li', {}, h('button', { type: 'button', class: m.away ? 'away' : '', onclick: () => this.app.person(m.nick) },
      avatar(m.nick, model.shownName(m.nick), model.pictureOf(m.nick), 'small'),
      h('span', { class: 'name' }, model.shownName(m.nick)), m.prefix !== '' && h('span', { class: 'rank' }, m.prefix[0]), m.away && h('span', { class: 'hint' }, say('someone'))))));
    if (list.length > mostMembers) this.memberList.append(h('li', { class: 'hint' }, `+ ${list.length - mostMembers}`));
  }

  typers() {
    const b = this.app.current;
    const names = b === null ? [] : this.app.model.typingIn(b).map((n) => this.app.model.shownName(n));
    const [a, c] = names;
    this.typing.textContent = names.length === 0 ? '' : names.length === 1 ? say('typing1', { a }) : names.length === 2 ? say('typing2', { a, b: c }) : say('typing3');
  }
}

// mostMembers is how many are in the page; the others are found by the switcher.
const mostMembers = 300;
