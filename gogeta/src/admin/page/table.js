// A list of many things as a table: searched and paged by gogeta, so that 100,000 of them are as quick as ten.

import { get, withQuery } from './api.js';
import { announce, badge, el, Keyed, say } from './dom.js';
import { count, plural } from './format.js';

/** After a key press nothing is asked for so long, in milliseconds: the next one may follow at once. */
const TYPING = 120;
/** Lists that change all the time are asked for no more often than this, in milliseconds. */
const BREATH = 300;

/** A column: `title`, `of(item)` gives its text, `cell(item)` an element where text is not enough. The first one names the row. */
export class List {
  #options;
  #parameters = { q: '', state: '', offset: 0 };
  #size = 50;
  #states = {};
  #matched = 0;
  #timer = 0;
  #asked = 0;
  #busy = null;
  #again = false;
  #announced = '\n';
  #shown = '';
  #rows;
  #parts;

  /** `{ section, what, where, keyOf, href, columns, hint, onQuery }`; `what` is one of them in words. */
  constructor(options) {
    this.#options = options;
    this.#build();
  }

  get search() {
    return this.#parts.search;
  }

  get links() {
    return this.#rows.elements.map((row) => row.querySelector('a'));
  }

  /** What is searched for, as in the address: `{ q, state }`. */
  set(parameters) {
    const { q = '', state = '' } = parameters;
    if (q === this.#parameters.q && state === this.#parameters.state) return;
    this.#parameters = { q, state, offset: 0 };
    this.#parts.search.value = q;
    this.#chips();
    this.refresh(0);
  }

  /** How many are on a page. */
  resize(size) {
    if (size === this.#size) return;
    this.#size = size;
    this.#parameters.offset = 0;
    this.refresh(0);
  }

  /** How many there are in each state. */
  count(byState) {
    this.#states = byState;
    this.#chips();
  }

  /** Asks again, soon: within `wait` milliseconds, or after the answer that is on its way. */
  refresh(wait = BREATH) {
    if (this.#busy) {
      this.#again = true;
      // Who types does not wait for what they typed before.
      if (wait === 0) this.#busy.abort();
      return;
    }
    const left = Math.max(0, Math.min(wait, this.#asked + wait - Date.now()));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), left);
  }

  /** Moves the focus by rows, on to the next page where they end. */
  async move(step) {
    const links = this.links;
    const at = links.indexOf(document.activeElement);
    const to = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
    if (links[to]) return focus(links[to]);
    if (step < 0 && this.#parameters.offset === 0) return this.#parts.search.focus();
    if (await this.#turn(step)) focus(step > 0 ? this.links[0] : this.links.at(-1));
  }

  #build() {
    const { section, what, columns, hint } = this.#options;
    const id = `${section.id}-search`;
    const head = columns.map(({ title, kind }) => el('th', { scope: 'col', role: 'columnheader', class: kind }, title));
    const caption = el('caption', {}, `${section.querySelector('h2').textContent}, with their state and why`);
    const body = el('tbody', { role: 'rowgroup' });
    this.#rows = new Keyed(body, (item) => this.#row(item));
    this.#parts = {
      body,
      search: el('input', { id, type: 'search', placeholder: hint, autocomplete: 'off', spellcheck: 'false', 'aria-keyshortcuts': '/', oninput: () => this.#typed() }),
      chips: el('div', { class: 'chips', role: 'group', 'aria-label': `Only ${what}s in this state` }),
      count: el('p', { class: 'count', id: `${section.id}-count` }),
      empty: el('p', { class: 'empty', hidden: true }),
      error: el('p', { class: 'empty problem', hidden: true }),
      table: el('table', { class: 'list', role: 'table', 'aria-describedby': `${section.id}-count` },
        caption, el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, head)), body),
      before: el('button', { type: 'button', onclick: () => this.#turn(-1) }, 'Previous'),
      after: el('button', { type: 'button', onclick: () => this.#turn(1) }, 'Next'),
    };
    const { search, chips, count: total, empty, error, table, before, after } = this.#parts;
    search.addEventListener('keydown', (event) => this.#key(event));
    section.append(
      el('div', { class: 'tools', role: 'search', 'aria-label': `${what}s` },
        el('div', { class: 'search' }, el('label', { for: id, class: 'unseen' }, `Search ${what}s`), search, el('kbd', { 'aria-hidden': 'true' }, '/')),
        chips),
      el('div', { class: 'panel' }, table, empty, error),
      el('nav', { class: 'pager', 'aria-label': `Pages of ${what}s` }, total, before, after));
  }

  #row(first) {
    const { columns, href, section } = this.#options;
    const cells = columns.map(({ kind, title }, at) => {
      if (at > 0) return el('td', { role: 'cell', class: kind, 'data-title': title });
      return el('th', { scope: 'row', role: 'rowheader', class: kind }, el('a', { href: href(first) }, columns[0].of(first)));
    });
    const shown = columns.map(() => undefined);
    const element = el('tr', { role: 'row', class: section.dataset.settled ? 'fresh' : null }, cells);
    element.addEventListener('click', (event) => {
      // The whole row is a place to hit, unless somebody wants to copy from it.
      if (!event.target.closest('a') && getSelection().isCollapsed) element.querySelector('a').click();
    });
    const update = (item) => columns.forEach(({ of, cell }, at) => {
      const text = of(item);
      if (at === 0 || shown[at] === text) return;
      shown[at] = text;
      if (cell) cells[at].replaceChildren(cell(item));
      else say(cells[at], text);
    });
    return { element, update };
  }

  #typed() {
    this.#parameters.q = this.#parts.search.value.trim();
    this.#parameters.offset = 0;
    this.#options.onQuery(this.#parameters);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(0), TYPING);
  }

  #key(event) {
    if (event.key === 'ArrowDown') {
      event.preventDefault();
      focus(this.links[0]);
    } else if (event.key === 'Enter') {
      this.links[0]?.click();
    } else if (event.key === 'Escape') {
      event.preventDefault();
      if (this.#parts.search.value === '') return this.#parts.search.blur();
      this.#parts.search.value = '';
      this.#typed();
    }
  }

  #chips() {
    const { chips } = this.#parts;
    const names = ['', ...Object.keys(this.#states).filter((name) => this.#states[name] > 0).sort()];
    if (this.#parameters.state && !names.includes(this.#parameters.state)) names.push(this.#parameters.state);
    const all = Object.values(this.#states).reduce((sum, many) => sum + many, 0);
    if (chips.dataset.names !== names.join()) {
      chips.dataset.names = names.join();
      chips.replaceChildren(...names.map((name) =>
        el('button', { type: 'button', 'data-name': name, onclick: () => this.#filter(name) },
          name ? badge(name) : el('span', {}, 'all'), el('span', { class: 'many' }))));
    }
    for (const chip of chips.children) {
      const { name } = chip.dataset;
      chip.setAttribute('aria-pressed', String(name === this.#parameters.state));
      say(chip.querySelector('.many'), count(name ? (this.#states[name] ?? 0) : all));
    }
  }

  #filter(state) {
    this.#parameters.state = state;
    this.#parameters.offset = 0;
    this.#options.onQuery(this.#parameters);
    this.#chips();
    this.refresh(0);
  }

  async #turn(step) {
    const offset = this.#parameters.offset + step * this.#size;
    if (offset < 0 || (step > 0 && offset >= this.#matched)) return false;
    this.#parameters.offset = offset;
    this.#busy?.abort();
    await this.#ask();
    return true;
  }

  async #ask() {
    clearTimeout(this.#timer);
    const busy = new AbortController();
    this.#busy = busy;
    this.#again = false;
    this.#asked = Date.now();
    try {
      const page = await get(withQuery(this.#options.where, { ...this.#parameters, limit: this.#size }), busy.signal);
      if (this.#busy === busy) this.#show(page);
    } catch (error) {
      if (this.#busy === busy && error.name !== 'AbortError') this.#fail(error);
    } finally {
      if (this.#busy === busy) {
        this.#busy = null;
        if (this.#again) this.refresh(busy.signal.aborted ? 0 : BREATH);
      }
    }
  }

  #show(page) {
    const { what, section, keyOf } = this.#options;
    const { q, state, offset } = this.#parameters;
    // Fewer than there were: the page that was shown may be behind the end.
    if (page.items.length === 0 && page.matched > 0 && offset > 0) {
      this.#parameters.offset = Math.floor((page.matched - 1) / this.#size) * this.#size;
      this.#again = true;
      return;
    }
    this.#matched = page.matched;
    // What appears in a list that is looked at is shown as new; what another page or search brings is not.
    const asked = `${q}\n${state}\n${offset}\n${this.#size}`;
    section.dataset.settled = asked === this.#shown ? 'yes' : '';
    this.#shown = asked;
    this.#rows.update(page.items, keyOf);
    const { table, empty, error, before, after, count: total } = this.#parts;
    error.hidden = true;
    table.hidden = page.items.length === 0;
    empty.hidden = page.items.length > 0;
    say(empty, page.total === 0 ? `There are no ${what}s yet.` : `No ${what} matches${q ? ` “${q}”` : ''}${state ? ` in state ${state}` : ''}.`);
    const last = offset + page.items.length;
    const found = page.matched === page.total ? plural(page.total, what) : `${count(page.matched)} of ${plural(page.total, what)}`;
    say(total, page.items.length === 0 || page.matched <= this.#size ? found : `${count(offset + 1)}–${count(last)} of ${found}`);
    before.disabled = offset === 0;
    after.disabled = last >= page.matched;
    before.hidden = after.hidden = page.matched <= this.#size;
    const words = `${q}\n${state}`;
    if (words !== this.#announced) announce(`${found} found`);
    this.#announced = words;
  }

  #fail(error) {
    // What was shown stays: it is the last picture.
    this.#parts.error.hidden = false;
    say(this.#parts.error, `The ${this.#options.what}s cannot be read: ${error.message}.`);
  }
}

function focus(link) {
  link?.focus();
  link?.closest('tr').scrollIntoView({ block: 'nearest' });
}
