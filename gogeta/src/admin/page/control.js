// What can be done to this gogeta, and the token that it takes.

import { act as ask, get, token } from './api.js';
import { announce, byId, el, say } from './dom.js';
import { plural } from './format.js';

/** Who waits for a token: called with whether there is one now. */
let waiting = null;

/**
 * Does it, by a button that waits meanwhile; asks for the token where there is none, or a wrong one. Gives the
 * response, or nothing where it was not done, which it has said then.
 */
export async function act(button, method, where, body) {
  if (!token.get() && !(await askForToken(''))) return null;
  button.disabled = true;
  button.setAttribute('aria-busy', 'true');
  try {
    for (;;) {
      try {
        return await ask(method, where, body);
      } catch (refusal) {
        if (refusal.status !== 401) {
          tell(refusal.message, true);
          return null;
        }
        token.set(null);
        if (!(await askForToken(refusal.message))) return null;
      }
    }
  } finally {
    button.disabled = false;
    button.removeAttribute('aria-busy');
    if (!document.activeElement || document.activeElement === document.body) button.focus();
  }
}

/** Says what came of it, above everything for a while. */
export function tell(text, isBad = false) {
  const toast = el('p', { class: 'toast', 'data-mood': isBad ? 'bad' : '' }, text);
  // A dialog is above everything else: what is not in it is not seen.
  (document.querySelector('dialog[open] .toasts') ?? byId('toasts')).replaceChildren(toast);
  announce(text);
  setTimeout(() => toast.remove(), 8000);
}

function askForToken(why) {
  const dialog = byId('token-dialog');
  say(byId('token-why'), why);
  byId('token').value = '';
  dialog.showModal();
  return new Promise((resolve) => {
    waiting = resolve;
  });
}

function buildToken() {
  const dialog = byId('token-dialog');
  byId('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    token.set(byId('token').value.trim());
    dialog.close();
  });
  byId('token-cancel').addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => {
    byId('token').value = '';
    waiting?.(Boolean(token.get()));
    waiting = null;
  });
  const show = () => {
    const given = Boolean(token.get());
    say(byId('token-state'), given ? 'A token was given. It is kept until this tab is closed, and nowhere else.' : 'No token was given in this tab.');
    say(byId('token-give'), given ? 'Forget the token' : 'Give a token');
  };
  byId('token-give').addEventListener('click', () => (token.get() ? token.set(null) : askForToken('')));
  document.addEventListener('token', show);
  show();
}

/** Makes forms and buttons work. */
export function build() {
  buildToken();
  const on = (id, does) => byId(id).addEventListener('submit', (event) => {
    event.preventDefault();
    does(event.submitter ?? byId(id).querySelector('button'));
  });
  on('log-form', setLog);
  on('unpark-form', unpark);
  on('profile-form', profile);
  on('tasks-form', dump);
}

/** Reads what is set, when somebody comes to look. */
export async function refresh() {
  try {
    const { filter } = await get('/api/log');
    if (document.activeElement !== byId('log-filter')) byId('log-filter').value = filter;
  } catch (refusal) {
    tell(`The log's filter cannot be read: ${refusal.message}.`, true);
  }
}

async function setLog(button) {
  const done = await act(button, 'PUT', '/api/log', { filter: byId('log-filter').value.trim() });
  if (!done) return;
  const { filter } = await done.json();
  byId('log-filter').value = filter;
  tell(`It logs ${filter} now.`);
}

async function unpark(button) {
  const [kind, name] = [byId('unpark-kind').value, byId('unpark-name').value.trim()];
  if (kind && !name) return tell(`Name the ${kind}, or choose all pairs.`, true);
  const done = await act(button, 'POST', '/api/unpark', kind ? { [kind]: name } : {});
  if (done) tell(`${plural((await done.json()).unparked, 'pair')} taken back. Those that may be parked again will be.`);
}

async function profile(button) {
  const step = button.value;
  const done = await act(button, 'POST', `/api/profile/${step}`);
  if (!done) return;
  if (step === 'start') return tell('The profile is being taken. Stop it when what you want to see has happened.');
  const { files } = await done.json();
  tell('The profile is written.');
  byId('profile-files').replaceChildren(
    el('p', {}, 'Written on the machine of gogeta:'),
    el('ul', {}, (files ?? []).map((file) => el('li', {}, el('code', {}, file)))),
    el('p', {}, el('a', { href: '/api/profile/flamegraph.svg', target: '_blank', rel: 'noopener noreferrer' }, 'Look at the flame graph')));
}

async function dump(button) {
  const done = await act(button, 'POST', '/api/tasks');
  if (!done) return;
  const text = await done.text();
  const region = byId('tasks-text');
  region.hidden = false;
  say(region, text);
  region.focus();
}
