// What the page says, in the languages that it has.
const words = {
  en: {
    name: 'Your name', enter: 'Enter', say: 'Press Enter to talk', connecting: 'Connecting…', lost: 'The connection is lost. Trying again…',
    help: 'Walk with the arrow keys or W A S D, or by holding a finger or the mouse. F3 shows figures.',
    welcome: 'Welcome, {name}.', back: 'Welcome back, {name}.',
    refused: { 1: 'This page is older than the world: load it again.', 2: 'A name has 1 to 16 letters of one script, digits, - and _, and begins with a letter.', 3: 'Somebody has that name, or one that looks like it.', 5: 'The world is full. Try later.', 7: 'The connection is too slow.', 8: 'You have come in from somewhere else.', 9: 'The world ends here for now.', 11: 'Too much at once.' },
    other: 'The server ended the connection: {text}', tooMuch: 'You say too much at once: wait a moment.',
  },
  ko: {
    name: '이름', enter: '들어가기', say: 'Enter 키를 눌러 말하기', connecting: '연결하는 중…', lost: '연결이 끊겼습니다. 다시 연결하는 중…',
    help: '방향키나 W A S D로, 또는 화면을 누르고 있으면 움직입니다. F3을 누르면 수치가 보입니다.',
    welcome: '{name} 님, 어서 오세요.', back: '{name} 님, 다시 오셨네요.',
    refused: { 1: '이 페이지가 오래되었습니다. 새로 고쳐 주세요.', 2: '이름은 한 가지 문자로 된 1–16자여야 하고, 숫자와 -, _를 쓸 수 있으며, 글자로 시작해야 합니다.', 3: '이미 쓰이고 있거나 비슷해 보이는 이름입니다.', 5: '월드가 가득 찼습니다. 나중에 다시 오세요.', 7: '연결이 너무 느립니다.', 8: '다른 곳에서 접속했습니다.', 9: '월드가 잠시 문을 닫습니다.', 11: '한꺼번에 너무 많이 보냈습니다.' },
    other: '서버가 연결을 끊었습니다: {text}', tooMuch: '말이 너무 많습니다. 잠시 기다려 주세요.',
  },
};

export const language = (navigator.language ?? 'en').startsWith('ko') ? 'ko' : 'en';
const chosen = words[language];

export const say = (key, values = {}) => chosen[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
export const refusal = (reason, text) => chosen.refused[reason] ?? say('other', { text });
