// What the page says, in the languages that it has.
const words = {
  en: {
    name: 'Your name', enter: 'Enter', say: 'Press Enter to talk', connecting: 'Connecting…', lost: 'The connection is lost. Trying again…',
    help: 'Walk with the arrow keys or W A S D, or by holding a finger or the mouse. Space strikes what is near; so does a touch of it. In towns there is peace. /who shows who is here, /w NAME TEXT whispers. F3 shows figures.',
    health: 'Health', level: 'Level {level}', learned: 'Level {level}, {experience} of {next}', strike: 'Strike', fallen: 'You have fallen. You will be in a town soon.', rose: 'You are in level {level} now.',
    whisperTo: 'to {name}: {text}', whisperFrom: '{name} whispers: {text}', online: '{count} here: {names}', person: '{name} ({level})',
    notices: { 2: 'You say too much at once: wait a moment.', 4: 'Nobody of that name is here.', 5: 'That is for moderators.', 6: 'You are muted: nobody reads what you say.', 7: 'Done.', 8: 'You are a moderator now.' },
    unknownOrder: 'There is no order {order}. There are /who, /w, and for moderators /key, /mute, /unmute, /kick, /ban and /bring.',
    welcome: 'Welcome, {name}.', back: 'Welcome back, {name}.',
    refused: { 1: 'This page is older than the world: load it again.', 2: 'A name has 1 to 16 letters of one script, digits, - and _, and begins with a letter.', 3: 'Somebody has that name, or one that looks like it.', 5: 'The world is full. Try later.', 7: 'The connection is too slow.', 8: 'You have come in from somewhere else.', 9: 'The world ends here for now.', 11: 'Too much at once.', 12: 'A moderator has sent you away.', 13: 'That name is banned here.' },
    other: 'The server ended the connection: {text}',
  },
  ko: {
    name: '이름', enter: '들어가기', say: 'Enter 키를 눌러 말하기', connecting: '연결하는 중…', lost: '연결이 끊겼습니다. 다시 연결하는 중…',
    help: '방향키나 W A S D로, 또는 화면을 누르고 있으면 움직입니다. 스페이스 키를 누르거나 상대를 누르면 공격합니다. 마을 안에서는 싸울 수 없습니다. /who는 접속자 보기, /w 이름 내용은 귓속말입니다. F3을 누르면 수치가 보입니다.',
    health: '체력', level: '레벨 {level}', learned: '레벨 {level}, 경험치 {experience} / {next}', strike: '공격', fallen: '쓰러졌습니다. 곧 마을에서 다시 일어납니다.', rose: '레벨 {level}이 되었습니다.',
    whisperTo: '{name} 님에게: {text}', whisperFrom: '{name} 님의 귓속말: {text}', online: '접속자 {count}명: {names}', person: '{name} ({level})',
    notices: { 2: '말이 너무 많습니다. 잠시 기다려 주세요.', 4: '그런 이름의 접속자가 없습니다.', 5: '운영자만 할 수 있습니다.', 6: '채팅이 금지되어 다른 사람에게 보이지 않습니다.', 7: '처리했습니다.', 8: '운영자 권한을 얻었습니다.' },
    unknownOrder: '{order} 명령은 없습니다. /who, /w를 쓸 수 있고, 운영자는 /key, /mute, /unmute, /kick, /ban, /bring도 쓸 수 있습니다.',
    welcome: '{name} 님, 어서 오세요.', back: '{name} 님, 다시 오셨네요.',
    refused: { 1: '이 페이지가 오래되었습니다. 새로 고쳐 주세요.', 2: '이름은 한 가지 문자로 된 1–16자여야 하고, 숫자와 -, _를 쓸 수 있으며, 글자로 시작해야 합니다.', 3: '이미 쓰이고 있거나 비슷해 보이는 이름입니다.', 5: '월드가 가득 찼습니다. 나중에 다시 오세요.', 7: '연결이 너무 느립니다.', 8: '다른 곳에서 접속했습니다.', 9: '월드가 잠시 문을 닫습니다.', 11: '한꺼번에 너무 많이 보냈습니다.', 12: '운영자가 내보냈습니다.', 13: '이 이름은 접속이 금지되었습니다.' },
    other: '서버가 연결을 끊었습니다: {text}',
  },
};

export const language = (navigator.language ?? 'en').startsWith('ko') ? 'ko' : 'en';
const chosen = words[language];

export const say = (key, values = {}) => chosen[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
export const notice = (code, text) => chosen.notices[code] ?? text;
export const refusal = (reason, text) => chosen.refused[reason] ?? say('other', { text });
