// The page: keys and fingers in, pictures and words out.
import * as atlas from './atlas.js';
import { Link } from './link.js';
import { Goods } from './goods.js';
import { directionOf, tile, WorldMap } from './map.js';
import { renderer } from './render.js';
import { Replica } from './replica.js';
import { orders } from './orders.js';
import { language, notice, refusal, say } from './words.js';

const $ = (id) => document.getElementById(id);
const scene = $('scene'), labels = $('labels'), minimap = $('minimap');
const draw = renderer(scene);
const text = labels.getContext('2d');
const overview = minimap.getContext('2d');

// Others are drawn so many ticks in the past, between two places that are known.
const past = 2;
const bubbleTime = 6000;
const floatTime = 900; // of the figures of a blow
// What the server allows (docs/world-protocol.md, Fights).
const strikeRange = 3 * tile, strikeEvery = 500, reach = 2 * tile, tradeRange = 8 * tile;
const maxLog = 200;

document.documentElement.lang = language;
document.querySelector('label[for=name]').textContent = say('name');
document.querySelector('#enter button').textContent = say('enter');
$('help').textContent = say('help');
$('text').placeholder = say('say');
for (const id of ['strike', 'take', 'open', 'trade']) $(id).textContent = say(id);
$('health').setAttribute('aria-label', say('health'));

let link = null, map = null, replica = null, welcome = null;
let tickAt = 0; // when the last tick came, smoothed
const bubbles = new Map(); // by entity: what it says, and until when
const floats = []; // figures of blows: what, over whom, until when
let level = 0, struckAt = 0;
const goods = new Goods((type, m) => link.send(type, m), (id) => replica.entities.get(id)?.name ?? '', (line) => write(line, 'system'));
const figures = { fps: 0, bytes: 0, worst: 0 };

$('enter').addEventListener('submit', (e) => {
  e.preventDefault();
  $('refused').textContent = '';
  $('enter').hidden = true;
  $('enter').style.display = 'none';
  $('status').textContent = say('connecting');
  link = new Link($('name').value.trim(), { welcome: onWelcome, frame: onFrame, refused: onRefused, lost: () => { $('status').textContent = say('lost'); } });
});
$('name').value = Link.lastName();
$('name').select();
$('name').focus();

function onWelcome(m) {
  if (map === null || welcome.seed !== m.seed || welcome.width !== m.width || welcome.height !== m.height) map = new WorldMap(m.seed, m.width, m.height);
  welcome = m;
  replica = new Replica(m, map);
  tickAt = performance.now();
  $('status').textContent = '';
  $('text').disabled = false;
  $('figures').hidden = $('actions').hidden = false;
  goods.begin();
  write(say(m.resumed === 1 ? 'back' : 'welcome', { name: link.name }), 'system');
}

function onRefused(m) {
  $('status').textContent = '';
  if (!link.ended) {
    write(refusal(m.reason, m.text), 'system');
    return;
  }
  $('refused').textContent = refusal(m.reason, m.text);
  $('enter').style.display = '';
  $('enter').hidden = false;
  $('name').focus();
}

function onFrame(messages) {
  if (replica === null) return;
  const before = replica.tick;
  for (const m of replica.frame(messages)) {
    if (m.type === 'said') {
      bubbles.set(m.id, { text: m.text, until: performance.now() + bubbleTime });
      write(`${m.name}: ${m.text}`, '');
    } else if (m.type === 'notice') write(notice(m.code, m.text), 'system');
    else if (m.type === 'hit') onHit(m);
    else if (m.type === 'standing') onStanding(m);
    else if (m.type === 'whispered') {
      const mine = m.from === link.name;
      write(say(mine ? 'whisperTo' : 'whisperFrom', { name: mine ? m.to : m.from, text: m.text }), 'whisper');
    } else if (m.type === 'online') {
      write(say('online', { count: m.count, names: m.people.map((p) => say('person', p)).join(', ') }), 'system');
    } else goods.take(m);
  }
  if (replica.tick === before) return;
  const chest = replica.entities.get(goods.contents?.chest);
  if (goods.contents !== null && (chest === undefined || distance(chest) > reach)) goods.closeChest();
  // The beat of ticks, without the network's jitter.
  const now = performance.now(), period = 1000 / welcome.hz;
  const expected = tickAt + ((replica.tick - before) | 0) * period;
  tickAt = Math.abs(now - expected) > 500 ? now : expected + (now - expected) * 0.1;
  moveOn();
}

function onHit(m) {
  floats.push({ id: m.target, text: '-' + m.damage, until: performance.now() + floatTime });
  if (m.target === replica.self && m.health === 0) write(say('fallen'), 'system');
}

function onStanding(m) {
  if (level !== 0 && m.level > level) write(say('rose', m), 'system');
  level = m.level;
  $('level').textContent = say(m.next === 0 ? 'level' : 'learned', m);
}

