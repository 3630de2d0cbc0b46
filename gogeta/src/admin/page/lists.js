// The lists of domains and of services: their columns.

import { badge, byId, el } from './dom.js';
import { duration, percent, plural, rate } from './format.js';
import { List } from './table.js';

const state = { title: 'State', kind: 'is', of: (item) => item.state, cell: (item) => badge(item.state) };
const requests = { title: 'Requests', kind: 'number', of: (item) => rate(item.requests_per_second) };
const why = { title: 'Why', kind: 'why', of: (item) => item.why ?? '' };

/** Where a domain leads, in words. */
export const target = ({ type, value }) => (value ? (type === 'uri' ? value : `${type ?? 'no type'} ${value}`) : (type ?? ''));

/** `onQuery(view, { q, state })` is told what is searched for. */
export function makeLists(onQuery) {
  return {
    domains: new List({
      section: byId('domains'),
      what: 'domain',
      where: '/api/domains',
      hint: 'Host, service or address',
      keyOf: ({ host }) => host,
      href: ({ host }) => `#/domains/${encodeURIComponent(host)}`,
      columns: [
        { title: 'Domain', kind: 'name', of: ({ host }) => host },
        state,
        { title: 'Goes to', kind: 'target', of: target },
        why,
        requests,
      ],
      onQuery: (query) => onQuery('domains', query),
    }),
    services: new List({
      section: byId('services'),
      what: 'service',
      where: '/api/services',
      hint: 'Name of a service',
      keyOf: ({ name }) => name,
      href: ({ name }) => `#/services/${encodeURIComponent(name)}`,
      columns: [
        { title: 'Service', kind: 'name', of: ({ name }) => name },
        state,
        { title: 'Instances', kind: 'instances', of: (item) => summary(item).join(' '), cell: dots },
        why,
        requests,
        { title: 'Errors', kind: 'number', of: (item) => percent(item.error_ratio) },
        { title: 'p99', kind: 'number', of: (item) => duration(item.p99_seconds) },
      ],
      onQuery: (query) => onQuery('services', query),
    }),
  };
}

function summary({ instances }) {
  const states = {};
  for (const instance of instances) states[instance.state] = (states[instance.state] ?? 0) + 1;
  return Object.entries(states).map(([name, many]) => `${many} ${name}`);
}

/** A dot for each instance, as far as they can be told apart. */
function dots(service) {
  const many = service.instances.length;
  if (many === 0) return 'none';
  const marks = service.instances.slice(0, 12).map((one) => el('i', { class: 'dot', 'data-state': one.state }));
  const words = `${plural(many, 'instance')}: ${summary(service).join(', ')}`;
  return el('span', { class: 'dots', title: words }, el('span', { 'aria-hidden': 'true' }, marks, many > 12 ? ` +${many - 12}` : null), el('span', { class: 'unseen' }, words));
}
