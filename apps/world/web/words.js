// What the page says, in the languages that it has.
const words = {
  en: {
    name: 'Your name', enter: 'Enter', say: 'Press Enter to talk', connecting: 'Connecting…', lost: 'The connection is lost. Trying again…',
    help: 'Walk with the arrow keys or W A S D, or by holding a finger or the mouse. Space strikes what is near; so does a touch of it. In towns there is peace. /who shows who is here, /w NAME TEXT whispers. E picks up what is near, or opens a chest; B opens the bag; T trades with who is near; Escape closes. F3 shows figures.',
    take: 'Pick up', open: 'Bag', trade: 'Trade', bag: 'Bag', gold: '{gold} gold', empty: 'Nothing is in it.', got: 'You have got: {item}.', gotGold: 'You have got {gold} gold.', nothingNear: 'Nothing lies near.',
    use: 'Use', drop: 'Drop', offer: 'Offer', keep: 'Keep', putIn: 'Put in', takeOut: 'Take out', chest: 'Chest', close: 'Close',
    asks: '{name} wants to trade.', asked: 'You ask {name} for a trade.', yes: 'Trade', no: 'No', dealWith: 'Trade with {name}', youGive: 'You give', theyGive: '{name} gives', goldToGive: 'Gold', agree: 'Agree', cancel: 'Cancel',
    items: { 1: 'Potion', 2: 'Bread', 3: 'Pelt', 4: 'Pearl' }, item: 'Thing {kind}',
    dealt: ['The trade is done.', 'There is no trade.', 'There is no trade: one of you has gone.', 'There is no trade: you are too far from each other.', 'There is no trade: something is not there any more.', 'There is no trade: there is no room for so much.', 'There is no trade: the store is busy. Try again.'],
    health: 'Health', level: 'Level {level}', learned: 'Level {level}, {experience} of {next}', strike: 'Strike', fallen: 'You have fallen. You will be in a town soon.', rose: 'You are in level {level} now.',
    whisperTo: 'to {name}: {text}', whisperFrom: '{name} whispers: {text}', online: '{count} here: {names}', person: '{name} ({level})',
    notices: { 2: 'You say too much at once: wait a moment.', 4: 'Nobody of that name is here.', 5: 'That is for moderators.', 6: 'You are muted: nobody reads what you say.', 7: 'Done.', 8: 'You are a moderator now.', 10: 'Not now: try again in a moment.', 11: 'That is too far away.', 12: 'That is not there any more.', 13: 'There is no room for it.', 14: 'That cannot be done now.', 15: 'That amount is not possible.', 16: 'There is no such trade.', 17: 'Nobody of that name has an account: the ban ends with the world.', 18: 'The configuration of the world bans that name.' },
    unknownOrder: 'There is no order {order}. There are /who, /w, and for moderators /key, /mute, /unmute, /kick, /ban, /unban, /bring and /give.',
    welcome: 'Welcome, {name}.', back: 'Welcome back, {name}.',
    refused: { 1: 'This page is older than the world: load it again.', 2: 'A name has 1 to 16 letters of one script, digits, - and _, and begins with a letter.', 3: 'Somebody has that name, or one that looks like it.', 5: 'The world is full. Try later.', 7: 'The connection is too slow.', 8: 'You have come in from somewhere else.', 9: 'The world ends here for now.', 11: 'Too much at once.', 12: 'A moderator has sent you away.', 13: 'That name is banned here.', 14: 'Too many new names come from your address. Take one that you have, or try again in an hour.' },
    other: 'The server ended the connection: {text}',
  },
  ko: {
    name: '이름', enter: '들어가기', say: 'Enter 키를 눌러 말하기', connecting: '연결하는 중…', lost: '연결이 끊겼습니다. 다시 연결하는 중…',
    help: '방향키나 W A S D로, 또는 화면을 누르고 있으면 움직입니다. 스페이스 키를 누르거나 상대를 누르면 공격합니다. 마을 안에서는 싸울 수 없습니다. /who는 접속자 보기, /w 이름 내용은 귓속말입니다. E는 줍기와 상자 열기, B는 가방, T는 가까운 사람과 거래, Esc는 닫기입니다. F3을 누르면 수치가 보입니다.',
    take: '줍기', open: '가방', trade: '거래', bag: '가방', gold: '{gold} 골드', empty: '비어 있습니다.', got: '{item}: 얻었습니다.', gotGold: '{gold} 골드를 얻었습니다.', nothingNear: '가까이에 아무것도 없습니다.',
    use: '사용', drop: '버리기', offer: '올리기', keep: '내리기', putIn: '넣기', takeOut: '꺼내기', chest: '상자', close: '닫기',
    asks: '{name} 님이 거래를 원합니다.', asked: '{name} 님에게 거래를 신청했습니다.', yes: '거래하기', no: '거절', dealWith: '{name} 님과 거래', youGive: '주는 것', theyGive: '{name} 님이 주는 것', goldToGive: '골드', agree: '동의', cancel: '취소',
    items: { 1: '물약', 2: '빵', 3: '모피', 4: '진주' }, item: '물건 {kind}',
    dealt: ['거래가 끝났습니다.', '거래가 취소되었습니다.', '상대가 떠나서 거래가 취소되었습니다.', '너무 멀어서 거래가 취소되었습니다.', '내놓은 물건이 없어져서 거래가 취소되었습니다.', '자리가 모자라서 거래가 취소되었습니다.', '저장소가 바빠서 거래가 취소되었습니다. 다시 해 보세요.'],
    health: '체력', level: '레벨 {level}', learned: '레벨 {level}, 경험치 {experience} / {next}', strike: '공격', fallen: '쓰러졌습니다. 곧 마을에서 다시 일어납니다.', rose: '레벨 {level}이 되었습니다.',
    whisperTo: '{name} 님에게: {text}', whisperFrom: '{name} 님의 귓속말: {text}', online: '접속자 {count}명: {names}', person: '{name} ({level})',
    notices: { 2: '말이 너무 많습니다. 잠시 기다려 주세요.', 4: '그런 이름의 접속자가 없습니다.', 5: '운영자만 할 수 있습니다.', 6: '채팅이 금지되어 다른 사람에게 보이지 않습니다.', 7: '처리했습니다.', 8: '운영자 권한을 얻었습니다.', 10: '지금은 안 됩니다. 잠시 뒤에 다시 해 보세요.', 11: '너무 멉니다.', 12: '이제 거기에 없습니다.', 13: '자리가 없습니다.', 14: '지금은 할 수 없습니다.', 15: '그런 수량은 안 됩니다.', 16: '그런 거래는 없습니다.', 17: '그 이름의 계정이 없어서, 월드가 끝날 때까지만 접속이 금지됩니다.', 18: '월드 설정에서 금지한 이름입니다.' },
    unknownOrder: '{order} 명령은 없습니다. /who, /w를 쓸 수 있고, 운영자는 /key, /mute, /unmute, /kick, /ban, /unban, /bring, /give도 쓸 수 있습니다.',
    welcome: '{name} 님, 어서 오세요.', back: '{name} 님, 다시 오셨네요.',
    refused: { 1: '이 페이지가 오래되었습니다. 새로 고쳐 주세요.', 2: '이름은 한 가지 문자로 된 1–16자여야 하고, 숫자와 -, _를 쓸 수 있으며, 글자로 시작해야 합니다.', 3: '이미 쓰이고 있거나 비슷해 보이는 이름입니다.', 5: '월드가 가득 찼습니다. 나중에 다시 오세요.', 7: '연결이 너무 느립니다.', 8: '다른 곳에서 접속했습니다.', 9: '월드가 잠시 문을 닫습니다.', 11: '한꺼번에 너무 많이 보냈습니다.', 12: '운영자가 내보냈습니다.', 13: '이 이름은 접속이 금지되었습니다.', 14: '이 주소에서 새 이름이 너무 많이 만들어졌습니다. 쓰던 이름으로 들어오거나 한 시간 뒤에 다시 오세요.' },
    other: '서버가 연결을 끊었습니다: {text}',
  },
};

export const language = (navigator.language ?? 'en').startsWith('ko') ? 'ko' : 'en';
const chosen = words[language];

export const say = (key, values = {}) => chosen[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
export const notice = (code, text) => chosen.notices[code] ?? text;
export const itemName = (kind) => chosen.items[kind] ?? say('item', { kind });
export const dealt = (result) => chosen.dealt[result] ?? chosen.dealt[1];
export const refusal = (reason, text) => chosen.refused[reason] ?? say('other', { text });
