// Inviting people: a link, and its QR code.
import { field, open, select } from './dialogs.js';
import { h, svg } from './dom.js';
import { encode } from './qr.js';
import { say } from './words.js';

// picture draws squares, true for dark ones, as an image with a quiet zone around.
function picture(rows, label) {
  const quiet = 4, side = rows.length + 2 * quiet;
  const s = document.createElementNS(svg, 'svg');
  s.setAttribute('viewBox', `0 0 ${side} ${side}`);
  s.setAttribute('class', 'qr');
  s.setAttribute('role', 'img');
  s.setAttribute('aria-label', label);
  const p = document.createElementNS(svg, 'path');
  let d = '';
  rows.forEach((row, y) => row.forEach((dark, x) => { if (dark) d += `M${x + quiet} ${y + quiet}h1v1h-1z`; }));
  p.setAttribute('d', d);
  s.append(p);
  return s;
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
