// A world on Colyseus: its schema for the state, and a StateView for each client with
// the players that are near. node colyseus.mjs PORT SIDE
import { Room, Server } from '@colyseus/core';
import { schema, StateView, t } from '@colyseus/schema';
import { WebSocketTransport } from '@colyseus/ws-transport';
import { Arena, every, hz } from './arena.mjs';

const [port, side] = process.argv.slice(2).map(Number);
const Player = schema({ name: t.string(), x: t.uint16(), y: t.uint16(), direction: t.uint8() }, 'Player');
const State = schema({ tick: t.uint32(), players: t.map(Player).view() }, 'State');

class World extends Room {
  onCreate() {
    this.maxClients = 100_000;
    this.patchRate = null; // the beat below sends
    this.state = new State();
    this.state.tick = 0;
    this.arena = new Arena(side);
    this.seats = new Map();
    this.onMessage('move', (client, direction) => this.arena.move(this.seats.get(client.sessionId).player, direction));
    every(() => this.beat());
  }

  onJoin(client) {
    const player = this.arena.join(client.sessionId);
    const shown = new Player();
    shown.name = player.name;
    player.shown = shown;
    this.copy(player);
    this.state.players.set(client.sessionId, shown);
    client.view = new StateView();
    this.seats.set(client.sessionId, { client, player, sees: new Set() });
  }

  onLeave(client) {
    const { player } = this.seats.get(client.sessionId);
    for (const seat of this.seats.values()) if (seat.sees.delete(player)) seat.client.view.remove(player.shown);
    this.seats.delete(client.sessionId);
    this.arena.leave(client.sessionId);
    this.state.players.delete(client.sessionId);
  }

  copy(p) {
    p.shown.x = p.x;
    p.shown.y = p.y;
    p.shown.direction = p.direction;
  }

  beat() {
    this.arena.step();
    this.state.tick++;
    for (const { player } of this.seats.values()) this.copy(player);
    for (const { client, player, sees } of this.seats.values()) {
      const now = new Set();
      this.arena.visible(player, (o) => {
        now.add(o);
        if (sees.has(o)) return;
        sees.add(o);
        client.view.add(o.shown);
      });
      for (const o of sees) {
        if (now.has(o)) continue;
        sees.delete(o);
        client.view.remove(o.shown);
      }
    }
    this.broadcastPatch();
  }
}

const server = new Server({ transport: new WebSocketTransport({}), greet: false, gracefullyShutdown: false });
server.define('world', World);
await server.listen(port, '127.0.0.1');
console.log('listening', hz);
