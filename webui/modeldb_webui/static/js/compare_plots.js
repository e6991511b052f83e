// Runs as lines across their hyperparameters and metrics, and as points of any two of them.

import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { tickTexts } from "./axes.js";
import { colorClass } from "./colors.js";
import { compareSection, goalOf } from "./compare_table.js";
import { formatExact, formatMetric, formatValue, isNumeric, isOwnMeasure, plural, toNumber } from "./format.js";
import { runName } from "./run_cells.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {{id: string, label: string, measured: boolean, at: (number | null)[], ticks: {at: number, text: string}[]}} Axis */

const HEIGHT = 300;
const TOP = 36;
const BOTTOM = 20;
const AXES_AT_FIRST = 8;

/** Every key that differs, as an axis from 0 to 1. @param {Run[]} runs @returns {Axis[]} */
function axesOf(runs) {
  const axes = ["hyperparameters", "metrics"].flatMap((section) => compareSection(runs, section).filter(({ differs }) => differs).map(({ key, values }) => axisOf(section, key, values)));
  // Metrics of which it is known what is good come first.
  axes.sort((a, b) => Number(isOwnMeasure(a.label)) - Number(isOwnMeasure(b.label)) || Number(a.measured) - Number(b.measured) || (a.measured ? Math.abs(goalOf(b.label)) - Math.abs(goalOf(a.label)) : 0));
  const labels = axes.map(({ label }) => label);
  return axes.map((axis) => (labels.indexOf(axis.label) === labels.lastIndexOf(axis.label) ? axis : { ...axis, label: axis.id }));
}

/** @param {string} section @param {string} key @param {any[]} values @returns {Axis} */
function axisOf(section, key, values) {
  const id = `${section}.${key}`;
  const measured = section === "metrics";
  if (values.every((value) => value === undefined || isNumeric(value))) {
    const numbers = values.map((value) => (value === undefined ? NaN : toNumber(value)));
    const finite = numbers.filter(Number.isFinite);
    const low = Math.min(...finite);
    const high = Math.max(...finite);
    // Settings such as learning rates are tried by powers of ten.
    const log = !measured && low > 0 && high / low >= 50;
    /** @param {number} value */
    const place = (value) => (high === low ? 0.5 : log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    const text = measured ? formatMetric : formatExact;
    const middle = log ? Math.sqrt(low * high) : (low + high) / 2;
    const marks = finite.length ? (high === low ? [low] : [low, middle, high]) : [];
    // What lies close together needs more digits to be told apart.
    const usual = marks.map(text);
    const said = new Set(usual).size === usual.length ? usual : tickTexts(marks);
    return { id, label: key, measured, at: numbers.map((value) => (Number.isFinite(value) ? place(value) : null)), ticks: marks.map((value, at) => ({ at: place(value), text: said[at] })) };
  }
  const texts = values.map((value) => (value === undefined ? null : formatValue(value)));
  const distinct = [...new Set(texts.filter((value) => value !== null))].sort();
  /** @param {string} value */
  const place = (value) => (distinct.length < 2 ? 0.5 : distinct.indexOf(value) / (distinct.length - 1));
  return { id, label: key, measured, at: texts.map((value) => (value === null ? null : place(value))), ticks: distinct.slice(0, 12).map((value) => ({ at: place(value), text: value.length > 14 ? `${value.slice(0, 13)}…` : value })) };
}

/** @param {{runs: Run[], slots: Map<string, number>, hot: string, onHot: (id: string) => void}} props */
export function ComparePlots({ runs, slots, hot, onHot }) {
  const axes = useMemo(() => axesOf(runs), [runs]);
  const usual = useMemo(() => [...axes.filter(({ measured }) => !measured).slice(0, AXES_AT_FIRST - 3), ...axes.filter(({ measured }) => measured).slice(0, 3)].map(({ id }) => id), [axes]);
  const [chosen, setChosen] = useState(/** @type {string[] | null} */ (null));
  if (axes.length < 2) return html`<div class="empty muted">These runs differ in less than two hyperparameters and metrics.</div>`;
  const ids = chosen ?? usual;
  const shown = axes.filter(({ id }) => ids.includes(id));
  return html`<div class="tab"><details class="json"><summary>Axes</summary><div class="tags">${axes.slice(0, 200).map(({ id, label }) => html`<button key=${id} class="button small" title=${id} aria-pressed=${ids.includes(id)} onClick=${() => setChosen(ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id])}>${label}</button>`)}</div></details>
    <${Parallel} axes=${shown} runs=${runs} slots=${slots} hot=${hot} onHot=${onHot} />
    <${Scatter} axes=${axes} runs=${runs} slots=${slots} hot=${hot} onHot=${onHot} /></div>`;
}

