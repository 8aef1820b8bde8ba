// The page draws what /live/events brings: a hello, then a frame for each fifth of a
// second with what every loop has done in it, and a table of the connections each
// second.
const columns = 150; // frames that a timeline shows
const shownTurns = 48;
const heldUp = 100e3; // µs in one phase, other than the wait, that are called late
const $ = id => document.getElementById(id);
const make = (tag, text, name) => Object.assign(document.createElement(tag), { textContent: text ?? '', className: name ?? '' });
const colour = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

let hello, events, frozen = false, loops = [], colours = {};
let sort = 'rate';

// Numbers as people read them.
const count = n => n >= 1e6 ? (n / 1e6).toFixed(1) + 'M' : n >= 1e4 ? (n / 1e3).toFixed(1) + 'k' : n >= 100 || Number.isInteger(n) ? n.toFixed(0) : n.toFixed(1);
const bytes = n => n >= 1 << 30 ? (n / (1 << 30)).toFixed(1) + ' GiB' : n >= 1 << 20 ? (n / (1 << 20)).toFixed(1) + ' MiB' : n >= 1 << 10 ? (n / (1 << 10)).toFixed(1) + ' KiB' : n.toFixed(0) + ' B';
const micros = n => n >= 1e6 ? (n / 1e6).toFixed(1) + ' s' : n >= 1e3 ? (n / 1e3).toFixed(1) + ' ms' : n.toFixed(n < 10 ? 1 : 0) + ' µs';
const age = s => s >= 86400 ? Math.floor(s / 86400) + ' d ' + Math.floor(s % 86400 / 3600) + ' h' : s >= 3600 ? Math.floor(s / 3600) + ' h ' + Math.floor(s % 3600 / 60) + ' min' : s >= 60 ? Math.floor(s / 60) + ' min ' + s % 60 + ' s' : s + ' s';

function readColours() {
  for (const name of [...(hello?.phases ?? []), 'heat', 'rule', 'quiet', 'hot']) colours[name] = colour(name);
  for (const box of $('legend').children) box.firstChild.style.background = colours[box.textContent];
  for (const loop of loops) loop.draw();
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', readColours);

// drawSoon has the loops drawn when the browser next draws. On a slow machine several frames
// come until then: drawn one by one, they would come faster than they are drawn, and the
// page would answer nobody.
let drawing = false;
function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; for (const loop of loops) loop.draw(); });
}

// canvas returns one that is drawn in CSS pixels, sharp on every screen.
function canvas(height, draw) {
  const c = make('canvas');
  c.style.height = height + 'px';
  c.height = height;
  return { element: c, paint() {
    const width = c.clientWidth, scale = devicePixelRatio || 1;
    if (!width) return;
    if (c.width !== Math.round(width * scale)) { c.width = Math.round(width * scale); c.height = Math.round(height * scale); }
    const g = c.getContext('2d');
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, width, height);
    draw(g, width, height);
  } };
}

function figure(title, picture) {
  const f = make('figure'), caption = make('figcaption', title);
  picture.element.setAttribute('role', 'img');
  f.append(caption, picture.element);
  return { f, say(text) { caption.textContent = text; picture.element.setAttribute('aria-label', text); } };
}

const numbers = [
  ['turns/s', (f, s) => count(f.noted / s)],
  ['events/wait', f => f.waits ? count(f.events / f.waits) : '–'],
  ['system calls/s', (f, s) => count((f.waits + f.reads + f.writes + f.controls) / s)],
  ['waits/s', (f, s) => count(f.waits / s)],
  ['reads/s', (f, s) => count(f.reads / s)],
  ['writes/s', (f, s) => count(f.writes / s)],
  ['changes/s', (f, s) => count(f.controls / s)],
  ['to the ring/s', (f, s) => count(f.submits / s)],
  ['in/s', (f, s) => bytes(f.in / s)],
  ['out/s', (f, s) => bytes(f.out / s)],
  ['tasks wait', f => count(f.tasks)],
  ['timers wait', f => count(f.timers)],
  ['bytes held', f => bytes(f.held)],
];

