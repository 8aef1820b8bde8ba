// A world on the ws package in the common manner: each tick everybody gets a JSON text
// with all players that are near. node json.mjs PORT SIDE
import { WebSocketServer } from 'ws';
import { Arena, every } from './arena.mjs';

const [port, side] = process.argv.slice(2).map(Number);
const arena = new Arena(side);
const server = new WebSocketServer({ port, host: '127.0.0.1', perMessageDeflate: false });
const clients = new Map();
let last = 0, tick = 0;

server.on('connection', (socket) => {
  const id = ++last;
  const player = arena.join(id);
  clients.set(id, { socket, player });
  socket.on('message', (data) => {
    let m;
    try { m = JSON.parse(data); } catch { socket.close(); return; }
    if (m.type === 'move') arena.move(player, m.direction);
  });
  socket.on('close', () => { arena.leave(id); clients.delete(id); });
  socket.on('error', () => socket.terminate());
  socket.send(JSON.stringify({ type: 'welcome', id }));
});

every(() => {
  arena.step();
  tick++;
  for (const { socket, player } of clients.values()) {
    const players = [];
    arena.visible(player, (o) => players.push({ id: o.id, name: o.name, x: o.x, y: o.y, direction: o.direction }));
    socket.send(JSON.stringify({ type: 'state', tick, players }));
  }
});
console.log('listening');
