// Figures that were logged as numbers: a matrix, lines, or bars, drawn as SVG with a table of the same for those who do not
// see it. What a file says is only ever text and numbers here; one that is not a figure is shown as the text that it is.

import { html } from "../vendor/preact-htm.js";
import { linearTicks, padded, placing, tickTexts } from "./axes.js";
import { formatMetric, plural, toNumber } from "./format.js";

/** @typedef {{kind: "matrix", title: string, rows: string[], columns: string[], values: number[][], xLabel: string, yLabel: string}} Matrix */
/** @typedef {{kind: "lines", title: string, xLabel: string, yLabel: string, diagonal: boolean, series: {label: string, x: number[], y: number[]}[]}} Lines */
/** @typedef {{kind: "bars", title: string, xLabel: string, labels: string[], values: number[], errors: number[]}} Bars */

export const FIGURE_TYPE = "application/vnd.modeldb.figure+json";
const MOST_CELLS = 40;
const MOST_BARS = 60;
const MOST_LINES = 20;
const MOST_POINTS = 2000;
const LONGEST_LABEL = 24;

/** @param {unknown} value */
const text = (value) => (typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? String(value).slice(0, 200) : "");
/** @param {unknown} value @returns {unknown[] | null} */
const list = (value) => (Array.isArray(value) ? value : null);
/** @param {unknown} value @returns {number[] | null} NaN for what is not a number */
const numbers = (value) => list(value)?.map(toNumber) ?? null;
/** @param {unknown} value @returns {string[] | null} */
const texts = (value) => list(value)?.map(text) ?? null;

/** The figure in a file, `null` where it is none. @param {unknown} data @returns {Matrix | Lines | Bars | null} */
export function readFigure(data) {
  if (data === null || typeof data !== "object" || Array.isArray(data)) return null;
  const given = new Map(Object.entries(data));
  const shared = { title: text(given.get("title")) || text(given.get("figure")), xLabel: text(given.get("x_label")), yLabel: text(given.get("y_label")) };
  const kind = given.get("kind");
  if (kind === "matrix") {
    const [rows, columns] = [texts(given.get("rows")), texts(given.get("columns"))];
    const values = list(given.get("values"))?.map(numbers);
    if (!rows || !columns || values?.length !== rows.length || !values.every((row) => row?.length === columns.length)) return null;
    return { kind, ...shared, rows, columns, values: /** @type {number[][]} */ (values) };
  }
  if (kind === "lines") {
    const series = list(given.get("series"))?.map((item) => {
      const own = new Map(Object.entries(Object(item)));
      return { label: text(own.get("label")), x: numbers(own.get("x")), y: numbers(own.get("y")) };
    });
    if (!series?.every(({ x, y }) => x && y && x.length === y.length)) return null;
    return { kind, ...shared, diagonal: given.get("diagonal") === true, series: /** @type {any} */ (series) };
  }
  if (kind === "bars") {
    const [labels, values, errors] = [texts(given.get("labels")), numbers(given.get("values")), numbers(given.get("errors"))];
    if (!labels || values?.length !== labels.length || (errors && errors.length !== labels.length)) return null;
    return { kind, ...shared, labels, values, errors: errors ?? [] };
  }
  return null;
}

/** @param {string} label */
const short = (label) => (label.length > LONGEST_LABEL ? `${label.slice(0, LONGEST_LABEL - 1)}…` : label);
/** @param {number} value */
const shown = (value) => (Number.isNaN(value) ? "–" : formatMetric(value));

/** @param {{figure: Matrix | Lines | Bars}} props */
export function Figure({ figure }) {
  const body = figure.kind === "matrix" ? html`<${MatrixFigure} figure=${figure} />` : figure.kind === "lines" ? html`<${LinesFigure} figure=${figure} />` : html`<${BarsFigure} figure=${figure} />`;
  return html`<figure class="figure"><figcaption>${figure.title}</figcaption>${body}</figure>`;
}

