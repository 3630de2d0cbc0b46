// What happened lately: the journal, newest first.

import { get, withQuery } from './api.js';
import { announce, byId, el, Keyed } from './dom.js';
import { moment } from './format.js';

/** As many as gogeta keeps. */
const MOST = 500;
/** As many as the overview has room for. */
const FEW = 30;

const LEVELS = { info: 'note', warning: 'warning', error: 'error' };
const LINKS = { domain: 'domains', service: 'services' };

let changes = [];
let level = '';
let frame = 0;

const list = new Keyed(byId('journal'), (change) => {
  const { at, kind, name, text } = change;
  const element = el('li', { 'data-level': change.level },
    el('time', { datetime: new Date(at * 1000).toISOString() }, moment(at)),
    el('span', { class: 'kind' }, kind),
    el('span', { class: 'unseen' }, `${LEVELS[change.level] ?? change.level}: `),
    el('span', { class: 'text' }, title(kind, name), name ? ': ' : '', text));
  return { element, update() {} };
});

function title(kind, name) {
  if (!name) return '';
  if (kind === 'instance' || (kind === 'error' && name.includes('/'))) {
    const service = name.slice(0, name.lastIndexOf('/'));
    if (service && !service.startsWith('/')) return el('a', { href: `#/services/${encodeURIComponent(service)}` }, name);
  }
  return LINKS[kind] ? el('a', { href: `#/${LINKS[kind]}/${encodeURIComponent(name)}` }, name) : el('b', {}, name);
}

/** Makes the filter work. */
export function build() {
  byId('journal-level').addEventListener('change', (event) => {
    level = event.target.value;
    draw();
  });
}

/** Takes in what was missed. */
export async function catchUp() {
  take((await get(withQuery('/api/changes', { after: changes[0]?.seq }))).items);
}

/** Adds one that has just happened. */
export function add(change) {
  if (change.seq <= (changes[0]?.seq ?? 0)) return;
  if (change.level === 'error') announce(`Error: ${change.name}: ${change.text}`);
  take([change]);
}

function take(items) {
  const last = changes[0]?.seq ?? 0;
  changes = [...items.filter(({ seq }) => seq > last).reverse(), ...changes].slice(0, MOST);
  draw();
}

/** Draws once a frame at most. `few` is for where there is little room. */
export function draw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const few = document.body.dataset.view === 'overview' ? FEW : MOST;
    const shown = changes.filter((change) => !level || change.level === level || (level === 'warning' && change.level === 'error'));
    list.update(shown.slice(0, few), ({ seq, at }) => `${seq} ${at}`);
    byId('journal-empty').hidden = shown.length > 0;
  });
}
