// What the cells of the table of runs show.

import { html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { COLUMNS, valueAt } from "./columns.js";
import { colorClass } from "./colors.js";
import { formatDuration, formatValue, runDuration } from "./format.js";
import { Status } from "./icons.js";
import { fieldOf, METRICS, pageOf, RUN } from "./schema.js";
import { Ago, Short, Tags } from "./values.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {import("./types").Column} Column */

/** @param {Run} run */
export const runName = (run) => run.name || run.entity_id.slice(0, 8);

/** @param {Run} run @param {Column} column @param {(kind: string, id: string) => string} nameOf of what contains the run */
export function runCell(run, column, nameOf) {
  if (!column.section) return ownCell(run, column.key, nameOf);
  const value = valueAt(run, column);
  return value === undefined ? null : html`<${Short} value=${value} measured=${column.section === METRICS} />`;
}

/** A cell of one of the run's own columns. @param {Run} run @param {string} name @param {(kind: string, id: string) => string} nameOf */
export function ownCell(run, name, nameOf) {
  if (name === "name") return html`<a class="name" href=${pageOf(run.kind, run.entity_id)} title=${runName(run)}>${runName(run)}</a>`;
  if (name === "status") return html`<${Status} status=${run.status} />`;
  if (name === "duration") return formatDuration(runDuration(run));
  const { type, fields } = /** @type {import("./types").KindColumn} */ (COLUMNS.get(name));
  const value = run[fields[0]];
  const kind = fieldOf(RUN, fields[0])?.refers_to;
  if (value === undefined || value === null) return null;
  if (type === "texts") return html`<${Tags} tags=${value} limit=${4} />`;
  if (type === "time") return html`<${Ago} time=${value} />`;
  if (fields[0] !== name) return nameOf(String(kind), value);
  return pageOf(kind, value) ? html`<a href=${pageOf(kind, value)}>${String(value).slice(0, 8)}</a>` : html`<${Short} value=${value} />`;
}

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
