// Lines over the last minutes, drawn as SVG, with the same in words and as a table for whoever does not see them.

import { el, say, svg } from './dom.js';
import { moment } from './format.js';

const LEFT = 62;
const RIGHT = 6;
const TOP = 8;
const BOTTOM = 20;
/** Seconds without a point that are a gap: gogeta was away, or the page. */
const GAP = 3;
/** Words about a chart change this often, in seconds: often enough to be true, too seldom to be a nuisance. */
const WORDS = 15;

/** One chart in a `<figure>`. A series is `{ key, label, of(point) }`, and is drawn in the style of its `key`. */
export class Chart {
  #figure;
  #title;
  #series;
  #format;
  #stacked;
  #seconds;
  #points = [];
  #lines;
  #grid = svg('g', { class: 'grid' });
  #cross = svg('line', { class: 'cross', y1: TOP });
  #tip = el('div', { class: 'tip', hidden: true });
  #plot;
  #legend;
  #table;
  #words = 0;
  #size = [0, 0];
  #frame = 0;

  constructor(figure, { title, series, format, stacked = false, seconds = 300 }) {
    Object.assign(figure, { className: 'chart panel' });
    this.#figure = figure;
    this.#title = title;
    this.#series = series;
    this.#format = format;
    this.#stacked = stacked;
    this.#seconds = seconds;
    this.#lines = series.map(({ key }) => svg('path', { class: `${stacked ? 'area' : 'line'} series-${key}` }));
    // The uppermost of a stack comes first, so that the lower ones lie on it.
    const inOrder = stacked ? [...this.#lines].reverse() : this.#lines;
    this.#plot = svg('svg', { class: 'plot', role: 'img' }, this.#grid, inOrder, this.#cross);
    this.#legend = series.map(({ key, label }) => {
      const value = el('span', { class: 'value' });
      return { value, item: el('li', { class: `series-${key}` }, el('span', { class: 'name' }, label), value) };
    });
    this.#table = el('details', {}, el('summary', {}, 'As a table'));
    this.#table.addEventListener('toggle', () => this.#tabulate());
    figure.append(
      el('figcaption', {}, el('h3', {}, title), el('ul', { class: 'legend' }, this.#legend.map(({ item }) => item))),
      el('div', { class: 'frame' }, this.#plot, this.#tip),
      this.#table,
    );
    new ResizeObserver(() => this.#draw()).observe(this.#plot);
    this.#plot.addEventListener('pointermove', (event) => this.#point(event));
    for (const end of ['pointerleave', 'pointercancel']) this.#plot.addEventListener(end, () => this.#unpoint());
  }

  /** All points that there are, oldest first; each has `at`. */
  update(points) {
    this.#points = points;
    const last = points.at(-1);
    this.#series.forEach((series, at) => {
      say(this.#legend[at].value, last ? this.#format(series.of(last)) : '–');
    });
    if (!this.#frame && !document.hidden) {
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        this.#draw();
      });
    }
    if (last && last.at - this.#words >= WORDS) {
      this.#words = last.at;
      this.#plot.setAttribute('aria-label', this.#inWords());
    }
  }

