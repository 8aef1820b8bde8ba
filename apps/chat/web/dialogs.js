// What opens over the conversation: dialogs, each closed by Escape.
import { button, h, picture } from './dom.js';
import { emoji, find } from './emoji.js';
import { encode } from './qr.js';
import { plain } from './text.js';
import { languages, say, spoken } from './words.js';

// open shows a dialog; it is removed when it closes, and the focus goes back.
export function open(title, content, className = '') {
  const heading = h('h2', { id: 'dialogtitle' }, title);
  const dialog = h('dialog', { class: className, 'aria-labelledby': 'dialogtitle' },
    h('header', {}, heading, button('close', say('close'), () => dialog.close())), content);
  dialog.onclose = () => dialog.remove();
  dialog.onclick = (e) => { if (e.target === dialog) dialog.close(); };
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// choices is a list that arrows move in; rows are {label, hint, go}.
function choices(input, dialog, rowsOf, id) {
  const list = h('ul', { id, role: 'listbox', class: 'choices', 'aria-label': say('list') });
  input.setAttribute('aria-controls', id);
  input.setAttribute('role', 'combobox');
  input.setAttribute('aria-expanded', 'true');
  let rows = [], at = 0;
  const draw = () => {
    list.replaceChildren(...rows.map((r, i) => h('li', { role: 'option', id: `${id}${i}`, 'aria-selected': String(i === at), onclick: () => choose(i) }, h('span', {}, r.label), r.hint && h('span', { class: 'hint' }, r.hint))));
    if (rows.length > 0) input.setAttribute('aria-activedescendant', `${id}${at}`);
    else input.removeAttribute('aria-activedescendant');
    list.children[at]?.scrollIntoView({ block: 'nearest' });
  };
  const choose = (i) => {
    if (rows[i] === undefined) return;
    dialog().close();
    rows[i].go();
  };
  const update = () => {
    rows = rowsOf(input.value.trim());
    at = 0;
    draw();
  };
  input.oninput = update;
  input.onkeydown = (e) => {
    if (e.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (step !== undefined && rows.length > 0) {
      at = (at + step + rows.length) % rows.length;
      draw();
      e.preventDefault();
    } else if (e.key === 'Enter') {
      e.preventDefault();
      choose(at);
    }
  };
  update();
  return list;
}

export function switcher(app) {
  const input = h('input', { type: 'text', autocomplete: 'off', placeholder: say('switcherHelp'), 'aria-label': say('switcherHelp') });
  let dialog = null;
  const list = choices(input, () => dialog, (text) => {
    const { model } = app;
    const wanted = model.fold(text);
    const rows = model.sorted()
      .filter((b) => model.fold(b.name).includes(wanted))
      .sort((a, b) => b.mentions - a.mentions || b.unread - a.unread)
      .map((b) => ({ label: b.name, hint: b.unread > 0 ? say('unread', { n: b.unread }) : '', go: () => app.show(b) }));
    const people = new Map();
    for (const b of model.buffers.values()) for (const [key, m] of b.members) if (key.includes(wanted) && !model.isMe(m.nick) && model.get(m.nick) === undefined) people.set(key, m.nick);
    if (wanted !== '') for (const nick of people.values()) rows.push({ label: nick, hint: say('people'), go: () => app.person(nick) });
    if (/^#?[^\s,]+$/.test(text)) {
      const name = text.startsWith('#') ? text : `#${text}`;
      if (model.get(name) === undefined) rows.push({ label: name, hint: say('newChannel'), go: () => app.enter(name) });
    }
    return rows.slice(0, 50);
  }, 'goto');
  dialog = open(say('switcher'), [input, list], 'switcher');
  input.focus();
}

// newChannel asks for a name.
export function newChannel(app) {
  const input = h('input', { id: 'newchannel', type: 'text', required: true, autocomplete: 'off', maxlength: '60', value: '#' });
  const form = h('form', { onsubmit: (e) => {
    e.preventDefault();
    const name = input.value.trim().replace(/[\s,]/g, '-');
    dialog.close();
    if (name !== '' && name !== '#') app.enter(name.startsWith('#') ? name : `#${name}`);
  } }, h('label', { for: 'newchannel' }, say('channelName')), input, h('button', { class: 'primary' }, say('join')));
  const dialog = open(say('newChannel'), form);
  input.focus();
  input.setSelectionRange(1, 1);
}

// query reads from:, in:, before:, after: and words.
export function query(text) {
  const fields = { text: [] };
  for (const word of text.split(/\s+/)) {
    const found = /^(from|in|before|after):(.+)$/.exec(word);
    if (found === null) {
      if (word !== '') fields.text.push(word);
      continue;
    }
    const [, key, value] = found;
    if (key === 'from' || key === 'in') fields[key] = value;
    else if (!Number.isNaN(Date.parse(value))) fields[key] = new Date(value).toISOString();
  }
  return { ...fields, text: fields.text.join(' ') };
}

// searchHere looks through what is loaded.
function searchHere(model, q) {
  const found = [];
  const words = q.text.toLowerCase().split(' ').filter((w) => w !== '');
  for (const b of model.buffers.values()) {
    if (q.in !== undefined && !model.same(b.name, q.in)) continue;
    for (const m of b.messages) {
      if (m.event || m.redacted || (q.from !== undefined && !model.same(m.nick, q.from))) continue;
      if ((q.before && m.time >= Date.parse(q.before)) || (q.after && m.time <= Date.parse(q.after))) continue;
      if (words.every((w) => m.text.toLowerCase().includes(w))) found.push({ id: m.id, time: m.time, nick: m.nick, target: b.name, text: m.text });
    }
  }
  return found.sort((a, b) => b.time - a.time).slice(0, 100);
}

export function search(app) {
  const input = h('input', { type: 'search', autocomplete: 'off', placeholder: say('searchHelp'), 'aria-label': say('search') });
  const status = h('p', { role: 'status', class: 'hint' }, app.client.has('soju.im/search') ? say('searchHelp') : say('unsupported'));
  const list = h('ul', { class: 'results' });
  const form = h('form', { onsubmit: async (e) => {
    e.preventDefault();
    const q = query(input.value);
    if (q.text === '' && q.from === undefined) return;
    let results;
    try {
      results = app.client.has('soju.im/search') ? await app.client.search({ ...q, in: q.in ?? '', from: q.from ?? '', before: q.before ?? '', after: q.after ?? '', limit: 100 }) : searchHere(app.model, q);
    } catch (error) {
      status.textContent = say('failed', { text: error.message });
      return;
    }
    status.textContent = results.length === 0 ? say('nothing') : say('found', { n: results.length });
    list.replaceChildren(...results.map((r) => h('li', {}, h('button', { type: 'button', onclick: () => { dialog.close(); app.jumpTo(r); } },
      h('span', { class: 'hint' }, `${r.target} · ${r.nick} · ${new Date(r.time).toLocaleString(spoken())}`), h('span', {}, plain(r.text).slice(0, 300))))));
  } }, input);
  const dialog = open(say('search'), [form, status, list], 'search');
  input.focus();
}

export function pickEmoji(near, take) {
  const input = h('input', { type: 'search', autocomplete: 'off', placeholder: say('search'), 'aria-label': say('search') });
  const grid = h('div', { class: 'emojis' });
  const draw = () => grid.replaceChildren(...(input.value.trim() === '' ? emoji : find(input.value.trim())).map((e) => h('button', { type: 'button', title: e.words[0], 'aria-label': e.words[0], onclick: () => { dialog.close(); take(e.sign); } }, e.sign)));
  input.oninput = draw;
  input.onkeydown = (e) => {
    if (e.key === 'Enter' && !e.isComposing) {
      e.preventDefault();
      grid.firstChild?.click();
    }
  };
  grid.onkeydown = (e) => {
    const buttons = [...grid.children], i = buttons.indexOf(e.target);
    const columns = Math.max(1, Math.floor(grid.clientWidth / (buttons[0]?.offsetWidth || 1)));
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[e.key];
    if (step === undefined || i < 0) return;
    e.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, i + step))].focus();
  };
  draw();
  const dialog = open(say('emoji'), [input, grid], 'picker');
  input.focus();
}

