import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { folder, format, formatTags, parse, size, split, splitSource, unescape, escape } from './irc.js';

test('a line has tags, source, command and parameters', () => {
  for (const [line, tags, source, command, params] of [
    ['foo bar baz asdf', {}, '', 'FOO', ['bar', 'baz', 'asdf']],
    [':coolguy foo bar baz :asdf quux', {}, 'coolguy', 'FOO', ['bar', 'baz', 'asdf quux']],
    ['foo bar baz ::asdf', {}, '', 'FOO', ['bar', 'baz', ':asdf']],
    [':a b   c :', {}, 'a', 'B', ['c', '']],
    ['@a=b;c=32;k;rt=ql7 foo', { a: 'b', c: '32', k: '', rt: 'ql7' }, '', 'FOO', []],
    ['@a=b\\\\and\\nk;c=72\\s45;d=gh\\:764 foo', { a: 'b\\and\nk', c: '72 45', d: 'gh;764' }, '', 'FOO', []],
    ['@+a=x\\;b :s!u@h PRIVMSG #c :hi\r\n', { '+a': 'x', b: '' }, 's!u@h', 'PRIVMSG', ['#c', 'hi']],
  ]) {
    const m = parse(line);
    assert.deepEqual({ ...m, tags: Object.fromEntries(m.tags) }, { tags, source, command, params }, line);
  }
  for (const empty of ['', '\r\n', '@a=b', ':source', ' ']) assert.equal(parse(empty), null, JSON.stringify(empty));
});

test('what is written is read back', () => {
  for (const value of ['', 'a', 'a b', ';', '\\', 'x\r\ny', ':)', '한글 😀']) {
    assert.equal(unescape(escape(value)), value);
    const m = parse(format({ tags: new Map([['+k', value]]), source: 'me', command: 'PRIVMSG', params: ['#c', value.replace(/[\r\n]/g, ' ')] }));
    assert.equal(m.tags.get('+k'), value);
    assert.equal(m.params[1], value.replace(/[\r\n]/g, ' '));
  }
});

test('nothing that is typed makes a second line', () => {
  const line = format({ command: 'PRIVMSG', params: ['#c', 'a\r\nQUIT\0'] });
  assert.ok(!/[\r\n\0]/.test(line));
});

test('names are compared by the casemapping', () => {
  assert.equal(folder('ascii')('Ab[]É'), 'ab[]É');
  assert.equal(folder('rfc1459')('A[]\\^'), 'a{}|~');
  assert.equal(folder('rfc1459-strict')('A[]\\^'), 'a{}|^');
});

test('a long text is cut at characters and at spaces', () => {
  for (const text of ['x'.repeat(1000), '한국어 문장입니다 '.repeat(60), '👨‍👩‍👧‍👦'.repeat(40), 'a '.repeat(500), '']) {
    const parts = split(text, 100);
    assert.equal(parts.join(''), text);
    for (const part of parts) assert.ok(size(part) <= 100, part);
    for (const part of parts) assert.ok(!part.includes('\ufffd'));
  }
});

test('a source has nick, user and host', () => {
  assert.deepEqual(splitSource('a!b@c'), { nick: 'a', user: 'b', host: 'c' });
  assert.deepEqual(splitSource('a@c'), { nick: 'a', user: '', host: 'c' });
  assert.deepEqual(splitSource('irc.example'), { nick: 'irc.example', user: '', host: '' });
});

// The vectors of ircdocs' parser tests, which the Go test gives as JSON.
const file = process.env.IRC_VECTORS;
test('the vectors of ircdocs', { skip: file === undefined && 'IRC_VECTORS names no file' }, () => {
  const { split: splits, join, source } = JSON.parse(readFileSync(file, 'utf8'));
  for (const { Input: input, Atoms: atoms } of splits) {
    const m = parse(input);
    assert.equal(m.command, atoms.Verb.toUpperCase(), input);
    assert.deepEqual(m.params, atoms.Params ?? [], input);
    assert.equal(m.source, atoms.Source, input);
    assert.deepEqual(Object.fromEntries(m.tags), atoms.Tags ?? {}, input);
  }
  for (const { Desc: what, Atoms: atoms, Matches: matches } of join) {
    const line = format({ tags: new Map(Object.entries(atoms.Tags ?? {})), source: atoms.Source, command: atoms.Verb, params: atoms.Params ?? [] });
    assert.ok(matches.includes(line), `${what}: ${line}`);
  }
  for (const { Source: s, Atoms: atoms } of source) {
    assert.deepEqual(splitSource(s), { nick: atoms.Nick, user: atoms.User, host: atoms.Host });
  }
  assert.equal(formatTags(new Map()), '');
});
