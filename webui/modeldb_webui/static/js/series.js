// From what the server sends of a series to the line that a chart draws.

import { toNumber } from "./format.js";

/** @typedef {import("./types").SeriesData} SeriesData */
/** @typedef {import("./types").Line} Line */
/** @typedef {"step" | "relative" | "wall"} XMode */

/** What is kept of each place of a curve. */
const COLUMNS = /** @type {const} */ (["xs", "from", "to", "ys", "low", "high", "counts", "gaps"]);
const TOTALS = /** @type {const} */ (["total", "nans", "infinities", "nonpositive", "hidden"]);

/** @param {ArrayLike<unknown>} list @param {number} [unit] */
const numbers = (list, unit = 1) => Float64Array.from(list, (value) => toNumber(value) * unit);

/**
 * What was received of one series, in the order of x: a place for every point, or for every pixel column, whose value is
 * the mean of its points.
 */
export class Curve {
  /** @param {SeriesData} data @param {number} [unit] of x: steps are 1, microseconds a millionth */
  constructor(data, unit = 1) {
    this.total = data.total;
    this.nans = data.nan_count;
    this.infinities = data.infinite_count;
    this.nonpositive = data.nonpositive_count;
    this.hidden = data.hidden_count;
    /** Whether every point is here as it was logged. */
    this.isWhole = Boolean(data.points);
    if (data.points) {
      const { x, steps, values } = data.points;
      this.xs = this.from = this.to = numbers(x, unit);
      this.ys = this.low = this.high = numbers(values);
      this.counts = this.ys.map((y) => Number(Number.isFinite(y)));
      this.gaps = this.counts.map((count) => 1 - count);
      /** @type {import("./types").Value[]} */
      this.firstSteps = steps;
      /** @type {import("./types").Value[]} */
      this.lastSteps = steps;
    } else {
      const columns = /** @type {NonNullable<SeriesData["columns"]>} */ (data.columns);
      this.xs = numbers(columns.x, unit);
      this.from = numbers(columns.first_x, unit);
      this.to = numbers(columns.last_x, unit);
      this.ys = numbers(columns.mean);
      this.low = numbers(columns.minimum);
      this.high = numbers(columns.maximum);
      this.gaps = Float64Array.from(columns.nan_count, (nans, at) => nans + columns.infinite_count[at]);
      this.counts = Float64Array.from(columns.count, (count, at) => count - this.gaps[at]);
      this.firstSteps = columns.first_step;
      this.lastSteps = columns.last_step;
    }
  }

  get length() {
    return this.xs.length;
  }

  /** @param {number} from @param {number} to the first that is left out @returns {Curve} */
  slice(from, to) {
    const part = /** @type {Curve} */ (Object.assign(Object.create(Curve.prototype), this));
    for (const name of COLUMNS) part[name] = this[name].subarray(from, to);
    part.firstSteps = this.firstSteps.slice(from, to);
    part.lastSteps = this.lastSteps.slice(from, to);
    return part;
  }

  /** This and what lies behind it; the totals are of the one that is told. @param {Curve} more @param {Curve} [totals] @returns {Curve} */
  joined(more, totals = this) {
    const result = /** @type {Curve} */ (Object.assign(Object.create(Curve.prototype), totals));
    for (const name of COLUMNS) {
      result[name] = new Float64Array(this.length + more.length);
      result[name].set(this[name]);
      result[name].set(more[name], this.length);
    }
    result.firstSteps = [...this.firstSteps, ...more.firstSteps];
    result.lastSteps = [...this.lastSteps, ...more.lastSteps];
    return result;
  }

  /** This with finer places for a range of x, and the totals of that range. @param {Curve} detail @param {number} first @param {number} last @returns {Curve} */
  refined(detail, first, last) {
    let before = 0;
    while (before < this.length && this.to[before] < first) before += 1;
    let after = this.length;
    while (after > before && this.from[after - 1] > last) after -= 1;
    return this.slice(0, before).joined(detail, detail).joined(this.slice(after, this.length));
  }

