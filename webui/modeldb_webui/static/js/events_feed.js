// One stream of server-sent events, which is opened again when it breaks, and remembers what came lately.

/** @typedef {import("./types").ChangeNotice} ChangeNotice */
/** @typedef {{live: boolean} | {cursor: number, entities: ChangeNotice[], all: boolean}} FeedMessage */

const KEPT = 200;
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30_000;

export class EventSourceFeed {
  /** @param {(message: FeedMessage) => void} tell */
  constructor(tell) {
    this.tell = tell;
    /** @type {EventSource | null} */
    this.source = null;
    this.address = "";
    /** @type {number | null} the last change that is known of */
    this.cursor = null;
    /** @type {number | null} the change behind which everything is kept */
    this.base = null;
    /** @type {{cursor: number, entities: ChangeNotice[], all: boolean}[]} */
    this.kept = [];
    this.live = false;
    this.wait = FIRST_WAIT;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** What somebody who has seen everything up to a change has missed. @param {number | null} after @returns {FeedMessage[]} */
  since(after) {
    /** @type {FeedMessage[]} */
    const said = [{ live: this.live }];
    if (this.cursor === null) return said;
    if (after === null || this.base === null || after < this.base) return [...said, { cursor: this.cursor, entities: [], all: true }];
    return [...said, ...this.kept.filter(({ cursor }) => cursor > after)];
  }

  /** @param {string} address without parameters @param {number | null} after used where nothing is known yet */
  open(address, after) {
    this.address = address;
    if (this.source || this.timer !== undefined) return;
    this.cursor ??= after;
    this.base ??= after;
    this.connect();
  }

  connect() {
    const source = new EventSource(this.cursor === null ? this.address : `${this.address}?after=${this.cursor}`);
    this.source = source;
    source.addEventListener("open", () => {
      this.wait = FIRST_WAIT;
      this.say(true);
    });
    source.addEventListener("ready", (event) => {
      const { cursor } = JSON.parse(/** @type {MessageEvent} */ (event).data);
      this.cursor ??= cursor;
      this.base ??= cursor;
    });
    source.addEventListener("changes", (event) => this.changed(JSON.parse(/** @type {MessageEvent} */ (event).data)));
    source.addEventListener("error", () => {
      this.close();
      this.timer = setTimeout(() => {
        this.timer = undefined;
        this.connect();
      }, this.wait);
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
    });
  }

  /** @param {{cursor: number, entities?: ChangeNotice[], truncated?: boolean}} data */
  changed(data) {
    this.cursor = data.cursor;
    const message = { cursor: data.cursor, entities: data.entities ?? [], all: data.truncated === true };
    this.kept.push(message);
    if (this.kept.length > KEPT) this.base = /** @type {{cursor: number}} */ (this.kept.shift()).cursor;
    this.tell(message);
  }

  close() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.say(false);
  }

  /** @param {boolean} live */
  say(live) {
    this.live = live;
    this.tell({ live });
  }
}
