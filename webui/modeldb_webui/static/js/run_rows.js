// The rows of the table of runs: pages fetched by cursor as they come into view, cells by groups of columns, and changes
// of what has been fetched put in place.

import * as api from "./api.js";
import { fieldsOf } from "./columns.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {import("./types").Column} Column */
/** @typedef {{cursor: string | null, ids: string[], has: Set<string>, asked: Set<string>}} RowPage */

export const PAGE = 100;
/** Pages that are only walked through, on the way to one far down, are fetched this many at a time. */
const STRIDE = 10;
const FIELDS_PER_REQUEST = 60;
const IDS_PER_REQUEST = 100;
const AGGREGATE = /^metrics\..*\.(min|max|first|mean|count)$/;

/** Whether fields that were asked for hold this one: its section may have come whole. @param {Set<string>} asked @param {string} field */
const covers = (asked, field) => asked.has(field) || (!AGGREGATE.test(field) && asked.has(field.slice(0, Math.max(0, field.indexOf(".")))));

export class RunRows {
  /** @param {string} projectId @param {() => void} changed called when something is to be drawn */
  constructor(projectId, changed) {
    this.projectId = projectId;
    this.changed = changed;
    /** @type {((error: any) => void) | null} */
    this.failed = null;
    /** @type {string | undefined} the project, or one of its experiments; none before the first answer */
    this.within = undefined;
    /** @type {Map<string, Run>} */
    this.runs = new Map();
    this.abort = new AbortController();
    this.filter = "";
    this.order = "";
    /** @type {RowPage[]} */
    this.pages = [];
    /** @type {string | null} the cursor behind the last page */
    this.next = null;
    this.total = 0;
    this.done = false;
    this.isCounted = false;
    /** @type {string[]} runs that were created since, on top */
    this.fresh = [];
    this.walking = false;
    this.want = { first: 0, last: 0, fields: /** @type {string[]} */ ([]) };
  }

