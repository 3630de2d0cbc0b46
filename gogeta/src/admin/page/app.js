// The page: which part of it is shown, what keeps it true, and which keys work.

import * as changes from './changes.js';
import * as control from './control.js';
import * as detail from './detail.js';
import { announce, byId, say } from './dom.js';
import * as explain from './explain.js';
import { moment, span } from './format.js';
import { makeLists } from './lists.js';
import { Live } from './live.js';
import * as overview from './overview.js';
import * as tables from './tables.js';

const VIEWS = ['overview', 'domains', 'services', 'problems', 'changes', 'pairs', 'explain', 'control'];
/** Numbers in lists change although no route does: asked for this often, in milliseconds. */
const NUMBERS = 3000;
/** Domains on a page, in the overview and in their own view. */
const [FEW, MANY] = [20, 50];

const live = new Live();
const lists = makeLists((view, query) => {
  const where = document.body.dataset.view === 'overview' ? 'overview' : view;
  if (where !== 'overview') rename(address(where, { q: query.q, state: query.state }));
});
let last = null;
let lost = null;
let base = '#/';

/** An address in this page: `#/domains?q=shop`. */
function address(view, query) {
  const wanted = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  const text = wanted.toString();
  return `#/${view === 'overview' ? '' : view}${text ? `?${text}` : ''}`;
}

/** Says in the address what is shown already: where a dialog is closed to. */
function rename(address) {
  history.replaceState(null, '', address);
  base = address;
}

/** What the address says: a view, the name of one thing in it, and a query. */
function read() {
  const [route, query] = location.hash.replace(/^#\/?/, '').split('?', 2);
  const [view, ...rest] = route.split('/');
  let name = rest.join('/');
  try {
    name = decodeURIComponent(name);
  } catch {
    // Typed by hand, and not encoded: it is what it is.
  }
  return { view: VIEWS.includes(view) ? view : 'overview', name, query: Object.fromEntries(new URLSearchParams(query ?? '')) };
}

function route() {
  const { view, name, query } = read();
  if ((view === 'domains' || view === 'services') && name) {
    // Over what is being looked at; over its list where the page begins with it.
    if (!document.body.dataset.view) {
      base = address(view, {});
      enter(view, {});
    }
    detail.show(view, name);
    return;
  }
  base = location.hash || '#/';
  detail.hide();
  enter(view, query);
}

function enter(view, query) {
  const isOther = document.body.dataset.view !== view;
  document.body.dataset.view = view;
  for (const section of document.querySelectorAll('[data-in]')) {
    section.hidden = !section.dataset.in.split(' ').includes(view);
  }
  for (const link of document.querySelectorAll('#nav a')) {
    const isHere = link.getAttribute('href') === address(view, {});
    if (isHere) {
      link.setAttribute('aria-current', 'page');
      link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    } else {
      link.removeAttribute('aria-current');
    }
  }
  if (isOther) scrollTo(0, 0);
  lists[view]?.set(query);
  // What was looked for there is kept while something is open over it.
  if (view === 'overview' && isOther) lists.domains.set({});
  lists.domains.resize(view === 'overview' ? FEW : MANY);
  if (view === 'explain') explain.show(query);
  if (view === 'control') control.refresh();
  changes.draw();
  refresh(0);
}

/** Asks for what is shown now, and nothing else. */
function refresh(wait) {
  const { view } = document.body.dataset;
  if (view === 'overview' || view === 'domains') lists.domains.refresh(wait);
  if (view === 'services') lists.services.refresh(wait);
  if (view === 'problems') tables.refreshProblems().catch(quietly);
  if (view === 'pairs') tables.refreshPairs().catch(quietly);
}

/** What cannot be read while gogeta is away is said once, by the banner. */
function quietly(error) {
  if (error.status !== 0) control.tell(error.message, true);
}

function onStatus(status) {
  if (last && (last.version !== status.version || last.build?.commit !== status.build?.commit)) {
    byId('outdated').hidden = false;
  }
  last = status;
  byId('main').setAttribute('aria-busy', 'false');
  overview.show(status);
  overview.follow().catch(quietly);
  tables.showEngines(status.engines);
  lists.domains.count(status.counts.domains_by_state);
  lists.services.count(status.counts.services_by_state);
}

function onLost({ since, wait }) {
  if (!lost) announce('The connection to gogeta is lost. The page shows what was last known.');
  lost = { since, until: Date.now() + wait };
  document.body.dataset.live = 'no';
  byId('lost').hidden = false;
  tellLost();
}

function tellLost() {
  if (!lost) return;
  const left = Math.max(0, Math.ceil((lost.until - Date.now()) / 1000));
  const what = last ? `What you see is from ${moment(lost.since / 1000)}, ${span((Date.now() - lost.since) / 1000)} ago.` : 'Nothing has been read yet.';
  say(byId('lost-text'), `gogeta cannot be reached. ${what} ${left > 0 ? `Trying again in ${left} s.` : 'Trying again.'}`);
}

function onOpen() {
  if (lost) announce('The connection to gogeta is back.');
  lost = null;
  document.body.dataset.live = 'yes';
  byId('lost').hidden = true;
  changes.catchUp().catch(quietly);
  refresh(0);
  detail.refresh(0);
}

function onKey(event) {
  const target = event.target;
  const isTyping = target.matches?.('input, textarea, select') || target.isContentEditable;
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || isTyping) return;
  if (document.querySelector('dialog[open]')) return;
  const list = lists[document.body.dataset.view] ?? (document.body.dataset.view === 'overview' ? lists.domains : null);
  const isInList = target === document.body || Boolean(target.closest?.('table.list'));
  if (event.key === '/') {
    // At once: the next key may be there already.
    if (list) list.search.focus();
    else {
      location.hash = '#/domains';
      // In a view that is on its way the field is not there yet.
      setTimeout(() => lists.domains.search.focus(), 0);
    }
  } else if (event.key === '?') byId('keys').showModal();
  else if (list && (event.key === 'j' || (event.key === 'ArrowDown' && isInList && target !== document.body))) list.move(1);
  else if (list && (event.key === 'k' || (event.key === 'ArrowUp' && isInList && target !== document.body))) list.move(-1);
  else return;
  event.preventDefault();
}

function begin() {
  overview.build();
  changes.build();
  control.build();
  explain.build((query) => rename(address('explain', query)));
  detail.build(() => {
    if (location.hash !== base && read().name) location.hash = base;
  });
  byId('retry').addEventListener('click', () => live.retry());
  byId('reload').addEventListener('click', () => location.reload());
  byId('help').addEventListener('click', () => byId('keys').showModal());
  byId('keys-close').addEventListener('click', () => byId('keys').close());
  byId('skip').addEventListener('click', (event) => {
    // The address is the view's; the focus goes without it.
    event.preventDefault();
    byId('main').focus();
  });
  addEventListener('hashchange', route);
  addEventListener('keydown', onKey);
  live.addEventListener('open', onOpen);
  live.addEventListener('lost', ({ detail: what }) => onLost(what));
  live.addEventListener('status', ({ detail: status }) => onStatus(status));
  live.addEventListener('change', ({ detail: change }) => changes.add(change));
  live.addEventListener('revision', () => {
    refresh();
    detail.refresh();
  });
  setInterval(tellLost, 1000);
  setInterval(() => !document.hidden && !lost && refresh(), NUMBERS);
  route();
  live.open();
}

begin();
