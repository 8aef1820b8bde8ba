import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { decode, encode, types } from './proto.js';

const vectors = JSON.parse(readFileSync(new URL('../proto/testdata/vectors.json', import.meta.url)));
const bytesOf = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (b) => parseInt(b, 16));
const ascii = new TextDecoder();

// plain is a message as the vectors have it: texts for bytes.
function plain(v) {
  if (v instanceof Uint8Array) return ascii.decode(v);
  if (Array.isArray(v)) return v.map(plain);
  if (v === null || typeof v !== 'object') return v;
  return Object.fromEntries(Object.entries(v).filter(([k]) => k !== 'type').map(([k, x]) => [k, plain(x)]));
}

// written turns texts back into bytes where the field has bytes.
function written(v) {
  if (Array.isArray(v)) return v.map(written);
  if (v === null || typeof v !== 'object') return v;
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, ['token', 'key', 'data'].includes(k) ? new TextEncoder().encode(x) : written(x)]));
}

for (const v of vectors) {
  test(v.name, () => {
    const bytes = bytesOf(v.bytes);
    if (v.error) {
      assert.throws(() => decode(bytes, v.fromServer), v.error === 'utf' ? TypeError : new RegExp(v.error));
      return;
    }
    const [message, ...more] = decode(bytes, v.fromServer);
    assert.equal(more.length, 0);
    assert.equal(message.type, v.type);
    assert.deepEqual(plain(message), v.message ?? {});
    assert.deepEqual(encode(v.type, written(v.message ?? {})), bytes);
  });
}

test('every type is in the vectors', () => {
  const seen = new Set(vectors.map((v) => v.type));
  for (const t of Object.values(types)) assert.ok(seen.has(t.name), t.name);
});
