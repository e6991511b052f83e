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
  for (const { xs, ys, low, high } of lines) {
    for (let at = 0; at < xs.length; at += 1) {
      const x = xs[at];
      if (zoom && (x < zoom[0] || x > zoom[1])) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      const y = ys[at];
      if (!Number.isFinite(y) || (positive && y <= 0)) continue;
      if (y < y0) y0 = y;
      if (y > y1) y1 = y;
      if (low && high && low[at] <= high[at] && !(positive && low[at] <= 0)) {
        y0 = Math.min(y0, low[at]);
        y1 = Math.max(y1, high[at]);
      }
    }
  }
  return { x0, x1, y0, y1 };
}

const BINS = 200;

/**
 * One line for each group of runs: the mean of their means in equal stretches of x, and the least and greatest of all
 * points there, so that no spike is lost in a mean.
 * @param {Line[]} lines @param {import("./types").Drawn[]} runs the run of each line @param {[number, number] | null} zoom
 * @returns {Line[]}
 */
export function meanLines(lines, runs, zoom) {
  const { x0, x1 } = extent(lines, zoom, false);
  if (!(x0 <= x1)) return [];
  const most = Math.max(...lines.map(({ shown }) => shown));
  const bins = Math.max(1, Math.min(BINS, most));
  const width = (x1 - x0) / Math.max(1, bins - 1) || 1;
  /** @type {Map<string, {line: Line, sums: Float64Array, counts: Float64Array, runs: number}>} */
  const groups = new Map();
  lines.forEach((line, at) => {
    const { key, name, slot } = runs[at].group ?? { key: line.id, name: line.name, slot: line.slot };
    let entry = groups.get(key);
    if (!entry) {
      const mean = { id: key, name, slot, xs: Float64Array.from({ length: bins }, (_, bin) => x0 + bin * width), ys: new Float64Array(bins), steps: new Float64Array(bins), smooth: null, total: 0, shown: 0, nans: 0, low: new Float64Array(bins).fill(Infinity), high: new Float64Array(bins).fill(-Infinity) };
      entry = { line: mean, sums: new Float64Array(bins), counts: new Float64Array(bins), runs: 0 };
      groups.set(key, entry);
    }
    entry.runs += 1;
    entry.line.total += line.total;
    entry.line.shown += line.shown;
    entry.line.nans += line.nans;
    addRun(entry, line, x0, width, bins);
  });
  return [...groups.values()].map(({ line, sums, counts, runs: size }) => {
    for (let bin = 0; bin < bins; bin += 1) {
      line.ys[bin] = counts[bin] ? sums[bin] / counts[bin] : NaN;
      line.steps[bin] = Math.round(line.xs[bin]);
    }
    return { ...line, name: `${line.name} (${size})` };
  });
}

/** @param {{line: Line, sums: Float64Array, counts: Float64Array}} group @param {Line} line @param {number} x0 @param {number} width @param {number} bins */
function addRun({ line: mean, sums, counts }, line, x0, width, bins) {
  const own = new Float64Array(bins);
  const seen = new Float64Array(bins);
  const { low, high } = mean;
  for (let at = 0; at < line.xs.length; at += 1) {
    const bin = Math.round((line.xs[at] - x0) / width);
    const y = line.ys[at];
    if (bin < 0 || bin >= bins || !Number.isFinite(y) || !low || !high) continue;
    own[bin] += y;
    seen[bin] += 1;
    if (y < low[bin]) low[bin] = y;
    if (y > high[bin]) high[bin] = y;
  }
  let before = -1;
  for (let bin = 0; bin < bins; bin += 1) {
    if (!seen[bin]) continue;
    const value = own[bin] / seen[bin];
    // A run that logs less often than others counts in between with what lies on the way.
    for (let gap = before + 1; before >= 0 && gap < bin; gap += 1) {
      const from = own[before] / seen[before];
      sums[gap] += from + ((value - from) * (gap - before)) / (bin - before);
      counts[gap] += 1;
    }
    sums[bin] += value;
    counts[bin] += 1;
    before = bin;
  }
}
