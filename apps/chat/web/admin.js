// What administrators do in the page: people, channels, bans, the log, the state of the
// server. The server decides who may; this only shows.
import { field, open, select } from './dialogs.js';
import { button, h } from './dom.js';
import { send } from './upload.js';
import { has, say, spoken } from './words.js';

const when = (text) => new Date(text).toLocaleString(spoken());

// row is something with what can be done about it.
const row = (title, hint, ...acts) => h('li', {}, h('div', { class: 'what' }, h('b', {}, title), h('span', { class: 'hint' }, hint)), h('div', { class: 'acts' }, acts));

const act = (label, onclick, props = {}) => h('button', { type: 'button', onclick, ...props }, label);

// A Panel shows one part; what is wrong stands above it.
class Panel {
  constructor(app, label) {
    this.app = app;
    this.problem = h('p', { role: 'alert', class: 'problem' });
    this.list = h('ul', { class: 'rows', 'aria-label': label });
    this.element = h('div', {}, this.problem, this.list);
  }

  // demand asks the server; null: it did not want to, and that is shown.
  async demand(path, body = {}) {
    const answer = await this.app.post(`account/admin/${path}`, body);
    this.problem.textContent = answer.problem ?? '';
    return answer.problem ? null : answer;
  }

  // act does something and shows what has become of it.
  async act(path, body) {
    if (await this.demand(path, body) !== null) await this.show();
  }
}

class People extends Panel {
  constructor(app) {
    super(app, say('people'));
    this.filter = h('input', { type: 'search', autocomplete: 'off', 'aria-label': say('search'), placeholder: say('search'), oninput: () => this.show() });
    this.element.prepend(this.filter);
  }

  async show() {
    const text = this.filter.value.trim();
    const answer = await this.demand('people', { text });
    if (answer === null || text !== this.filter.value.trim()) return;
    this.list.replaceChildren(...answer.people.map((p) => this.person(p)));
    if (answer.people.length === 0) this.list.append(h('li', { class: 'hint' }, say('nothing')));
  }

  person(p) {
    const marks = [p.role === 'admin' && say('administrator'), p.online && say('online'), p.suspended && say('suspended', { text: p.suspended })].filter(Boolean);
    const is = p.role === 'admin';
    return row(p.name, marks.join(' · ') || say('since', { time: when(p.created) }),
      act(say(is ? 'takeRole' : 'giveRole'), () => this.act('role', { name: p.name, role: is ? '' : 'admin' }), { 'aria-label': `${say(is ? 'takeRole' : 'giveRole')}: ${p.name}` }),
      p.suspended
        ? act(say('unsuspend'), () => this.act('suspend', { name: p.name, reason: '' }), { 'aria-label': `${say('unsuspend')}: ${p.name}` })
        : act(say('suspend'), () => this.suspend(p.name), { class: 'danger', 'aria-label': `${say('suspend')}: ${p.name}` }));
  }

  suspend(name) {
    const reason = h('input', { type: 'text', required: true, maxlength: '100', autocomplete: 'off' });
    const dialog = open(say('suspendWhom', { name }), h('form', { onsubmit: (e) => {
      e.preventDefault();
      dialog.close();
      this.act('suspend', { name, reason: reason.value.trim() });
    } }, field(say('reason'), reason), h('div', { class: 'answers' }, act(say('cancel'), () => dialog.close()), h('button', { class: 'danger' }, say('suspend')))));
    reason.focus();
  }
}

class Channels extends Panel {
  constructor(app) { super(app, say('channels')); }

  async show() {
    const answer = await this.demand('channels');
    if (answer === null) return;
    this.list.replaceChildren(...answer.channels.map((c) => row(c.name, `${say('member', { n: c.members })} · ${c.founder === '' ? say('unregistered') : say('founder', { name: c.founder })}`, c.founder !== '' && this.days(c))));
  }

  days(c) {
    const days = h('input', { type: 'number', min: '0', max: '36500', value: String(c.days), 'aria-label': `${say('keepDays')}: ${c.name}`, onchange: () => this.act('keep', { channel: c.name, days: Number(days.value) }) });
    return h('label', { class: 'days' }, days, say('keepDays'));
  }
}

class Bans extends Panel {
  constructor(app) {
    super(app, say('bans'));
    const mask = h('input', { type: 'text', required: true, autocomplete: 'off', maxlength: '200', placeholder: 'nick!user@host, 192.0.2.0/24' });
    const reason = h('input', { type: 'text', maxlength: '100', autocomplete: 'off' });
    const hours = select('24', { 1: say('hour'), 24: say('day'), 168: say('week'), 0: say('forGood') }, () => {});
    this.element.prepend(h('form', { onsubmit: async (e) => {
      e.preventDefault();
      await this.act('ban', { mask: mask.value.trim(), reason: reason.value.trim(), hours: Number(hours.value) });
      if (this.problem.textContent === '') mask.value = reason.value = '';
    } }, field(say('mask'), mask), field(say('reason'), reason), field(say('hours'), hours), h('button', { class: 'primary' }, say('ban'))));
  }

  async show() {
    const answer = await this.demand('bans');
    if (answer === null) return;
    this.list.replaceChildren(...answer.bans.map((b) => row(b.mask, `${b.reason} · ${b.by} · ${b.until ? say('until', { time: when(b.until) }) : say('forGood')}`,
      act(say('unban'), () => this.act('unban', { mask: b.mask }), { 'aria-label': `${say('unban')}: ${b.mask}` }))));
    if (answer.bans.length === 0) this.list.append(h('li', { class: 'hint' }, say('nobodyBanned')));
  }
}

