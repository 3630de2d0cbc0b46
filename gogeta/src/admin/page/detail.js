// One domain or service with its instances, in a dialog that stays true while it is open.

import { get, path } from './api.js';
import { act, tell } from './control.js';
import { badge, byId, el, Keyed, say } from './dom.js';
import { duration, percent, plural, rate } from './format.js';

/** Numbers change although no route does: asked for this often, in milliseconds. */
const EVERY = 2000;
/** At a storm of changes asked for no more often than this, in milliseconds. */
const BREATH = 250;

const dialog = byId('detail');
let open = null;

/** A dialog's content: `kind` is `domains` or `services`. */
class Detail {
  #kind;
  #name;
  #timer = 0;
  #asked = 0;
  #parts;
  #service;

  constructor(kind, name) {
    this.#kind = kind;
    this.#name = name;
    this.#parts = { state: el('p', { class: 'verdict' }), facts: el('dl', { class: 'facts' }), error: el('p', { class: 'problem', role: 'alert', hidden: true }) };
    this.#service = new ServiceView(kind === 'domains');
    const tools = kind === 'domains' ? [el('a', { class: 'button', href: explainAddress(name) }, 'Explain a request')] : [];
    // Pairs are known by the host that was asked for, which a wildcard is not.
    if (!name.startsWith('*')) tools.push(el('button', { type: 'button', onclick: (event) => this.#unpark(event.currentTarget) }, 'Take parked pairs back'));
    byId('detail-body').replaceChildren(this.#parts.error, this.#parts.state, this.#parts.facts, el('div', { class: 'actions' }, tools), this.#service.element);
    say(byId('detail-kind'), kind === 'domains' ? 'Domain' : 'Service');
    say(byId('detail-title'), name);
    this.refresh(0);
  }

  get address() {
    return `${this.#kind}/${this.#name}`;
  }

  refresh(wait = BREATH) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), Math.max(0, this.#asked + wait - Date.now()));
  }

  end() {
    clearTimeout(this.#timer);
    open = null;
  }

  async #ask() {
    this.#asked = Date.now();
    const { error } = this.#parts;
    try {
      const item = await get(path(this.#kind, this.#name));
      if (open !== this) return;
      error.hidden = true;
      this.#show(item);
    } catch (refusal) {
      if (open !== this) return;
      error.hidden = false;
      say(error, refusal.status === 404 ? `There is no ${this.#kind === 'domains' ? 'domain' : 'service'} of this name (any more).` : refusal.message);
    }
    this.refresh(EVERY);
  }

  #show(item) {
    const { state, facts } = this.#parts;
    if (state.dataset.shown !== `${item.state} ${item.why}`) {
      state.dataset.shown = `${item.state} ${item.why}`;
      state.replaceChildren(badge(item.state), ' ', item.why ?? '');
    }
    const rows = this.#kind === 'domains' ? domainFacts(item) : serviceFacts(item);
    showFacts(facts, rows);
    this.#service.update(this.#kind === 'domains' ? item.service : item, item);
  }

  async #unpark(button) {
    const body = this.#kind === 'domains' ? { host: this.#name } : { service: this.#name };
    const done = await act(button, 'POST', '/api/unpark', body);
    if (done) tell(`${plural((await done.json()).unparked, 'pair')} taken back.`);
  }
}

const explainAddress = (host) => `#/explain?${new URLSearchParams({ url: `http://${host.replace(/^\*\./, 'any.')}/` })}`;

function domainFacts({ type, value, config, requests_per_second: requests }) {
  const goes = type === 'service' && value ? el('a', { href: `#/services/${encodeURIComponent(value)}` }, `service ${value}`) : value ?? 'not set';
  return [['Type', type ?? 'not set'], ['Goes to', goes], ['Requests', rate(requests)], ...options(config)];
}

const serviceFacts = ({ requests_per_second: requests, error_ratio: errors, p99_seconds: p99 }) => [
  ['Requests', rate(requests)], ['Errors', percent(errors)], ['Latency, p99', duration(p99)],
];

const options = (config) => Object.entries(config ?? {}).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]);

function showFacts(list, rows) {
  const text = (value) => (typeof value === 'string' ? value : value.textContent);
  if (list.children.length !== rows.length || rows.some(([name], at) => list.children[at].firstChild.textContent !== name)) {
    list.replaceChildren(...rows.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
    return;
  }
  rows.forEach(([, value], at) => {
    const place = list.children[at].lastChild;
    if (place.textContent !== text(value)) place.replaceChildren(value);
  });
}

/** The instances of a service. */
class ServiceView {
  #title = el('h3', {});
  #empty = el('p', { class: 'empty', hidden: true });
  #list = el('ul', { class: 'instances' });
  #rows;
  #service = '';

  constructor(isNamed) {
    this.element = el('section', { 'aria-label': 'Instances' }, this.#title, this.#empty, this.#list);
    this.isNamed = isNamed;
    this.#rows = new Keyed(this.#list, (first) => this.#row(first));
  }

  update(service, item) {
    this.element.hidden = !service && item.type === 'uri';
    this.#service = service?.name ?? '';
    const instances = service?.instances ?? [];
    say(this.#title, service ? plural(instances.length, 'instance') : 'No instances');
    this.#empty.hidden = instances.length > 0;
    say(this.#empty, service ? `Nothing is written about instances of ${service.name}.` : item.value ? `There is no service ${item.value}.` : 'It leads nowhere yet.');
    this.#rows.update(instances, ({ index }) => index);
  }

  #row(first) {
    const parts = {
      state: el('span', { class: 'is' }),
      flags: el('span', { class: 'flags' }),
      location: el('code', { class: 'location' }),
      why: el('p', { class: 'why' }),
      keys: el('p', { class: 'keys' }),
      drain: el('button', { type: 'button' }),
    };
    let now = first;
    parts.drain.addEventListener('click', async () => {
      const step = now.drained ? 'undrain' : 'drain';
      const done = await act(parts.drain, 'POST', path('services', this.#service, 'instances', now.index, step));
      if (!done) return;
      tell(`${this.#service}/${now.index} is ${now.drained ? 'used again' : 'drained: it gets no new requests from this gogeta'}.`);
      open?.refresh(0);
    });
    const element = el('li', { class: 'instance' },
      el('div', { class: 'head' }, el('b', {}, `#${first.index}`), parts.state, parts.flags, parts.location, parts.drain),
      parts.why, parts.keys);
    const update = (instance) => {
      now = instance;
      if (parts.state.textContent !== instance.state) parts.state.replaceChildren(badge(instance.state));
      const flags = [instance.resting && 'resting', instance.drained && 'drained', ...options(instance.config).map(([name, value]) => `${name} ${value}`)];
      say(parts.flags, flags.filter(Boolean).join(' · '));
      say(parts.location, instance.location ?? 'no location');
      say(parts.why, `${instance.why}${instance.resting ? '; left alone for a while, since it could not be connected to' : ''}`);
      const key = (name) => `${name} ${instance[name] ? instance[name] : instance[name] === '' ? 'empty' : 'not set'}`;
      const under = instance.open_requests === null || instance.open_requests === undefined ? '' : ` · ${plural(instance.open_requests, 'open request')}`;
      say(parts.keys, `${['current', 'expected', 'alive'].map(key).join(' · ')}${under}`);
      say(parts.drain, instance.drained ? 'Use again' : 'Drain');
      parts.drain.setAttribute('aria-label', `${instance.drained ? 'Use again' : 'Drain'} instance ${instance.index}`);
    };
    return { element, update };
  }
}

/** Opens it, or shows another one in it. */
export function show(kind, name) {
  if (open?.address === `${kind}/${name}`) return;
  open?.end();
  open = new Detail(kind, name);
  if (!dialog.open) dialog.showModal();
  byId('detail-title').focus();
}

/** Closes it, if it is open. */
export function hide() {
  if (dialog.open) dialog.close();
}

/** Asks again: a route has changed, or a number may have. */
export const refresh = (wait) => open?.refresh(wait);

/** `left()` is called when somebody closes it. */
export function build(left) {
  dialog.addEventListener('close', () => {
    open?.end();
    left();
  });
  byId('detail-close').addEventListener('click', () => dialog.close());
  // Beside it is outside of it.
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
}
