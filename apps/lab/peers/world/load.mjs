// Players for the servers of this directory and for epi world: they walk and rest as
// those of "epi world load" do. It prints what they saw as JSON.
// node load.mjs KIND PORT PLAYERS SECONDS PID
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Client } from '@colyseus/sdk';
import WebSocket from 'ws';
import { decode, encode, version } from '../../../world/web/proto.js';
import { Replica } from '../../../world/web/replica.js';
import { WorldMap } from '../../../world/web/map.js';

const [kind, port, players, seconds, pid] = process.argv.slice(2).map((v, i) => (i === 0 ? v : Number(v)));
const hz = 20, period = 1000 / hz, moving = 30, warmup = 4;

let map = null; // of epi's world: the same for all
const kinds = {
  json(name, onTick) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: false });
    const player = { socket, ready: new Promise((done, failed) => { socket.on('open', done); socket.on('error', failed); }) };
    socket.on('message', (data) => {
      const m = JSON.parse(data);
      if (m.type === 'state') onTick(m.tick, m.players.length);
    });
    player.move = (direction) => socket.send(JSON.stringify({ type: 'move', direction }));
    return player;
  },
  epi(name, onTick) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/world`, { perMessageDeflate: false });
    socket.binaryType = 'arraybuffer';
    let replica = null;
    const player = { socket, ready: new Promise((done, failed) => { socket.on('open', done); socket.on('error', failed); }) };
    socket.on('open', () => socket.send(encode('hello', { version, name, token: new Uint8Array() })));
    socket.on('message', (data) => {
      const messages = decode(new Uint8Array(data));
      for (const m of messages) {
        if (m.type === 'refused') throw new Error(m.text);
        if (m.type !== 'welcome') continue;
        map ??= new WorldMap(m.seed, m.width, m.height);
        replica = new Replica(m, map);
      }
      if (replica === null) return;
      const before = replica.tick;
      replica.frame(messages);
      if (replica.tick !== before) onTick(replica.tick, replica.entities.size);
    });
    player.move = (direction) => {
      const m = replica?.move(direction);
      if (m) socket.send(encode('move', m));
    };
    return player;
  },
  colyseus(name, onTick) {
    const player = { move() {} };
    player.ready = new Client(`http://127.0.0.1:${port}`).joinOrCreate('world').then((room) => {
      player.socket = room.connection.transport.ws;
      room.onStateChange((state) => onTick(state.tick, state.players?.size ?? 0));
      player.move = (direction) => room.send('move', direction);
    });
    return player;
  },
};

// cpu is what the server has used, in seconds, by Linux' clock of 100 ticks.
const cpu = () => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).reduce((a, b) => a + Number(b), 0) / 100;
const between = (a, b) => a + Math.floor(Math.random() * (b - a));

let measuring = false, frames = 0, seen = 0;
const late = [];

function play(name) {
  let first = 0, firstTick = 0, least = Infinity, heard = 0, going = 0, until = 0;
  const player = kinds[kind](name, (tick, visible) => {
    const now = performance.now();
    if (first === 0) { first = now; firstTick = tick; }
    const after = now - first - (tick - firstTick) * period;
    if (after < 0) first += after;
    // The beat moves when a server drops ticks: it is that of the earliest of 40.
    least = Math.min(least, Math.max(0, after));
    if (++heard % 40 === 0) {
      first += least;
      least = Infinity;
    }
    if (measuring) {
      frames++;
      seen += visible;
      late.push(Math.max(0, after));
    }
    if (tick >= until) {
      until = tick + between(10, 50);
      going = between(0, 100) < moving ? between(1, 9) : 0;
    }
    if (going !== 0) player.move(going);
  });
  return player;
}

const all = [];
for (let n = 0; n < players; n++) {
  const player = play(`Bot${n}`);
  await player.ready;
  all.push(player);
}
const sleep = (s) => new Promise((done) => setTimeout(done, s * 1000));
await sleep(warmup);
const received = () => all.reduce((sum, p) => sum + (p.socket._socket?.bytesRead ?? 0), 0);
const lag = monitorEventLoopDelay({ resolution: 1 });
const before = { cpu: cpu(), bytes: received(), at: performance.now() };
measuring = true;
lag.enable();
await sleep(seconds);
measuring = false;
lag.disable();
const took = (performance.now() - before.at) / 1000, used = cpu() - before.cpu;
late.sort((a, b) => a - b);
const at = (q) => Number((late[Math.min(late.length - 1, Math.floor(late.length * q))] ?? 0).toFixed(2));
console.log(JSON.stringify({
  kind, players, seconds: took, frames_per_second: frames / players / took, visible: seen / frames,
  bytes_per_second: (received() - before.bytes) / players / took, cpu_us_per_frame: used * 1e6 / frames, cpu_percent: used / took * 100,
  late_p50_ms: at(0.5), late_p99_ms: at(0.99), own_lag_p99_ms: lag.percentile(99) / 1e6,
}));
process.exit(0);
