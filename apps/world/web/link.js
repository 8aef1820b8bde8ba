// The connection: frames to and from the server, again and again until it is told to
// end.
import { decode, encode, version } from './proto.js';

// How long to wait before the next try, in milliseconds; the last goes on.
const waits = [200, 500, 1000, 2000, 4000];
const pingEvery = 2000;

// The token of each name is kept for the next visit: a name that lasts belongs to who
// has it. Where the browser keeps nothing, it is lost with the page.
const kept = {
  get: (key) => { try { return localStorage.getItem('epi world ' + key) ?? ''; } catch { return ''; } },
  set: (key, value) => { try { localStorage.setItem('epi world ' + key, value); } catch { /* see above */ } },
};
const toHex = (bytes) => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('');
const fromHex = (text) => Uint8Array.from(/^([0-9a-f]{2}){16}$/.test(text) ? text.match(/../g) : [], (b) => parseInt(b, 16));

// tokenOf is the token of a name, chosen and kept before it is used: so the name is not
// lost when the connection is before Welcome.
function tokenOf(name) {
  const token = fromHex(kept.get('token of ' + name));
  if (token.length > 0) return token;
  const chosen = crypto.getRandomValues(new Uint8Array(16));
  kept.set('token of ' + name, toHex(chosen));
  return chosen;
}

export class Link {
  // lastName is the one that came in last, empty for none.
  static lastName() { return kept.get('name'); }

  // handlers has welcome(message), frame(messages), refused(message), lost().
  constructor(name, handlers) {
    this.name = name;
    this.handlers = handlers;
    this.token = tokenOf(name);
    this.tries = 0;
    this.bytes = 0;
    this.ping = 0;
    this.jitter = 0;
    this.late = 0;
    this.ended = false;
    this.connect();
    setInterval(() => this.send('ping', { time: Math.floor(performance.now()) >>> 0 }), pingEvery);
  }

  connect() {
    this.open = false;
    const address = new URL('world', location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    address.search = address.hash = '';
    const socket = new WebSocket(address);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => socket.send(encode('hello', { version, name: this.name, token: this.token }));
    socket.onmessage = (e) => this.receive(new Uint8Array(e.data));
    socket.onclose = () => this.closed(socket);
    this.socket = socket;
  }

  receive(bytes) {
    this.bytes += bytes.length;
    const messages = decode(bytes);
    const frame = [];
    for (const m of messages) {
      switch (m.type) {
        case 'welcome':
          this.token = m.token.slice();
          kept.set('token of ' + this.name, toHex(this.token));
          kept.set('name', this.name);
          this.tries = 0;
          this.open = true;
          this.handlers.welcome(m);
          break;
        case 'refused':
          this.ended = m.reason !== 9; // the world comes back, perhaps
          this.handlers.refused(m);
          break;
        case 'pong': this.pong(m); break;
        default: frame.push(m);
      }
    }
    if (frame.length > 0) this.handlers.frame(frame);
  }

  pong(m) {
    const took = ((performance.now() >>> 0) - m.time) >>> 0;
    this.jitter += (Math.abs(took - this.ping) - this.jitter) / 8;
    this.ping = this.ping === 0 ? took : this.ping + (took - this.ping) / 4;
    this.late = m.late / 10;
  }

  closed(socket) {
    if (socket !== this.socket || this.ended) return;
    this.open = false;
    this.handlers.lost();
    setTimeout(() => this.connect(), waits[Math.min(this.tries++, waits.length - 1)]);
  }

  send(type, message) {
    if (this.open && this.socket.readyState === WebSocket.OPEN) this.socket.send(encode(type, message));
  }
}
