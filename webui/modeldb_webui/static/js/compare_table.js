// What differs between runs, first; then the rest.

import { html, useState } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { colorClass } from "./colors.js";
import { ownCell } from "./cells.js";
import { ownColumns } from "./columns.js";
import { flatten, same } from "./diff.js";
import { byKey, isNumeric, plural, runDuration, toNumber } from "./format.js";
import { runName } from "./run_cells.js";
import { fieldOf, heading, METRICS, RUN } from "./schema.js";
import { Short } from "./values.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {{key: string, values: any[], differs: boolean}} Line */

const LINES_AT_FIRST = 300;
/** @param {Run} run */
function durationOf(run) {
  const seconds = runDuration(run);
  return Number.isNaN(seconds) ? undefined : seconds;
}

/** @param {Run} run @param {string} section a map, or none for the run's own columns @returns {Map<string, any>} */
function valuesOf(run, section) {
  if (!section) return new Map(RUN.compared.map((name) => [name, name === "duration" ? durationOf(run) : run[ownColumns(RUN).get(name)?.fields[0] ?? ""]]));
  if (!fieldOf(RUN, section)?.names_blobs) return flatten(run[section] ?? {});
  return new Map(Object.entries(run[section] ?? {}).map(([path, entry]) => [path, String(entry?.digest ?? "").slice(0, 12)]));
}

/** @param {Run[]} runs @param {string} section @returns {Line[]} */
export function compareSection(runs, section) {
  const maps = runs.map((run) => valuesOf(run, section));
  const keys = [...new Set(maps.flatMap((map) => [...map.keys()]))];
  const lines = (section ? keys.sort(byKey) : keys).map((key) => {
    const values = maps.map((map) => map.get(key));
    return { key, values, differs: values.some((value) => !same(value, values[0])) };
  });
  return lines.filter(({ values }) => values.some((value) => value !== undefined));
}

/**
 * @param {{runs: Run[], slots: Map<string, number>, names: Map<string, string>, onHot: (id: string) => void}} props
 */
export function CompareTable({ runs, slots, names, onHot }) {
  const [all, setAll] = useState(false);
  const sections = ["", ...RUN.maps].map((section) => ({ section, names, title: fieldOf(RUN, section)?.title ?? heading(RUN.words), lines: compareSection(runs, section) }));
  const differing = sections.map((entry) => ({ ...entry, lines: entry.lines.filter(({ differs }) => differs) })).filter(({ lines }) => lines.length);
  const alike = sections.map((entry) => ({ ...entry, lines: entry.lines.filter(({ differs }) => !differs) })).filter(({ lines }) => lines.length);
  const count = alike.reduce((sum, { lines }) => sum + lines.length, 0);
  return html`<table class="diff-table"><thead><tr><th scope="col"><span class="visually-hidden">Key</span></th>${runs.map((run) => html`<th key=${run.entity_id} scope="col" onMouseEnter=${() => onHot(run.entity_id)} onMouseLeave=${() => onHot("")}>
      <a href=${`${api.BASE}runs/${run.entity_id}`} title=${runName(run)}><span class=${`swatch drawn ${colorClass(slots.get(run.entity_id) ?? 0)}`}></span><span>${runName(run)}</span></a></th>`)}</tr></thead>
    <tbody>
      ${differing.length ? null : html`<tr><th class="group" colspan=${runs.length + 1}>Nothing that was recorded differs</th></tr>`}
      ${differing.map((entry) => html`<${Group} key=${entry.section} ...${entry} runs=${runs} />`)}
      ${count ? html`<tr><th class="group" colspan=${runs.length + 1}><button class="button small" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? "Hide" : "Show"} ${plural(count, "line")} that ${count === 1 ? "is" : "are"} the same</button></th></tr>` : null}
      ${all ? alike.map((entry) => html`<${Group} key=${`same ${entry.section}`} ...${entry} runs=${runs} />`) : null}
    </tbody></table>`;
}

/** @param {{section: string, title: string, lines: Line[], runs: Run[], names: Map<string, string>}} props */
function Group({ section, title, lines, runs, names }) {
  const [most, setMost] = useState(LINES_AT_FIRST);
  return html`<tr><th class="group" colspan=${runs.length + 1}>${title} <span class="faint">${lines.length}</span></th></tr>
    ${lines.slice(0, most).map(({ key, values, differs }) => {
      const common = differs ? mostCommon(values) : undefined;
      const label = section ? key : ownColumns(RUN).get(key)?.title;
      const numeric = values.every((value) => value === undefined || isNumeric(value));
      const best = section === METRICS && numeric && differs ? bestOf(key, values) : [];
      return html`<tr key=${key}><th scope="row" title=${section ? `${section}.${key}` : key}>${label}</th>${values.map((value, at) => html`<td key=${at} class=${`${numeric ? "num" : ""} ${common && section !== METRICS && !same(value, common.value) ? "differs" : ""} ${best.includes(at) ? "best" : ""} ${value === undefined ? "missing" : ""}`} title=${best.includes(at) ? "The best of these, going by the metric's name" : undefined}>
        ${value === undefined ? html`<span title="Not recorded">–</span>` : section ? html`<${Short} value=${inALine(value)} measured=${section === METRICS} />` : ownCell(runs[at], key, (_, id) => names.get(id) ?? id)}</td>`)}</tr>`;
    })}
    ${lines.length > most ? html`<tr><th class="group" colspan=${runs.length + 1}><button class="button small" onClick=${() => setMost(most + 2000)}>Show ${lines.length - most} more</button></th></tr>` : null}`;
}

/** A text of many lines as their number: it is compared as a whole, and no cell has room for it. @param {any} value */
const inALine = (value) => (typeof value === "string" && value.includes("\n") ? `${value.replace(/\n$/, "").split("\n").length} lines` : value);

/** What most of the runs have, of which the others differ; `undefined` where no value comes twice. @param {any[]} values */
function mostCommon(values) {
  /** @type {Map<string, {value: any, count: number}>} */
  const counts = new Map();
  for (const value of values) {
    const text = JSON.stringify(value) ?? "";
    const entry = counts.get(text) ?? { value, count: 0 };
    entry.count += 1;
    counts.set(text, entry);
  }
  const most = [...counts.values()].reduce((a, b) => (b.count > a.count ? b : a));
  return most.count > 1 ? most : undefined;
}

const LESS = /(^|[/_. -])(loss|error|err|rmse|mse|mae|mape|perplexity|ppl|latency|wer|cer|fid|nll|brier)([/_. -]|$)/i;
const MORE = /(^|[/_. -])(acc|accuracy|auc|roc_auc|f1|precision|recall|score|r2|top\d*|map|iou|dice|bleu|rouge\w*|reward|return|ndcg)([/_. -]|$)/i;

/** Whether less or more of a metric is better, as far as its name says; 0 where it does not. @param {string} key */
export const goalOf = (key) => (LESS.test(key) ? -1 : MORE.test(key) ? 1 : 0);

/** The columns with the best value. @param {string} key @param {any[]} values */
function bestOf(key, values) {
  const goal = goalOf(key);
  const numbers = values.map((value) => goal * toNumber(value));
  const best = Math.max(...numbers.filter(Number.isFinite));
  return goal ? numbers.flatMap((number, at) => (number === best ? [at] : [])) : [];
}
