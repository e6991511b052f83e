// The rows of a table of entities: pages fetched by cursor as they come into view, cells by groups of columns, and changes
// of what has been fetched put in place. What was deleted, or matches no more, goes.

import * as api from "./api.js";
import { AGGREGATES, fieldsOf } from "./columns.js";
import { METRICS } from "./schema.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Column} Column */
/** Which entities of a kind a table is of: those in a container, those that another one names, and so on. @typedef {import("./api.js").Params} Among */

export const PAGE = 100;
/** Pages that are only walked through, on the way to one far down, are fetched this many at a time. */
const STRIDE = 10;
export const FIELDS_PER_REQUEST = 60;
const IDS_PER_REQUEST = 100;
const AGGREGATE = new RegExp(`^${METRICS}\\..*\\.(${AGGREGATES.join("|")})$`);

/** @param {any} value */
const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** Whether fields that were asked for hold this one: its section may have come whole. @param {Set<string>} asked @param {string} field */
const covers = (asked, field) => asked.has(field) || (!AGGREGATE.test(field) && asked.has(field.slice(0, Math.max(0, field.indexOf(".")))));

export class Rows {
  /** @param {string} path the plural of the kind, as in the address @param {() => void} changed called when something is to be drawn */
  constructor(path, changed) {
    this.path = path;
    this.changed = changed;
    /** @type {((error: any) => void) | null} */
    this.failed = null;
    /** @type {Among | null} none before the first answer */
    this.among = null;
    /** @type {Map<string, Entity>} */
    this.entities = new Map();
    this.abort = new AbortController();
    this.filter = "";
    this.order = "";
    /** @type {string[]} those that were fetched, from the first on */
    this.ids = [];
    /** @type {Map<string, Set<string>>} the fields that were asked for, by entity; those that came together share a set */
    this.asked = new Map();
    /** @type {string | null} the cursor behind the last row */
    this.next = null;
    this.total = 0;
    this.done = false;
    this.isCounted = false;
    /** @type {string[]} those that were created since, on top */
    this.fresh = [];
    this.walking = false;
    /** @type {Promise<unknown>} what is asked for, one after the other */
    this.before = Promise.resolve();
    this.want = { first: 0, last: 0, fields: /** @type {string[]} */ ([]) };
  }

  /**
   * Does it when what was asked for before is there, so that no older answer is put over a newer one; another question takes
   * the place of all that waits.
   * @template T @param {(signal: AbortSignal) => Promise<T>} job @returns {Promise<T>}
   */
  inTurn(job) {
    const { signal } = this.abort;
    const done = this.before.then(() => {
      signal.throwIfAborted();
      return job(signal);
    });
    this.before = done.catch(() => undefined);
    return done;
  }

  /**
   * Fetches the first page. What was shown before stays until it is there. An error says in `part` what of the question is
   * at fault: `filter`, or else `order`.
   * @param {{filter: string, order: string, fields: string[], among: Among}} query
   */
  async start({ filter, order, fields, among }) {
    this.abort.abort();
    this.abort = new AbortController();
    this.walking = false;
    // Counting a hundred thousand runs takes longer than fetching the first hundred.
    const counting = api.find(this.path, { ...among, filter, fields: "name", limit: 1, count: 1 }, this.abort.signal);
    counting.catch(() => undefined);
    const first = fields.slice(0, FIELDS_PER_REQUEST);
    let page;
    try {
      page = await this.inTurn((signal) => api.find(this.path, { ...among, filter, order_by: order, fields: first.join(",") || "name", limit: PAGE }, signal));
    } catch (/** @type {any} */ error) {
      error.part = await counting.then(() => "order", () => "filter");
      throw error;
    }
    Object.assign(this, { filter, order, among, ids: [], asked: new Map(), fresh: [], want: { first: 0, last: 0, fields: first } });
    this.total = page.items.length;
    this.isCounted = page.cursor === null;
    void this.learnTotal(counting);
    this.take(page.items, new Set(first));
    this.next = page.cursor;
    this.done = page.cursor === null;
    return page.items;
  }

  /** @param {Promise<import("./types").Page>} counting */
  async learnTotal(counting) {
    try {
      const { total } = await counting;
      if (this.isCounted || total === null) return;
      this.total = total;
      this.isCounted = true;
      this.changed();
    } catch {
      // Another question took its place, or the rows will say what is wrong.
    }
  }

  /** @param {any[]} items @param {Set<string>} fields */
  take(items, fields) {
    for (const item of items) {
      this.merge(item);
      // One that moved down meanwhile comes a second time.
      if (this.asked.has(item.entity_id)) continue;
      this.ids.push(item.entity_id);
      this.asked.set(item.entity_id, fields);
    }
  }

  /** Puts fetched fields beside those that are there already. @param {Entity} item */
  merge(item) {
    const known = this.entities.get(item.entity_id);
    if (!known) {
      this.entities.set(item.entity_id, item);
      return;
    }
    const merged = { ...known, ...item };
    for (const name of Object.keys(item)) if (isMap(known[name]) && isMap(item[name])) merged[name] = { ...known[name], ...item[name] };
    this.entities.set(item.entity_id, merged);
  }

  get count() {
    return this.total + this.fresh.length;
  }

  /** @param {number} index @returns {Entity | undefined} */
  at(index) {
    const id = index < this.fresh.length ? this.fresh[index] : this.ids[index - this.fresh.length];
    return id === undefined ? undefined : this.entities.get(id);
  }

  /** The ids of the first rows, as far as they are there. @param {number} count */
  firstIds(count) {
    const ids = [];
    for (let index = 0; index < Math.min(count, this.count); index += 1) {
      const entity = this.at(index);
      if (entity) ids.push(entity.entity_id);
    }
    return ids;
  }

