// A list whose rows are in the page only while they are seen. Rows have any height:
// it is estimated until a row was drawn, and what is in view does not move when the truth
// comes out.

const around = 400; // what is drawn above and below the view, in pixels
const guess = 44;
const near = 40; // so close to the end counts as the end

export class List {
  // row(item, i) makes an element; key(item) is what it is kept by; version(item, i)
  // changes when it must be made again. onTop is called when the beginning is near,
  // onView after each scroll.
  constructor(scroller, { row, key, version, onTop, onView }) {
    Object.assign(this, { scroller, row, key, version, onTop, onView });
    this.space = scroller.ownerDocument.createElement('div');
    this.space.className = 'space';
    this.window = scroller.ownerDocument.createElement('div');
    this.window.className = 'window';
    this.space.append(this.window);
    scroller.append(this.space);
    this.items = [];
    this.heights = new Map();
    this.nodes = new Map();
    this.ends = new Float64Array(1);
    this.atEnd = true;
    scroller.addEventListener('scroll', () => this.scrolled(), { passive: true });
    scroller.addEventListener('load', () => this.draw(), true);
    this.width = scroller.clientWidth;
    new ResizeObserver(() => this.resized()).observe(scroller);
  }

  resized() {
    if (this.scroller.clientWidth !== this.width) {
      this.width = this.scroller.clientWidth;
      this.heights.clear();
      this.measure();
    }
    this.draw();
  }

  scrolled() {
    this.atEnd = this.distance() < near;
    this.anchor = this.anchorNow();
    this.draw();
    if (this.scroller.scrollTop < 2 * around) this.onTop();
    this.onView();
  }

  distance() { return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight; }

  // show replaces the items; another list begins at its end.
  show(items, another = false) {
    this.items = items;
    if (another) {
      this.nodes.clear();
      this.heights.clear();
      this.atEnd = true;
      this.anchor = null;
    }
    this.measure();
    this.draw();
    if (this.scroller.scrollTop < around) this.onTop();
  }

  // measure sums the heights up.
  measure() {
    const n = this.items.length;
    this.ends = new Float64Array(n + 1);
    for (let i = 0; i < n; i++) this.ends[i + 1] = this.ends[i] + (this.heights.get(this.key(this.items[i])) ?? guess);
  }

  // indexAt returns the item at a height.
  indexAt(y) {
    let low = 0, high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ends[middle + 1] > y) high = middle;
      else low = middle + 1;
    }
    return Math.min(low, Math.max(0, this.items.length - 1));
  }

  total() { return this.ends[this.items.length]; }

  // above is the empty room above a list that does not fill the view.
  above() { return Math.max(0, this.scroller.clientHeight - this.total()); }

  // anchorNow is the first item in view, and how far its top is from that of the view.
  anchorNow() {
    if (this.items.length === 0) return null;
    const top = this.scroller.scrollTop - this.above();
    const i = this.indexAt(Math.max(0, top));
    return { key: this.key(this.items[i]), offset: this.ends[i] - top };
  }

  // place puts the anchor where it was, or the end at the end.
  place() {
    const s = this.scroller;
    this.space.style.height = `${Math.max(this.total(), s.clientHeight)}px`;
    if (this.atEnd) {
      s.scrollTop = s.scrollHeight;
      return;
    }
    if (!this.anchor) return;
    const i = this.items.findIndex((item) => this.key(item) === this.anchor.key);
    if (i >= 0) s.scrollTop = this.ends[i] + this.above() - this.anchor.offset;
  }

  // draw makes the rows in view, and does it again when their heights were guessed
  // badly.
  draw() {
    for (let round = 0; round < 4; round++) {
      this.place();
      const s = this.scroller, top = s.scrollTop - this.above();
      const from = this.indexAt(Math.max(0, top - around));
      const to = Math.min(this.items.length, this.indexAt(top + s.clientHeight + around) + 1);
      this.fill(from, to);
      this.window.style.transform = `translateY(${this.ends[from] + this.above()}px)`;
      if (!this.learn(from, to)) break;
    }
  }

  fill(from, to) {
    const wanted = [];
    const keep = new Map();
    for (let i = from; i < to; i++) {
      const item = this.items[i], key = this.key(item), version = this.version(item, i);
      let node = this.nodes.get(key);
      if (node === undefined || node.version !== version) node = { version, element: this.row(item, i) };
      keep.set(key, node);
      wanted.push(node.element);
    }
    const focused = [...this.nodes].find(([, node]) => node.element.contains(document.activeElement))?.[0];
    this.nodes = keep;
    const children = this.window.children;
    for (const child of [...children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((element, i) => { if (children[i] !== element) this.window.insertBefore(element, children[i] ?? null); });
    if (focused !== undefined && !this.window.contains(document.activeElement)) this.refocus(focused);
  }

  // refocus gives the focus to what a row has become, or to the list where it is gone.
  refocus(key) { (this.nodes.get(key)?.element ?? this.scroller).focus({ preventScroll: true }); }

  // learn notes the true heights, and reports whether one is another than thought.
  learn(from, to) {
    let any = false;
    for (let i = from; i < to; i++) {
      const key = this.key(this.items[i]);
      const height = this.nodes.get(key).element.getBoundingClientRect().height;
      if (Math.abs((this.heights.get(key) ?? -1) - height) < 0.5) continue;
      this.heights.set(key, height);
      any = true;
    }
    if (any) this.measure();
    return any;
  }

  toEnd() {
    this.atEnd = true;
    this.draw();
    this.onView();
  }

  // reveal brings an item into view and returns its element.
  reveal(key) {
    const i = this.items.findIndex((item) => this.key(item) === key);
    if (i < 0) return null;
    const element = this.nodes.get(key)?.element;
    const view = this.scroller.getBoundingClientRect(), box = element?.getBoundingClientRect();
    if (box === undefined || box.top < view.top || box.bottom > view.bottom) {
      this.atEnd = false;
      this.anchor = { key, offset: this.scroller.clientHeight / 3 };
      this.draw();
      this.anchor = this.anchorNow();
      this.atEnd = this.distance() < near;
      this.onView();
    }
    return this.nodes.get(key)?.element ?? null;
  }

  // isAbove reports whether an item is above what is seen.
  isAbove(key) {
    const i = this.items.findIndex((item) => this.key(item) === key);
    return i >= 0 && this.ends[i + 1] + this.above() < this.scroller.scrollTop;
  }
}
