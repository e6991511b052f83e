// Draws lines into a canvas, or into what stands in for one when a chart is saved as SVG.

import { COLORS, dashOf } from "./colors.js";
import { placing } from "./axes.js";

/** @typedef {import("./types").Line} Line */
/** @typedef {(value: number) => number} Place */

/**
 * @param {CanvasRenderingContext2D} context @param {{left: number, top: number, width: number, height: number}} box in pixels of the canvas
 * @param {import("./chart.js").ChartState} state @param {[number, number]} xRange @param {[number, number]} yRange
 * @param {ReturnType<typeof import("./colors.js").themeColors>} colors @param {number} ratio pixels of the canvas in one of CSS
 */
export function paint(context, box, state, xRange, yRange, colors, ratio) {
  const across = placing(xRange, state.logX && state.mode !== "wall");
  const up = placing(yRange, state.logY);
  /** @param {number} x */
  const px = (x) => box.left + across(x) * box.width;
  const ground = box.top + box.height;
  /** @param {number} y */
  const py = (y) => ground - up(y) * box.height;
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
    if (!line.isWhole) {
      context.globalAlpha = dim ? 0.06 : line.runs ? 0.14 : 0.24;
      fillBand(context, line, px, py, ground);
      context.globalAlpha = dim ? 0.15 : 0.7;
      markSpikes(context, line, px, py, box, ratio);
    }
    if (line.smooth) {
      context.globalAlpha = dim ? 0.08 : 0.24;
      context.lineWidth = ratio;
      stroke(context, line.xs, line.ys, px, py, ratio);
    }
    context.globalAlpha = dim ? 0.3 : 1;
    context.lineWidth = (hot ? 2.5 : 1.5) * ratio;
    stroke(context, line.xs, line.smooth ?? line.ys, px, py, ratio);
    if (line.nans || line.infinities) markGaps(context, line, px, ground, ratio);
  }
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {Float64Array} xs @param {Float64Array} ys @param {Place} px @param {Place} py @param {number} ratio */
function stroke(context, xs, ys, px, py, ratio) {
  context.beginPath();
  let open = false;
  /** @type {[number, number][]} places with a gap on both sides */
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
      if (at === count - 1 || !Number.isFinite(py(ys[at + 1]))) lone.push([x, y]);
    }
  }
  context.stroke();
  for (const [x, y] of lone) {
    context.beginPath();
    context.arc(x, y, 2.5 * ratio, 0, 2 * Math.PI);
    context.fill();
  }
}

/**
 * What lies between the least and the greatest. What a logarithmic axis cannot show reaches down to the ground.
 * @param {CanvasRenderingContext2D} context @param {Line} line @param {Place} px @param {Place} py @param {number} ground
 */
function fillBand(context, { xs, low, high }, px, py, ground) {
  /** @type {[number, number, number][][]} stretches without a gap */
  const stretches = [];
  let stretch = /** @type {[number, number, number][] | null} */ (null);
  for (let at = 0; at < xs.length; at += 1) {
    const [x, top] = [px(xs[at]), py(high[at])];
    const bottom = py(low[at]);
    if (!Number.isFinite(x) || !Number.isFinite(top) || !(low[at] <= high[at])) {
      stretch = null;
      continue;
    }
    if (!stretch) stretches.push((stretch = []));
    stretch.push([x, top, Number.isFinite(bottom) ? bottom : ground]);
  }
  for (const points of stretches) {
    context.beginPath();
    points.forEach(([x, top], at) => (at ? context.lineTo(x, top) : context.moveTo(x, top)));
    for (const [x, , bottom] of points.reverse()) context.lineTo(x, bottom);
    context.fill();
  }
}

/**
 * A spike that stands out of its neighbours would be a hair of the pale band: it is drawn so that it is seen.
 * @param {CanvasRenderingContext2D} context @param {Line} line @param {Place} px @param {Place} py
 * @param {{top: number, height: number}} box @param {number} ratio
 */
function markSpikes(context, { xs, low, high }, px, py, box, ratio) {
  const least = box.height * 0.12;
  const ground = box.top + box.height;
  /** @param {number} y */
  const on = (y) => (Number.isFinite(y) ? y : ground);
  for (let at = 0; at < xs.length; at += 1) {
    if (!(low[at] <= high[at])) continue;
    const beside = [at - 1, at + 1].filter((place) => low[place] <= high[place]);
    if (!beside.length) continue;
    const [top, above] = [on(py(high[at])), Math.min(...beside.map((place) => on(py(high[place]))))];
    const [bottom, below] = [on(py(low[at])), Math.max(...beside.map((place) => on(py(low[place]))))];
    if (above - top > least) context.fillRect(px(xs[at]) - ratio / 2, top, ratio, above - top);
    if (bottom - below > least) context.fillRect(px(xs[at]) - ratio / 2, below, ratio, bottom - below);
  }
}

/** Ticks on the ground where a value is not a finite number. @param {CanvasRenderingContext2D} context @param {Line} line @param {Place} px @param {number} ground @param {number} ratio */
function markGaps(context, line, px, ground, ratio) {
  context.globalAlpha = 0.9;
  for (let at = 0; at < line.xs.length; at += 1) if (line.gaps[at]) context.fillRect(px(line.xs[at]) - ratio, ground - 5 * ratio, 2 * ratio, 5 * ratio);
}