  /**
   * Fetches the first page. What was shown before stays until it is there.
   * @param {{filter: string, order: string, fields: string[], experiment: string}} query
   */
  async start({ filter, order, fields, experiment }) {
    const within = experiment || this.projectId;
    this.abort.abort();
    this.abort = new AbortController();
    this.walking = false;
    const { signal } = this.abort;
    // Counting a hundred thousand runs takes longer than fetching the first hundred.
    const counting = api.find("runs", { within, filter, fields: "name", limit: 1, count: 1 }, signal);
    counting.catch(() => undefined);
    const page = await api.find("runs", { within, filter, order_by: order, fields: fields.join(",") || "name", limit: PAGE }, signal);
    Object.assign(this, { filter, order, within, pages: [], fresh: [], want: { first: 0, last: 0, fields } });
    this.total = page.items.length;
    this.isCounted = page.cursor === null;
    void this.learnTotal(counting);
    this.take(page.items, null, new Set(fields));
    this.next = page.cursor;
    this.done = page.cursor === null;
    return /** @type {Run[]} */ (page.items);
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

  /** @param {any[]} items @param {string | null} cursor of the page itself @param {Set<string>} fields */
  take(items, cursor, fields) {
    for (const item of items) this.merge(item);
    this.pages.push({ cursor, ids: items.map((item) => item.entity_id), has: fields, asked: new Set(fields) });
  }

  /** Puts fetched fields beside those that a run already has. @param {Run} item */
  merge(item) {
    const known = this.runs.get(item.entity_id);
    if (!known) {
      this.runs.set(item.entity_id, item);
      return;
    }
    const merged = { ...known, ...item };
    for (const name of ["hyperparameters", "metrics", "attributes", "series", "code", "datasets", "artifacts"]) {
      if (known[name] && item[name]) merged[name] = { ...known[name], ...item[name] };
    }
    this.runs.set(item.entity_id, merged);
  }

  get count() {
    return this.total + this.fresh.length;
  }

  /** @param {number} index @returns {Run | undefined} */
  at(index) {
    if (index < this.fresh.length) return this.runs.get(this.fresh[index]);
    const place = index - this.fresh.length;
    const id = this.pages[Math.floor(place / PAGE)]?.ids[place % PAGE];
    return id === undefined ? undefined : this.runs.get(id);
  }

  /** The ids of the first rows, as far as they are there. @param {number} count */
  firstIds(count) {
    const ids = [];
    for (let index = 0; index < Math.min(count, this.count); index += 1) {
      const run = this.at(index);
      if (run) ids.push(run.entity_id);
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
    if (this.walking || this.within === undefined) return;
    const { last } = this.want;
    try {
      if (!this.done && this.pages.length * PAGE <= last) {
        this.walking = true;
        await this.walk();
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

  /** The next page; on the way to one far down a long one, with names only. */
  async walk() {
    const far = Math.floor(this.want.last / PAGE) - this.pages.length;
    const skip = far > 2;
    const fields = skip ? [] : this.want.fields;
    const limit = skip ? PAGE * Math.min(STRIDE, far) : PAGE;
    const { signal } = this.abort;
    const cursor = this.next;
    const page = await api.find("runs", { ...this.question(fields), limit, cursor }, signal);
    for (let at = 0; at < page.items.length; at += PAGE) this.take(page.items.slice(at, at + PAGE), at ? null : cursor, new Set(fields));
    this.next = page.cursor;
    if (page.cursor === null) {
      this.done = true;
      this.total = this.pages.reduce((sum, { ids }) => sum + ids.length, 0);
    }
  }

  /** @param {string[]} fields */
  question(fields) {
    return { within: this.within, filter: this.filter, order_by: this.order, fields: fields.length ? fields.join(",") : "name" };
  }

  /** Fetches the cells that are missing in the pages in view. */
  async complete() {
    const { first, last, fields } = this.want;
    const { signal } = this.abort;
    const jobs = [];
    for (let number = Math.floor(first / PAGE); number <= Math.floor(last / PAGE); number += 1) {
      const page = this.pages[number];
      const missing = page ? fields.filter((field) => !covers(page.asked, field)) : [];
      for (let at = 0; at < missing.length; at += FIELDS_PER_REQUEST) {
        const part = missing.slice(at, at + FIELDS_PER_REQUEST);
        for (const field of part) page.asked.add(field);
        jobs.push(this.fetchRuns(page.ids, part, signal).then(() => part.forEach((field) => page.has.add(field))));
      }
    }
    if (!jobs.length) return;
    await Promise.all(jobs);
    this.changed();
  }

  /** @param {string[]} ids @param {string[]} fields @param {AbortSignal} [signal] */
  async fetchRuns(ids, fields, signal) {
    for (let at = 0; at < ids.length; at += IDS_PER_REQUEST) {
      const part = ids.slice(at, at + IDS_PER_REQUEST);
      const page = await api.find("runs", { filter: api.idFilter(part), fields: fields.join(",") || "name", limit: part.length }, signal);
      for (const item of page.items) this.merge(item);
    }
  }

  /**
   * Runs have changed: those that are there are fetched again, new ones that match come on top.
   * @param {Set<string>} changed ids @param {boolean} any whether runs may have been created
   * @returns {Promise<string[]>} the ids of new runs, which `admit` puts on top
   */
  async refresh(changed, any) {
    const fields = [...new Set([...this.want.fields, ...(this.pages[0]?.asked ?? [])])];
    const known = [...changed].filter((id) => this.runs.has(id));
    if (known.length) await this.fetchRuns(known, fields);
    const unknown = any && !this.order ? [...changed].filter((id) => !this.runs.has(id)) : [];
    if (!unknown.length) return [];
    const condition = this.filter ? `(${this.filter}) and ${api.idFilter(unknown)}` : api.idFilter(unknown);
    const page = await api.find("runs", { within: this.within, filter: condition, fields: fields.join(","), limit: unknown.length });
    for (const item of page.items) this.merge(item);
    return page.items.map((item) => item.entity_id);
  }

  /** Puts new runs on top. @param {string[]} ids */
  admit(ids) {
    const there = new Set([...this.fresh, ...this.pages.flatMap((page) => page.ids)]);
    this.fresh = [...ids.filter((id) => !there.has(id)), ...this.fresh];
  }
}
