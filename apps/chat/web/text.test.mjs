import assert from 'node:assert/strict';
import test from 'node:test';
import { isEmoji, mentions, pieces, plain } from './text.js';

const flat = (parts) => parts.map((p) => (p.parts ? `${p.kind}(${flat(p.parts)})` : p.kind === 'text' ? p.text : `${p.kind}[${p.text}]`)).join('');
const shown = (text, nick = '') => pieces(text, nick).map((b) => (b.parts ? `${b.kind === 'line' ? '' : b.kind + ' '}${flat(b.parts)}` : `${b.kind}[${b.text}]`)).join('|');

test('light Markdown', () => {
  for (const [text, want] of [
    ['plain', 'plain'],
    ['a **bold** word', 'a bold(bold) word'],
    ['*it* and _it_ and ~~gone~~', 'italic(it) and italic(it) and strike(gone)'],
    ['**bold *and* it**', 'bold(bold italic(and) it)'],
    ['2 * 3 * 4 and snake_case_name', '2 * 3 * 4 and snake_case_name'],
    ['`code **not bold**`', 'code[code **not bold**]'],
    ['```\na\n  b\n```', 'block[a\n  b]'],
    ['```go\nx := 1\n```\nafter', 'block[x := 1]|after'],
    ['```never closed', '```never closed'],
    ['> quoted *it*\nnot', 'quote quoted italic(it)|not'],
    ['see https://example.org/a_(b).', 'see link[https://example.org/a_(b)].'],
    ['(https://example.org/x)', '(link[https://example.org/x])'],
    ['javascript:alert(1)', 'javascript:alert(1)'],
    ['go to #lobby.', 'go to channel[#lobby].'],
    ['https://example.org/#top', 'link[https://example.org/#top]'],
    ['<b>no</b>', '<b>no</b>'],
  ]) assert.equal(shown(text), want, text);
});

test('one\'s own name is found as a word', () => {
  assert.equal(shown('hey Me, home', 'me'), 'hey mention[Me], home');
  assert.equal(shown('@me', 'me'), 'mention[@me]');
  assert.ok(mentions('민수야 me: hi', 'me'));
  assert.ok(!mentions('some', 'me'));
  assert.ok(!mentions('me-too', 'me'));
  assert.ok(mentions('a[b] is here', 'a[b]'));
});

test('what cannot be seen is not there', () => {
  assert.equal(plain('\x0304,05red\x03 \x02b\x02 \u202Eevil\u202c'), 'red b evil');
  assert.equal(plain('a\nb\tc'), 'a\nb\tc');
});

test('nothing that is typed hangs the page', () => {
  const nasty = ['*'.repeat(5000), '_a'.repeat(3000), '`'.repeat(4001), '**a'.repeat(2000), 'https://'.repeat(1000), '('.repeat(3000) + ')'.repeat(3000), '# '.repeat(2000)];
  for (const text of nasty) assert.ok(shown(text, 'me').length > 0);
});

test('a few emoji are shown large', () => {
  for (const text of ['👍', '👍 🎉', '👨‍👩‍👧', '❤️']) assert.ok(isEmoji(text), text);
  for (const text of ['1', 'a 👍', '', '#', '👍'.repeat(30)]) assert.ok(!isEmoji(text), text);
});
