// How a request would be routed now, step by step.

import { get, withQuery } from './api.js';
import { byId, el } from './dom.js';
import { count } from './format.js';

const OUTCOMES = { ok: 'fine', info: 'note', warn: 'warning', stop: 'it ends here' };

let asked = 0;

/** `go(query)` writes what is asked into the address. */
export function build(go) {
  byId('explain-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const [url, method, client] = ['explain-url', 'explain-method', 'explain-client'].map((id) => byId(id).value.trim());
    const query = { url, method: method === 'GET' ? '' : method, client };
    go(query);
    ask(query);
  });
}

/** Shows what the address asks for. */
export function show({ url = '', method = '', client = '' }) {
  if (!url) return byId('explain-url').focus();
  byId('explain-url').value = url;
  byId('explain-method').value = method || 'GET';
  byId('explain-client').value = client;
  ask({ url, method, client });
}

async function ask({ url, method, client }) {
  const answer = byId('explanation');
  asked += 1;
  const number = asked;
  const parts = split(url);
  if (!parts) {
    answer.replaceChildren(el('p', { class: 'problem' }, 'That is no URL. Type a host, a host and a path, or http://host/path.'));
    return;
  }
  try {
    const explanation = await get(withQuery('/api/explain', { ...parts, method: method || 'GET', client, headers: said(url) }));
    if (number === asked) draw(answer, explanation);
  } catch (refusal) {
    if (number === asked) answer.replaceChildren(el('p', { class: 'problem' }, refusal.message));
  }
}

/** What a request by https has said, behind whoever took the TLS off it. */
const said = (url) => (/^https:/i.test(url) ? 'X-Forwarded-Proto: https' : '');

/** Host and path of what people type for a URL. */
export function split(text) {
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const found = /^https?:\/\/([^/?#]+)([^#]*)/i.exec(url);
  if (!found) return null;
  const path = found[2];
  // As it was typed: a URL parser would change what is to be explained.
  return { host: found[1].replace(/^.*@/, ''), path: path.startsWith('/') ? path : `/${path}` };
}

function draw(answer, { verdict, steps, revision }) {
  const mood = verdict.status >= 500 ? 'bad' : verdict.status >= 400 ? 'warn' : 'good';
  answer.replaceChildren(
    el('p', { class: 'verdict panel', 'data-mood': mood }, el('strong', {}, verdict.text)),
    el('ol', { class: 'steps' }, steps.map(({ step, outcome, text, key }) =>
      el('li', { 'data-outcome': outcome },
        el('span', { class: 'step' }, step),
        el('span', { class: 'unseen' }, `, ${OUTCOMES[outcome] ?? outcome}: `),
        el('span', { class: 'text' }, text, key ? el('code', {}, key) : null)))),
    el('p', { class: 'count' }, `As routed at revision ${count(revision)}.`));
}