const strikable = (e) => e.kind < atlas.firstThing && e.health > 0;
const thing = (e) => atlas.isThing(e.kind);
const person = (e) => e.kind === 0;

// nearest returns the entity of a sort that is nearest to a place within a distance.
function nearest(at, within, sort = strikable) {
  let best = null, least = within;
  for (const e of replica.entities.values()) {
    if (e.id === replica.self || !sort(e)) continue;
    const p = replica.at(e, replica.tick - past);
    const d = Math.hypot(p.x - at.x, p.y - at.y);
    if (d <= least) [best, least] = [e, d];
  }
  return best;
}

// distance is how far the player is from what lies.
function distance(e) {
  const p = replica.at(e, replica.tick);
  return Math.hypot(p.x - replica.me.x, p.y - replica.me.y);
}

// strike strikes an entity as it is drawn, when there is one and it is time.
function strike(e) {
  const now = performance.now();
  if (e === null || now - struckAt < strikeEvery) return;
  struckAt = now;
  link.send('attack', { target: e.id, seen: (replica.tick - past) >>> 0 });
}
// take picks up what is nearest, or opens it when it is a chest.
function take(e) {
  if (e === null) write(say('nothingNear'), 'system');
  else if (e.kind === atlas.firstThing) link.send('open', { chest: e.id });
  else link.send('pickUp', { thing: e.id });
}

// What the buttons and keys do.
const acts = {
  strike: () => strike(nearest(replica.me, strikeRange)),
  take: () => take(nearest(replica.me, reach, thing)),
  open: () => goods.toggleBag(),
  trade: () => goods.ask(nearest(replica.me, tradeRange, person)?.id ?? 0),
};
const actKeys = { KeyE: 'take', KeyB: 'open', KeyT: 'trade' };
for (const id of Object.keys(acts)) $(id).addEventListener('click', () => { if (replica !== null) acts[id](); });

