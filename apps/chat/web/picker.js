// Choosing an emoji.
import { open } from './dialogs.js';
import { h } from './dom.js';
import { emoji, find } from './emoji.js';
import { say } from './words.js';

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
