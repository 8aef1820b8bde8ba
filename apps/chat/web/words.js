// What the page says, in the languages that it has.
const words = {
  en: {
    name: 'Name', password: 'Password', enter: 'Enter', signIn: 'Sign in', guest: 'Guest', guestHelp: 'No account? Type a name, leave the password empty, and talk.',
    welcome: 'Welcome to {network}', makeAdmin: 'Make the account of the administrator', joinBy: '{by} invites you', makeAccount: 'Make an account', newPassword: 'Choose a password', again: 'The password again',
    firstChannel: 'Name of the first channel', accountHelp: 'With this name and password you can also use any IRC client.', haveAccount: 'I have an account', notSame: 'The two passwords are not the same.', shortPassword: 'Use at least 8 characters.',
    connecting: 'Connecting…', waiting: 'The connection is lost. Trying again…', offline: 'You are offline. What you write is sent later.', tryNow: 'Try now',
    wrongPassword: 'The name or the password is wrong.', nickTaken: 'Somebody has that name.', badNick: 'That name cannot be used: letters, digits, - and _, and a letter first.', banned: 'You are banned from this server.', noAccounts: 'This server has no accounts.', serverPassword: 'This server wants its password.',
    badInvite: 'This invitation cannot be used any more. Ask for another one.', nameTaken: 'Somebody has that name. Choose another one.', tryLater: 'Too many tries. Wait a little.', failed: 'That did not work: {text}', unreachable: 'The server cannot be reached.',
    channels: 'Channels', people: 'People', conversations: 'Conversations', members: 'Members', member: '{n} here', menu: 'Show conversations', close: 'Close',
    search: 'Search', searchHelp: 'Words, and from:name in:#channel before:2030-12-31 after:2030-01-01', nothing: 'Nothing found.', found: '{n} found', settings: 'Settings', switcher: 'Go to…', switcherHelp: 'Name of a channel or person', newChannel: 'Join or make a channel', channelName: 'Name of the channel', join: 'Join',
    invite: 'Invite people', inviteHelp: 'Whoever opens this link can make an account.', copy: 'Copy the link', copied: 'Copied', hours: 'Valid for', day: '1 day', week: '7 days', month: '30 days', uses: 'How many people', make: 'Make a link', qr: 'The link as a QR code',
    write: 'Message to {name}', send: 'Send', reply: 'Reply', react: 'React', edit: 'Edit', remove: 'Delete', removeSure: 'Delete this message for everybody?', cancel: 'Cancel', replyTo: 'Reply to {name}', editing: 'You are changing your message', emoji: 'Emoji', attach: 'Send a file',
    unread: '{n} unread', mention: '{n} mentions', newMessages: 'New', jumpNew: '{n} new messages', toEnd: 'To the latest messages', beginning: 'This is the beginning of {name}.', loading: 'Loading…', edited: 'edited', removed: 'This message was deleted.', unknownReply: 'an earlier message',
    queued: 'waits for the connection', sent: 'sending', notSent: 'Not sent: {text}', unsure: 'the connection broke; it may have arrived', sendAgain: 'Send again', forget: 'Discard',
    typing1: '{a} is typing…', typing2: '{a} and {b} are typing…', typing3: 'Several people are typing…', reactedBy: '{emoji}: {names}', someone: 'away', bot: 'bot', today: 'Today', yesterday: 'Yesterday',
    join1: '{nick} has come in', part: '{nick} has left{text}', quit: '{nick} has gone{text}', kick: '{nick} was removed by {text}', nick: '{nick} is now {text}', topic: '{nick} has set the topic: {text}', mode: '{nick} sets {text}',
    leave: 'Leave', mute: 'No notifications', topicNone: 'No topic', invited: '{nick} invites you to {channel}', needsName: 'Name somebody or a channel.', unknownCommand: 'That command is unknown. A line that begins with // is sent with one slash.',
    theme: 'Colours', auto: 'As the system', light: 'Light', dark: 'Dark', language: 'Language', notifications: 'Notifications', notifyOn: 'Show notifications when somebody mentions me', notifyDenied: 'The browser does not allow notifications for this page.', displayName: 'Name to show', save: 'Save', showEvents: 'Show who comes and goes', signOut: 'Sign out', signOutHelp: 'Sign out on this device', profile: 'Profile', appearance: 'Appearance', signedInAs: 'You are {name}', sendWith: 'Enter sends, Shift+Enter makes a new line', keys: 'Keys', keysHelp: 'Ctrl+K: go to a conversation. Alt+↑ and Alt+↓: the one before and after. Ctrl+F: search. Escape: to the latest. In the messages: ↑ ↓ move, R replies, T opens the thread, E reacts, Delete deletes.',
    unsupported: 'The server has no search; this looks through what is loaded.', start: 'Choose a conversation, or join a channel.', messages: 'Messages in {name}', openMembers: 'Members', says: '{nick} at {time}', server: 'Server', skip: 'To the message field', list: 'Suggestions', uploading: 'Sending {name}: {n} %', tooBig: 'The file is too big.', uploadFailed: 'The file could not be sent.',
    thread: 'Thread', reply1: '1 reply', replies: '{n} replies', administration: 'Administration', administrator: 'administrator', online: 'online', suspended: 'suspended: {text}', since: 'since {time}', giveRole: 'Make an administrator',
    takeRole: 'No longer an administrator', suspend: 'Suspend', unsuspend: 'Let in again', suspendWhom: 'Suspend {name}?', reason: 'Reason', unregistered: 'not registered', founder: 'of {name}',
    keepDays: 'days of history (0: as the server)', bans: 'Bans', ban: 'Ban', unban: 'End the ban', mask: 'Who', hour: '1 hour', forGood: 'for good', until: 'until {time}',
    nobodyBanned: 'Nobody is banned.', log: 'Log', nothingDone: 'No administrator has changed anything yet.', state: 'Server', 'did-role': 'Role', 'did-suspend': 'Suspended',
    'did-unsuspend': 'Let in again', 'did-retention': 'History', 'did-ban': 'Banned', 'did-unban': 'Ban ended', 'state-version': 'Version', 'state-driver': 'Driver', 'state-uptime': 'Running for',
    'state-sessions': 'Connections', 'state-users': 'Users', 'state-channels': 'Channels', 'state-lines': 'Lines received', 'state-deliveries': 'Lines delivered',
    'state-sheds': 'Clients that did not read', 'state-faults': 'Faults', 'state-unkept': 'Messages that could not be kept', 'state-memory': 'Memory', notAdmin: 'Only administrators may do that.',
    lastAdmin: 'The last administrator stays one.', refused: 'The server does not do that. Look at what you have written.', badRequest: 'That cannot be used. Look at what you have written.',
    devices: 'Devices', devicesHelp: 'Each browser and each program has a password of its own, which you can end here.', thisDevice: 'this device', endDevice: 'Sign out',
    deviceName: 'Name of a program', makeDevice: 'Make a password', deviceMade: 'The password, which is shown only now:', changePassword: 'Password', oldPassword: 'Your password now',
    passwordChanged: 'The password is changed.', picture: 'Picture', noPicture: 'No picture', notifyAll: 'For every message, not only when somebody mentions me',
  },
  ko: {
    name: '이름', password: '비밀번호', enter: '들어가기', signIn: '로그인', guest: '손님', guestHelp: '계정이 없으면 비밀번호를 비워 두고 이름만 적어도 대화할 수 있습니다.',
    welcome: '{network}에 오신 것을 환영합니다', makeAdmin: '관리자 계정 만들기', joinBy: '{by} 님이 초대했습니다', makeAccount: '계정 만들기', newPassword: '비밀번호 정하기', again: '비밀번호 다시 입력',
    firstChannel: '첫 채널 이름', accountHelp: '이 이름과 비밀번호로 다른 IRC 프로그램도 쓸 수 있습니다.', haveAccount: '이미 계정이 있습니다', notSame: '두 비밀번호가 다릅니다.', shortPassword: '8자 이상으로 정해 주세요.',
    connecting: '연결하는 중…', waiting: '연결이 끊겼습니다. 다시 연결하는 중…', offline: '오프라인입니다. 쓴 글은 나중에 보냅니다.', tryNow: '지금 연결',
    wrongPassword: '이름이나 비밀번호가 맞지 않습니다.', nickTaken: '이미 쓰이는 이름입니다.', badNick: '쓸 수 없는 이름입니다. 글자로 시작하고 글자, 숫자, -, _만 쓸 수 있습니다.', banned: '이 서버에서 차단되었습니다.', noAccounts: '이 서버에는 계정이 없습니다.', serverPassword: '서버 비밀번호가 필요합니다.',
    badInvite: '더 이상 쓸 수 없는 초대입니다. 새 초대를 부탁하세요.', nameTaken: '이미 쓰이는 이름입니다. 다른 이름을 골라 주세요.', tryLater: '시도가 너무 많습니다. 잠시 기다려 주세요.', failed: '되지 않았습니다: {text}', unreachable: '서버에 연결할 수 없습니다.',
    channels: '채널', people: '사람', conversations: '대화', members: '멤버', member: '{n}명', menu: '대화 목록 보기', close: '닫기',
    search: '검색', searchHelp: '찾을 말과 from:이름 in:#채널 before:2030-12-31 after:2030-01-01', nothing: '찾은 것이 없습니다.', found: '{n}개 찾음', settings: '설정', switcher: '바로 가기', switcherHelp: '채널이나 사람 이름', newChannel: '채널 들어가기 또는 만들기', channelName: '채널 이름', join: '들어가기',
    invite: '초대하기', inviteHelp: '이 링크를 여는 사람은 계정을 만들 수 있습니다.', copy: '링크 복사', copied: '복사했습니다', hours: '유효 기간', day: '1일', week: '7일', month: '30일', uses: '인원', make: '링크 만들기', qr: '링크의 QR 코드',
    write: '{name}에 보낼 메시지', send: '보내기', reply: '답장', react: '반응', edit: '고치기', remove: '지우기', removeSure: '모두에게서 이 메시지를 지울까요?', cancel: '취소', replyTo: '{name} 님에게 답장', editing: '메시지를 고치는 중입니다', emoji: '이모지', attach: '파일 보내기',
    unread: '읽지 않음 {n}', mention: '언급 {n}', newMessages: '새 메시지', jumpNew: '새 메시지 {n}개', toEnd: '최신 메시지로', beginning: '{name}의 시작입니다.', loading: '불러오는 중…', edited: '수정됨', removed: '지워진 메시지입니다.', unknownReply: '이전 메시지',
    queued: '연결을 기다립니다', sent: '보내는 중', notSent: '보내지 못함: {text}', unsure: '연결이 끊겨 도착했는지 알 수 없습니다', sendAgain: '다시 보내기', forget: '버리기',
    typing1: '{a} 님이 쓰고 있습니다…', typing2: '{a} 님과 {b} 님이 쓰고 있습니다…', typing3: '여러 명이 쓰고 있습니다…', reactedBy: '{emoji}: {names}', someone: '자리 비움', bot: '봇', today: '오늘', yesterday: '어제',
    join1: '{nick} 님이 들어왔습니다', part: '{nick} 님이 나갔습니다{text}', quit: '{nick} 님이 떠났습니다{text}', kick: '{nick} 님이 내보내졌습니다: {text}', nick: '{nick} 님이 이름을 {text}(으)로 바꿨습니다', topic: '{nick} 님이 주제를 정했습니다: {text}', mode: '{nick} 님의 설정: {text}',
    leave: '나가기', mute: '알림 끄기', topicNone: '주제 없음', invited: '{nick} 님이 {channel}에 초대했습니다', needsName: '사람이나 채널 이름을 적어 주세요.', unknownCommand: '모르는 명령입니다. //로 시작하면 /로 시작하는 글을 보냅니다.',
    theme: '색', auto: '시스템 설정', light: '밝게', dark: '어둡게', language: '언어', notifications: '알림', notifyOn: '누군가 나를 부르면 알림 보기', notifyDenied: '브라우저가 이 페이지의 알림을 막고 있습니다.', displayName: '보이는 이름', save: '저장', showEvents: '드나드는 사람 보기', signOut: '로그아웃', signOutHelp: '이 기기에서 로그아웃', profile: '프로필', appearance: '화면', signedInAs: '{name} 님', sendWith: 'Enter로 보내고 Shift+Enter로 줄을 바꿉니다', keys: '단축키', keysHelp: 'Ctrl+K: 대화로 가기. Alt+↑, Alt+↓: 앞뒤 대화. Ctrl+F: 검색. Esc: 최신 메시지로. 메시지에서: ↑ ↓ 이동, R 답장, T 스레드, E 반응, Delete 지우기.',
    unsupported: '서버에 검색이 없어 불러온 메시지에서 찾습니다.', start: '대화를 고르거나 채널에 들어가세요.', messages: '{name}의 메시지', openMembers: '멤버', says: '{nick}, {time}', server: '서버', skip: '입력란으로', list: '제안', uploading: '{name} 보내는 중: {n}%', tooBig: '파일이 너무 큽니다.', uploadFailed: '파일을 보내지 못했습니다.',
    thread: '스레드', reply1: '답글 1개', replies: '답글 {n}개', administration: '관리', administrator: '관리자', online: '접속 중', suspended: '정지됨: {text}', since: '{time}부터', giveRole: '관리자로 지정', takeRole: '관리자 해제', suspend: '정지', unsuspend: '정지 해제',
    suspendWhom: '{name} 님을 정지할까요?', reason: '이유', unregistered: '등록되지 않음', founder: '개설자 {name}', keepDays: '일 동안 보관 (0: 서버 설정대로)', bans: '차단', ban: '차단하기', unban: '차단 해제', mask: '대상', hour: '1시간',
    forGood: '무기한', until: '{time}까지', nobodyBanned: '차단된 사람이 없습니다.', log: '기록', nothingDone: '아직 관리 기록이 없습니다.', state: '서버', 'did-role': '역할 변경', 'did-suspend': '정지', 'did-unsuspend': '정지 해제',
    'did-retention': '보관 기간', 'did-ban': '차단', 'did-unban': '차단 해제', 'state-version': '버전', 'state-driver': '드라이버', 'state-uptime': '가동 시간', 'state-sessions': '연결', 'state-users': '사용자',
    'state-channels': '채널', 'state-lines': '받은 줄', 'state-deliveries': '전달한 줄', 'state-sheds': '읽지 않아 끊긴 연결', 'state-faults': '오류', 'state-unkept': '저장하지 못한 메시지', 'state-memory': '메모리',
    notAdmin: '관리자만 할 수 있습니다.', lastAdmin: '마지막 관리자는 해제하거나 정지할 수 없습니다.', refused: '서버가 받아들이지 않았습니다. 입력한 내용을 확인해 주세요.', badRequest: '쓸 수 없는 값입니다. 입력한 내용을 확인해 주세요.', devices: '기기',
    devicesHelp: '브라우저와 프로그램마다 비밀번호가 따로 있고, 여기에서 해제할 수 있습니다.', thisDevice: '이 기기', endDevice: '로그아웃', deviceName: '프로그램 이름', makeDevice: '비밀번호 만들기', deviceMade: '지금 한 번만 보이는 비밀번호입니다:',
    changePassword: '비밀번호 변경', oldPassword: '현재 비밀번호', passwordChanged: '비밀번호를 바꿨습니다.', picture: '사진', noPicture: '사진 없애기', notifyAll: '나를 부르지 않은 메시지도 모두 알림',
  },
};

export const languages = { en: 'English', ko: '한국어' };

let language = 'en';

export function speak(chosen) {
  language = chosen in words ? chosen : (navigator.language ?? 'en').startsWith('ko') ? 'ko' : 'en';
  document.documentElement.lang = language;
}

export const spoken = () => language;

export const has = (key) => key in words.en;

export const say = (key, values = {}) => words[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');

// all is for a test: every language has the same words.
export const all = words;
