import assert from 'node:assert/strict';
import test from 'node:test';
import { words as english } from './english.js';
import { words as korean } from './korean.js';

const names = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort();

test('every language has the same words, with the same names in them', () => {
  assert.deepEqual(Object.keys(korean).sort(), Object.keys(english).sort());
  for (const [key, text] of Object.entries(english)) assert.deepEqual(names(korean[key]), names(text), key);
});