// ask returns whether a question was answered by yes.
export function ask(question, yes) {
  return new Promise((resolve) => {
    let answer = false;
    const dialog = open(question, h('div', { class: 'answers' },
      h('button', { type: 'button', onclick: () => dialog.close() }, say('cancel')),
      h('button', { type: 'button', class: 'danger', onclick: () => { answer = true; dialog.close(); } }, yes)));
    dialog.addEventListener('close', () => resolve(answer));
  });
}

export function field(label, control) {
  const id = `field-${label.replace(/\W/g, '')}-${Math.random().toString(36).slice(2, 7)}`;
  control.id = id;
  return h('div', { class: 'setting' }, h('label', { for: id }, label), control);
}

export const select = (value, options, onchange) => {
  const s = h('select', { onchange: () => onchange(s.value) }, Object.entries(options).map(([v, text]) => h('option', { value: v, selected: v === value }, text)));
  return s;
};

export async function settings(app) {
  const pictureOf = app.client.has('draft/metadata-2') && app.fileHost() !== '' && (await import('./admin.js')).picture(app);
  const s = app.settings, set = (key) => (value) => app.set(key, value);
  const notify = h('input', { type: 'checkbox', checked: s.notify, onchange: () => app.allowNotifications(notify.checked).then((on) => { notify.checked = on; if (!on && Notification.permission === 'denied') app.toast(say('notifyDenied')); }) });
  const events = h('input', { type: 'checkbox', checked: s.events, onchange: () => app.set('events', events.checked) });
  const name = h('input', { type: 'text', maxlength: '64', value: app.model.people.get(app.model.fold(app.model.nick))?.['display-name'] ?? '' });
  const profile = app.client.has('draft/metadata-2') && h('form', { onsubmit: (e) => { e.preventDefault(); app.client.setMetadata('display-name', name.value.trim()); dialog.close(); } }, field(say('displayName'), name), h('button', {}, say('save')));
  const account = Boolean(app.kept.login?.password && app.site.invitations);
  const opens = (label, name) => h('button', { type: 'button', onclick: async () => { const admin = await import('./admin.js'); dialog.close(); admin[name](app); } }, label);
  const all = h('input', { type: 'checkbox', checked: s.notifyAll, onchange: () => app.set('notifyAll', all.checked) });
  const dialog = open(say('settings'), [
    h('h3', {}, say('profile')), h('p', {}, say('signedInAs', { name: app.model.account || app.model.nick })), profile,
    pictureOf,
    account && h('div', { class: 'answers wide' }, opens(say('devices'), 'devices'), opens(say('changePassword'), 'password'), app.mayInvite() && opens(say('administration'), 'administer')),
    h('h3', {}, say('appearance')),
    field(say('theme'), select(s.theme, { auto: say('auto'), light: say('light'), dark: say('dark') }, set('theme'))),
    field(say('language'), select(spoken(), languages, (v) => { dialog.close(); app.set('language', v); })),
    field(say('showEvents'), events),
    h('h3', {}, say('notifications')), field(say('notifyOn'), notify), field(say('notifyAll'), all),
    h('h3', {}, say('keys')), h('p', { class: 'hint' }, say('keysHelp'), ' ', say('sendWith')),
    h('div', { class: 'answers' }, h('button', { type: 'button', class: 'danger', onclick: () => { dialog.close(); app.signOut(); } }, say('signOut'))),
  ], 'settings');
}