// A Loop is the card of one loop.
class Loop {
  frames = [];
  turns = [];
  constructor(index) {
    this.box = make('article', '', 'loop');
    this.now = make('span');
    const head = make('h3', 'loop ' + index);
    head.append(this.now);
    this.shares = canvas(64, (g, w, h) => this.drawShares(g, w, h));
    this.last = canvas(72, (g, w, h) => this.drawTurns(g, w, h));
    this.heat = canvas(hello.lagBounds.length * 5 + 5, (g, w, h) => this.drawHeat(g, w, h));
    this.sharesFigure = figure('time by phase', this.shares);
    this.lastFigure = figure('the last turns', this.last);
    this.heatFigure = figure('how long turns took', this.heat);
    const list = make('dl');
    this.numbers = numbers.map(([name]) => { const d = make('div'), value = make('dd', '–'); d.append(make('dt', name), value); list.append(d); return value; });
    this.box.append(head, this.sharesFigure.f, this.lastFigure.f, this.heatFigure.f, list);
    $('loops').append(this.box);
  }
  add(f, seconds) {
    this.frames.push(f);
    if (this.frames.length > columns) this.frames.shift();
    this.turns = [...this.turns, ...f.turns ?? []].slice(-shownTurns);
    const late = f.phase !== 'wait' && f.since > heldUp;
    this.now.textContent = (f.phase === 'wait' ? 'waits for ' : 'in ' + f.phase + ' for ') + micros(f.since);
    this.now.className = late ? 'hot' : '';
    numbers.forEach(([, read], i) => { this.numbers[i].textContent = read(f, seconds); });
    const busy = f.phases.reduce((sum, n) => sum + n, 0) - f.phases[0];
    this.sharesFigure.say(`time by phase, the last ${Math.round(columns * hello.every / 1e3)} s: busy for ${(busy / seconds / 1e4).toFixed(busy / seconds < 1e5 ? 1 : 0)} % now`);
    const longest = f.lag.findLastIndex(n => n > 0);
    this.heatFigure.say(longest < 0 ? 'how long turns took, from 50 µs below to over 2.5 s: none has ended now'
      : 'how long turns took: the longest now ' + (longest < hello.lagBounds.length ? 'below ' + micros(hello.lagBounds[longest] * 1e6) : 'above ' + micros(hello.lagBounds.at(-1) * 1e6)));
    drawSoon();
  }
  draw() {
    this.shares.paint();
    this.last.paint();
    this.heat.paint();
  }
  // A column for each frame: the wait on top, what was done below.
  drawShares(g, w, h) {
    const step = w / columns;
    this.frames.forEach((f, i) => {
      const x = w - (this.frames.length - i) * step;
      const sum = f.phases.reduce((a, b) => a + b, 0);
      // A frame in which no turn has ended is that of the phase under way.
      const parts = sum > 0 ? f.phases.map(n => n / sum) : hello.phases.map(p => p === f.phase ? 1 : 0);
      let y = h;
      for (let p = parts.length - 1; p >= 0; p--) {
        const height = parts[p] * h;
        g.fillStyle = colours[hello.phases[p]];
        g.fillRect(x, y - height, Math.ceil(step), height);
        y -= height;
      }
    });
  }
  // A column for each turn without its wait, all on one scale.
  drawTurns(g, w, h) {
    const took = this.turns.map(t => t.slice(4).reduce((a, b) => a + b, 0));
    const most = Math.max(...took, 1);
    if (this.turns.length) {
      const eventful = this.turns.reduce((sum, t) => sum + t[0], 0) / this.turns.length;
      this.lastFigure.say(`the last turns, without their waits: up to ${micros(most / 1e3)}, and ${eventful.toFixed(1)} events each`);
    }
    const step = w / shownTurns;
    this.turns.forEach((turn, i) => {
      let y = h;
      for (let p = 1; p < hello.phases.length; p++) {
        const height = turn[3 + p] / most * (h - 2);
        g.fillStyle = colours[hello.phases[p]];
        g.fillRect(i * step, y - height, Math.max(1, step - 1.5), height);
        y -= height;
      }
    });
  }
  // A row for each bucket of lag, the slowest on top; darker is more turns.
  drawHeat(g, w, h) {
    const step = w / columns, rows = hello.lagBounds.length + 1, row = h / rows;
    this.frames.forEach((f, i) => {
      const x = w - (this.frames.length - i) * step;
      f.lag.forEach((n, bucket) => {
        if (!n) return;
        g.fillStyle = `rgba(${colours.heat}, ${Math.min(1, .3 + Math.log10(n) / 5)})`;
        g.fillRect(x, h - (bucket + 1) * row, Math.ceil(step), row);
      });
    });
    g.fillStyle = colours.quiet;
    g.font = '9px sans-serif';
    for (const [text, seconds] of [['1 ms', .001], ['100 ms', .1]]) {
      const y = h - (hello.lagBounds.indexOf(seconds) + 1) * row;
      g.fillText(text, 2, y - 1);
      g.fillRect(0, y, w, .5);
    }
  }
}

function showHello(h) {
  hello = h;
  $('name').textContent = h.name;
  $('loops').replaceChildren();
  loops = [];
  $('legend').replaceChildren(...h.phases.map(p => { const item = make('li'); item.append(make('i'), p); return item; }));
  readColours();
  $('notice').textContent = h.write ? '' : 'This page only looks. With --admin-write it can pause, resume and close connections.';
}

