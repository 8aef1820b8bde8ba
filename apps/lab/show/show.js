'use strict';
// Every answer on the page is the kernel's: a button is a POST, and the server makes
// the system call.
const signal = '0000111000111000111';
const kept = 8; // lines of each pipe's log
const $ = id => document.getElementById(id);
const make = (tag, text, name) => Object.assign(document.createElement(tag), { textContent: text, className: name || '' });

async function post(path) {
  const r = await fetch(path, { method: 'POST' });
  const text = await r.text();
  $('error').textContent = r.ok ? '' : text;
  if (!r.ok) throw new Error(text);
  return JSON.parse(text);
}

async function act(name) {
  const answers = await post('/pipe/' + name);
  answers.forEach((a, i) => {
    if (!$('pipes').children[i]) {
      const box = make('div', '');
      box.append(make('strong', a.Mode), make('div', ''), make('ol', ''));
      $('pipes').append(box);
    }
    const [, bytes, log] = $('pipes').children[i].children;
    bytes.textContent = a.Bytes + ' bytes in the pipe';
    log.append(make('li', a.Said, a.Events ? 'event' : ''));
    while (log.children.length > kept) log.firstChild.remove();
  });
  return answers;
}

for (const button of document.querySelectorAll('[data-act]')) button.onclick = () => act(button.dataset.act);

$('play').onclick = async () => {
  $('play').disabled = true;
  try {
    await act('drain');
    await act('arm');
    const rows = ['', 'level', 'edge', 'one-shot'].map(name => { const row = make('tr', ''); row.append(make('th', name)); return row; });
    $('marks').replaceChildren(...rows);
    const sums = [0, 0, 0];
    let last = '0';
    for (const bit of signal) {
      if (bit === '1' && last === '0') await act('write');
      if (bit === '0' && last === '1') { await act('drain'); await act('arm'); }
      last = bit;
      rows[0].append(make('td', bit));
      (await act('wait')).forEach((a, i) => { sums[i] += a.Events; rows[i + 1].append(make('td', a.Events ? '●' : '·', a.Events ? 'event' : '')); });
    }
    sums.forEach((sum, i) => rows[i + 1].append(make('td', '= ' + sum)));
  } finally { $('play').disabled = false; }
};

let busy = false;
async function measure() {
  $('count').textContent = $('idle').value;
  if (busy) return;
  busy = true;
  try {
    let done;
    do { // once more if the slider has moved meanwhile
      done = $('idle').value;
      const costs = await post('/cost/' + done);
      const most = Math.max(...costs.map(c => c.Microseconds));
      $('costs').replaceChildren(...costs.map(c => {
        const bar = make('div', '', 'bar'), line = make('i', '');
        line.style.width = 100 * c.Microseconds / most + '%';
        bar.append(make('span', c.Backend), line, make('span', c.Refused || c.Microseconds.toFixed(1) + ' µs'));
        return bar;
      }));
    } while (done !== $('idle').value);
  } finally { busy = false; }
}
$('idle').oninput = measure;
measure();
const chosen = $(location.pathname.slice(1));
if (chosen) chosen.scrollIntoView();