export function invite(app) {
  const hours = select('168', { 24: say('day'), 168: say('week'), 720: say('month') }, () => {});
  const uses = h('input', { type: 'number', min: '1', max: '1000', value: '10', required: true });
  const result = h('div', { class: 'invitation' });
  const form = h('form', { onsubmit: async (e) => {
    e.preventDefault();
    const answer = await app.post('account/invite', { hours: Number(hours.value), uses: Number(uses.value), channel: app.current?.isChannel ? app.current.name : app.kept.login.channels[0] ?? '' });
    if (answer.problem) {
      result.replaceChildren(h('p', { role: 'alert' }, answer.problem));
      return;
    }
    const link = new URL(`#join=${answer.token}`, location.href).href;
    const shown = h('input', { type: 'text', readonly: true, value: link, 'aria-label': say('invite'), onfocus: () => shown.select() });
    const copy = h('button', { type: 'button', class: 'primary', onclick: () => { shown.select(); navigator.clipboard?.writeText(link).then(() => { copy.textContent = say('copied'); }, () => {}); } }, say('copy'));
    result.replaceChildren(shown, copy, picture(encode(link), say('qr')));
    copy.focus();
  } }, field(say('hours'), hours), field(say('uses'), uses), h('button', { class: 'primary' }, say('make')));
  open(say('invite'), [h('p', {}, say('inviteHelp')), form, result], 'invite');
}