function showFrame(f) {
  $('about').textContent = `${hello.driver} (${hello.reason}) · ${f.loops.length} loop${f.loops.length > 1 ? 's' : ''} · ${f.conns} connection${f.conns === 1 ? '' : 's'}`
    + (hello.driver === 'uring' ? ' · with io_uring the kernel reads and writes during the wait' : '')
    + (hello.workers ? ` · ${hello.workers} workers, ${f.waiting} connections wait for one` : '');
  f.loops.forEach((l, i) => { (loops[i] ??= new Loop(i)).add(l, f.seconds); });
  const late = f.loops.findIndex(l => l.phase !== 'wait' && l.since > heldUp);
  $('error').textContent = late >= 0 ? `Loop ${late} has been in ${f.loops[late].phase} for ${micros(f.loops[late].since)}: something holds it up.` : '';
  showClosed(f.closed);
}

function showClosed(closed) {
  const causes = Object.entries(closed).sort((a, b) => b[1] - a[1]);
  if (!causes.length) return;
  $('closed').replaceChildren(...causes.map(([cause, n]) => {
    const bar = make('div', '', 'bar'), line = make('i');
    line.style.width = 100 * n / causes[0][1] + '%';
    bar.append(make('span', cause), line, make('span', count(n)));
    return bar;
  }));
}

// The table: its columns by the names that the server sorts by.
const fields = [
  ['peer', 'peer', c => c.peer, 'text'],
  ['loop', 'loop', c => c.loop],
  ['state', 'state', c => c.state + (c.paused ? ', paused' : '') + (c.full ? ', queue full' : ''), 'text'],
  ['age', 'age', c => age(c.age)],
  ['rate', 'bytes/s', c => bytes(c.rate)],
  ['in', 'in', c => bytes(c.in), 'minor'],
  ['out', 'out', c => bytes(c.out), 'minor'],
  ['queued', 'queued', c => bytes(c.queued)],
  ['held', 'held', c => bytes(c.held), 'minor'],
];

function showHead() {
  $('conns').tHead.rows[0].replaceChildren(...fields.map(([key, title, , name]) => {
    const cell = make('th', '', name), button = make('button', title);
    if (key === sort) cell.setAttribute('aria-sort', key === 'peer' || key === 'loop' || key === 'state' ? 'ascending' : 'descending');
    button.onclick = () => { sort = key; showHead(); connect(); };
    cell.append(button);
    return cell;
  }));
  if (hello?.write) $('conns').tHead.rows[0].append(make('th'));
}

// rows are kept by the number of their connection, so that a button stays the same
// while somebody presses it.
const rows = new Map();

function showConns(t) {
  const body = $('conns').tBodies[0], kept = new Set();
  t.rows.forEach((c, i) => {
    let r = rows.get(c.id);
    if (!r) {
      r = make('tr');
      r.append(...fields.map(([, , , name]) => make('td', '', name)));
      if (hello.write) r.append(buttons(c.id));
      rows.set(c.id, r);
    }
    fields.forEach(([, , read], j) => { const text = read(c); if (r.cells[j].textContent !== text) r.cells[j].textContent = text; });
    kept.add(c.id);
    if (body.rows[i] !== r) body.insertBefore(r, body.rows[i] ?? null);
  });
  for (const [id, r] of rows) if (!kept.has(id)) { r.remove(); rows.delete(id); }
  $('shown').textContent = t.total > t.rows.length ? `the first ${t.rows.length} of ${t.total}, by ${t.sort}` : `${t.total}, by ${t.sort}`;
}

function buttons(id) {
  const cell = make('td', '', 'acts');
  for (const act of ['pause', 'resume', 'close']) {
    const button = make('button', act);
    button.onclick = async () => {
      const r = await fetch(`/live/conns/${id}/${act}`, { method: 'POST', headers: { 'Epi-Live': act } });
      $('notice').textContent = r.ok ? `${act}: done` : await r.text();
    };
    cell.append(button);
  }
  return cell;
}

function connect() {
  events?.close();
  events = new EventSource('/live/events?sort=' + sort);
  const on = (name, show) => events.addEventListener(name, e => { if (!frozen || name === 'hello') show(JSON.parse(e.data)); });
  on('hello', h => { if (!hello || JSON.stringify(h) !== JSON.stringify(hello)) { showHello(h); showHead(); } else if ($('notice').dataset.lost) $('notice').textContent = ''; delete $('notice').dataset.lost; });
  on('frame', showFrame);
  on('conns', showConns);
  events.onerror = () => {
    $('notice').dataset.lost = 'yes';
    $('notice').textContent = 'The server does not answer: it has ended, or too many pages look at it.';
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 2000); // refused: the browser does not ask again
  };
}

$('freeze').onclick = () => {
  frozen = !frozen;
  $('freeze').setAttribute('aria-pressed', frozen);
};
addEventListener('resize', () => loops.forEach(l => l.draw()));
showHead();
connect();
