// How this gogeta is: the header, what is wrong now, the tiles and the charts.

import { get, withQuery } from './api.js';
import { Chart } from './chart.js';
import { announce, byId, el, Keyed, say } from './dom.js';
import { bytes, count, duration, percent, plural, rate, span } from './format.js';

/** Minutes that charts go back: as far as gogeta remembers. */
const SECONDS = 300;

const TILES = [
  ['Requests', ({ traffic: t }) => rate(t.requests_per_second), ({ traffic: t }) => `${bytes(t.bytes_per_second)}/s to and fro`],
  ['Errors', ({ traffic: t }) => percent(t.error_ratio), ({ traffic: t }) => `${rate(t.errors_per_second)} · ${rate(t.retries_per_second)} tried again`, ({ traffic: t }) => (t.error_ratio >= 0.05 ? 'bad' : t.error_ratio >= 0.01 ? 'warn' : '')],
  ['Latency, p50', ({ traffic: t }) => duration(t.p50_seconds), ({ traffic: t }) => `p90 ${duration(t.p90_seconds)}`],
  ['Latency, p99', ({ traffic: t }) => duration(t.p99_seconds), () => 'over the last 10 seconds'],
  ['Connections', ({ traffic: t }) => count(t.connections_open), ({ traffic: t, limits }) => (limits?.max_connections ? `of ${count(limits.max_connections)} · ${count(t.connections_idle_upstream)} idle upstream` : `${count(t.connections_idle_upstream)} idle upstream`)],
  ['Parked pairs', ({ engines }) => count(pairs(engines)), ({ engines }) => carried(engines)],
];

const pairs = (engines) => engines.reduce((sum, { pairs: many }) => sum + (many ?? 0), 0);

function carried(engines) {
  const kernel = engines.filter(({ engine }) => engine !== 'userspace');
  if (!kernel.some(({ loaded }) => loaded)) return 'no kernel engine is loaded';
  const share = kernel.reduce((sum, engine) => sum + (engine.share_of_bytes ?? 0), 0);
  return `the kernel carries ${percent(share)} of bytes`;
}

const tiles = TILES.map(([title, value, under, mood]) => {
  const parts = { value: el('dd', { class: 'value' }), under: el('dd', { class: 'under' }) };
  const element = el('div', { class: 'tile panel' }, el('dt', {}, title), parts.value, parts.under);
  return {
    element,
    show(status) {
      say(parts.value, value(status));
      say(parts.under, under(status));
      element.dataset.mood = mood?.(status) ?? '';
    },
  };
});

const charts = [];
const worst = new Keyed(byId('worst'), ({ kind, name, what }) => {
  const to = { service: `#/services/${encodeURIComponent(name)}`, instance: `#/services/${encodeURIComponent(name.split('/')[0])}`, domain: `#/domains/${encodeURIComponent(name)}`, key: '#/problems' }[kind];
  const text = el('span', { class: 'what' }, what);
  const title = to ? el('a', { href: to }, name) : el('span', { class: 'name' }, name);
  return { element: el('li', {}, el('span', { class: 'kind' }, kind), el('span', {}, title, ': ', text)), update: (item) => say(text, item.what) };
});
let points = [];
let wrong = null;

/** Makes what is not in the page from the start. */
export function build() {
  byId('tiles').append(...tiles.map(({ element }) => element));
  const make = (id, options) => charts.push(new Chart(byId(id), { seconds: SECONDS, ...options }));
  make('chart-requests', {
    title: 'Requests',
    format: (value) => rate(value),
    series: [
      { key: 'requests', label: 'all', of: (point) => point.requests_per_second },
      { key: 'errors', label: 'errors', of: (point) => point.errors_per_second },
    ],
  });
  make('chart-latency', {
    title: 'Latency',
    format: (value) => duration(value),
    series: [
      { key: 'p50', label: 'p50', of: (point) => point.p50_seconds },
      { key: 'p99', label: 'p99', of: (point) => point.p99_seconds },
    ],
  });
  make('chart-bytes', {
    title: 'Bytes by engine',
    format: (value) => (value === null || value === undefined ? '–' : `${bytes(value)}/s`),
    stacked: true,
    series: ['wire', 'sockmap', 'userspace'].map((key) => ({ key, label: key, of: ({ bytes: all }) => all?.[key] ?? 0 })),
  });
}

/** Shows a status. */
export function show(status) {
  const { ready, store, counts, build: made } = status;
  document.title = `${status.worst.length ? `(${status.worst.length}) ` : ''}${status.name}`;
  say(byId('name'), status.name);
  const verdict = ready.ready ? 'Ready' : ready.draining ? 'Leaving' : 'Not ready';
  const state = byId('ready');
  if (state.dataset.state && state.textContent !== verdict) announce(`${verdict}: ${ready.detail}`);
  say(state, verdict);
  state.dataset.state = ready.ready ? 'started' : 'error';
  say(byId('ready-detail'), ready.detail);
  say(byId('store'), storeInWords(store));
  byId('store').dataset.mood = store.connected || store.kind !== 'etcd' ? '' : 'bad';
  byId('store').title = store.detail ?? '';
  say(byId('revision'), `revision ${count(store.revision)}`);
  say(byId('age'), store.config_age_seconds === null ? '' : `confirmed ${span(store.config_age_seconds)} ago${store.from_disk ? ', from disk' : ''}`);
  say(byId('uptime'), `up ${span(status.uptime_seconds)}`);
  say(byId('version'), `${status.version}${made?.commit ? ` (${made.commit.slice(0, 8)})` : ''}`);
  for (const tile of tiles) tile.show(status);
  showWorst(status.worst);
  say(byId('sum'), `${plural(counts.domains, 'domain')}, ${plural(counts.services, 'service')}, ${plural(counts.instances, 'instance')}${counts.resting ? `, ${count(counts.resting)} resting` : ''}`);
  say(byId('nav-problems'), counts.problems ? count(counts.problems) : '');
}

function storeInWords({ kind, connected }) {
  if (kind === 'none') return 'no store';
  if (kind !== 'etcd') return { file: 'routes from a file', demo: 'routes of the demo' }[kind] ?? kind;
  return connected ? 'etcd connected' : 'etcd is away';
}

function showWorst(list) {
  worst.update(list, ({ kind, name }) => `${kind} ${name}`);
  byId('now').dataset.calm = list.length ? '' : 'yes';
  say(byId('now-count'), list.length ? count(list.length) : '');
  if (wrong !== null && list.length !== wrong) announce(list.length ? `${plural(list.length, 'thing')} wrong now` : 'Nothing is wrong now');
  wrong = list.length;
}

/** Brings the charts up to now. */
export async function follow() {
  const after = points.at(-1)?.at;
  const history = await get(withQuery('/api/history', { after }));
  const fresh = history.points.filter(({ at }) => after === undefined || at > after);
  const newest = fresh.at(-1)?.at ?? after;
  points = [...points, ...fresh].filter(({ at }) => at >= newest - SECONDS);
  for (const chart of charts) chart.update(points);
  return fresh.length;
}
