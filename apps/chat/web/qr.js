// QR codes (ISO/IEC 18004) for addresses: bytes, error correction level L, versions 1
// to 10, which is up to 271 bytes.

// The numbers of table 9 for level L: codewords for correction in each block, and
// blocks of data as [how many, data codewords].
const blocks = [
  null, [7, [[1, 19]]], [10, [[1, 34]]], [15, [[1, 55]]], [20, [[1, 80]]], [26, [[1, 108]]], [18, [[2, 68]]], [20, [[2, 78]]],
  [24, [[2, 97]]], [30, [[2, 116]]], [18, [[2, 68], [2, 69]]],
];
// Where the centres of alignment patterns are, of table E.1.
const alignment = [null, [], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];

// The field GF(256) with x^8 + x^4 + x^3 + x^2 + 1.
const exp = new Uint8Array(512), log = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  exp[i] = exp[i + 255] = x;
  log[x] = i;
  x = (x << 1) ^ (x & 0x80 ? 0x11d : 0);
}
const times = (a, b) => (a === 0 || b === 0 ? 0 : exp[log[a] + log[b]]);

// correction returns the Reed-Solomon codewords of a block.
function correction(data, n) {
  let generator = [1];
  for (let i = 0; i < n; i++) {
    const next = new Array(generator.length + 1).fill(0);
    generator.forEach((g, j) => {
      next[j] ^= g;
      next[j + 1] ^= times(g, exp[i]);
    });
    generator = next;
  }
  const rest = [...data, ...new Array(n).fill(0)];
  for (let i = 0; i < data.length; i++) {
    const factor = rest[i];
    generator.forEach((g, j) => { rest[i + j] ^= times(g, factor); });
  }
  return rest.slice(data.length);
}

const capacity = (version) => blocks[version][1].reduce((sum, [n, size]) => sum + n * size, 0);

// codewords returns data and correction in the order in which they are drawn.
function codewords(bytes, version) {
  const countBits = version < 10 ? 8 : 16;
  const bits = [];
  const put = (value, n) => { for (let i = n - 1; i >= 0; i--) bits.push((value >> i) & 1); };
  put(0b0100, 4);
  put(bytes.length, countBits);
  for (const b of bytes) put(b, 8);
  const most = capacity(version) * 8;
  put(0, Math.min(4, most - bits.length));
  while (bits.length % 8 !== 0) bits.push(0);
  const data = [];
  for (let i = 0; i < bits.length; i += 8) data.push(bits.slice(i, i + 8).reduce((v, b) => (v << 1) | b, 0));
  for (let pad = 0xec; data.length < capacity(version); pad ^= 0xec ^ 0x11) data.push(pad);

  const [n, groups] = blocks[version];
  const parts = [];
  let at = 0;
  for (const [count, size] of groups) for (let i = 0; i < count; i++, at += size) parts.push(data.slice(at, at + size));
  const fixes = parts.map((p) => correction(p, n));
  const all = [];
  for (let i = 0; i < Math.max(...parts.map((p) => p.length)); i++) for (const p of parts) if (i < p.length) all.push(p[i]);
  for (let i = 0; i < n; i++) for (const f of fixes) all.push(f[i]);
  return all;
}

