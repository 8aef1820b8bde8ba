// Elements. Texts become text nodes: nothing is read as HTML.

export const svg = 'http://www.w3.org/2000/svg';

// h makes an element. Of props, class and functions such as onclick are set as such,
// true is an attribute without a value, null, undefined and false are left out.
export function h(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') e[key] = value;
    else if (key === 'value' || key === 'checked') e[key] = value;
    else e.setAttribute(key, value === true ? '' : value);
  }
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

const paths = {
  search: 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM20 20l-4.6-4.6',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-3.5 3-6 6.500-6s6.500 2.500 6.500 6M16 4.500a3.500 3.500 0 0 1 0 6.500M18 14.500c2.200.8 3.500 2.800 3.500 5.500',
  plus: 'M12 5v14M5 12h14',
  reply: 'M10 6l-6 6 6 6M4 12h10c4 0 6 2 6 6',
  smile: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8.500 14.500c1.800 2.300 5.200 2.300 7 0M9 9.500v.1M15 9.500v.1',
  edit: 'M4 20l1-5L16 4l4 4L9 19z',
  bin: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  send: 'M4 12l16-8-5 17-4-7z',
  menu: 'M4 7h16M4 12h16M4 17h16',
  close: 'M6 6l12 12M18 6L6 18',
  invite: 'M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2.500 20c0-3.500 3-6 6.500-6s6.500 2.500 6.500 6M19 8v6M16 11h6',
  down: 'M12 5v14M6 13l6 6 6-6',
  leave: 'M14 4H6v16h8M11 12h10M17 8l4 4-4 4',
  bell: 'M6 17V11a6 6 0 0 1 12 0v6l1.500 2h-15zM10 21h4',
  quiet: 'M6 17V11a6 6 0 0 1 9-5.200M18 11v6l1.500 2h-15M10 21h4M4 4l16 16',
  file: 'M20 11l-8.500 8.500a5 5 0 0 1-7-7L13 4a3.300 3.300 0 0 1 4.700 4.700L9.500 17a1.700 1.700 0 0 1-2.400-2.400L14.500 7',
};

export function icon(name) {
  const s = document.createElementNS(svg, 'svg');
  s.setAttribute('viewBox', '0 0 24 24');
  s.setAttribute('aria-hidden', 'true');
  s.setAttribute('class', 'icon');
  const p = document.createElementNS(svg, 'path');
  p.setAttribute('d', paths[name]);
  s.append(p);
  return s;
}

// button has an icon, and its name for those who do not see that.
export const button = (name, label, onclick, props = {}) => h('button', { type: 'button', class: 'tool', title: label, 'aria-label': label, onclick, ...props }, icon(name));

// avatar is somebody's picture, where that is a file of this server, or a letter.
export function avatar(nick, shown, address, size = '') {
  const own = address !== undefined && URL.canParse(address) && new URL(address).origin === location.origin;
  const letter = [...shown][0]?.toUpperCase() ?? '?';
  return h('div', { class: `avatar ${size} ${hueOf(nick)}`, 'aria-hidden': 'true' }, own ? h('img', { src: address, alt: '', loading: 'lazy' }) : letter);
}

// hueOf gives a name one of twelve colours, always the same.
export function hueOf(name) {
  let sum = 0;
  for (const c of name.toLowerCase()) sum = (sum * 31 + c.codePointAt(0)) >>> 0;
  return `hue${sum % 12}`;
}
