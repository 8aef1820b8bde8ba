// The lines that begin with a slash, as messages.

const things = ['gold', 'potion', 'bread', 'pelt', 'pearl'];
const kinds = { '/mute': 1, '/unmute': 2, '/kick': 3, '/ban': 4, '/bring': 5, '/unban': 6 };

// orders returns the type and the fields of the message for a line; null when it means
// nothing. at is where the player is: /bring brings others there.
export function orders(line, at) {
  const [order, name, ...rest] = line.trim().split(/\s+/);
  const text = rest.join(' ');
  if (order === '/who') return ['who', {}];
  if (name === undefined) return null;
  if (order === '/w') return text === '' ? null : ['whisper', { to: name, text }];
  if (order === '/key') return ['moderate', { key: new TextEncoder().encode(name) }];
  if (order === '/give') return give(name, ...rest);
  const kind = kinds[order];
  if (kind === undefined) return null;
  return ['order', { kind, name, x: kind === kinds['/bring'] ? at.x : 0, y: kind === kinds['/bring'] ? at.y : 0 }];
}

// give is for moderators: /give NAME gold 50, /give NAME potion.
function give(name, thing, amount = '1') {
  const kind = things.indexOf(thing);
  if (kind < 0 || !/^[1-9][0-9]{0,8}$/.test(amount)) return null;
  return ['give', { name, kind, amount: Number(amount) }];
}
