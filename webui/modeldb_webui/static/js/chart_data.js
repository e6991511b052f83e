// The points behind a set of charts: fetched for the panels in view, finer where the reader zooms in, and only the new
// ones while a run trains.

import * as api from "./api.js";
import { Points } from "./series.js";

/** @typedef {import("./types").Drawn} Drawn */
/** @typedef {{first: number, last: number}} Steps */

/** More runs in one panel get fewer points each. */
const POINTS_PER_PANEL = 40_000;
const LEAST_POINTS = 200;
const MOST_POINTS = 8000;
/** A live series that has grown to this many times what a panel needs is fetched anew, thinned out. */
const GROWTH = 3;

/** @param {string} run @param {string} key */
const pair = (run, key) => `${run}\n${key}`;

export class ChartData {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {Map<string, Points>} */
    this.points = new Map();
    /** @type {Map<string, {steps: Steps, detail: Points}>} */
    this.details = new Map();
    /** @type {Map<string, string>} what is wrong, by series */
    this.errors = new Map();
    /** @type {Set<string>} */
    this.loading = new Set();
    this.abort = new AbortController();
  }

  close() {
    this.abort.abort();
  }

  /** @param {number} width in CSS pixels @param {number} runs in the panel */
  static pointsFor(width, runs) {
    return Math.round(Math.max(LEAST_POINTS, Math.min(MOST_POINTS, 2.5 * width, POINTS_PER_PANEL / Math.max(1, runs))));
  }

  /** @param {Drawn} run @param {string} key @param {Steps | null} zoom */
  get(run, key, zoom) {
    const name = pair(run.id, key);
    const whole = this.points.get(name);
    if (!whole || !zoom || whole.isWhole) return whole;
    const found = this.details.get(name);
    return found && found.steps.first === zoom.first && found.steps.last === zoom.last ? whole.refined(found.detail, zoom.first, zoom.last) : whole;
  }

  /** @param {Drawn} run @param {string} key */
  isLoading(run, key) {
    return this.loading.has(pair(run.id, key));
  }

  /**
   * Fetches what is missing for a panel.
   * @param {Drawn[]} runs @param {string} key @param {number} width @param {Steps | null} zoom
   */
  need(runs, key, width, zoom) {
    const having = runs.filter((run) => key in run.series);
    const most = ChartData.pointsFor(width, having.length);
    const fresh = [];
    const finer = [];
    for (const run of having) {
      const name = pair(run.id, key);
      if (this.loading.has(name) || this.errors.has(name)) continue;
      const points = this.points.get(name);
      const count = run.series[key].count;
      if (!points || points.length > GROWTH * most + LEAST_POINTS) fresh.push(run);
      else if (points.total < count) void this.follow(run, key, points, count, most);
      else if (zoom && !points.isWhole) {
        const found = this.details.get(name);
        if (!found || found.steps.first !== zoom.first || found.steps.last !== zoom.last) finer.push(run);
      }
    }
    if (fresh.length) void this.load(fresh, key, most);
    if (finer.length && zoom) void this.refine(finer, key, most, zoom);
  }

  /** @param {Drawn[]} runs @param {string} key @param {number} most */
  load(runs, key, most) {
    return this.ask(runs, key, { max_points: most }, (name, data) => this.points.set(name, new Points(data)));
  }

  /** @param {Drawn[]} runs @param {string} key @param {number} most @param {Steps} steps */
  refine(runs, key, most, steps) {
    return this.ask(runs, key, { max_points: most, first_step: steps.first, last_step: steps.last }, (name, data) => this.details.set(name, { steps, detail: new Points(data) }));
  }

  /**
   * Fetches what came after the last step. A late or repeated step is not among that: where the count then does not
   * match, the series is fetched anew.
   * @param {Drawn} run @param {string} key @param {Points} points @param {number} count @param {number} most
   */
  async follow(run, key, points, count, most) {
    await this.ask([run], key, { first_step: points.lastStep + 1, max_points: most }, (name, data) => {
      points.append(data);
      this.details.delete(name);
    });
    if (points.total < count) await this.load([run], key, most);
  }

  /**
   * @param {Drawn[]} runs @param {string} key @param {{max_points: number, first_step?: number, last_step?: number}} range
   * @param {(name: string, data: import("./types").SeriesData) => void} take
   */
  async ask(runs, key, range, take) {
    for (const run of runs) this.loading.add(pair(run.id, key));
    try {
      for (const data of await api.readSeries(runs.map((run) => ({ run_id: run.id, key })), range, this.abort.signal)) {
        const name = pair(data.run_id, data.key);
        if (data.error) this.errors.set(name, data.error.message);
        else take(name, data);
      }
    } catch (error) {
      if (/** @type {Error} */ (error).name === "AbortError") return;
      for (const run of runs) this.errors.set(pair(run.id, key), /** @type {Error} */ (error).message);
    } finally {
      for (const run of runs) this.loading.delete(pair(run.id, key));
    }
    this.changed();
  }

  /** Lets failed series be asked for again. */
  retry() {
    this.errors.clear();
    this.changed();
  }

  /** The steps that a stretch of time covers, over all runs, as far as points are known. @param {Drawn[]} runs @param {string} key @param {"relative" | "wall"} mode @param {[number, number]} zoom @returns {Steps | null} */
  stepsWithin(runs, key, mode, zoom) {
    let first = Infinity;
    let last = -Infinity;
    for (const run of runs) {
      const points = this.points.get(pair(run.id, key));
      if (!points) continue;
      const shift = mode === "relative" ? run.origin : 0;
      for (let at = 0; at < points.length; at += 1) {
        const inside = points.times[at] - shift >= zoom[0] && points.times[at] - shift <= zoom[1];
        const next = at + 1 < points.length && points.times[at] - shift < zoom[0] && points.times[at + 1] - shift > zoom[0];
        if (!inside && !next) continue;
        first = Math.min(first, points.steps[at]);
        last = Math.max(last, points.steps[Math.min(at + 1, points.length - 1)]);
      }
    }
    return first <= last ? { first, last } : null;
  }
}
