// Lines of IRC to messages and back (https://modern.ircdocs.horse/#message-format,
// https://ircv3.net/specs/extensions/message-tags).

const escapes = { ':': ';', s: ' ', '\\': '\\', r: '\r', n: '\n' };
const escaped = { ';': '\\:', ' ': '\\s', '\\': '\\\\', '\r': '\\r', '\n': '\\n' };

// unescape reads a tag's value. A backslash at the end is nothing.
export const unescape = (value) => value.replace(/\\(.?)/gs, (_, c) => escapes[c] ?? c);

export const escape = (value) => value.replace(/[; \\\r\n]/g, (c) => escaped[c]);

// parseTags returns the tags of a line; the last of a name counts.
export function parseTags(text) {
  const tags = new Map();
  for (const part of text.split(';')) {
    if (part === '') continue;
    const at = part.indexOf('=');
    if (at < 0) tags.set(part, '');
    else tags.set(part.slice(0, at), unescape(part.slice(at + 1)));
  }
  return tags;
}

export function formatTags(tags) {
  const parts = [];
  for (const [key, value] of tags) parts.push(value === '' ? key : `${key}=${escape(value)}`);
  return parts.join(';');
}

// parse returns {tags, source, command, params}, or null for a line without a command.
export function parse(line) {
  let rest = line.replace(/[\r\n]+$/, '');
  const message = { tags: new Map(), source: '', command: '', params: [] };
  const word = () => {
    const at = rest.indexOf(' ');
    const first = at < 0 ? rest : rest.slice(0, at);
    rest = at < 0 ? '' : rest.slice(at).replace(/^ +/, '');
    return first;
  };
  if (rest.startsWith('@')) message.tags = parseTags(word().slice(1));
  rest = rest.replace(/^ +/, '');
  if (rest.startsWith(':')) message.source = word().slice(1);
  message.command = word().toUpperCase();
  while (rest !== '') {
    if (rest.startsWith(':')) {
      message.params.push(rest.slice(1));
      break;
    }
    message.params.push(word());
  }
  return message.command === '' ? null : message;
}

// format writes a message as a line without its end. What would end the line early
// is left out.
export function format({ tags, source, command, params = [] }) {
  let line = '';
  if (tags !== undefined && tags.size > 0) line += `@${formatTags(tags)} `;
  if (source) line += `:${source} `;
  line += command;
  params.forEach((param, i) => {
    const last = i === params.length - 1;
    const clean = String(param).replace(/[\r\n\0]/g, ' ');
    line += last && (clean === '' || clean.startsWith(':') || clean.includes(' ')) ? ` :${clean}` : ` ${clean}`;
  });
  return line;
}

// splitSource returns the parts of nick!user@host.
export function splitSource(source) {
  const at = source.indexOf('@');
  const host = at < 0 ? '' : source.slice(at + 1);
  const rest = at < 0 ? source : source.slice(0, at);
  const bang = rest.indexOf('!');
  return { nick: bang < 0 ? rest : rest.slice(0, bang), user: bang < 0 ? '' : rest.slice(bang + 1), host };
}

const upper = { ascii: /[A-Z]/g, rfc1459: /[A-Z[\]\\^]/g, 'rfc1459-strict': /[A-Z[\]\\]/g };
const lower = { '[': '{', ']': '}', '\\': '|', '^': '~' };

// folder returns a function that makes names comparable, by CASEMAPPING.
export function folder(mapping) {
  const letters = upper[mapping] ?? upper.ascii;
  return (name) => name.replace(letters, (c) => lower[c] ?? c.toLowerCase());
}

const encoder = new TextEncoder();

export const size = (text) => encoder.encode(text).length;

// split cuts a text into parts of at most so many bytes: at a space where there is
// one near the end, and never within a character.
export function split(text, most) {
  const parts = [];
  let part = '', bytes = 0;
  for (const { segment } of segments(text)) {
    const n = size(segment);
    if (bytes + n > most && part !== '') {
      const space = part.lastIndexOf(' ') + 1;
      const keep = space > part.length / 2 ? space : part.length;
      parts.push(part.slice(0, keep));
      part = part.slice(keep);
      bytes = size(part);
    }
    part += segment;
    bytes += n;
  }
  if (part !== '' || parts.length === 0) parts.push(part);
  return parts;
}

const segmenter = typeof Intl.Segmenter === 'function' ? new Intl.Segmenter() : null;
const segments = (text) => (segmenter === null ? [...text].map((segment) => ({ segment })) : segmenter.segment(text));

// actionOf returns what somebody does who says a text with "/me"; null: it is none.
export const actionOf = (text) => /^\x01ACTION ([^\x01]*)/.exec(text)?.[1] ?? null;