  /** Told what is in view; fetches what is missing of it. @param {number} first @param {number} last @param {Column[]} columns */
  view(first, last, columns) {
    const fields = [...new Set(columns.flatMap(fieldsOf))];
    this.want = { first: Math.max(0, first - this.fresh.length), last: last - this.fresh.length, fields };
    void this.fill();
  }

  async fill() {
    if (this.walking || this.among === null) return;
    try {
      if (!this.done && this.ids.length <= this.want.last) {
        this.walking = true;
        await this.inTurn((signal) => this.walk(signal));
        this.walking = false;
        this.changed();
        void this.fill();
        return;
      }
      await this.complete();
    } catch (error) {
      this.walking = false;
      if (/** @type {Error} */ (error).name !== "AbortError") this.failed?.(error);
    }
  }

  /** The next page; on the way to one far down a long one, with names only. @param {AbortSignal} signal */
  async walk(signal) {
    const far = Math.floor((this.want.last - this.ids.length) / PAGE);
    const skip = far > 2;
    const fields = skip ? [] : this.want.fields.slice(0, FIELDS_PER_REQUEST);
    const limit = skip ? PAGE * Math.min(STRIDE, far) : PAGE;
    const page = await api.find(this.path, { ...this.question(fields), limit, cursor: this.next }, signal);
    this.take(page.items, new Set(fields));
    this.next = page.cursor;
    if (page.cursor === null) {
      this.done = true;
      this.total = this.ids.length;
    }
  }

  /** @param {string[]} fields */
  question(fields) {
    return { ...this.among, filter: this.filter, order_by: this.order, fields: fields.length ? fields.join(",") : "name" };
  }

  /** Fetches the cells that are missing in the pages in view. */
  async complete() {
    const { first, last, fields } = this.want;
    const from = Math.floor(first / PAGE) * PAGE;
    const shown = [...this.fresh, ...this.ids.slice(from, Math.floor(last / PAGE + 1) * PAGE)];
    /** @type {Map<Set<string>, string[]>} */
    const alike = new Map();
    for (const id of shown) {
      const asked = this.asked.get(id) ?? new Set();
      alike.set(asked, [...(alike.get(asked) ?? []), id]);
    }
    const jobs = [];
    for (const [asked, ids] of alike) {
      const missing = fields.filter((field) => !covers(asked, field));
      if (!missing.length) continue;
      const more = new Set([...asked, ...missing]);
      for (const id of ids) this.asked.set(id, more);
      const back = () => ids.forEach((id) => this.asked.get(id) === more && this.asked.set(id, asked));
      jobs.push(this.inTurn((signal) => this.fetch(ids, missing, signal)).catch((error) => { back(); throw error; }));
    }
    if (!jobs.length) return;
    await Promise.all(jobs);
    this.changed();
  }

  /**
   * @param {string[]} ids @param {string[]} fields @param {AbortSignal} [signal] @param {Among | null} [among] @param {string} [filter]
   * @returns {Promise<Set<string>>} those of them that there are
   */
  async fetch(ids, fields, signal, among = null, filter = "") {
    /** @type {Set<string>} */
    const found = new Set();
    for (let at = 0; at < ids.length; at += IDS_PER_REQUEST) {
      const part = ids.slice(at, at + IDS_PER_REQUEST);
      const condition = filter ? `(${filter}) and ${api.idFilter(part)}` : api.idFilter(part);
      for (let from = 0; from < Math.max(1, fields.length); from += FIELDS_PER_REQUEST) {
        const names = fields.slice(from, from + FIELDS_PER_REQUEST);
        const include_deleted = api.asksForDeleted(this.filter) ? 1 : undefined;
        const page = await api.find(this.path, { ...among, filter: condition, fields: names.join(",") || "name", limit: part.length, include_deleted }, signal);
        for (const item of page.items) {
          this.merge(item);
          found.add(item.entity_id);
        }
      }
    }
    return found;
  }

  /**
   * Entities have changed: those that are there are fetched again, or go where they are deleted or match no more; new ones that
   * match come on top.
   * @param {Set<string>} changed ids
   * @returns {Promise<string[]>} the ids of new ones, which `admit` puts on top
   */
  refresh(changed) {
    return this.inTurn((signal) => this.refreshNow(changed, signal));
  }

  /** @param {Set<string>} changed @param {AbortSignal} signal */
  async refreshNow(changed, signal) {
    const { fields } = this.want;
    const found = await this.fetch([...changed], fields, signal, this.among, this.filter);
    const kept = new Set(fields);
    const isHere = (/** @type {string} */ id) => this.asked.has(id) || this.fresh.includes(id);
    // What else was known of a changed one may be true no more.
    for (const id of found) if (isHere(id)) this.asked.set(id, kept);
    this.drop([...changed].filter((id) => isHere(id) && !found.has(id)));
    return [...found].filter((id) => !isHere(id));
  }

  /** @param {string[]} ids */
  drop(ids) {
    if (!ids.length) return;
    const gone = new Set(ids);
    const before = this.ids.length;
    this.fresh = this.fresh.filter((id) => !gone.has(id));
    this.ids = this.ids.filter((id) => !gone.has(id));
    this.total -= before - this.ids.length;
    for (const id of ids) {
      this.asked.delete(id);
      this.entities.delete(id);
    }
  }

  /** Puts new ones on top. @param {string[]} ids */
  admit(ids) {
    const there = new Set([...this.fresh, ...this.ids]);
    this.fresh = [...ids.filter((id) => !there.has(id) && this.entities.has(id)), ...this.fresh];
  }
}