/** @param {{figure: Matrix}} props */
function MatrixFigure({ figure: { rows, columns, values, xLabel, yLabel } }) {
  const [tall, wide] = [Math.min(rows.length, MOST_CELLS), Math.min(columns.length, MOST_CELLS)];
  const most = Math.max(1e-300, ...values.slice(0, tall).flatMap((row) => row.slice(0, wide).map((value) => (Number.isFinite(value) ? Math.abs(value) : 0))));
  const cut = rows.length > tall || columns.length > wide;
  // A table is what it is, for eyes and for ears.
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Matrix"><table class="matrix"><thead><tr><td></td><th colspan=${wide} scope="colgroup" class="axis">${xLabel}</th></tr>
      <tr><th scope="col" class="axis">${yLabel}</th>${columns.slice(0, wide).map((name, at) => html`<th key=${at} scope="col" title=${name}>${short(name)}</th>`)}</tr></thead>
    <tbody>${rows.slice(0, tall).map((name, row) => html`<tr key=${row}><th scope="row" title=${name}>${short(name)}</th>${values[row].slice(0, wide).map((value, at) => {
      const strength = Math.round((Number.isFinite(value) ? Math.abs(value) / most : 0) * 10);
      return html`<td key=${at} class=${`heat${strength}`} title=${`${yLabel || "row"} ${name}, ${xLabel || "column"} ${columns[at]}: ${shown(value)}`}>${shown(value)}</td>`;
    })}</tr>`)}</tbody></table>${cut ? html`<p class="muted">The first ${tall} of ${rows.length} rows and ${wide} of ${columns.length} columns are shown.</p>` : null}</div>`;
}

const WIDTH = 480, HEIGHT = 320, LEFT = 56, BOTTOM = 44, TOP = 10, RIGHT = 14;

/** @param {{figure: Lines}} props */
function LinesFigure({ figure: { xLabel, yLabel, diagonal, series, title } }) {
  const drawn = series.slice(0, MOST_LINES).map(({ label, x, y }) => {
    const stride = Math.max(1, Math.ceil(x.length / MOST_POINTS));
    const kept = x.map((_, at) => at).filter((at) => at % stride === 0 || at === x.length - 1).filter((at) => Number.isFinite(x[at]) && Number.isFinite(y[at]));
    return { label, points: kept.map((at) => /** @type {[number, number]} */ ([x[at], y[at]])) };
  });
  const all = drawn.flatMap(({ points }) => points);
  /** @param {0 | 1} side @returns {[number, number]} */
  const range = (side) => {
    const values = all.map((point) => point[side]);
    const low = values.reduce((a, b) => Math.min(a, b), diagonal ? 0 : Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), diagonal ? 1 : -Infinity);
    return !(low <= high) ? [0, 1] : low === high ? padded(low, high) : [low, high];
  };
  const [xRange, yRange] = [range(0), range(1)];
  const [across, up] = [placing(xRange, false), placing(yRange, false)];
  /** @param {number} x */
  const px = (x) => LEFT + across(x) * (WIDTH - LEFT - RIGHT);
  /** @param {number} y */
  const py = (y) => TOP + (1 - up(y)) * (HEIGHT - TOP - BOTTOM);
  const [xTicks, yTicks] = [linearTicks(xRange, 6), linearTicks(yRange, 6)];
  const [xTexts, yTexts] = [tickTexts(xTicks), tickTexts(yTicks)];
  /** @param {[number, number][]} points */
  const path = (points) => points.map(([x, y], at) => `${at ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");
  const left = series.length - drawn.length;
  return html`<div><svg width=${WIDTH} height=${HEIGHT} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${title}: ${yLabel || "y"} against ${xLabel || "x"}; ${drawn.map(({ label }) => label).join(", ")}`}>
      ${xTicks.map((tick, at) => html`<g key=${at}><line class="grid-line" x1=${px(tick)} x2=${px(tick)} y1=${TOP} y2=${HEIGHT - BOTTOM} /><text x=${px(tick)} y=${HEIGHT - BOTTOM + 16} text-anchor="middle">${xTexts[at]}</text></g>`)}
      ${yTicks.map((tick, at) => html`<g key=${at}><line class="grid-line" x1=${LEFT} x2=${WIDTH - RIGHT} y1=${py(tick)} y2=${py(tick)} /><text x=${LEFT - 6} y=${py(tick) + 4} text-anchor="end">${yTexts[at]}</text></g>`)}
      ${diagonal ? html`<line class="diagonal" x1=${px(0)} y1=${py(0)} x2=${px(1)} y2=${py(1)} />` : null}
      ${drawn.map(({ points }, at) => html`<path key=${at} class=${`curve c${at % 10}`} d=${path(points)} />`)}
      <text x=${(LEFT + WIDTH - RIGHT) / 2} y=${HEIGHT - 8} text-anchor="middle">${xLabel}</text><text transform=${`translate(14 ${(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)`} text-anchor="middle">${yLabel}</text>
    </svg><ul class="legend">${drawn.map(({ label, points }, at) => html`<li key=${at} class="row"><span class=${`swatch drawn c${at % 10}`}></span>${label} <span class="faint">${plural(points.length, "point")}</span></li>`)}</ul>
    ${left > 0 ? html`<p class="muted">${plural(left, "more line")} are not drawn.</p>` : null}</div>`;
}

/** @param {{figure: Bars}} props */
function BarsFigure({ figure: { labels, values, errors, xLabel, title } }) {
  const count = Math.min(labels.length, MOST_BARS);
  const row = 20, left = 190, width = 560, right = 16;
  const height = count * row + 40;
  const known = values.slice(0, count).flatMap((value, at) => (Number.isFinite(value) ? [value - (errors[at] || 0), value + (errors[at] || 0)] : []));
  const low = Math.min(0, ...known);
  const high = Math.max(0, ...known);
  /** @type {[number, number]} */
  const range = low === high ? [0, 1] : [low, high];
  const place = placing(range, false);
  /** @param {number} value */
  const x = (value) => left + place(value) * (width - left - right);
  const ticks = linearTicks(range, 5);
  const said = tickTexts(ticks);
  return html`<div><svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${`${title}: ${labels.slice(0, count).map((label, at) => `${label} ${shown(values[at])}`).join(", ")}`}>
      ${ticks.map((tick, at) => html`<g key=${at}><line class="grid-line" x1=${x(tick)} x2=${x(tick)} y1="0" y2=${count * row} /><text x=${x(tick)} y=${count * row + 14} text-anchor="middle">${said[at]}</text></g>`)}
      ${labels.slice(0, count).map((label, at) => html`<g key=${at}><title>${`${label}: ${shown(values[at])}${errors[at] ? ` ± ${shown(errors[at])}` : ""}`}</title><text x=${left - 8} y=${at * row + 14} text-anchor="end">${short(label)}</text>
        ${Number.isFinite(values[at]) ? html`<rect class="bar c0" x=${Math.min(x(0), x(values[at]))} y=${at * row + 4} width=${Math.max(1, Math.abs(x(values[at]) - x(0)))} height=${row - 8} />` : null}
        ${Number.isFinite(values[at]) && errors[at] > 0 ? html`<line class="whisker" x1=${x(values[at] - errors[at])} x2=${x(values[at] + errors[at])} y1=${at * row + row / 2} y2=${at * row + row / 2} />` : null}</g>`)}
      <text x=${(left + width) / 2} y=${height - 6} text-anchor="middle">${xLabel}</text></svg>
    ${labels.length > count ? html`<p class="muted">The first ${count} of ${labels.length} are shown.</p>` : null}</div>`;
}
