// What somebody wants of the page, and the ways to what they can do with the account.
import { field, open, select } from './dialogs.js';
import { h } from './dom.js';
import { languages, say, spoken } from './words.js';

export async function settings(app) {
  const pictureOf = app.client.has('draft/metadata-2') && app.fileHost() !== '' && (await import('./admin.js')).picture(app);
  const s = app.settings, set = (key) => (value) => app.set(key, value);
  const notify = h('input', { type: 'checkbox', checked: s.notify, onchange: () => app.allowNotifications(notify.checked).then((on) => { notify.checked = on; if (!on && Notification.permission === 'denied') app.toast(say('notifyDenied')); }) });
  const events = h('input', { type: 'checkbox', checked: s.events, onchange: () => app.set('events', events.checked) });
  const name = h('input', { type: 'text', maxlength: '64', value: app.model.people.get(app.model.fold(app.model.nick))?.['display-name'] ?? '' });
  const profile = app.client.has('draft/metadata-2') && h('form', { onsubmit: (e) => { e.preventDefault(); app.client.setMetadata('display-name', name.value.trim()); dialog.close(); } }, field(say('displayName'), name), h('button', {}, say('save')));
  const account = Boolean(app.kept.login?.password && app.site.invitations);
  const opens = (label, name) => h('button', { type: 'button', onclick: async () => { const admin = await import('./admin.js'); dialog.close(); admin[name](app); } }, label);
  const all = h('input', { type: 'checkbox', checked: s.notifyAll, onchange: () => app.set('notifyAll', all.checked) });
  const dialog = open(say('settings'), [
    h('h3', {}, say('profile')), h('p', {}, say('signedInAs', { name: app.model.account || app.model.nick })), profile,
    pictureOf,
    account && h('div', { class: 'answers wide' }, opens(say('devices'), 'devices'), opens(say('changePassword'), 'password'), app.mayInvite() && opens(say('administration'), 'administer')),
    h('h3', {}, say('appearance')),
    field(say('theme'), select(s.theme, { auto: say('auto'), light: say('light'), dark: say('dark') }, set('theme'))),
    field(say('language'), select(spoken(), languages, (v) => { dialog.close(); app.set('language', v); })),
    field(say('showEvents'), events),
    h('h3', {}, say('notifications')), field(say('notifyOn'), notify), field(say('notifyAll'), all),
    h('h3', {}, say('keys')), h('p', { class: 'hint' }, say('keysHelp'), ' ', say('sendWith')),
    h('div', { class: 'answers' }, h('button', { type: 'button', class: 'danger', onclick: () => { dialog.close(); app.signOut(); } }, say('signOut'))),
  ], 'settings');
}
