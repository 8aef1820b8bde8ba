// What opens over the conversation: dialogs, each closed by Escape.
import { button, h } from './dom.js';
import { say } from './words.js';

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
