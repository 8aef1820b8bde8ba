// A thread: a message and all that answers it, beside the conversation.
import { open } from './dialogs.js';
import { h } from './dom.js';
import { say } from './words.js';

// rootOf is the message at which the answers begin, as far as it is here.
export function rootOf(b, m) {
  const seen = new Set();
  for (let above = m; above !== undefined && !seen.has(above); above = b.byId.get(m.reply)) {
    seen.add(above);
    m = above;
  }
  return m;
}

export function thread(app, b, from) {
  const root = rootOf(b, from);
  const list = h('div', { class: 'answering', role: 'log', tabindex: '0', 'aria-label': say('thread') });
  const draw = () => {
    const all = b.messages.filter((m) => !m.event && rootOf(b, m) === root);
    list.replaceChildren(...all.map((m) => h('div', { class: 'row', role: 'article' }, app.messages.message(m, true))));
    list.scrollTop = list.scrollHeight;
  };
  const input = h('input', { type: 'text', autocomplete: 'off', 'aria-label': say('replyTo', { name: root.nick }), placeholder: say('replyTo', { name: root.nick }) });
  const form = h('form', { onsubmit: (e) => {
    e.preventDefault();
    const text = input.value.trim();
    input.value = '';
    if (text !== '') app.client.say(b.name, text, { reply: root.id });
  } }, input);
  const dialog = open(say('thread'), [list, form], 'thread');
  const end = app.model.on((what, changed) => { if (changed === b || what === 'people') draw(); });
  dialog.addEventListener('close', end);
  draw();
  input.focus();
}
