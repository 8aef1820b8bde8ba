// The page: it puts the parts together, and keeps what outlasts it.
import { Client } from './client.js';
import { Composer } from './composer.js';
import { h } from './dom.js';
import { Messages } from './messages.js';
import { Model } from './model.js';
import { plain } from './text.js';
import { View } from './view.js';
import { has, say, speak } from './words.js';

// What the first view does not need is loaded when it is asked for. The dialogs are
// loaded with their style sheet, and before that, when the page is first used: they
// open at once then, and what is typed next is for them.
const form = () => import('./enter.js');
let loading = null;

function dialogs() {
  loading ??= Promise.all([import('./dialogs.js'), import('./search.js'), dressed('dialogs.css')]).then(([basic, search]) => ({ ...basic, ...search }));
  loading.catch(() => { loading = null; });
  return loading;
}

// dressed adds a style sheet to the page, and waits for it.
function dressed(name) {
  return new Promise((resolve, reject) => {
    document.head.append(h('link', { rel: 'stylesheet', href: name, onload: resolve, onerror: () => reject(new Error(name)) }));
  });
}

const storage = 'epi-chat';
const toastTime = 6000;

class App {
  constructor() {
    this.site = null; // what the server says of itself
    this.kept = this.load();
    this.settings = { theme: 'auto', language: '', notify: false, notifyAll: false, events: false, muted: [], ...this.kept.settings };
    this.current = null;
    this.dirty = new Set();
    this.dress();
  }

  load() {
    try {
      return JSON.parse(localStorage.getItem(storage)) ?? {};
    } catch {
      return {};
    }
  }

  // save keeps what outlasts the page. Where nothing may be kept, nothing is.
  save() {
    const { model } = this;
    this.kept.settings = this.settings;
    if (model !== undefined && this.kept.login !== undefined) {
      this.kept.outbox = model.outbox.map(({ target, text, reply, kind, state, at }) => ({ target, text, reply, kind, state, at }));
      this.kept.reads = Object.fromEntries([...model.buffers.values()].filter((b) => b.readAt > 0).map((b) => [b.name, b.readAt]));
      this.kept.current = this.current?.name;
    }
    try {
      localStorage.setItem(storage, JSON.stringify(this.kept));
    } catch {
      // private windows may have no room
    }
  }

  dress() {
    document.documentElement.dataset.theme = this.settings.theme;
  }

  set(key, value) {
    this.settings[key] = value;
    this.dress();
    this.save();
    if (key === 'language') location.reload(); // all that is drawn has words
    else this.mark('messages');
  }

  root(element) { document.body.replaceChildren(element); }

  // device names this browser among a person's devices.
  device() {
    const name = /(Firefox|Edg|Chrome|Safari)/.exec(navigator.userAgent)?.[1] ?? 'Web';
    const system = /(Android|iPhone|iPad|Windows|Mac OS X|Linux)/.exec(navigator.userAgent)?.[1] ?? '';
    return `${name} ${system}`.trim();
  }

  // authorization is a login as HTTP has it (RFC 7617).
  authorization({ account, password } = this.kept.login) { return `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(`${account}:${password}`)))}`; }

  // post asks the server's pages about accounts. What is wrong comes back in words.
  async post(path, body, login = this.kept.login) {
    const headers = { 'Content-Type': 'application/json' };
    if (login?.password) headers.Authorization = this.authorization(login);
    try {
      const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
      const data = await answer.json();
      return answer.ok ? data : { problem: has(data.error) ? say(data.error) : say('failed', { text: data.error ?? answer.status }) };
    } catch {
      return { problem: say('unreachable') };
    }
  }

  async signIn(name, password) {
    if (password === '') {
      this.begin({ nick: name, channels: [] });
      return '';
    }
    const made = await this.post('account/device', { device: this.device() }, { account: name, password });
    if (made.problem) return made.problem;
    this.begin({ account: made.account, nick: made.account, password: made.password, role: made.role, channels: [] });
    return '';
  }

  async signOut() {
    await this.unsubscribe().catch(() => {});
    if (this.kept.login?.password) await this.post('account/leave', {});
    this.client.leave();
    this.kept = { settings: this.settings };
    this.save();
    location.reload();
  }

