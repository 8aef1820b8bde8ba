// Lines that begin with a slash.
import { parse } from './irc.js';

// command does what a line that begins with a slash says. It returns the name of a
// conversation to show, or what is wrong as {problem}.
export function command(client, b, text) {
  const [word, ...args] = text.slice(1).split(' ');
  const rest = args.join(' ').trim();
  switch (word.toLowerCase()) {
    case 'me': client.say(b.name, rest, { kind: 'action' }); return {};
    case 'join': case 'j': {
      const name = rest.split(' ')[0];
      if (name === '') return { problem: 'needsName' };
      const channel = client.isChannel(name) ? name : `#${name}`;
      client.join(channel, args[1]);
      return { show: channel };
    }
    case 'part': case 'leave': client.part(b); return {};
    case 'msg': case 'query': {
      if (!args[0]) return { problem: 'needsName' };
      client.openQuery(args[0]);
      if (args.length > 1) client.say(args[0], args.slice(1).join(' '));
      return { show: args[0] };
    }
    case 'nick': client.send('NICK', rest); return {};
    case 'topic': client.send('TOPIC', b.name, rest); return {};
    case 'invite': client.send('INVITE', args[0] ?? '', args[1] ?? b.name); return {};
    case 'kick': client.send('KICK', b.name, args[0] ?? '', args.slice(1).join(' ')); return {};
    case 'away': if (rest === '') client.send('AWAY'); else client.send('AWAY', rest); return {};
    case 'mode': client.send('MODE', ...(args.length > 0 && args[0] !== '' ? [b.name, ...args] : [b.name])); return {};
    case 'whois': client.send('WHOIS', args[0] ?? client.model.nick); return {};
    case 'quote': case 'raw': { const m = parse(rest); if (m !== null) client.send(m.command, ...m.params); return {}; }
  }
  return { problem: 'unknownCommand' };
}
