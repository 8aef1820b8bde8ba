// Runs epi world, Colyseus and ws with JSON in turns, server and players on a CPU each,
// and prints a line of JSON for each run: for "epi lab peers world".
// node run.mjs EPI PLAYERS SECONDS ROUNDS
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const [epi, players, seconds, rounds] = process.argv.slice(2).map((v, i) => (i === 0 ? v : Number(v)));
const side = 16; // cells, so that there are four towns
const here = new URL('.', import.meta.url).pathname;
const port = 18440;
const settings = ['world.seed=1', `world.width=${side}`, `world.height=${side}`, 'world.monsters=0', `world.players=${players + 10}`];
const servers = {
  epi: [epi, 'world', '--listen', `ws://127.0.0.1:${port}`, '--max-conns-per-ip', '0', ...settings.flatMap((s) => ['--set', s])],
  colyseus: [process.execPath, `${here}colyseus.mjs`, port, side],
  json: [process.execPath, `${here}json.mjs`, port, side],
};

const ended = (child) => new Promise((done) => { child.on('exit', done); });

async function run(kind) {
  const server = spawn('taskset', ['-c', '0', ...servers[kind].map(String)], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((done) => { server.stdout.once('data', done); });
  await sleep(500);
  const load = spawn('taskset', ['-c', '1', process.execPath, `${here}load.mjs`, kind, port, players, seconds, server.pid].map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  load.stdout.on('data', (data) => { out += data; });
  await ended(load);
  server.kill('SIGTERM');
  const killer = setTimeout(() => server.kill('SIGKILL'), 5000);
  await ended(server);
  clearTimeout(killer);
  return JSON.parse(out);
}

for (let round = 0; round < rounds; round++) {
  for (const kind of Object.keys(servers)) console.log(JSON.stringify(await run(kind)));
}