  /** With points that were logged since, which lie behind. @param {Curve} more @returns {Curve} */
  extended(more) {
    const result = this.joined(more);
    for (const name of TOTALS) result[name] += more[name];
    result.isWhole = this.isWhole && more.isWhole;
    return result;
  }
}

/**
 * @param {import("./types").Drawn} run @param {Curve} curve
 * @param {{smoothing: number, logX: boolean, zoom: [number, number] | null}} options `smoothing` from 0 to 1
 * @returns {Line}
 */
export function makeLine(run, curve, { smoothing, logX, zoom }) {
  const { xs, ys, low, high, from, to, counts, gaps, firstSteps, lastSteps, total, nans, infinities, nonpositive, hidden, isWhole } = curve;
  let smooth = null;
  if (smoothing > 0 && xs.length > 2) {
    const along = logX ? xs.map(Math.log) : xs;
    const [first, last] = zoom ? (logX ? zoom.map(Math.log) : zoom) : [along[0], along[xs.length - 1]];
    smooth = smoothed(along, ys, smoothing * smoothing * 0.15 * (last - first), counts);
  }
  return { id: run.id, name: run.name, slot: run.slot, xs, ys, low, high, from, to, counts, gaps, firstSteps, lastSteps, smooth, total, nans, infinities, nonpositive, hidden, isWhole };
}

/**
 * The mean of the points around each place, weighted by `exp(-distance / width)` to both sides, so that the line does not
 * lag behind; the mean of many points counts as many. Distance is along x. Gaps stay gaps.
 * @param {Float64Array} xs ascending @param {Float64Array} ys @param {number} width in units of x @param {Float64Array | null} [counts] of points behind each y
 */
export function smoothed(xs, ys, width, counts = null) {
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
      const finite = Number.isFinite(ys[at]);
      const own = counts ? counts[at] : 1;
      // The place itself is counted on the way forward only.
      if (step > 0 && finite) {
        weight += own;
        sum += own * ys[at];
      }
      weights[at] += weight;
      sums[at] += sum;
      if (step < 0 && finite) {
        weight += own;
        sum += own * ys[at];
      }
    }
  }
  return sums.map((sum, at) => (Number.isFinite(ys[at]) ? sum / weights[at] : NaN));
}

/** The index of the place nearest to x; -1 where there is none. @param {Float64Array} xs ascending @param {number} x */
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

/** What a place of a line stands for: all points of its pixel column, or all at the same x. @param {Line} line @param {number} at */
export function summaryAt(line, at) {
  let first = at;
  let last = at;
  while (first > 0 && line.xs[first - 1] === line.xs[at]) first -= 1;
  while (last + 1 < line.xs.length && line.xs[last + 1] === line.xs[at]) last += 1;
  let count = 0, gaps = 0, sum = 0, low = Infinity, high = -Infinity;
  for (let place = first; place <= last; place += 1) {
    const own = line.counts[place];
    count += own;
    gaps += line.gaps[place];
    if (!own) continue;
    sum += own * line.ys[place];
    low = Math.min(low, line.low[place]);
    high = Math.max(high, line.high[place]);
  }
  const mean = first === last ? line.ys[at] : sum / count;
  return { count, gaps, mean, low, high, firstStep: line.firstSteps[first], lastStep: line.lastSteps[last] };
}

/**
 * The least and greatest of what is to be in view.
 * @param {Line[]} lines @param {[number, number] | null} zoom @param {boolean} positive only what a log scale of y shows @param {boolean} [positiveX] and of x
 */
export function extent(lines, zoom, positive, positiveX = false) {
  let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
  /** @param {number} y */
  const show = (y) => {
    if (!Number.isFinite(y) || (positive && y <= 0)) return;
    y0 = Math.min(y0, y);
    y1 = Math.max(y1, y);
  };
  for (const { xs, ys, low, high } of lines) {
    for (let at = 0; at < xs.length; at += 1) {
      const x = xs[at];
      if ((zoom && (x < zoom[0] || x > zoom[1])) || (positiveX && x <= 0)) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      show(ys[at]);
      show(low[at]);
      show(high[at]);
    }
  }
  return { x0, x1, y0, y1 };
}