const masks = [
  (x, y) => (x + y) % 2 === 0, (x, y) => y % 2 === 0, (x) => x % 3 === 0, (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0, (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

// remainder is that of a division by a polynomial, for the format and the version.
function remainder(value, polynomial, n) {
  let v = value << n;
  const top = 31 - Math.clz32(polynomial);
  while (v !== 0 && 31 - Math.clz32(v) >= top) v ^= polynomial << (31 - Math.clz32(v) - top);
  return v;
}

// frame draws what is the same for every content. Of a cell that is not free,
// fixed is true.
function frame(version) {
  const side = 17 + 4 * version;
  const cells = Array.from({ length: side }, () => new Array(side).fill(false));
  const fixed = Array.from({ length: side }, () => new Array(side).fill(false));
  const set = (x, y, dark) => {
    if (x < 0 || y < 0 || x >= side || y >= side) return;
    cells[y][x] = dark;
    fixed[y][x] = true;
  };
  for (const [cx, cy] of [[3, 3], [side - 4, 3], [3, side - 4]]) {
    for (let y = -4; y <= 4; y++) for (let x = -4; x <= 4; x++) set(cx + x, cy + y, ![2, 4].includes(Math.max(Math.abs(x), Math.abs(y))));
  }
  for (let i = 8; i < side - 8; i++) {
    set(i, 6, i % 2 === 0);
    set(6, i, i % 2 === 0);
  }
  const centres = alignment[version];
  for (const cy of centres) {
    for (const cx of centres) {
      if ((cx < 9 && cy < 9) || (cx > side - 10 && cy < 9) || (cx < 9 && cy > side - 10)) continue;
      for (let y = -2; y <= 2; y++) for (let x = -2; x <= 2; x++) set(cx + x, cy + y, Math.max(Math.abs(x), Math.abs(y)) !== 1);
    }
  }
  if (version >= 7) {
    const bits = (version << 12) | remainder(version, 0x1f25, 12);
    for (let i = 0; i < 18; i++) {
      const a = side - 11 + (i % 3), b = Math.floor(i / 3);
      set(a, b, ((bits >> i) & 1) === 1);
      set(b, a, ((bits >> i) & 1) === 1);
    }
  }
  return { side, cells, fixed, set };
}

function drawFormat({ side, set }, mask) {
  const data = (0b01 << 3) | mask; // level L
  const bits = ((data << 10) | remainder(data, 0x537, 10)) ^ 0x5412;
  const bit = (i) => ((bits >> i) & 1) === 1;
  for (let i = 0; i <= 5; i++) set(8, i, bit(i));
  set(8, 7, bit(6));
  set(8, 8, bit(7));
  set(7, 8, bit(8));
  for (let i = 9; i < 15; i++) set(14 - i, 8, bit(i));
  for (let i = 0; i < 8; i++) set(side - 1 - i, 8, bit(i));
  for (let i = 8; i < 15; i++) set(8, side - 15 + i, bit(i));
  set(8, side - 8, true);
}

function drawData({ side, cells, fixed }, words, mask) {
  let i = 0;
  for (let right = side - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < side; step++) {
      const upward = ((right + 1) & 2) === 0;
      const y = upward ? side - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x]) continue;
        const dark = i < words.length * 8 && ((words[i >> 3] >> (7 - (i & 7))) & 1) === 1;
        cells[y][x] = dark !== masks[mask](x, y);
        i++;
      }
    }
  }
}

// penalty is how hard a code is to read, as section 7.8.3 counts it.
function penalty({ side, cells }) {
  let sum = 0, dark = 0;
  const column = (x) => cells.map((row) => row[x]);
  for (let i = 0; i < side; i++) {
    for (const line of [cells[i], column(i)]) {
      let run = 1;
      for (let j = 1; j <= side; j++) {
        if (j < side && line[j] === line[j - 1]) run++;
        else {
          if (run >= 5) sum += run - 2;
          run = 1;
        }
      }
      const text = line.map((c) => (c ? '1' : '0')).join('');
      for (const pattern of ['10111010000', '00001011101']) for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1)) sum += 40;
    }
    dark += cells[i].filter((c) => c).length;
  }
  for (let y = 1; y < side; y++) for (let x = 1; x < side; x++) if (cells[y][x] === cells[y - 1][x] && cells[y][x] === cells[y][x - 1] && cells[y][x] === cells[y - 1][x - 1]) sum += 3;
  return sum + 10 * Math.floor(Math.abs(dark * 20 / (side * side) - 10));
}

// encode returns a text's code as rows of cells, true for dark ones.
export function encode(text) {
  const bytes = new TextEncoder().encode(text);
  let version = 1;
  while (version <= 10 && bytes.length + (version < 10 ? 2 : 3) > capacity(version)) version++;
  if (version > 10) throw new RangeError('the text is too long for a QR code');
  const words = codewords(bytes, version);
  let best = null;
  for (let mask = 0; mask < masks.length; mask++) {
    const code = frame(version);
    drawFormat(code, mask);
    drawData(code, words, mask);
    const cost = penalty(code);
    if (best === null || cost < best.cost) best = { cost, cells: code.cells };
  }
  return best.cells;
}
