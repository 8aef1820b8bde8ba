// The service worker: the page opens without a network, and what was typed then waits
// in it. It keeps the page's own files and nothing that anybody said.
const kept = 'page';
const page = [
  './', 'site.json', 'admin.js', 'client.js', 'commands.js', 'composer.js', 'dialogs.css', 'dialogs.js', 'dom.js', 'emoji.js', 'english.js', 'enter.js', 'icon.svg',
  'invite.js', 'irc.js', 'korean.js', 'list.js', 'main.js', 'manifest.webmanifest', 'messages.js', 'model.js', 'picker.js', 'qr.js', 'search.js',
  'settings.js', 'style.css', 'text.js', 'thread.js', 'upload.js', 'view.js', 'words.js',
];

// A push message is a line of IRC (draft/webpush). While somebody looks at the page,
// that shows it.
const spoken = /^(?:@\S+ )?:([^!\s]+)\S* (?:PRIVMSG|NOTICE) ([^\s]+) :?([^]*)$/;
const doing = /^\x01ACTION ([^\x01]*)/; // "/me"
const control = /[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]/g;

async function notify(line) {
  const windows = await self.clients.matchAll({ type: 'window' });
  const found = spoken.exec(line);
  if (found === null || windows.some((w) => w.visibilityState === 'visible')) return;
  const [, nick, target, text] = found;
  const isChannel = /^[#&]/.test(target);
  await self.registration.showNotification(isChannel ? `${nick} · ${target}` : nick, {
    body: text.replace(doing, (_, does) => `${nick} ${does}`).replace(control, ' ').trim().slice(0, 200), tag: isChannel ? target : nick, icon: 'icon.svg', data: isChannel ? target : nick,
  });
}

// look goes to the page, and to the conversation that a notification is of.
async function look(name) {
  const [page] = await self.clients.matchAll({ type: 'window' });
  if (page === undefined) return self.clients.openWindow('./');
  page.postMessage({ show: name });
  return page.focus();
}

// The network comes first, so that a new version of the server has its own page.
async function answer(request) {
  const cache = await caches.open(kept);
  try {
    const fresh = await fetch(request);
    if (fresh.ok) await cache.put(request, fresh.clone());
    return fresh;
  } catch (problem) {
    const old = await cache.match(request, { ignoreSearch: true }) ?? (request.mode === 'navigate' ? await cache.match('./') : undefined);
    if (old !== undefined) return old;
    throw problem;
  }
}

// isPage reports whether a request is for a file of the page: others are not kept.
function isPage(request) {
  const url = new URL(request.url), scope = new URL('./', self.location);
  const name = url.pathname.slice(scope.pathname.length);
  return request.method === 'GET' && url.origin === scope.origin && /^([a-z]+\.(js|css|svg|json|webmanifest))?$/.test(name);
}

self.addEventListener('install', (e) => e.waitUntil(caches.open(kept).then((cache) => cache.addAll(page)).then(() => self.skipWaiting())));
self.addEventListener('activate', (e) => e.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (e) => { if (isPage(e.request)) e.respondWith(answer(e.request)); });
self.addEventListener('push', (e) => e.waitUntil(notify((e.data?.text() ?? '').trim())));
self.addEventListener('notificationclick', (e) => { e.notification.close(); e.waitUntil(look(e.notification.data)); });
