// From the points that the server sends to the lines that a chart draws.

import { toNumber } from "./format.js";

/** @typedef {import("./types").SeriesData} SeriesData */
/** @typedef {import("./types").Line} Line */
/** @typedef {"step" | "relative" | "wall"} XMode */

/** What was received of one series, in the order of its steps. */
export class Points {
  /** @param {SeriesData} data */
  constructor(data) {
    this.steps = Float64Array.from(data.steps, toNumber);
    this.times = Float64Array.from(data.times, (time) => time / 1e6);
    this.values = Float64Array.from(data.values, toNumber);
    this.total = data.total;
    this.shown = this.steps.length;
    this.isWhole = data.shown === data.total;
  }

  /** These points with finer ones for a range of steps. @param {Points} detail @param {number} first @param {number} last */
  refined(detail, first, last) {
    const result = /** @type {Points} */ (Object.create(Points.prototype));
    let from = 0;
    while (from < this.length && this.steps[from] < first) from += 1;
    let to = from;
    while (to < this.length && this.steps[to] <= last) to += 1;
    for (const name of /** @type {const} */ (["steps", "times", "values"])) {
      result[name] = joined(joined(this[name].subarray(0, from), detail[name]), this[name].subarray(to));
    }
    return Object.assign(result, { total: detail.total, shown: detail.shown, isWhole: detail.isWhole });
  }

  get length() {
    return this.steps.length;
  }

  get lastStep() {
    return this.length ? this.steps[this.length - 1] : -Infinity;
  }

  /** Adds points that were logged since. @param {SeriesData} data */
  append(data) {
    const more = new Points(data);
    this.steps = joined(this.steps, more.steps);
    this.times = joined(this.times, more.times);
    this.values = joined(this.values, more.values);
    this.total += more.total;
    this.shown = this.steps.length;
    this.isWhole &&= more.isWhole;
  }
}

/** @param {Float64Array} a @param {Float64Array} b */
function joined(a, b) {
  const result = new Float64Array(a.length + b.length);
  result.set(a);
  result.set(b, a.length);
  return result;
}

/**
 * @param {Points} points @param {XMode} mode @param {number} origin seconds, what relative time counts from
 * @returns {{xs: Float64Array, ys: Float64Array, steps: Float64Array}}
 */
function placed(points, mode, origin) {
  const xs = mode === "step" ? points.steps : mode === "wall" ? points.times : points.times.map((time) => time - origin);
  let sorted = true;
  for (let index = 1; index < xs.length && sorted; index += 1) sorted = xs[index] >= xs[index - 1];
  if (sorted) return { xs, ys: points.values, steps: points.steps };
  const order = Array.from(xs.keys()).sort((a, b) => xs[a] - xs[b] || a - b);
  return {
    xs: Float64Array.from(order, (index) => xs[index]),
    ys: Float64Array.from(order, (index) => points.values[index]),
    steps: Float64Array.from(order, (index) => points.steps[index]),
  };
}

/**
 * @param {import("./types").Drawn} run @param {Points} points
 * @param {{mode: XMode, smoothing: number, logX: boolean, zoom: [number, number] | null}} options `smoothing` from 0 to 1
 * @returns {Line}
 */
export function makeLine(run, points, { mode, smoothing, logX, zoom }) {
  const { xs, ys, steps } = placed(points, mode, run.origin);
  const count = xs.length;
  let nans = 0;
  let inside = 0;
  for (let at = 0; at < count; at += 1) {
    if (zoom && (xs[at] < zoom[0] || xs[at] > zoom[1])) continue;
    inside += 1;
    if (!Number.isFinite(ys[at])) nans += 1;
  }
  let smooth = null;
  if (smoothing > 0 && count > 2) {
    const along = logX ? xs.map((x) => Math.log(Math.max(x, 0.5))) : xs;
    const [low, high] = zoom ? (logX ? zoom.map((x) => Math.log(Math.max(x, 0.5))) : zoom) : [along[0], along[count - 1]];
    smooth = smoothed(along, ys, smoothing * smoothing * 0.15 * (high - low));
  }
  return { id: run.id, name: run.name, slot: run.slot, xs, ys, steps, smooth, total: points.isWhole ? inside : points.total, shown: inside, nans };
}

/**
 * The mean of the points around each one, weighted by `exp(-distance / width)` to both sides, so that the line does not
 * lag behind. Distance is along x, so unevenly kept points do no harm. Gaps stay gaps.
 * @param {Float64Array} xs ascending @param {Float64Array} ys @param {number} width in units of x
 */
export function smoothed(xs, ys, width) {
  const count = ys.length;
  const weights = new Float64Array(count);
  const sums = new Float64Array(count);
  const scale = Math.max(1e-300, width);
  for (const step of [1, -1]) {
    let weight = 0;
    let sum = 0;
    let before = NaN;
    for (let at = step > 0 ? 0 : count - 1; at >= 0 && at < count; at += step) {
      const keep = Number.isNaN(before) ? 0 : Math.exp(-Math.abs(xs[at] - before) / scale);
      weight *= keep;
      sum *= keep;
      before = xs[at];
      // The point itself is counted on the way forward only.
      if (step > 0 && Number.isFinite(ys[at])) {
        weight += 1;
        sum += ys[at];
      }
      weights[at] += weight;
      sums[at] += sum;
      if (step < 0 && Number.isFinite(ys[at])) {
        weight += 1;
        sum += ys[at];
      }
    }
  }
  return sums.map((sum, at) => (Number.isFinite(ys[at]) ? sum / weights[at] : NaN));
}

/** The index of the point nearest to x; -1 where there is none. @param {Float64Array} xs ascending @param {number} x */
export function nearest(xs, x) {
  let low = 0;
  let high = xs.length - 1;
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
}

/**
 * The least and greatest of what is to be in view.
 * @param {Line[]} lines @param {[number, number] | null} zoom @param {boolean} positive only what a log scale shows
 */
export function extent(lines, zoom, positive) {
  let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
  for (const { xs, ys } of lines) {
    for (let at = 0; at < xs.length; at += 1) {
      const x = xs[at];
      if (zoom && (x < zoom[0] || x > zoom[1])) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      const y = ys[at];
      if (!Number.isFinite(y) || (positive && y <= 0)) continue;
      if (y < y0) y0 = y;
      if (y > y1) y1 = y;
    }
  }
  return { x0, x1, y0, y1 };
}
