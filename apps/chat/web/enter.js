// The way in: signing in, as a guest, or by an invitation.
import { h } from './dom.js';
import { say } from './words.js';

const leastPassword = 8;

function labelled(id, label, props) {
  const input = h('input', { id, ...props });
  return [h('label', { for: id }, label), input];
}

// page is a form in the middle; submit gets the fields and the place for what is wrong.
function page(app, { title, help, fields, verb, submit, other }) {
  const problem = h('p', { role: 'alert', class: 'problem' });
  const go = h('button', { class: 'primary' }, verb);
  const form = h('form', { class: 'enter', onsubmit: async (e) => {
    e.preventDefault();
    problem.textContent = '';
    go.disabled = true;
    const wrong = await submit(Object.fromEntries(new FormData(form)));
    go.disabled = false;
    if (wrong) problem.textContent = wrong;
  } }, h('img', { src: 'icon.svg', alt: '', width: '56', height: '56' }), h('h1', {}, title), help && h('p', { class: 'hint' }, help), fields, problem, go, other);
  app.root(h('main', { class: 'entrance' }, form));
  form.querySelector('input')?.focus();
  return problem;
}

// signIn shows the form for who has an account, or none. It returns where problems go.
export function signIn(app, name = '') {
  return page(app, {
    title: say('welcome', { network: app.site.network }),
    help: say('guestHelp'),
    fields: [
      labelled('name', say('name'), { name: 'name', required: true, maxlength: '32', autocomplete: 'username', value: name, autocapitalize: 'none', spellcheck: 'false' }),
      labelled('password', say('password'), { name: 'password', type: 'password', autocomplete: 'current-password' }),
    ],
    verb: say('enter'),
    submit: (f) => app.signIn(f.name.trim(), f.password),
  });
}

// join shows what an invitation is for, and makes the account.
export async function join(app, token) {
  const about = await app.post('account/invitation', { token });
  if (about.problem) {
    signIn(app).textContent = about.problem;
    return;
  }
  const first = about.role === 'admin';
  page(app, {
    title: first ? say('makeAdmin') : say('welcome', { network: app.site.network }),
    help: [about.by ? `${say('joinBy', { by: about.by })}. ` : '', say('accountHelp')].join(''),
    fields: [
      labelled('name', say('name'), { name: 'name', required: true, maxlength: '32', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false' }),
      labelled('password', say('newPassword'), { name: 'password', type: 'password', required: true, minlength: String(leastPassword), autocomplete: 'new-password' }),
      labelled('again', say('again'), { name: 'again', type: 'password', required: true, autocomplete: 'new-password' }),
      first && labelled('channel', say('firstChannel'), { name: 'channel', required: true, maxlength: '60', value: '#lobby', autocapitalize: 'none' }),
    ],
    verb: say('makeAccount'),
    submit: async (f) => {
      if (f.password.length < leastPassword) return say('shortPassword');
      if (f.password !== f.again) return say('notSame');
      const made = await app.post('account/join', { token, name: f.name.trim(), password: f.password, device: app.device() });
      if (made.problem) return made.problem;
      history.replaceState(null, '', location.pathname);
      const channel = first ? f.channel.trim().replace(/^#*/, '#') : made.channel;
      if (first) app.firstChannel = channel;
      app.begin({ account: made.account, nick: made.account, password: made.password, role: made.role, channels: channel ? [channel] : [] });
      return '';
    },
    other: h('button', { type: 'button', class: 'link', onclick: () => signIn(app) }, say('haveAccount')),
  });
}
