// Short tables that are asked for when somebody looks: problems, engines and parked pairs.

import { get } from './api.js';
import { byId, el, Keyed, say } from './dom.js';
import { bytes, count, duration, percent, plural, rate } from './format.js';

/** Hosts with parked pairs that are shown, most pairs first. */
const HOSTS = 50;

/** A table's body; `columns` give a text each, the first one names the row. */
function body(id, columns) {
  return new Keyed(byId(id), (first) => {
    const cells = columns.map(({ of, kind, title }, at) =>
      at === 0 ? el('th', { scope: 'row', role: 'rowheader', class: kind }, of(first)) : el('td', { role: 'cell', class: kind, 'data-title': title }));
    const update = (item) => columns.forEach(({ of }, at) => at > 0 && say(cells[at], of(item)));
    return { element: el('tr', { role: 'row' }, cells), update };
  });
}

const number = (title, of) => ({ title, of, kind: 'number' });

const problems = body('problems-body', [
  { title: 'Key', kind: 'name key', of: ({ key }) => key },
  { title: 'What is wrong', kind: 'wide', of: ({ problem }) => problem },
]);

const engines = body('engines-body', [
  { title: 'Engine', kind: 'name', of: ({ engine }) => engine },
  { title: 'State', kind: 'is', of: ({ loaded }) => (loaded ? 'loaded' : 'not loaded') },
  number('Share of bytes', ({ share_of_bytes: share }) => percent(share)),
  number('Requests', ({ requests_per_second: requests }) => rate(requests)),
  number('Bytes', ({ bytes_per_second: many }) => `${bytes(many)}/s`),
  number('Pairs', ({ engine, pairs }) => (engine === 'userspace' ? '–' : count(pairs))),
  number('Requests in all', ({ requests_total: all }) => count(all)),
  number('Bytes in all', ({ bytes_total: all }) => bytes(all)),
]);

const hosts = body('pairs-body', [
  { title: 'Host', kind: 'name', of: ({ host }) => host },
  number('Pairs', ({ pairs }) => count(pairs)),
  number('Busy', ({ busy }) => count(busy)),
  { title: 'Engines', kind: 'wide', of: ({ engines: names }) => [...names].sort().join(', ') },
  number('Requests', ({ requests }) => count(requests)),
  number('To clients', ({ down }) => bytes(down)),
  number('To upstreams', ({ up }) => bytes(up)),
  number('Quiet for', ({ quiet }) => duration(quiet / 1000)),
]);

/** The engines of a status. */
export function showEngines(list) {
  engines.update(list, ({ engine }) => engine);
}

/** Keys with wrong values. */
export async function refreshProblems() {
  const { problems: list } = await get('/api/problems');
  problems.update(list, ({ key, problem }) => `${key}\n${problem}`);
  byId('problems-empty').hidden = list.length > 0;
  byId('problems-table').hidden = list.length === 0;
}

/** Parked pairs, by host. */
export async function refreshPairs() {
  const { pairs } = await get('/api/pairs');
  const byHost = new Map();
  for (const pair of pairs) {
    const sum = byHost.get(pair.host) ?? { host: pair.host, pairs: 0, busy: 0, engines: new Set(), requests: 0, down: 0, up: 0, quiet: Infinity };
    sum.pairs += 1;
    sum.busy += pair.busy ? 1 : 0;
    sum.engines.add(pair.engine);
    sum.requests += pair.requests;
    sum.down += pair.to_client;
    sum.up += pair.to_upstream;
    sum.quiet = Math.min(sum.quiet, pair.quiet_ms);
    byHost.set(pair.host, sum);
  }
  const most = [...byHost.values()].sort((a, b) => b.pairs - a.pairs || (a.host < b.host ? -1 : 1));
  hosts.update(most.slice(0, HOSTS), ({ host }) => host);
  byId('pairs-table').hidden = most.length === 0;
  say(byId('pairs-count'), most.length === 0 ? 'No connections are parked: userspace carries all of them.'
    : `${plural(pairs.length, 'pair')} of ${plural(most.length, 'host')}${most.length > HOSTS ? `; the ${HOSTS} with the most are shown` : ''}.`);
}