/** @param {{axes: Axis[], runs: Run[], slots: Map<string, number>, hot: string, onHot: (id: string) => void}} props */
function Parallel({ axes, runs, slots, hot, onHot }) {
  const gap = Math.max(110, Math.min(240, (document.documentElement.clientWidth - 420) / Math.max(1, axes.length - 1)));
  const width = Math.max(1, axes.length - 1) * gap + 140;
  /** @param {number} at */
  const x = (at) => 60 + at * gap;
  /** @param {number} place */
  const y = (place) => TOP + (1 - place) * (HEIGHT - TOP - BOTTOM);
  /** @param {number} run */
  const path = (run) => {
    let open = false;
    return axes.map((axis, at) => {
      const place = axis.at[run];
      const part = place === null ? "" : `${open ? "L" : "M"}${x(at)} ${y(place).toFixed(1)}`;
      open = place !== null;
      return part;
    }).join("");
  };
  const order = runs.map((_, at) => at).sort((a, b) => Number(runs[a].entity_id === hot) - Number(runs[b].entity_id === hot));
  return html`<div class="parallel-box" tabindex="0" role="region" aria-label="Parallel coordinates"><svg class="parallel" width=${width} height=${HEIGHT} viewBox=${`0 0 ${width} ${HEIGHT}`} role="img" aria-label="Every run as a line across hyperparameters and metrics">
    ${axes.map((axis, at) => html`<g key=${axis.id}><line class="axis" x1=${x(at)} x2=${x(at)} y1=${TOP} y2=${HEIGHT - BOTTOM} /><text x=${x(at)} y="14" text-anchor="middle">${axis.label.length > 20 ? `…${axis.label.slice(-19)}` : axis.label}<title>${axis.id}</title></text></g>`)}
    ${order.map((run) => html`<path key=${runs[run].entity_id} class=${`${colorClass(slots.get(runs[run].entity_id) ?? 0)} ${runs[run].entity_id === hot ? "hot" : ""}`} d=${path(run)} onMouseEnter=${() => onHot(runs[run].entity_id)} onMouseLeave=${() => onHot("")}><title>${runName(runs[run])}</title></path>`)}
    ${axes.map((axis, at) => axis.ticks.map((tick) => html`<text class="tick" x=${x(at) + 5} y=${y(tick.at) + 4}>${tick.text}</text>`))}
  </svg></div>`;
}

/** @param {{axes: Axis[], runs: Run[], slots: Map<string, number>, hot: string, onHot: (id: string) => void}} props */
function Scatter({ axes, runs, slots, hot, onHot }) {
  const metric = axes.find(({ measured }) => measured) ?? axes[1];
  const [xId, setX] = useState(axes.find(({ id }) => id !== metric.id)?.id ?? axes[0].id);
  const [yId, setY] = useState(metric.id);
  const [width, left, bottom] = [520, 70, 40];
  const across = axes.find(({ id }) => id === xId) ?? axes[0];
  const up = axes.find(({ id }) => id === yId) ?? metric;
  /** @param {number} place */
  const x = (place) => left + 12 + place * (width - left - 40);
  /** @param {number} place */
  const y = (place) => 12 + (1 - place) * (HEIGHT - bottom - 20);
  const missing = runs.filter((_, at) => across.at[at] === null || up.at[at] === null).length;
  /** @param {string} label @param {string} value @param {(id: string) => void} set */
  const choice = (label, value, set) => html`<label class="row">${label} <select class="input small" value=${value} onChange=${(/** @type {any} */ event) => set(event.target.value)}>${axes.map(({ id, label: name }) => html`<option key=${id} value=${id}>${name}</option>`)}</select></label>`;
  return html`<section class="block"><h2>Scatter</h2><div class="row toolbar-row">${choice("x", across.id, setX)}${choice("y", up.id, setY)}</div>
    <div class="parallel-box" tabindex="0" role="region" aria-label="Scatter plot"><svg class="parallel scatter" width=${width} height=${HEIGHT} viewBox=${`0 0 ${width} ${HEIGHT}`} role="img" aria-label=${`${up.label} against ${across.label}`}>
      <line class="axis" x1=${left} x2=${left} y1="8" y2=${HEIGHT - bottom} /><line class="axis" x1=${left} x2=${width - 8} y1=${HEIGHT - bottom} y2=${HEIGHT - bottom} />
      ${across.ticks.map((tick) => html`<text x=${x(tick.at)} y=${HEIGHT - bottom + 16} text-anchor="middle">${tick.text}</text>`)}
      ${up.ticks.map((tick) => html`<text x=${left - 6} y=${y(tick.at) + 4} text-anchor="end">${tick.text}</text>`)}
      ${runs.map((run, at) => (across.at[at] === null || up.at[at] === null ? null : html`<circle key=${run.entity_id} class=${`${colorClass(slots.get(run.entity_id) ?? 0)} ${run.entity_id === hot ? "hot" : ""}`} cx=${x(/** @type {number} */ (across.at[at]))} cy=${y(/** @type {number} */ (up.at[at]))} r="5"
        onMouseEnter=${() => onHot(run.entity_id)} onMouseLeave=${() => onHot("")}><title>${runName(run)}</title></circle>`))}
    </svg></div>${missing ? html`<p class="muted">${plural(missing, "run")} without both values ${missing === 1 ? "is" : "are"} not drawn.</p>` : null}</section>`;
}
