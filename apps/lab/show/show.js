// Every answer on the page is the kernel's: a button is a POST, and the server makes
// the system call.
const signal = '0000111000111000111';
const kept = 8; // lines of each pipe's log
const $ = id => document.getElementById(id);
const make = (tag, text, name) => Object.assign(document.createElement(tag), { textContent: text, className: name || '' });

// post asks for one thing after the other, in the order of the buttons.
let last = Promise.resolve();
const post = path => last = last.catch(() => {}).then(() => ask(path));

async function ask(path) {
  const r = await fetch(new URL(path, import.meta.url), { method: 'POST' });
  const text = await r.text();
  $('error').textContent = r.ok ? '' : text;
  if (!r.ok) throw new Error(text);
  return JSON.parse(text);
}

async function act(name) {
  const answers = await post('pipe/' + name);
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
      const costs = await post('cost/' + done);
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

// Boss and workers: the page looks while something is under way.
let looking = false;
function showBoss(b) {
  const workers = make('p', 'workers: '), queue = make('p', `queue (${b.Queue.length}, at most so far ${b.Longest}): `);
  workers.append(...b.Busy.map(c => make('span', c < 0 ? 'waits' : '#' + c, c < 0 ? 'chip' : 'chip busy')));
  if (!b.Busy.length) workers.append('none');
  queue.append(...b.Queue.map(c => make('span', '#' + c, 'chip')));
  const grid = make('div', '', 'grid');
  grid.append(...b.Conns.map((c, i) => {
    const state = b.Busy.includes(i) ? 'with a worker' : b.Queue.includes(i) ? 'in the queue' : c.Asked ? 'ready' : 'watched';
    const box = make('div', '', state === 'with a worker' ? 'busy' : c.Asked ? 'event' : '');
    box.append(make('strong', '#' + i), ' ' + state, make('br', ''), c.Asked > 1 ? c.Asked + ' requests wait' : c.Took ? c.Took.toFixed(0) + ' ms the last one' : '–');
    return box;
  }));
  $('boss-look').replaceChildren(workers, queue, grid, make('p', b.Served + ' requests served'));
  return b.Queue.length > 0 || b.Conns.some(c => c.Asked > 0) && b.Busy.length > 0;
}
async function boss(act) {
  const more = showBoss(await post('boss/' + act));
  if (looking || !more) return;
  looking = true;
  try {
    while (showBoss(await post('boss/look'))) await new Promise(done => setTimeout(done, 100));
  } finally { looking = false; }
}
for (const button of document.querySelectorAll('[data-boss]')) button.onclick = () => boss(button.dataset.boss);
for (const id of ['workers', 'slow']) $(id).oninput = () => { $(id).parentElement.querySelector('output').textContent = $(id).value; boss(id + '-' + $(id).value); };

// Who wakes.
$('trial').onclick = async () => {
  $('trial').disabled = true;
  try {
    const wakings = await post('waiters/all');
    $('wakings').replaceChildren(...wakings.map(w => {
      const row = make('tr', ''), woken = w.Woken.filter(us => us >= 0).length;
      row.append(make('th', w.Said), ...w.Woken.map(us => make('td', us < 0 ? 'sleeps' : us.toFixed(0) + ' µs', us < 0 ? '' : 'event')), make('td', `${woken} of ${w.Woken.length}`));
      return row;
    }));
  } finally { $('trial').disabled = false; }
};

// Readiness and completion.
const calls = [0, 0], answered = [0, 0];
for (const button of document.querySelectorAll('[data-twin]')) button.onclick = async () => {
  const answers = await post('twin/' + button.dataset.twin);
  answers.forEach((a, i) => {
    calls[i] += a.Calls;
    answered[i] += a.Answered;
    if (!$('twins').children[i]) {
      const box = make('div', '');
      box.append(make('strong', a.Name), make('div', ''), make('ol', ''));
      $('twins').append(box);
    }
    const [, sum, log] = $('twins').children[i].children;
    sum.textContent = `${calls[i]} system calls, ${answered[i]} bytes have come back`;
    log.replaceChildren(...a.Log.map(line => make('li', line, line.startsWith('done') ? 'event' : '')));
  });
};

// The trap.
for (const button of document.querySelectorAll('[data-trap]')) button.onclick = async () => {
  const answers = await post('trap/' + button.dataset.trap);
  $('traps').replaceChildren(...answers.map(a => {
    const box = make('div', ''), log = make('ol', '');
    log.append(...(a.Log ?? []).map(line => make('li', line)));
    const left = [a.Unread && a.Unread + ' bytes are unread', a.Stranded && a.Stranded + ' clients are not accepted'].filter(Boolean).join(', ');
    box.append(make('strong', a.Name), log, make('p', left ? left + ', and it sleeps: nothing will wake it for them' : 'it sleeps, and nothing is left', left ? 'event' : ''));
    return box;
  }));
};

// In a frame beside a chapter there is one part only, in the chapter's language. What
// the kernel says is the same in all.
const asked = new URLSearchParams(location.search), only = asked.get('only');
if (asked.get('lang') === 'ko') {
  document.documentElement.lang = 'ko';
  for (const e of document.querySelectorAll('[data-ko]')) e.textContent = e.dataset.ko;
}
if ($(only)) {
  document.body.classList.add('only');
  for (const part of document.querySelectorAll('section')) part.hidden = part.id !== only;
}
if (!$('cost').hidden) measure();
const chosen = $(location.pathname.split('/').pop());
if (chosen) chosen.scrollIntoView();
