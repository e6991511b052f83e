// How runs are shown: their names, their marks, and each as two lines.

import { html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { valueAt } from "./columns.js";
import { colorClass } from "./colors.js";
import { formatValue } from "./format.js";
import { Status } from "./icons.js";
import { METRICS } from "./schema.js";
import { Ago } from "./values.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {import("./types").Column} Column */

/** @param {Run} run */
export const runName = (run) => run.name || run.entity_id.slice(0, 8);

/** One run as two lines, for narrow screens. @param {Run} run @param {Column[]} columns */
export function runLines(run, columns) {
  const facts = columns.filter(({ section }) => section === METRICS).map((column) => ({ column, value: valueAt(run, column) })).filter(({ value }) => value !== undefined).slice(0, 3);
  return html`<div class="two-lines"><div class="row"><a class="name cut grow" href=${`${api.BASE}runs/${run.entity_id}`}>${runName(run)}</a><${Status} status=${run.status} /></div>
    <div class="row faint"><span class="cut grow">${facts.map(({ column, value }) => `${column.title} ${formatValue(value, true)}`).join("   ")}</span><${Ago} time=${run.started_at ?? run.created_at} /></div></div>`;
}

/** The mark that says whether a run is selected and drawn, and in which colour. @param {{selected: boolean, slot: number | undefined}} props */
export function Mark({ selected, slot }) {
  const color = slot === undefined ? "" : colorClass(slot);
  return html`<span title=${selected ? "Selected and drawn" : slot === undefined ? "Select" : "Drawn"}><span class=${`check ${color} ${selected ? "on" : slot === undefined ? "" : "drawn"}`}>
    ${selected ? html`<svg width="10" height="10" viewBox="0 0 14 14" fill="none" stroke="currentColor" stroke-width="2.4" aria-hidden="true"><path d="M3 7.4 5.8 10 11 4.3" /></svg>` : null}</span></span>`;
}