class Log extends Panel {
  constructor(app) { super(app, say('log')); }

  async show() {
    const answer = await this.demand('log');
    if (answer === null) return;
    this.list.replaceChildren(...answer.log.map((d) => row(`${has(`did-${d.what}`) ? say(`did-${d.what}`) : d.what}: ${d.target}`, `${when(d.at)} · ${d.by}${d.detail === '' ? '' : ` · ${d.detail}`}`)));
    if (answer.log.length === 0) this.list.append(h('li', { class: 'hint' }, say('nothingDone')));
  }
}

const bytes = (n) => `${new Intl.NumberFormat(spoken(), { maximumFractionDigits: 1 }).format(n / 1048576)} MiB`;

function span(seconds) {
  const days = Math.floor(seconds / 86400), clock = new Date(seconds * 1000).toISOString().slice(11, 19);
  return days > 0 ? `${days} × 24 h + ${clock}` : clock;
}

class State extends Panel {
  constructor(app) { super(app, say('state')); }

  async show() {
    const answer = await this.demand('state');
    if (answer === null) return;
    const { state } = answer;
    const shown = { memory: bytes, uptime: span };
    this.list.replaceChildren(...Object.keys(state).map((key) => h('li', {}, h('span', {}, say(`state-${key}`)), h('b', {}, shown[key]?.(state[key]) ?? (typeof state[key] === 'number' ? state[key].toLocaleString(spoken()) : state[key])))));
    this.list.classList.add('figures');
  }
}

// administer opens the parts as tabs, in which arrows move.
export function administer(app) {
  const parts = { people: People, channels: Channels, bans: Bans, log: Log, state: State };
  const body = h('div', { role: 'tabpanel', id: 'adminpanel', tabindex: '-1' });
  const tabs = Object.entries(parts).map(([key, Part]) => h('button', { type: 'button', role: 'tab', id: `admin-${key}`, 'aria-controls': 'adminpanel', onclick: (e) => choose(e.currentTarget, Part) }, say(key)));
  const choose = (tab, Part) => {
    for (const t of tabs) {
      t.setAttribute('aria-selected', String(t === tab));
      t.tabIndex = t === tab ? 0 : -1;
    }
    body.setAttribute('aria-labelledby', tab.id);
    const panel = new Part(app);
    body.replaceChildren(panel.element);
    panel.show();
  };
  const list = h('div', { role: 'tablist', class: 'tabs', 'aria-label': say('administration'), onkeydown: (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (step === undefined) return;
    const next = tabs[(tabs.indexOf(e.target) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
    e.preventDefault();
  } }, tabs);
  open(say('administration'), [list, body], 'administration');
  tabs[0].click();
  tabs[0].focus();
}

// devices shows where one is signed in; each can be ended.
export async function devices(app) {
  const problem = h('p', { role: 'alert', class: 'problem' });
  const list = h('ul', { class: 'rows', 'aria-label': say('devices') });
  const show = async () => {
    const answer = await app.post('account/devices', {});
    problem.textContent = answer.problem ?? '';
    list.replaceChildren(...(answer.devices ?? []).map((d) => row(d.name, d.here ? say('thisDevice') : say('since', { time: when(d.created) }),
      !d.here && act(say('endDevice'), async () => { await app.post('account/devices/remove', { name: d.name }); await show(); }, { class: 'danger', 'aria-label': `${say('endDevice')}: ${d.name}` }))));
  };
  const made = h('p', { class: 'made', role: 'status' });
  const name = h('input', { type: 'text', required: true, maxlength: '40', autocomplete: 'off' });
  const form = h('form', { onsubmit: async (e) => {
    e.preventDefault();
    const answer = await app.post('account/device', { device: name.value.trim() });
    problem.textContent = answer.problem ?? '';
    if (answer.problem) return;
    made.replaceChildren(say('deviceMade'), ' ', h('code', {}, answer.password));
    name.value = '';
    await show();
  } }, field(say('deviceName'), name), h('button', {}, say('makeDevice')));
  open(say('devices'), [h('p', { class: 'hint' }, say('devicesHelp')), problem, list, form, made], 'administration');
  await show();
}

// password changes the account's own.
export function password(app) {
  const input = (complete) => h('input', { type: 'password', required: true, autocomplete: complete });
  const old = input('current-password'), fresh = input('new-password'), again = input('new-password');
  const problem = h('p', { role: 'alert', class: 'problem' });
  const dialog = open(say('changePassword'), h('form', { onsubmit: async (e) => {
    e.preventDefault();
    if (fresh.value !== again.value) {
      problem.textContent = say('notSame');
      return;
    }
    const answer = await app.post('account/password', { old: old.value, new: fresh.value });
    if (answer.problem) {
      problem.textContent = answer.problem;
      return;
    }
    dialog.close();
    app.toast(say('passwordChanged'));
  } }, field(say('oldPassword'), old), field(say('newPassword'), fresh), field(say('again'), again), problem, h('button', { class: 'primary' }, say('save'))));
  old.focus();
}

// picture sends one for the profile, or takes it away.
export function picture(app) {
  const file = h('input', { type: 'file', accept: 'image/png,image/jpeg,image/gif,image/webp', 'aria-label': say('picture'), onchange: async () => {
    if (file.files[0] === undefined) return;
    const place = await send(app, file.files[0]);
    if (place) app.client.setMetadata('avatar', place);
  } });
  return h('div', { class: 'setting' }, h('span', {}, say('picture')), file, button('bin', say('noPicture'), () => app.client.setMetadata('avatar', '')));
}
