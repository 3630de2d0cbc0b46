// The stream of what happens. When it breaks it is opened again, after a pause that grows.

const FIRST = 500;
const LONGEST = 15000;
/** Status comes once a second: after so long without any, the connection is dead although nobody has said so. */
const SILENCE = 6000;
/** A page that nobody looks at gives its connection back after so long. */
const HIDDEN = 60000;

/**
 * Emits `open`, `status`, `change` and `revision` with what came, `lost` with `{ since, wait }` (milliseconds)
 * when the connection is gone, and `paused` where nobody looks.
 */
export class Live extends EventTarget {
  #source = null;
  #pause = FIRST;
  #timer = 0;
  #silence = 0;
  #hidden = 0;
  #lostAt = 0;

  constructor() {
    super();
    document.addEventListener('visibilitychange', () => this.#look());
    addEventListener('online', () => this.retry());
    addEventListener('pagehide', () => this.#close());
    addEventListener('pageshow', (event) => event.persisted && this.retry());
  }

  /** Opens it now, whatever the pause was. */
  retry() {
    if (this.#source?.readyState === EventSource.OPEN) return;
    this.#pause = FIRST;
    this.open();
  }

  open() {
    this.#close();
    // What was missed meanwhile is asked for by number (`changes.js`): Last-Event-ID is not ours to send.
    const source = new EventSource('/api/live');
    this.#source = source;
    this.#listen();
    source.addEventListener('open', () => {
      this.#pause = FIRST;
      this.#lostAt = 0;
      this.#listen();
      this.#emit('open', {});
    });
    source.addEventListener('error', () => this.#lost());
    for (const kind of ['status', 'change', 'revision']) {
      source.addEventListener(kind, (event) => {
        this.#listen();
        this.#emit(kind, JSON.parse(event.data));
      });
    }
  }

  #emit(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), SILENCE);
  }

  #lost() {
    this.#close();
    this.#lostAt ||= Date.now();
    // Not all pages of a gogeta that comes back at the same moment.
    const wait = this.#pause * (0.75 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, LONGEST);
    this.#timer = setTimeout(() => this.open(), wait);
    this.#emit('lost', { since: this.#lostAt, wait });
  }

  #close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  #look() {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => {
        this.#close();
        this.#emit('paused', {});
      }, HIDDEN);
    } else {
      this.retry();
    }
  }
}