const BINS = 200;

/**
 * One line for each group of runs: the mean of their means in equal stretches of x, and the least and greatest of all
 * points there, so that no spike is lost in a mean.
 * @param {Line[]} lines @param {import("./types").Drawn[]} runs the run of each line @param {[number, number] | null} zoom
 * @param {boolean} [whole] whether x are steps, which have nothing between them
 * @returns {Line[]}
 */
export function meanLines(lines, runs, zoom, whole = false) {
  const { x0, x1 } = extent(lines, zoom, false);
  if (!(x0 <= x1)) return [];
  const most = Math.max(...lines.map(({ xs }) => xs.length));
  const bins = Math.max(1, Math.min(BINS, most, whole ? x1 - x0 + 1 : Infinity));
  const width = (x1 - x0) / Math.max(1, bins - 1) || 1;
  /** @type {Map<string, {line: Line, sums: Float64Array, counts: Float64Array, runs: number, of: number}>} */
  const groups = new Map();
  lines.forEach((line, at) => {
    const { key, name, slot, size } = runs[at].group ?? { key: line.id, name: line.name, slot: line.slot, size: 0 };
    const entry = groups.get(key) ?? { line: emptyMean(key, name, slot, x0, width, bins), sums: new Float64Array(bins), counts: new Float64Array(bins), runs: 0, of: size };
    groups.set(key, entry);
    entry.runs += 1;
    for (const total of TOTALS) entry.line[total] += line[total];
    addRun(entry, line, x0, width, bins);
  });
  return [...groups.values()].map(({ line, sums, counts, runs: size, of }) => {
    for (let bin = 0; bin < bins; bin += 1) line.ys[bin] = counts[bin] ? sums[bin] / counts[bin] : NaN;
    return { ...line, name: `${line.name} (${of > size ? `${size} of ${of}` : size})`, runs: size };
  });
}

/** @param {string} id @param {string} name @param {number} slot @param {number} x0 @param {number} width @param {number} bins @returns {Line} */
function emptyMean(id, name, slot, x0, width, bins) {
  const xs = Float64Array.from({ length: bins }, (_, bin) => x0 + bin * width);
  const steps = Array.from(xs, (x) => Math.round(x));
  const none = () => new Float64Array(bins);
  return { id, name, slot, xs, from: xs, to: xs, ys: none(), low: none().fill(Infinity), high: none().fill(-Infinity), counts: none(), gaps: none(), firstSteps: steps, lastSteps: steps, smooth: null, total: 0, nans: 0, infinities: 0, nonpositive: 0, hidden: 0, isWhole: false };
}

/** @param {{line: Line, sums: Float64Array, counts: Float64Array}} group @param {Line} line @param {number} x0 @param {number} width @param {number} bins */
function addRun({ line: mean, sums, counts }, line, x0, width, bins) {
  const own = new Float64Array(bins);
  const seen = new Float64Array(bins);
  for (let at = 0; at < line.xs.length; at += 1) {
    const bin = Math.round((line.xs[at] - x0) / width);
    if (bin < 0 || bin >= bins) continue;
    mean.gaps[bin] += line.gaps[at];
    const size = line.counts[at];
    if (!size) continue;
    own[bin] += size * line.ys[at];
    seen[bin] += size;
    mean.counts[bin] += size;
    mean.low[bin] = Math.min(mean.low[bin], line.low[at]);
    mean.high[bin] = Math.max(mean.high[bin], line.high[at]);
  }
  let before = -1;
  for (let bin = 0; bin < bins; bin += 1) {
    if (!seen[bin]) continue;
    const value = own[bin] / seen[bin];
    // A run that logs less often than others counts in between with what lies on the way.
    for (let gap = before + 1; before >= 0 && gap < bin; gap += 1) {
      const start = own[before] / seen[before];
      sums[gap] += start + ((value - start) * (gap - before)) / (bin - before);
      counts[gap] += 1;
    }
    sums[bin] += value;
    counts[bin] += 1;
    before = bin;
  }
}