  // begin connects, and draws the chat.
  begin(login) {
    this.kept.login = login;
    const model = this.model = new Model();
    const address = new URL(this.site.path, location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    address.hash = address.search = '';
    this.client = new Client(model, { url: address.href, open: (url, protocol) => new WebSocket(url, protocol), timers: { setTimeout: (fn, ms) => setTimeout(fn, ms), clearTimeout: (t) => clearTimeout(t) } });
    this.client.onSaved = () => this.save();
    this.messages = new Messages(this);
    this.composer = new Composer(this);
    this.view = new View(this);
    this.root(this.view.element);
    model.restore(this.kept.outbox ?? []);
    model.on((what, b, m) => this.changed(what, b, m));
    this.wanted = this.kept.current;
    this.client.connect({ ...login, channels: [...login.channels] });
    this.mark('state', 'list', 'head');
  }

  // mark has parts of the page drawn soon.
  mark(...parts) {
    if (this.dirty.size === 0) requestAnimationFrame(() => this.draw());
    for (const p of parts) this.dirty.add(p);
  }

  draw() {
    const dirty = new Set(this.dirty);
    this.dirty.clear();
    this.view.draw(dirty);
    if (dirty.has('head')) this.composer.grow();
    if (dirty.has('messages') && this.current !== null) this.messages.show(this.current);
  }

  changed(what, b, m) {
    const here = b === null || b === this.current;
    switch (what) {
      case 'state': this.stateChanged(); this.mark('state', 'list'); break;
      case 'buffers': this.buffersChanged(b); this.mark('list', 'head'); break;
      case 'said':
        this.mark('list');
        if (here) this.mark('messages', 'typing');
        if (!m.event) this.heard(b, m);
        break;
      case 'messages': case 'history':
        this.mark('list');
        if (here) this.mark('messages');
        if (m !== null && m === this.view.announced) this.view.announce(m);
        break;
      case 'parted': this.member(b, false); break;
      case 'joined': this.joined(b); this.mark('list', 'head'); break;
      case 'outbox': this.mark('list'); if (here) this.mark('messages'); break;
      case 'read': this.mark('list'); break;
      case 'topic': if (here) this.mark('head'); break;
      case 'members': if (here) this.mark('members', 'head'); break;
      case 'people': this.mark('messages', 'members', 'list', 'state'); break;
      case 'typing': if (here) { this.mark('typing'); setTimeout(() => this.mark('typing'), 6100); } break;
      case 'role': this.learnRole(); break;
      case 'note': this.toast(plain(m.text)); break;
      case 'invited': this.toast(say('invited', m)); break;
    }
    this.entitle();
  }

  stateChanged() {
    const { model, kept } = this;
    if (model.state === 'refused') {
      const { problem } = model, name = kept.login?.account ?? kept.login?.nick ?? '';
      this.kept = { settings: this.settings, outbox: model.outbox };
      this.save();
      this.refused(name, has(problem) ? say(problem) : problem);
      return;
    }
    if (model.state !== 'ready') return;
    this.learnRole();
    if (this.settings.notify) this.subscribe().catch(() => {}); // a browser without a push service
    for (const [name, at] of Object.entries(kept.reads ?? {})) {
      const b = model.get(name);
      if (b !== undefined) model.read(b, at);
    }
    this.save();
  }

  async refused(name, problem) { (await form()).signIn(this, name).textContent = problem; }

  buffersChanged(b) {
    if (b === null && this.current !== null && this.model.get(this.current.name) !== this.current) {
      this.current = null;
      const [first] = this.model.sorted();
      if (first !== undefined) this.show(first);
    }
    if (b !== null && !b.isChannel) this.arrived(b);
  }

  // member keeps that one is in a channel, or is no more.
  member(b, is) {
    const others = this.kept.login.channels.filter((name) => !this.model.same(name, b.name));
    this.kept.login.channels = is ? [...others, b.name] : others;
    this.save();
  }

  joined(b) {
    this.member(b, true);
    const at = this.kept.reads?.[b.name];
    if (at !== undefined) this.model.read(b, at);
    this.arrived(b);
    if (this.firstChannel === b.name) {
      this.firstChannel = undefined;
      this.client.send('PRIVMSG', 'ChanServ', `REGISTER ${b.name}`);
      this.openInvite();
    }
  }

  // arrived shows a conversation that was waited for, or when there is none yet.
  arrived(b) {
    if (this.wanted !== undefined && this.model.same(this.wanted, b.name)) this.show(b);
    else if (this.current === null && b.isChannel) this.show(b, false);
  }

  show(b, chosen = true) {
    if (chosen) this.wanted = undefined;
    this.current = b;
    this.view.toggle('side', false);
    this.composer.show(b);
    this.mark('list', 'head', 'members', 'typing', 'messages');
    if (matchMedia('(hover: hover)').matches) this.focus();
    this.save();
  }

  // showSoon shows a conversation when it is there.
  showSoon(name) {
    const b = this.model.get(name);
    if (b !== undefined && (b.joined || !b.isChannel)) this.show(b);
    else this.wanted = name;
  }

  enter(name) {
    if (!this.model.get(name)?.joined) this.client.join(name);
    this.showSoon(name);
  }

  person(nick) {
    if (this.model.isMe(nick)) return;
    const known = this.model.get(nick);
    const b = this.client.openQuery(nick);
    if (known === undefined) this.client.catchUp(b);
    this.show(b);
  }

  focus() { this.composer.field.focus(); }

  // seen: the end of a conversation is in view.
  seen(b) {
    if (b === this.current && document.visibilityState === 'visible' && document.hasFocus()) this.client.markRead(b);
  }

  // heard notifies of a message that has just been said.
  heard(b, m) {
    if (m.own) return;
    if (b === this.current) this.view.announce(m);
    const away = document.visibilityState !== 'visible' || !document.hasFocus();
    if (!(m.mention || this.settings.notifyAll) || !this.settings.notify || this.isMuted(b) || !(away || b !== this.current)) return;
    if (typeof Notification !== 'function' || Notification.permission !== 'granted') return;
    const n = new Notification(b.isChannel ? `${m.nick} · ${b.name}` : m.nick, { body: plain(m.text).slice(0, 200), tag: b.name, icon: 'icon.svg' });
    n.onclick = () => { window.focus(); this.show(b); n.close(); };
  }

  isMuted(b) { return this.settings.muted.some((name) => this.model.same(name, b.name)); }

  // mute changes whether a conversation makes notifications and a badge.
  mute(b) {
    if (b === null) return;
    const others = this.settings.muted.filter((name) => !this.model.same(name, b.name));
    this.settings.muted = this.isMuted(b) ? others : [...others, b.name];
    this.save();
    this.mark('list', 'head');
    this.entitle();
  }

  async allowNotifications(on) {
    const allowed = on && typeof Notification === 'function' && (await Notification.requestPermission()) === 'granted';
    this.settings.notify = allowed;
    this.save();
    (allowed ? this.subscribe() : this.unsubscribe()).catch(() => {}); // the page itself notifies either way
    return allowed;
  }

  // subscribe has the server call this browser while the page is closed. The browser's
  // own service carries what it says, encrypted (RFC 8291).
  async subscribe() {
    const key = this.client.support.get('VAPID');
    if (!key || !this.client.has('draft/webpush') || !this.model.account) return;
    const worker = await navigator.serviceWorker?.ready;
    if (worker?.pushManager === undefined) return;
    const made = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    const { endpoint, keys } = made.toJSON();
    this.client.send('WEBPUSH', 'REGISTER', endpoint, `p256dh=${keys.p256dh};auth=${keys.auth}`);
  }

  async unsubscribe() {
    const made = await (await navigator.serviceWorker?.getRegistration())?.pushManager?.getSubscription();
    if (!made) return;
    this.client.send('WEBPUSH', 'UNREGISTER', made.endpoint);
    await made.unsubscribe();
  }

  // entitle puts what is unread into the title.
  entitle() {
    let mentions = 0, unread = 0;
    for (const b of this.model.buffers.values()) {
      if (this.isMuted(b)) continue;
      mentions += b.mentions;
      unread += b.unread;
    }
    const name = this.current === null ? '' : `${this.current.name} · `;
    document.title = `${mentions > 0 ? `(${mentions}) ` : unread > 0 ? '• ' : ''}${name}${this.model.network || this.site.network}`;
  }

  toast(text) {
    const t = h('div', { class: 'toast', role: 'status' }, text);
    document.querySelector('.toast')?.remove();
    document.body.append(t);
    setTimeout(() => t.remove(), toastTime);
  }

  // learnRole asks what one may do here: that changes while one is signed in.
  async learnRole() {
    const { login } = this.kept;
    if (!this.site.invitations || !login?.password) return;
    const { role } = await this.post('account/role', {}, login);
    if (role === undefined || role === login.role) return;
    login.role = role;
    this.save();
    this.mark('state');
  }

  mayInvite() { return Boolean(this.site.invitations && this.kept.login?.role === 'admin'); }

  // fileHost is where files go, "" when they go nowhere. The page sends to its own
  // server only: the address that 005 has is for other programs.
  fileHost() { return this.kept.login?.password ? this.site.files ?? '' : ''; }

  // upload sends files. Their list is copied: the browser empties it.
  async upload(list) {
    const files = [...list];
    await (await this.part(() => import('./upload.js')))?.upload(this, files);
  }

  async jumpTo(found) {
    const b = this.model.get(found.target) ?? this.model.get(found.nick);
    if (b === undefined) return;
    this.show(b);
    this.draw();
    if (this.messages.go(found.id)) return;
    await this.client.loadBackTo(b, found.time);
    this.draw();
    this.messages.go(found.id);
  }

  // part loads a part of the page. null: it cannot be had, and that is said.
  async part(load) {
    try {
      return await load();
    } catch {
      this.toast(say('unreachable'));
      return null;
    }
  }

  // beside loads a part that opens a dialog.
  beside(load) { return this.part(async () => (await Promise.all([load(), dialogs()]))[0]); }

  async pickEmoji(near, take) { (await this.beside(() => import('./picker.js')))?.pickEmoji(near, take); }

  async ask(question, yes) { return (await this.part(dialogs))?.ask(question, yes); }

  async openThread(b, m) { (await this.beside(() => import('./thread.js')))?.thread(this, b, m); }

  async openSearch() { (await this.part(dialogs))?.search(this); }

  async openSwitcher() { (await this.part(dialogs))?.switcher(this); }

  async openSettings() { (await this.beside(() => import('./settings.js')))?.settings(this); }

  async openNewChannel() { (await this.part(dialogs))?.newChannel(this); }

  async openInvite() { (await this.beside(() => import('./invite.js')))?.invite(this); }

  // step goes to the conversation before or after.
  step(by) {
    const all = this.model.sorted();
    if (all.length === 0) return;
    this.show(all[(all.indexOf(this.current) + by + all.length) % all.length]);
  }

  keyed(e) {
    if (this.view === undefined || !this.view.element.isConnected) return;
    if (document.querySelector('dialog[open]') !== null) return;
    const command = e.ctrlKey || e.metaKey;
    if (command && e.key === 'k') this.openSwitcher();
    else if (command && e.key === 'f') this.openSearch();
    else if (command && e.key === ',') this.openSettings();
    else if (e.altKey && e.key === 'ArrowUp') this.step(-1);
    else if (e.altKey && e.key === 'ArrowDown') this.step(1);
    else if (e.key === 'Escape' && this.current !== null) {
      this.messages.list.toEnd();
      this.focus();
    } else return;
    e.preventDefault();
  }

  looked() {
    if (this.client === undefined) return;
    if (document.visibilityState === 'visible') {
      this.client.hurry();
      this.messages.viewed();
    }
  }
}

// work has the page open without a network, where the browser can do that.
function work() {
  const address = globalThis.trustedTypes?.createPolicy('worker', { createScriptURL: () => 'sw.js' }).createScriptURL('') ?? 'sw.js';
  navigator.serviceWorker?.register(address).catch(() => {}); // without one it works, too
}

// used is called when somebody first does something with the page.
function used() {
  for (const sign of signs) removeEventListener(sign, used, true);
  work();
  dialogs().catch(() => {}); // who opens one is told
}
const signs = ['pointermove', 'pointerdown', 'keydown'];

async function start() {
  for (const sign of signs) addEventListener(sign, used, true);
  const app = new App();
  [app.site] = await Promise.all([fetch('site.json').then((answer) => answer.json()), speak(app.settings.language)]);
  addEventListener('keydown', (e) => app.keyed(e));
  addEventListener('online', () => app.client?.hurry());
  navigator.serviceWorker?.addEventListener('message', (e) => { if (e.data?.show && app.model !== undefined) app.showSoon(e.data.show); });
  addEventListener('offline', () => app.client?.probe());
  addEventListener('focus', () => app.messages?.viewed());
  document.addEventListener('visibilitychange', () => app.looked());
  addEventListener('dragover', (e) => e.preventDefault());
  addEventListener('drop', (e) => {
    e.preventDefault();
    if (app.current && app.fileHost() !== '') app.upload(e.dataTransfer.files);
  });
  const token = /^#join=([\w-]+)$/.exec(location.hash)?.[1];
  addEventListener('hashchange', () => location.reload());
  if (token !== undefined) (await form()).join(app, token);
  else if (app.kept.login !== undefined) app.begin(app.kept.login);
  else (await form()).signIn(app);
}

start();
