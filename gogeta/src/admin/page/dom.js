// Elements without markup: all that comes from elsewhere is text or an attribute, and can be nothing else.

const SVG = 'http://www.w3.org/2000/svg';

/** An element. `attributes` are set as such, but `on*`, which are listeners, and `class`. Strings among the children are text. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same, of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element of that id. */
export const byId = (id) => document.getElementById(id);

/** Changes a text only where it is another one, so that nothing is drawn or read out for nothing. */
export function say(element, text) {
  const wanted = text ?? '';
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** A state, as a word with a mark whose shape and colour say the same. */
export function badge(state) {
  return el('span', { class: 'state', 'data-state': state }, state);
}

/** Children by key: those that stay are kept, so that focus and selection stay with them. */
export class Keyed {
  #parent;
  #make;
  #rows = new Map();

  /** `make` gives `{ element, update(item) }` for an item. */
  constructor(parent, make) {
    this.#parent = parent;
    this.#make = make;
  }

  update(items, keyOf) {
    const before = this.#rows;
    const wanted = new Set(items.map(keyOf));
    this.#rows = new Map();
    // First of all: what stays is not moved then, and keeps the focus.
    for (const [key, row] of before) if (!wanted.has(key)) row.element.remove();
    let place = this.#parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      if (this.#rows.has(key)) continue;
      const row = before.get(key) ?? this.#make(item);
      row.update(item);
      this.#rows.set(key, row);
      if (row.element === place) place = place.nextElementSibling;
      else this.#parent.insertBefore(row.element, place);
    }
  }

  get elements() {
    return [...this.#rows.values()].map((row) => row.element);
  }
}

const waiting = [];
let speaking = false;

/** Has a screen reader say something when it has a moment: one thing after the other, the same thing once. */
export function announce(text) {
  if (waiting.includes(text)) return;
  waiting.push(text);
  // Of a storm the last is worth hearing.
  if (waiting.length > 4) waiting.shift();
  if (speaking) return;
  speaking = true;
  const next = () => {
    const line = waiting.shift();
    if (line === undefined) {
      speaking = false;
      return;
    }
    // What is behind an open dialog is not read out.
    const place = document.querySelector('dialog[open] .announcer') ?? byId('announcer');
    place.textContent = line;
    setTimeout(next, 1500);
  };
  setTimeout(next, 100);
}
