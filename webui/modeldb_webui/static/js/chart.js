// One chart: axes, zoom and cursor by uPlot, lines drawn here, so that every run keeps the x of its own points.

import { durationTexts, linearTicks, logRange, logTexts, logTicks, padded, placing, roomFor, tickTexts, valueAtPlace } from "./axes.js";
import { paint } from "./chart_paint.js";
import { themeColors, COLORS } from "./colors.js";
import { formatDuration, formatLabel, formatMetric, formatTime, plural } from "./format.js";
import { extent, nearest, summaryAt } from "./series.js";

/** @typedef {import("./types").Line} Line */
/**
 * @typedef {object} ChartState
 * @property {Line[]} lines
 * @property {import("./series.js").XMode} mode
 * @property {[number, number] | null} zoom the x that is in view, `null` for all
 * @property {boolean} logX
 * @property {boolean} logY
 * @property {string} hot the run that is pointed at
 */
/**
 * @typedef {object} ChartEvents
 * @property {(zoom: [number, number] | null) => void} onZoom
 * @property {(hot: string) => void} onHot
 */

const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
const NEAR_PX = 24;
const TIP_ROWS = 12;
/** @type {Map<string, Set<Chart>>} whose cursors move together */
const groups = new Map();

export class Chart {
  /** @param {HTMLElement} parent @param {number} height @param {string} group whose cursors move together @param {ChartEvents} events */
  constructor(parent, height, group, events) {
    this.parent = parent;
    this.height = height;
    this.group = group;
    this.events = events;
    this.colors = themeColors();
    /** @type {ChartState} */
    this.state = { lines: [], mode: "step", zoom: null, logX: false, logY: false, hot: "" };
    /** @type {uPlot | null} */
    this.plot = null;
    this.made = "";
    /** @type {[number, number]} */
    this.xRange = [0, 1];
    /** @type {[number, number]} */
    this.yRange = [0, 1];
    groups.set(group, (groups.get(group) ?? new Set()).add(this));
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.dot = document.createElement("div");
    this.dot.className = "plot-dot";
    this.dot.hidden = true;
    this.recolor = () => {
      this.colors = themeColors();
      this.make();
    };
    addEventListener("themechange", this.recolor);
  }

  destroy() {
    removeEventListener("themechange", this.recolor);
    groups.get(this.group)?.delete(this);
    this.plot?.destroy();
    this.plot = null;
  }

  /** @param {Partial<ChartState>} change */
  update(change) {
    this.state = { ...this.state, ...change };
    const { mode, logX, logY } = this.state;
    const kind = `${mode} ${logX} ${logY}`;
    if (!this.plot || kind !== this.made) this.make();
    else this.refresh();
  }

  /** @param {number} width @param {number} height */
  resize(width, height) {
    this.height = height;
    if (this.plot && width > 40) this.plot.setSize({ width, height });
  }

  refresh() {
    this.measure();
    this.plot?.setData([this.scaleX(), [0, 1]]);
  }

  get isLogX() {
    return this.state.logX && this.state.mode !== "wall";
  }

  measure() {
    const { lines, zoom, logY } = this.state;
    const { x0, x1, y0, y1 } = extent(lines, zoom, logY, this.isLogX);
    let low = zoom ? zoom[0] : x0;
    let high = zoom ? zoom[1] : x1;
    if (!(low <= high)) [low, high] = this.isLogX ? [1, 10] : [0, 1];
    if (this.isLogX) low = low > 0 ? low : Math.min(x0 > 0 ? x0 : 1, high / 10);
    if (low === high) [low, high] = this.isLogX ? [low / 2, high * 2] : [low - (Math.abs(low) * 1e-9 || 0.5), high + (Math.abs(high) * 1e-9 || 0.5)];
    this.xRange = [low, high];
    this.yRange = !(y0 <= y1) ? (logY ? [0.1, 1] : [0, 1]) : logY ? logRange(y0, y1) : padded(y0, y1);
  }

  /** uPlot places dates itself; all else it is told as a part of the range, for its own axes end at 1e32. @returns {[number, number]} */
  scaleX() {
    return this.state.mode === "wall" ? this.xRange : [0, 1];
  }

  /** @param {number} x pixels from the left */
  leftOf(x) {
    return placing(this.xRange, this.isLogX)(x) * /** @type {uPlot} */ (this.plot).over.clientWidth;
  }

  /** @param {number} left */
  xAt(left) {
    return valueAtPlace(this.xRange, this.isLogX, left / /** @type {uPlot} */ (this.plot).over.clientWidth);
  }

  /** @param {number} y pixels from the top */
  topOf(y) {
    return (1 - placing(this.yRange, this.state.logY)(y)) * /** @type {uPlot} */ (this.plot).over.clientHeight;
  }

