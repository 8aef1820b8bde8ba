// What is said, as pieces to show: a light form of Markdown. A piece is
// {kind, text} or {kind, parts}; nothing of it is ever read as HTML.

// control are the formatting codes of IRC, with the colours behind them.
const control = /\x03(\d{1,2}(,\d{1,2})?)?|\x04([0-9a-fA-F]{6}(,[0-9a-fA-F]{6})?)?|[\x00-\x08\x0b-\x1f\x7f]/g;
// Characters that change the direction of what is around them, or cannot be seen.
const invisible = /[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\ufeff]/g;

// plain is a text without what is not to be seen; line feeds stay.
export const plain = (text) => text.replace(control, '').replace(invisible, '');

const trailing = /[.,;:!?'"*_~]+$/;

// inline are the forms within a line. The first that matches, in this order, at the
// earliest place, is taken.
const inline = [
  { kind: 'code', at: /`([^`\n]+)`/ },
  { kind: 'link', at: /\bhttps?:\/\/[^\s<>"`]+/i },
  { kind: 'bold', at: /\*\*(?=\S)([^\n]*?\S)\*\*/ },
  { kind: 'strike', at: /~~(?=\S)([^\n]*?\S)~~/ },
  { kind: 'italic', at: /(?<![\w*])\*(?=[^\s*])([^*\n]*?[^\s*])\*(?![\w*])/ },
  { kind: 'italic', at: /(?<![\w_])_(?=[^\s_])([^_\n]*?[^\s_])_(?![\w_])/ },
  { kind: 'channel', at: /(?<![\w#&/])#[^\s,:#.!?'")\]]+/ },
];

const nested = new Set(['bold', 'strike', 'italic']);
const deepest = 4;

// link cuts from an address what belongs to the sentence around it.
function link(text) {
  let address = text.replace(trailing, '');
  for (const [open, close] of ['()', '[]']) {
    while (address.endsWith(close) && address.split(close).length > address.split(open).length) address = address.slice(0, -1);
  }
  return address;
}

function line(text, mention, depth) {
  const parts = [];
  let rest = text;
  while (rest !== '') {
    let best = null;
    for (const form of depth < deepest ? inline : []) {
      const found = form.at.exec(rest);
      if (found !== null && (best === null || found.index < best.found.index)) best = { form, found };
    }
    if (best === null) break;
    const { form, found } = best;
    words(rest.slice(0, found.index), mention, parts);
    let taken = found[0];
    if (form.kind === 'link') {
      taken = link(taken);
      parts.push({ kind: 'link', text: taken });
    } else if (form.kind === 'channel') parts.push({ kind: 'channel', text: taken });
    else if (nested.has(form.kind)) parts.push({ kind: form.kind, parts: line(found[1], mention, depth + 1) });
    else parts.push({ kind: form.kind, text: found[1] });
    rest = rest.slice(found.index + taken.length);
  }
  words(rest, mention, parts);
  return parts;
}

// words looks for one's own name.
function words(text, mention, parts) {
  if (text === '') return;
  const found = mention === null ? null : mention.exec(text);
  if (found === null) {
    parts.push({ kind: 'text', text });
    return;
  }
  const from = found.index + found[1].length, to = from + found[2].length;
  if (from > 0) parts.push({ kind: 'text', text: text.slice(0, from) });
  parts.push({ kind: 'mention', text: text.slice(from, to) });
  words(text.slice(to), mention, parts);
}

// mentionOf returns what finds a nick as a word of its own, null for no nick.
export function mentionOf(nick) {
  if (!nick) return null;
  const literal = nick.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`(^|[^\\p{L}\\p{N}_])(@?${literal})(?![\\p{L}\\p{N}_-])`, 'iu');
}

// pieces returns a text as blocks: {kind: 'block', text} for code, {kind: 'quote',
// parts} and {kind: 'line', parts}.
export function pieces(text, nick) {
  const mention = mentionOf(nick);
  const blocks = [];
  const lines = plain(text).split('\n');
  for (let i = 0; i < lines.length; i++) {
    if (/^```/.test(lines[i])) {
      const end = lines.findIndex((l, j) => j > i && /^```\s*$/.test(l));
      if (end > 0) {
        blocks.push({ kind: 'block', text: lines.slice(i + 1, end).join('\n') });
        i = end;
        continue;
      }
      const one = /^```(.+)```$/.exec(lines[i]);
      if (one !== null) {
        blocks.push({ kind: 'block', text: one[1] });
        continue;
      }
    }
    if (/^> /.test(lines[i])) blocks.push({ kind: 'quote', parts: line(lines[i].slice(2), mention, 0) });
    else blocks.push({ kind: 'line', parts: line(lines[i], mention, 0) });
  }
  return blocks;
}

// mentions reports whether a text names a nick.
export const mentions = (text, nick) => mentionOf(nick)?.test(plain(text)) ?? false;

// isEmoji reports whether a text is nothing but a few emoji, to be shown large.
export const isEmoji = (text) => /^(?:[\p{Extended_Pictographic}\p{Emoji_Modifier}\u200d\ufe0f\u20e3]|\s){1,24}$/u.test(text) && /\p{Extended_Pictographic}/u.test(text);
