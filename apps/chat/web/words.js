// What the page says, in the language that was chosen; only that one is loaded.
const sources = { en: () => import('./english.js'), ko: () => import('./korean.js') };

export const languages = { en: 'English', ko: '한국어' };

let language = 'en', words = {};

// speak loads the words of a language, or of the browser's where none was chosen.
export async function speak(chosen) {
  language = chosen in languages ? chosen : (navigator.language ?? 'en').startsWith('ko') ? 'ko' : 'en';
  ({ words } = await sources[language]());
  document.documentElement.lang = language;
}

export const spoken = () => language;

export const has = (key) => key in words;

export const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
