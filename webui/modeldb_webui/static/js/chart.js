// One chart: axes, zoom and cursor by uPlot, lines drawn here, so that every run keeps the x of its own points.

import { dashOf, themeColors, COLORS } from "./colors.js";
import { formatDuration, formatMetric, formatCount } from "./format.js";
import { extent, nearest } from "./series.js";

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
const RELATIVE_STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000];
const NEAR_PX = 24;
const TIP_ROWS = 12;

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
    this.plot?.setData([this.xRange, [0, 0]]);
  }

  measure() {
    const { lines, zoom, logY, logX } = this.state;
    const { x0, x1, y0, y1 } = extent(lines, zoom, logY);
    let low = zoom ? zoom[0] : x0;
    let high = zoom ? zoom[1] : x1;
    if (!(low <= high)) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    if (logX) [low, high] = [Math.max(low, 0.5), Math.max(high, 1)];
    this.xRange = [low, high];
    this.yRange = !(y0 <= y1) ? (logY ? [0.1, 1] : [0, 1]) : logY ? logRange(y0, y1) : padded(y0, y1);
  }

  make() {
    this.plot?.destroy();
    this.measure();
    const { mode, logX, logY } = this.state;
    this.made = `${mode} ${logX} ${logY}`;
    const width = Math.max(120, this.parent.clientWidth);
    const { text2, grid } = this.colors;
    const axis = { stroke: text2, font: FONT, grid: { stroke: grid, width: 1 }, ticks: { show: false }, gap: 4 };
    this.plot = new uPlot(
      {
        width,
        height: this.height,
        legend: { show: false },
        padding: [6, 10, 0, 0],
        scales: {
          x: { time: mode === "wall", range: () => this.xRange, distr: logX && mode !== "wall" ? 3 : 1 },
          y: { range: () => this.yRange, distr: logY ? 3 : 1 },
        },
        series: [{}, { paths: () => null, points: { show: false } }],
        axes: [
          { ...axis, size: 24, space: 60, ...(mode === "relative" && !logX ? { incrs: RELATIVE_STEPS } : {}), ...(mode === "wall" ? {} : { values: (/** @type {unknown} */ _, /** @type {(number | null)[]} */ ticks) => ticks.map((tick) => (tick === null ? "" : mode === "relative" ? shortDuration(tick) : shortCount(tick))) }) },
          { ...axis, size: 52, space: 28, values: (/** @type {unknown} */ _, /** @type {(number | null)[]} */ ticks) => (logY ? ticks.map(logTick) : tickTexts(ticks)) },
        ],
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, sync: { key: this.group, scales: ["x", null], setSeries: false }, bind: { dblclick: () => () => this.events.onZoom(null) } },
        hooks: { draw: [() => this.draw()], setSelect: [() => this.selected()], setCursor: [() => this.pointed()] },
      },
      [this.xRange, [0, 0]],
      this.parent,
    );
    this.plot.over.append(this.tip, this.dot);
    this.plot.over.addEventListener("mouseleave", () => this.left());
  }

  selected() {
    const plot = /** @type {uPlot} */ (this.plot);
    const { left, width } = plot.select;
    if (width < 4) return;
    const zoom = /** @type {[number, number]} */ ([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    // uPlot tells all charts of the group; the one under the pointer speaks for them.
    if (plot.over.matches(":hover")) this.events.onZoom(zoom);
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
    this.events.onHot("");
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
    const x = plot.posToVal(left, "x");
    const found = [];
    for (const line of this.state.lines) {
      const at = nearest(line.xs, x);
      if (at < 0 || Math.abs(plot.valToPos(line.xs[at], "x") - left) > Math.max(NEAR_PX, plot.over.clientWidth / Math.max(4, line.xs.length))) continue;
      const value = line.smooth ? line.smooth[at] : line.ys[at];
      found.push({ line, at, value, distance: Number.isFinite(value) ? Math.abs(plot.valToPos(value, "y") - top) : Infinity });
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
    const { mode } = this.state;
    const start = Math.max(0, Math.min(found.indexOf(/** @type {any} */ (near)) - TIP_ROWS / 2, found.length - TIP_ROWS));
    const table = document.createElement("table");
    for (const { line, at, value } of found.slice(start, start + TIP_ROWS)) {
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
      cell.textContent = line.smooth && Number.isFinite(line.ys[at]) ? `${formatMetric(value)} (${formatMetric(line.ys[at])})` : formatMetric(line.ys[at]);
    }
    const head = document.createElement("div");
    head.className = "at";
    const step = near.line.steps[near.at];
    const where = near.line.xs[near.at];
    head.textContent = mode === "step" ? `step ${formatCount(step)}` : mode === "relative" ? `${formatDuration(where)}, step ${formatCount(step)}` : `${new Date(where * 1000).toLocaleString()}, step ${formatCount(step)}`;
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
    const dotted = Number.isFinite(near.value);
    this.dot.hidden = !dotted;
    if (dotted) {
      this.dot.style.left = `${plot.valToPos(near.line.xs[near.at], "x")}px`;
      this.dot.style.top = `${plot.valToPos(near.value, "y")}px`;
      this.dot.style.background = this.colors.runs[near.line.slot % COLORS];
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} context @param {{left: number, top: number, width: number, height: number}} box in pixels of the canvas
 * @param {ChartState} state @param {[number, number]} xRange @param {[number, number]} yRange
 * @param {ReturnType<typeof themeColors>} colors @param {number} ratio pixels of the canvas in one of CSS
 */
export function paint(context, box, state, xRange, yRange, colors, ratio) {
  const px = placing(box.left, box.width, xRange, state.logX && state.mode !== "wall");
  const py = placing(box.top + box.height, -box.height, yRange, state.logY);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  context.lineJoin = "round";
  const isHot = state.lines.some((line) => line.id === state.hot) && state.lines.length > 1;
  const ordered = isHot ? [...state.lines].sort((a, b) => Number(a.id === state.hot) - Number(b.id === state.hot)) : state.lines;
  for (const line of ordered) {
    const hot = isHot && line.id === state.hot;
    const dim = isHot && !hot;
    context.strokeStyle = context.fillStyle = colors.runs[line.slot % COLORS];
    context.setLineDash(dashOf(line.slot).map((length) => length * ratio));
    if (line.low && line.high) {
      context.globalAlpha = dim ? 0.04 : 0.14;
      fillBand(context, line, px, py);
    }
    if (line.smooth) {
      context.globalAlpha = dim ? 0.08 : 0.24;
      context.lineWidth = ratio;
      stroke(context, line.xs, line.ys, px, py, ratio);
    }
    context.globalAlpha = dim ? 0.3 : 1;
    context.lineWidth = (hot ? 2.5 : 1.5) * ratio;
    stroke(context, line.xs, line.smooth ?? line.ys, px, py, ratio);
    if (line.nans) markGaps(context, line, px, box.top + box.height, ratio);
  }
  context.restore();
}

/** @param {number} start @param {number} length @param {[number, number]} range @param {boolean} log @returns {(value: number) => number} */
function placing(start, length, [low, high], log) {
  if (!log) {
    const scale = length / (high - low);
    return (value) => start + (value - low) * scale;
  }
  const from = Math.log10(low);
  const scale = length / (Math.log10(high) - from);
  return (value) => (value > 0 ? start + (Math.log10(value) - from) * scale : NaN);
}

/**
 * @param {CanvasRenderingContext2D} context @param {Float64Array} xs @param {Float64Array} ys
 * @param {(value: number) => number} px @param {(value: number) => number} py @param {number} ratio
 */
function stroke(context, xs, ys, px, py, ratio) {
  context.beginPath();
  let open = false;
  /** @type {[number, number][]} points with a gap on both sides */
  const lone = [];
  const count = xs.length;
  for (let at = 0; at < count; at += 1) {
    const y = py(ys[at]);
    const x = px(xs[at]);
    if (!Number.isFinite(y) || !Number.isFinite(x)) {
      open = false;
      continue;
    }
    if (open) context.lineTo(x, y);
    else {
      context.moveTo(x, y);
      open = true;
      if (at === count - 1 || !Number.isFinite(ys[at + 1])) lone.push([x, y]);
    }
  }
  context.stroke();
  for (const [x, y] of lone) {
    context.beginPath();
    context.arc(x, y, 2.5 * ratio, 0, 2 * Math.PI);
    context.fill();
  }
}

/** What lies between the least and the greatest around a mean. @param {CanvasRenderingContext2D} context @param {Line} line @param {(value: number) => number} px @param {(value: number) => number} py */
function fillBand(context, { xs, low, high }, px, py) {
  if (!low || !high) return;
  const known = Array.from(xs.keys()).filter((at) => low[at] <= high[at] && Number.isFinite(py(low[at])) && Number.isFinite(px(xs[at])));
  context.beginPath();
  known.forEach((at, index) => (index ? context.lineTo(px(xs[at]), py(high[at])) : context.moveTo(px(xs[at]), py(high[at]))));
  for (const at of known.reverse()) context.lineTo(px(xs[at]), py(low[at]));
  context.fill();
}

/** Ticks on the ground where a value is no finite number. @param {CanvasRenderingContext2D} context @param {Line} line @param {(x: number) => number} px @param {number} ground @param {number} ratio */
function markGaps(context, line, px, ground, ratio) {
  context.globalAlpha = 0.9;
  for (let at = 0; at < line.xs.length; at += 1) if (!Number.isFinite(line.ys[at])) context.fillRect(px(line.xs[at]) - ratio, ground - 5 * ratio, 2 * ratio, 5 * ratio);
}

/** @param {number} low @param {number} high @returns {[number, number]} */
function padded(low, high) {
  if (low === high) {
    const pad = Math.abs(low) * 0.1 || 1;
    return [low - pad, high + pad];
  }
  const pad = (high - low) * 0.06;
  // A scale that nearly reaches zero begins there.
  return [low >= 0 && low - pad < (high - low) * 0.04 ? Math.min(0, low) : low - pad, high <= 0 && high + pad > 0 ? 0 : high + pad];
}

/** @param {number} low @param {number} high @returns {[number, number]} */
function logRange(low, high) {
  if (high / low < 10) return [low / 1.2, high * 1.2];
  return [10 ** Math.floor(Math.log10(low) + 0.02), 10 ** Math.ceil(Math.log10(high) - 0.02)];
}

/** @param {number | null} tick */
function logTick(tick) {
  if (tick === null) return "";
  return tick >= 1e-3 && tick < 1e5 ? String(Number(tick.toPrecision(3))) : tick.toExponential().replace("e+", "e");
}

/** Ticks with as many digits as their distance needs. @param {(number | null)[]} ticks */
function tickTexts(ticks) {
  const real = ticks.filter((tick) => tick !== null);
  const gap = real.length > 1 ? Math.abs(real[1] - real[0]) : 1;
  const most = Math.max(...real.map(Math.abs));
  let places = 0;
  while (places < 6 && real.some((tick) => Math.abs(tick * 10 ** places - Math.round(tick * 10 ** places)) > 1e-6)) places += 1;
  return ticks.map((tick) => {
    if (tick === null) return "";
    if (tick === 0) return "0";
    if (most >= 1e5 || most < 1e-3) {
      if (most >= 1e5 && most < 1e15) return shortCount(tick);
      return tick.toExponential(Math.max(0, Math.floor(Math.log10(Math.abs(tick))) - Math.floor(Math.log10(gap)))).replace("e+", "e").replace(/\.0+e/, "e");
    }
    return tick.toFixed(places);
  });
}

/** @param {number} value */
function shortCount(value) {
  const size = Math.abs(value);
  for (const [unit, name] of /** @type {[number, string][]} */ ([[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])) {
    if (size >= unit && size >= 10_000) return `${Number((value / unit).toPrecision(6))}${name}`;
  }
  return String(Number(value.toPrecision(8)));
}

/** @param {number} value seconds */
function shortDuration(value) {
  const size = Math.abs(value);
  /** @param {number} unit @param {string} name */
  const part = (unit, name) => `${Number((value / unit).toPrecision(4))}${name}`;
  if (size >= 172_800) return part(86_400, "d");
  if (size >= 7200) return part(3600, "h");
  if (size >= 120) return part(60, "m");
  return size === 0 ? "0" : size < 1 ? part(0.001, "ms") : part(1, "s");
}
