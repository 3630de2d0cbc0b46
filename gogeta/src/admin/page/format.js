// Numbers as people read them. What is not known is a dash.

const DASH = '–';
const known = (value) => typeof value === 'number' && Number.isFinite(value);
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** A count: 12,345. */
export const count = (value) => (known(value) ? whole.format(value) : DASH);

/** Three digits are enough: 0.12, 3.4, 56, 1,234. */
export function short(value) {
  if (!known(value)) return DASH;
  if (value === 0) return '0';
  if (value >= 99.95) return whole.format(value);
  return value >= 9.995 ? value.toFixed(0) : value >= 0.995 ? value.toFixed(1) : value < 0.005 ? '< 0.01' : value.toFixed(2);
}

/** A rate: 12/s. */
export const rate = (value) => (known(value) ? `${short(value)}/s` : DASH);

/** A short time: 340 µs, 1.2 ms, 3.4 s. */
export function duration(seconds) {
  if (!known(seconds)) return DASH;
  if (seconds === 0) return '0 ms';
  if (seconds < 0.00095) return `${Math.max(1, Math.round(seconds * 1e6))} µs`;
  if (seconds < 0.995) return `${short(seconds * 1e3)} ms`;
  return seconds < 120 ? `${short(seconds)} s` : span(seconds);
}

/** A long time, by its two largest units: 3 d 4 h. */
export function span(seconds) {
  if (!known(seconds)) return DASH;
  const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  const all = Math.max(0, Math.floor(seconds));
  const first = units.findIndex(([, size]) => all >= size);
  if (first < 0) return '0 s';
  const parts = [];
  let rest = all;
  for (const [name, size] of units.slice(first, first + 2)) {
    const many = Math.floor(rest / size);
    if (many > 0) parts.push(`${many} ${name}`);
    rest -= many * size;
  }
  return parts.join(' ');
}

/** Bytes: 1.2 MB, by steps of 1000. */
export function bytes(value) {
  if (!known(value)) return DASH;
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let step = 0;
  let rest = value;
  while (rest >= 999.5 && step < units.length - 1) {
    rest /= 1000;
    step += 1;
  }
  return `${step === 0 ? count(rest) : short(rest)} ${units[step]}`;
}

/** A part of 1: 0.3 %. */
export function percent(ratio) {
  if (!known(ratio)) return DASH;
  const value = ratio * 100;
  return `${value === 0 ? '0' : value < 0.01 ? '< 0.01' : value < 9.95 ? value.toFixed(value < 0.995 ? 2 : 1) : value.toFixed(0)} %`;
}

/** When it was, on this machine's clock: 14:05:03, with the day where that is another one. */
export function moment(unixSeconds) {
  if (!known(unixSeconds)) return DASH;
  const date = new Date(unixSeconds * 1000);
  const two = (value) => String(value).padStart(2, '0');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? time : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

/** One or many: `plural(2, 'pair')` is "2 pairs". */
export const plural = (many, word) => `${count(many)} ${word}${many === 1 ? '' : 's'}`;