function write(line, kind) {
  const log = $('log'), p = document.createElement('p');
  p.textContent = line;
  p.className = kind;
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.append(p);
  if (log.children.length > maxLog) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// What the keys and the pointer want.
const keys = new Set();
const keyHeadings = { ArrowUp: [0, -1], KeyW: [0, -1], ArrowDown: [0, 1], KeyS: [0, 1], ArrowLeft: [-1, 0], KeyA: [-1, 0], ArrowRight: [1, 0], KeyD: [1, 0] };
let pointer = null;

addEventListener('keydown', (e) => {
  if (e.code === 'F3') {
    e.preventDefault();
    $('debug').hidden = !$('debug').hidden;
    return;
  }
  if (e.code === 'Escape' && replica !== null && goods.escape()) return;
  if (e.target instanceof HTMLInputElement) return;
  const act = actKeys[e.code];
  if (act !== undefined && replica !== null && !e.repeat && !e.ctrlKey && !e.metaKey && !e.altKey) {
    e.preventDefault();
    acts[act]();
    return;
  }
  if (e.target instanceof HTMLButtonElement && (e.code === 'Enter' || e.code === 'Space')) return; // it is pressed
  if (e.code === 'Enter' && !$('text').disabled) {
    e.preventDefault();
    $('text').focus();
  }
  if (keyHeadings[e.code] !== undefined || e.code === 'Space') {
    e.preventDefault();
    keys.add(e.code);
  }
});
addEventListener('keyup', (e) => keys.delete(e.code));
addEventListener('blur', () => { keys.clear(); pointer = null; });
document.addEventListener('visibilitychange', () => { if (document.hidden) { keys.clear(); pointer = null; } });
scene.addEventListener('pointerdown', (e) => {
  document.activeElement.blur();
  const touched = replica === null ? null : nearest(placeOf(e), 0.7 * tile);
  if (touched !== null) {
    strike(touched);
    return;
  }
  const lies = replica === null ? null : nearest(placeOf(e), 0.6 * tile, thing);
  if (lies !== null && distance(lies) <= reach) {
    take(lies);
    return;
  }
  pointer = e;
  scene.setPointerCapture(e.pointerId);
});
// placeOf is where in the world a pointer is.
function placeOf(e) {
  const size = tileSize();
  return { x: replica.me.x + (e.clientX - innerWidth / 2) / size * tile, y: replica.me.y + (e.clientY - innerHeight / 2) / size * tile };
}
scene.addEventListener('pointermove', (e) => { if (pointer !== null) pointer = e; });
for (const end of ['pointerup', 'pointercancel']) scene.addEventListener(end, () => { pointer = null; });

$('say').addEventListener('submit', (e) => {
  e.preventDefault();
  const line = $('text').value.trim();
  if (line.startsWith('/')) {
    const sent = orders(line, replica.me);
    if (sent === null) write(say('unknownOrder', { order: line.split(' ')[0] }), 'system');
    else link.send(...sent);
  } else if (line !== '') link.send('say', { text: line });
  $('text').value = '';
  $('text').blur();
});
$('text').addEventListener('keydown', (e) => { if (e.code === 'Escape') $('text').blur(); });

function wanted() {
  let x = 0, y = 0;
  for (const code of keys) {
    const [dx, dy] = keyHeadings[code] ?? [0, 0]; // Space strikes
    x += dx;
    y += dy;
  }
  if (x === 0 && y === 0 && pointer !== null) {
    const dx = pointer.clientX - innerWidth / 2, dy = pointer.clientY - innerHeight / 2;
    if (Math.hypot(dx, dy) < 16) return 0;
    const eighth = Math.round(Math.atan2(dy, dx) / (Math.PI / 4));
    x = Math.round(Math.cos(eighth * Math.PI / 4));
    y = Math.round(Math.sin(eighth * Math.PI / 4));
  }
  return Math.max(0, directionOf(x, y));
}

// moveOn goes on by one tick of input, for each tick that came.
function moveOn() {
  if (keys.has('Space')) strike(nearest(replica.me, strikeRange));
  const direction = replica.health === 0 ? 0 : wanted();
  if (direction === 0) {
    replica.stand();
    return;
  }
  const m = replica.move(direction);
  if (m !== null) link.send('move', m);
}

// tileSize is the side of a tile on the page.
const tileSize = () => Math.max(24, Math.min(56, Math.min(innerWidth, innerHeight) / 14));

function resize() {
  const scale = devicePixelRatio || 1;
  for (const c of [scene, labels]) {
    c.width = Math.round(innerWidth * scale);
    c.height = Math.round(innerHeight * scale);
  }
}
addEventListener('resize', resize);
resize();

// daylight is 1 by day and 0 in the night, which is the last third.
function daylight() {
  const part = (replica.tick % welcome.day) / welcome.day;
  const dusk = 0.04;
  if (part < 2 / 3 - dusk) return Math.min(1, part / dusk);
  return Math.max(0, (2 / 3 - part) / dusk);
}

let lastFrame = performance.now();
function frame(now) {
  requestAnimationFrame(frame);
  const took = now - lastFrame;
  lastFrame = now;
  figures.fps += (1000 / Math.max(took, 1) - figures.fps) / 20;
  figures.worst = Math.max(figures.worst * 0.99, took);
  if (replica !== null) paint(now);
}
requestAnimationFrame(frame);

function paint(now) {
  const scale = devicePixelRatio || 1;
  const size = Math.round(tileSize() * scale);
  const period = 1000 / welcome.hz;
  const part = Math.min(1.5, Math.max(0, (now - tickAt) / period));
  const at = {
    x: replica.before.x + (replica.me.x - replica.before.x) * Math.min(1, part),
    y: replica.before.y + (replica.me.y - replica.before.y) * Math.min(1, part),
  };
  // The world's pixel at the upper left: a whole one, so that there is no seam between
  // tiles.
  const left = Math.round(at.x / tile * size - scene.width / 2), top = Math.round(at.y / tile * size - scene.height / 2);
  draw.begin(daylight());
  for (let ty = Math.floor(top / size); ty * size < top + scene.height; ty++) {
    for (let tx = Math.floor(left / size); tx * size < left + scene.width; tx++) draw.sprite(tx * size - left, ty * size - top, size, map.at(tx, ty));
  }
  const shown = [];
  for (const e of replica.entities.values()) {
    if (e.id === replica.self) continue;
    const p = replica.at(e, replica.tick + part - past);
    const x = p.x / tile * size - left, y = p.y / tile * size - top;
    if (x < -size || y < -size || x > scene.width + size || y > scene.height + size) continue;
    shown.push({ e, x, y, index: e.health === 0 && !thing(e) ? atlas.fallen : atlas.spriteOf(e.kind) });
  }
  const self = { id: replica.self, name: link.name, health: replica.health, level };
  shown.push({ e: self, x: at.x / tile * size - left, y: at.y / tile * size - top, index: replica.health === 0 ? atlas.fallen : atlas.me });
  $('health').value = replica.health;
  shown.sort((a, b) => thing(b.e) - thing(a.e) || a.y - b.y); // what lies is below what stands
  for (const s of shown) draw.sprite(s.x - size / 2, s.y - size * 0.8, size, s.index);
  draw.end();
  paintLabels(shown, size, scale, now);
  paintFloats(shown, size, scale, now);
  paintMap(at);
  paintFigures(shown.length);
}

function paintLabels(shown, size, scale, now) {
  text.clearRect(0, 0, labels.width, labels.height);
  text.textAlign = 'center';
  const named = nearestTo(scene.width / 2, scene.height / 2, shown);
  for (const s of shown) {
    if (s.e.health > 0 && s.e.health < 100) paintHealth(s, size);
    if (s.e.name && named.has(s)) {
      text.font = `${12 * scale}px system-ui, sans-serif`;
      outlined(s.e.name, s.x, s.y + size * 0.42, '#fff');
    }
    const bubble = bubbles.get(s.e.id);
    if (bubble === undefined) continue;
    if (bubble.until < now) {
      bubbles.delete(s.e.id);
      continue;
    }
    text.font = `${14 * scale}px system-ui, sans-serif`;
    outlined(bubble.text.length > 60 ? bubble.text.slice(0, 59) + '…' : bubble.text, s.x, s.y - size * 0.95, '#ffe9b0');
  }
}

// nearestTo returns those of a crowd whose names are shown: more could not be read, and
// text costs many times more than sprites.
const maxNames = 100;

function nearestTo(x, y, shown) {
  if (shown.length <= maxNames) return new Set(shown);
  const far = (s) => (s.x - x) ** 2 + (s.y - y) ** 2;
  return new Set(shown.toSorted((a, b) => far(a) - far(b)).slice(0, maxNames));
}

function paintHealth(s, size) {
  const width = size * 0.8, height = Math.max(3, size / 14), x = s.x - width / 2, y = s.y - size * 0.9;
  text.fillStyle = '#000a';
  text.fillRect(x - 1, y - 1, width + 2, height + 2);
  text.fillStyle = s.e.health > 35 ? '#6fd36f' : '#ff6b5e';
  text.fillRect(x, y, width * s.e.health / 100, height);
}

// paintFloats shows the figures of blows, which rise and go.
function paintFloats(shown, size, scale, now) {
  while (floats.length > 0 && floats[0].until < now) floats.shift();
  text.font = `bold ${15 * scale}px system-ui, sans-serif`;
  for (const f of floats) {
    const s = shown.find((s) => s.e.id === f.id);
    if (s !== undefined) outlined(f.text, s.x, s.y - size * (1.7 - 0.7 * (f.until - now) / floatTime), '#ff8a75');
  }
}

function outlined(words, x, y, color) {
  text.lineWidth = 3 * (devicePixelRatio || 1);
  text.strokeStyle = '#000a';
  text.strokeText(words, x, y);
  text.fillStyle = color;
  text.fillText(words, x, y);
}

const mapColors = ['#4d8a4a', '#b59a6a', '#a9a293', '#5e5a58', '#2f6f9f', '#24502c'];
const mapTiles = 80; // from side to side
let mapDrawn = null;

function paintMap(at) {
  const tx = Math.floor(at.x / tile), ty = Math.floor(at.y / tile), dot = minimap.width / mapTiles;
  const key = `${tx},${ty},${replica.tick >>> 3}`;
  if (key === mapDrawn) return;
  mapDrawn = key;
  for (let y = 0; y < mapTiles; y++) {
    for (let x = 0; x < mapTiles; x++) {
      overview.fillStyle = mapColors[map.at(tx + x - mapTiles / 2, ty + y - mapTiles / 2)];
      overview.fillRect(x * dot, y * dot, dot, dot);
    }
  }
  for (const e of replica.entities.values()) {
    const p = replica.at(e, replica.tick);
    overview.fillStyle = e.id === replica.self ? '#fff' : e.kind === 0 ? '#ffd479' : thing(e) ? '#c9a24a' : '#ff6b5e';
    overview.fillRect((p.x / tile - tx + mapTiles / 2) * dot - 1, (p.y / tile - ty + mapTiles / 2) * dot - 1, 3, 3);
  }
}

let figuresAt = 0, bytesAt = 0;
function paintFigures(sprites) {
  const now = performance.now();
  if (now - figuresAt < 500) return;
  figures.bytes = (link.bytes - bytesAt) / (now - figuresAt) * 1000;
  figuresAt = now;
  bytesAt = link.bytes;
  if ($('debug').hidden) return;
  $('debug').textContent = [
    `fps ${figures.fps.toFixed(0)}, worst frame ${figures.worst.toFixed(0)} ms`,
    `ping ${link.ping.toFixed(0)} ms, jitter ${link.jitter.toFixed(1)} ms`,
    `tick ${replica.tick}, late ${link.late.toFixed(1)} ms`,
    `${(figures.bytes / 1000).toFixed(1)} kB/s, ${replica.entities.size} entities, ${sprites} drawn`,
    `moves under way ${replica.moves.length}, corrections ${replica.corrections}`,
    `at ${(replica.me.x / tile).toFixed(2)}, ${(replica.me.y / tile).toFixed(2)}`,
  ].join('\n');
}

// For scripts that look at the page.
window.world = { goods, get replica() { return replica; }, get link() { return link; }, keys };
