// Searching what was said: by the server, or where it cannot, in what is loaded.
import { open } from './dialogs.js';
import { h } from './dom.js';
import { plain } from './text.js';
import { say, spoken } from './words.js';

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
      if (words.every((w) => m.text.toLowerCase().includes(w))) found.push({ id: m.id, time: m.time, nick: m.nick, target: b.name, text: m.kind === 'action' ? `${m.nick} ${m.text}` : m.text });
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
