// The curves behind a set of charts: fetched for the panels in view, finer where the reader zooms in, and only what is new
// while a run trains.

import * as api from "./api.js";
import { Curve } from "./series.js";

/** @typedef {import("./types").Drawn} Drawn */
/** @typedef {import("./series.js").XMode} XMode */
/** @typedef {{first: number, last: number}} Stretch of x, in whole steps or microseconds */

/** More runs in one panel get fewer columns each. */
const COLUMNS_PER_PANEL = 20_000;
const LEAST_COLUMNS = 100;
const MOST_COLUMNS = 4000;
/** A live curve that has grown to this many times what a panel needs is fetched again. */
const GROWTH = 3;
const LARGEST = 2 ** 63 - 1024;

/** @param {string} run @param {string} key */
const pair = (run, key) => `${run}\n${key}`;

export class ChartData {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {Map<string, Curve>} */
    this.curves = new Map();
    /** @type {Map<string, {stretch: Stretch, detail: Curve}>} */
    this.details = new Map();
    /** @type {Map<string, string>} what is wrong, by series */
    this.errors = new Map();
    /** @type {Set<string>} */
    this.loading = new Set();
    this.abort = new AbortController();
    /** @type {XMode} */
    this.mode = "step";
    this.log = false;
  }

  close() {
    this.abort.abort();
  }

  /** What x is: curves of another axis are of no use. @param {XMode} mode @param {boolean} log */
  setAxis(mode, log) {
    const own = log && mode !== "wall";
    if (mode === this.mode && own === this.log) return;
    this.abort.abort();
    this.abort = new AbortController();
    this.mode = mode;
    this.log = own;
    for (const kept of [this.curves, this.details, this.errors, this.loading]) kept.clear();
  }

  /** What one unit of x on the page is for the server. */
  get unit() {
    return this.mode === "step" ? 1 : 1e-6;
  }

  /** @param {number} width in CSS pixels @param {number} runs in the panel */
  static columnsFor(width, runs) {
    return Math.round(Math.max(LEAST_COLUMNS, Math.min(MOST_COLUMNS, width, COLUMNS_PER_PANEL / Math.max(1, runs))));
  }

  /** @param {[number, number] | null} zoom @returns {Stretch | null} */
  stretchOf(zoom) {
    if (!zoom) return null;
    /** @param {number} x */
    const bounded = (x) => Math.max(-LARGEST, Math.min(LARGEST, x));
    return { first: bounded(Math.floor(zoom[0] / this.unit)), last: bounded(Math.ceil(zoom[1] / this.unit)) };
  }

  /** @param {Drawn} run @param {string} key @param {[number, number] | null} zoom */
  get(run, key, zoom) {
    const name = pair(run.id, key);
    const whole = this.curves.get(name);
    const stretch = this.stretchOf(zoom);
    if (!whole || !stretch) return whole;
    const found = this.details.get(name);
    if (!found || found.stretch.first !== stretch.first || found.stretch.last !== stretch.last) return whole;
    return whole.refined(found.detail, stretch.first * this.unit, stretch.last * this.unit);
  }

  /** Whether what is shown of a series is what was asked for, so that its counts are those of the range. @param {Drawn} run @param {string} key @param {[number, number] | null} zoom */
  isExact(run, key, zoom) {
    const stretch = this.stretchOf(zoom);
    const found = this.details.get(pair(run.id, key));
    return !stretch || (found?.stretch.first === stretch.first && found.stretch.last === stretch.last);
  }

  /** @param {Drawn} run @param {string} key */
  isLoading(run, key) {
    return this.loading.has(pair(run.id, key));
  }

  /**
   * Fetches what is missing for a panel.
   * @param {Drawn[]} runs that have the key @param {string} key @param {number} width @param {[number, number] | null} zoom
   */
  need(runs, key, width, zoom) {
    const columns = ChartData.columnsFor(width, runs.length);
    const stretch = this.stretchOf(zoom);
    const fresh = [];
    const finer = [];
    for (const run of runs) {
      const name = pair(run.id, key);
      if (this.loading.has(name) || this.errors.has(name)) continue;
      const curve = this.curves.get(name);
      const count = Object.hasOwn(run.series, key) ? run.series[key].count : 0;
      if (!curve || curve.length > 2 * GROWTH * columns + LEAST_COLUMNS) fresh.push(run);
      else if (curve.total < count) void this.follow(run, key, curve, count, columns);
      else if (stretch && !this.isExact(run, key, zoom)) finer.push(run);
    }
    if (fresh.length) void this.load(fresh, key, columns);
    if (finer.length && stretch) void this.refine(finer, key, columns, stretch);
  }

  /** @param {Drawn[]} runs @param {string} key @param {number} columns */
  load(runs, key, columns) {
    return this.ask(runs, key, columns, {}, (name, curve) => {
      this.curves.set(name, curve);
      this.details.delete(name);
    });
  }

  /** @param {Drawn[]} runs @param {string} key @param {number} columns @param {Stretch} stretch */
  refine(runs, key, columns, stretch) {
    return this.ask(runs, key, columns, stretch, (name, detail) => this.details.set(name, { stretch, detail }));
  }

  /**
   * Fetches what came behind the last point. A late or repeated step is not among that: where the count then does not
   * match, the series is fetched again.
   * @param {Drawn} run @param {string} key @param {Curve} curve @param {number} count @param {number} columns
   */
  async follow(run, key, curve, count, columns) {
    const name = pair(run.id, key);
    const last = curve.length ? Math.round(curve.to[curve.length - 1] / this.unit) : NaN;
    // A step that a number cannot hold exactly has no certain next one.
    if (!Number.isSafeInteger(last)) return this.load([run], key, columns);
    await this.ask([run], key, columns, { first: last + 1 }, (_, more) => {
      this.curves.set(name, curve.extended(more));
      this.details.delete(name);
    });
    const now = this.curves.get(name);
    if (now && now.total < count && !this.errors.has(name)) await this.load([run], key, columns);
    return undefined;
  }

  /**
   * @param {Drawn[]} runs @param {string} key @param {number} columns @param {{first?: number, last?: number}} stretch
   * @param {(name: string, curve: Curve) => void} take
   */
  async ask(runs, key, columns, stretch, take) {
    const { unit, mode } = this;
    const { signal } = this.abort;
    for (const run of runs) this.loading.add(pair(run.id, key));
    try {
      const series = runs.map((run) => ({ run_id: run.id, key, ...stretch, ...(mode === "relative" ? { origin: Math.round(run.origin * 1e6) } : {}) }));
      const asked = { columns, axis: mode === "step" ? "step" : "time", scale: this.log ? "log" : "linear" };
      for (const data of await api.readSeries(series, asked, signal)) {
        if (signal.aborted) return;
        const name = pair(data.run_id, data.key);
        if (data.error) this.errors.set(name, data.error.message);
        else take(name, new Curve(data, unit));
      }
    } catch (error) {
      if (signal.aborted) return;
      for (const run of runs) this.errors.set(pair(run.id, key), /** @type {Error} */ (error).message);
    } finally {
      if (!signal.aborted) for (const run of runs) this.loading.delete(pair(run.id, key));
    }
    this.changed();
  }

  /** Lets failed series be asked for again. */
  retry() {
    this.errors.clear();
    this.changed();
  }
}
