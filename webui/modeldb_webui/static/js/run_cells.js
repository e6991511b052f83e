// What the cells of the table of runs show.

import { html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { valueAt } from "./columns.js";
import { colorClass } from "./colors.js";
import { formatDuration, formatValue, runDuration } from "./format.js";
import { Status } from "./icons.js";
import { Ago, Short, Tags } from "./values.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {import("./types").Column} Column */

const TIMES = new Set(["started_at", "created_at", "updated_at"]);

/** @param {Run} run */
export const runName = (run) => run.name || run.entity_id.slice(0, 8);

/** @param {Run} run @param {Column} column @param {(id: string) => string} experimentName */
export function runCell(run, column, experimentName) {
  const value = valueAt(run, column);
  if (column.section) return value === undefined ? null : html`<${Short} value=${value} measured=${column.section === "metrics"} />`;
  if (column.key === "name") return html`<a class="name" href=${`${api.BASE}runs/${run.entity_id}`} title=${runName(run)}>${runName(run)}</a>`;
  if (column.key === "status") return html`<${Status} status=${run.status} />`;
  if (column.key === "tags") return html`<${Tags} tags=${run.tags} limit=${4} />`;
  if (column.key === "experiment") return experimentName(run.experiment_id ?? "");
  if (column.key === "duration") return formatDuration(runDuration(run));
  if (TIMES.has(column.key)) return html`<${Ago} time=${value} />`;
  if (column.key === "parent_id") return value ? html`<a href=${`${api.BASE}runs/${value}`}>${String(value).slice(0, 8)}</a>` : null;
  return html`<span title=${value}>${value}</span>`;
}

/** One run as two lines, for narrow screens. @param {Run} run @param {Column[]} columns */
export function runLines(run, columns) {
  const facts = columns.filter(({ section }) => section === "metrics").map((column) => ({ column, value: valueAt(run, column) })).filter(({ value }) => value !== undefined).slice(0, 3);
  return html`<div class="two-lines"><div class="row"><a class="name cut grow" href=${`${api.BASE}runs/${run.entity_id}`}>${runName(run)}</a><${Status} status=${run.status} /></div>
    <div class="row faint"><span class="cut grow">${facts.map(({ column, value }) => `${column.title} ${formatValue(value, true)}`).join("   ")}</span><${Ago} time=${run.started_at ?? run.created_at} /></div></div>`;
}

/** The mark that says whether a run is selected and drawn, and in which colour. @param {{selected: boolean, slot: number | undefined}} props */
export function Mark({ selected, slot }) {
  const color = slot === undefined ? "" : colorClass(slot);
  return html`<span title=${selected ? "Selected and drawn" : slot === undefined ? "Select" : "Drawn"}><span class=${`check ${color} ${selected ? "on" : slot === undefined ? "" : "drawn"}`}>
    ${selected ? html`<svg width="10" height="10" viewBox="0 0 14 14" fill="none" stroke="currentColor" stroke-width="2.4" aria-hidden="true"><path d="M3 7.4 5.8 10 11 4.3" /></svg>` : null}</span></span>`;
}