  #inWords() {
    const parts = this.#series.map(({ label, of }) => {
      const values = this.#points.map(of).filter((value) => value !== null && value !== undefined);
      if (values.length === 0) return `${label}: nothing yet`;
      const [low, high] = [Math.min(...values), Math.max(...values)].map(this.#format);
      return `${label}: now ${this.#format(values.at(-1))}, between ${low} and ${high}`;
    });
    return `${this.#title} over the last ${this.#seconds / 60} minutes. ${parts.join('. ')}.`;
  }

  #tabulate() {
    this.#table.querySelector('.scroll')?.remove();
    if (!this.#table.open) return;
    const step = Math.max(1, Math.round(30 / Math.max(1, this.#step())));
    const rows = this.#points.filter((_, at) => (this.#points.length - 1 - at) % step === 0);
    const head = ['Time', ...this.#series.map(({ label }) => label)];
    this.#table.append(
      el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `${this.#title} as a table` },
        el('table', { class: 'plain' },
          el('caption', {}, `${this.#title}, every 30 seconds`),
          el('thead', {}, el('tr', {}, head.map((text) => el('th', { scope: 'col' }, text)))),
          el('tbody', {}, rows.map((point) =>
            el('tr', {},
              el('th', { scope: 'row' }, moment(point.at)),
              this.#series.map(({ of }) => el('td', {}, this.#format(of(point))))))))),
    );
  }

  #step() {
    const [first, last] = [this.#points[0], this.#points.at(-1)];
    return this.#points.length > 1 ? (last.at - first.at) / (this.#points.length - 1) : 1;
  }

  /** What each series reaches at each point; sums where they are stacked. */
  #heights() {
    const sums = this.#points.map(() => 0);
    return this.#series.map(({ of }) =>
      this.#points.map((point, at) => {
        const value = of(point);
        if (!this.#stacked) return value ?? null;
        sums[at] += value ?? 0;
        return sums[at];
      }));
  }

  #draw() {
    const { width, height } = this.#plot.getBoundingClientRect();
    if (width === 0 || height === 0) return;
    this.#size = [width, height];
    this.#plot.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.#cross.setAttribute('y2', height - BOTTOM);
    const heights = this.#heights();
    const top = nice(heights.flat().reduce((high, value) => Math.max(high, value ?? 0), 0));
    const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - value / top);
    this.#lines.forEach((line, at) => {
      const ys = heights[at].map((value) => (value === null ? null : y(value)));
      line.setAttribute('d', path(this.#points, ys, (when) => this.#x(when), this.#stacked ? y(0) : null));
    });
    this.#grid.replaceChildren(...this.#axes(top, y, width, height));
  }

  #axes(top, y, width, height) {
    const marks = [0, top / 2, top].flatMap((value) => [
      svg('line', { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svg('text', { x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, this.#format(value)),
    ]);
    const minutes = this.#seconds / 60;
    const times = [
      [LEFT, 'start', `−${minutes} min`],
      [(LEFT + width - RIGHT) / 2, 'middle', `−${minutes / 2} min`],
      [width - RIGHT, 'end', 'now'],
    ];
    return [...marks, ...times.map(([x, anchor, text]) => svg('text', { x, y: height - 4, 'text-anchor': anchor }, text))];
  }

  #x(at) {
    const now = this.#points.at(-1)?.at ?? 0;
    return LEFT + (this.#size[0] - LEFT - RIGHT) * (1 - (now - at) / this.#seconds);
  }

  #point(event) {
    if (this.#points.length === 0) return;
    const box = this.#plot.getBoundingClientRect();
    const x = event.clientX - box.left;
    const distance = (point) => Math.abs(this.#x(point.at) - x);
    const nearest = this.#points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
    const at = this.#x(nearest.at);
    this.#cross.setAttribute('x1', at);
    this.#cross.setAttribute('x2', at);
    this.#cross.classList.add('on');
    this.#tip.hidden = false;
    this.#tip.replaceChildren(
      el('time', {}, moment(nearest.at)),
      ...this.#series.map(({ key, label, of }) => el('div', { class: `series-${key}` }, el('span', { class: 'name' }, label), el('span', { class: 'value' }, this.#format(of(nearest))))),
    );
    const left = at + 12 + this.#tip.offsetWidth > box.width ? at - 12 - this.#tip.offsetWidth : at + 12;
    this.#tip.style.transform = `translateX(${Math.max(0, left)}px)`;
  }

  #unpoint() {
    this.#cross.classList.remove('on');
    this.#tip.hidden = true;
  }
}

/** Lines through what there is, with gaps where nothing is known; down to `floor` where they are areas. */
function path(points, ys, x, floor) {
  let text = '';
  let begun = null;
  let before = null;
  const end = () => {
    if (begun !== null && floor !== null) text += `L${before.x},${floor}L${begun},${floor}Z`;
    begun = null;
  };
  points.forEach(({ at }, index) => {
    const here = x(at).toFixed(1);
    const y = ys[index];
    if (y === null || here < LEFT - 1 || (before && at - before.at > GAP)) end();
    if (y === null || here < LEFT - 1) return;
    text += `${begun === null ? 'M' : 'L'}${here},${y.toFixed(1)}`;
    begun ??= here;
    before = { at, x: here };
  });
  end();
  return text;
}

/** The next number above that people like: 1, 2 or 5 and zeros. */
function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}