  /** The ticks of an axis: their places for uPlot, and what they say. @param {boolean} isX @param {number} size pixels */
  ticks(isX, size) {
    const log = isX ? this.isLogX : this.state.logY;
    const range = isX ? this.xRange : this.yRange;
    const { mode } = this.state;
    const kind = !isX ? "" : mode === "step" ? "whole" : "seconds";
    /** @param {number} most */
    const at = (most) => {
      const ticks = (log ? logTicks(range, most) : linearTicks(range, most, kind)).filter((tick) => tick >= range[0] && tick <= range[1]);
      const texts = isX && mode === "relative" ? durationTexts(ticks) : log ? logTexts(ticks) : tickTexts(ticks);
      return { ticks, texts };
    };
    let most = Math.max(2, Math.floor(size / (isX ? 70 : 28)));
    let found = at(most);
    // Labels beside one another must not touch.
    while (isX && most > 1 && found.texts.length > 1 && roomFor(found.texts, this.widthOf) * found.texts.length > size) found = at((most -= 1));
    return { places: found.ticks.map(placing(range, log)), texts: found.texts };
  }

  widthOf = (/** @type {string} */ text) => {
    const context = (Chart.ruler ??= /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d")));
    context.font = FONT;
    return context.measureText(text).width;
  };

  make() {
    this.plot?.destroy();
    this.measure();
    const { mode, logX, logY } = this.state;
    this.made = `${mode} ${logX} ${logY}`;
    const width = Math.max(120, this.parent.clientWidth);
    const { text2, grid } = this.colors;
    const axis = { stroke: text2, font: FONT, grid: { stroke: grid, width: 1 }, ticks: { show: false }, gap: 4 };
    /** @type {Record<string, string[]>} */
    const said = { x: [], y: [] };
    /** @param {"x" | "y"} name */
    const own = (name) => ({
      // uPlot wants to find a distance of ticks; which one does not matter.
      incrs: [1],
      space: 1,
      splits: (/** @type {uPlot} */ plot) => {
        const { places, texts } = this.ticks(name === "x", (name === "x" ? plot.bbox.width : plot.bbox.height) / (devicePixelRatio || 1));
        said[name] = texts;
        return places;
      },
      values: () => said[name],
    });
    this.plot = new uPlot(
      {
        width,
        height: this.height,
        legend: { show: false },
        padding: [8, 12, 0, 0],
        scales: { x: { time: mode === "wall", range: () => this.scaleX() }, y: { range: () => [0, 1] } },
        series: [{}, { paths: () => null, points: { show: false } }],
        axes: [
          { ...axis, size: 24, ...(mode === "wall" ? { space: 60 } : own("x")) },
          { ...axis, ...own("y"), size: (/** @type {uPlot} */ _, /** @type {string[] | null} */ texts) => roomFor(texts ?? [], this.widthOf) },
        ],
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => this.events.onZoom(null) } },
        hooks: { draw: [() => this.draw()], setSelect: [() => this.selected()], setCursor: [() => this.pointed()] },
      },
      [this.scaleX(), [0, 1]],
      this.parent,
    );
    this.plot.over.append(this.tip, this.dot);
    this.plot.over.addEventListener("mouseleave", () => this.left());
  }

  selected() {
    const plot = /** @type {uPlot} */ (this.plot);
    const { left, width } = plot.select;
    if (width < 4) return;
    const zoom = /** @type {[number, number]} */ ([this.xAt(left), this.xAt(left + width)]);
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.events.onZoom(zoom);
  }

  /** Draws all lines into uPlot's canvas. */
  draw() {
    const { plot } = this;
    if (!plot) return;
    paint(plot.ctx, plot.bbox, this.state, /** @type {[number, number]} */ (this.xRange), /** @type {[number, number]} */ (this.yRange), this.colors, devicePixelRatio || 1);
  }

  left() {
    this.tip.hidden = true;
    this.dot.hidden = true;
    this.lead(NaN);
    this.events.onHot("");
  }

  /** Moves the cursors of the other charts to the same x. @param {number} x NaN for none */
  lead(x) {
    for (const chart of groups.get(this.group) ?? []) {
      if (chart === this || !chart.plot) continue;
      const left = chart.leftOf(x);
      const inside = left >= 0 && left <= chart.plot.over.clientWidth;
      if (inside || chart.plot.cursor.left >= 0) chart.plot.setCursor({ left: inside ? left : -10, top: -10 }, false);
    }
  }

  pointed() {
    const { plot } = this;
    if (!plot) return;
    const { left, top } = plot.cursor;
    if (left < 0 || !plot.over.matches(":hover")) {
      this.tip.hidden = true;
      this.dot.hidden = true;
      return;
    }
    const x = this.xAt(left);
    this.lead(x);
    const found = [];
    for (const line of this.state.lines) {
      const at = nearest(line.xs, x);
      if (at < 0 || !(Math.abs(this.leftOf(line.xs[at]) - left) <= Math.max(NEAR_PX, plot.over.clientWidth / Math.max(4, line.xs.length)))) continue;
      const value = line.smooth ? line.smooth[at] : line.ys[at];
      const distance = Math.abs(this.topOf(value) - top);
      found.push({ line, at, value, distance: Number.isFinite(distance) ? distance : Infinity });
    }
    if (!found.length) {
      this.left();
      return;
    }
    const near = found.reduce((a, b) => (b.distance < a.distance ? b : a));
    found.sort((a, b) => (Number.isNaN(a.value) ? 1 : Number.isNaN(b.value) ? -1 : b.value - a.value));
    this.showTip(found, near, left);
    this.events.onHot(near.line.id);
  }

  /** @param {{line: Line, at: number, value: number}[]} found @param {{line: Line, at: number, value: number}} near @param {number} left */
  showTip(found, near, left) {
    const plot = /** @type {uPlot} */ (this.plot);
    const start = Math.max(0, Math.min(found.indexOf(/** @type {any} */ (near)) - TIP_ROWS / 2, found.length - TIP_ROWS));
    const table = document.createElement("table");
    for (const { line, at } of found.slice(start, start + TIP_ROWS)) {
      const row = table.insertRow();
      if (line === near.line) row.className = "near";
      const swatch = document.createElement("span");
      swatch.className = `swatch drawn c${line.slot % COLORS}`;
      row.insertCell().append(swatch);
      const name = row.insertCell();
      name.className = "name";
      name.textContent = line.name;
      const cell = row.insertCell();
      cell.className = "num";
      cell.textContent = tipValue(line, at, line === near.line);
    }
    const head = document.createElement("div");
    head.className = "at";
    head.textContent = this.tipHead(near.line, near.at);
    const rest = found.length - Math.min(found.length, TIP_ROWS);
    this.tip.replaceChildren(head, table, ...(rest > 0 ? [`and ${rest} more`] : []));
    this.tip.hidden = false;
    const width = this.tip.offsetWidth;
    // Beside the cursor, over the neighbours rather than over the lines, as far as there is room.
    const room = (plot.over.closest(".charts-body") ?? document.body).getBoundingClientRect();
    const edge = plot.over.getBoundingClientRect().left;
    const fits = edge + left + 14 + width < room.right - 14;
    this.tip.style.left = `${fits ? left + 14 : Math.max(room.left - edge + 4, left - width - 14)}px`;
    this.tip.style.top = "4px";
    const dotted = Number.isFinite(this.topOf(near.value));
    this.dot.hidden = !dotted;
    if (dotted) {
      this.dot.style.left = `${this.leftOf(near.line.xs[near.at])}px`;
      this.dot.style.top = `${this.topOf(near.value)}px`;
      this.dot.style.background = this.colors.runs[near.line.slot % COLORS];
    }
  }

  /** Where the nearest place of the nearest line lies. @param {Line} line @param {number} at */
  tipHead(line, at) {
    const { mode } = this.state;
    const { firstStep, lastStep } = summaryAt(line, at);
    const [first, last] = [formatLabel(firstStep), formatLabel(lastStep)];
    const step = first === last ? `step ${first}` : `steps ${first} to ${last}`;
    if (mode === "step") return step;
    const [from, to] = mode === "relative" ? [line.from[at], line.to[at]].map(formatDuration) : [line.from[at], line.to[at]].map((time) => formatTime(new Date(time * 1000).toISOString()));
    const time = from === to ? from : `${from} to ${to}`;
    return line.runs ? time : `${time}, ${step}`;
  }
}

/** @type {CanvasRenderingContext2D | null} */
Chart.ruler = null;

/** What a line has at a place: the value that was logged, or the mean of how many points, and their range. @param {Line} line @param {number} at @param {boolean} near whether to say it in full */
function tipValue(line, at, near) {
  const { count, gaps, mean, low, high } = summaryAt(line, at);
  const smooth = near && line.smooth && Number.isFinite(line.smooth[at]) ? `${formatMetric(line.smooth[at])} smoothed, ` : "";
  const missing = gaps && (count || gaps > 1) ? `, ${formatMetric(gaps)} NaN or ∞` : "";
  if (line.runs) return count ? `${formatMetric(mean)}, ${formatMetric(low)} to ${formatMetric(high)}${missing}` : Number.isFinite(mean) ? `${formatMetric(mean)}, between points` : "no points";
  if (count > 1) return `${smooth}${formatMetric(mean)}, ${near ? `mean of ${plural(count, "point")}, ` : ""}${formatMetric(low)} to ${formatMetric(high)}${missing}`;
  return `${smooth}${formatMetric(count || !gaps ? mean : line.ys[at])}${missing}`;
}
