// What differs between entities of a kind, first; then the rest.

import { html, useState } from "../vendor/preact-htm.js";
import { colorClass } from "./colors.js";
import { ownCell } from "./cells.js";
import { ownColumns } from "./columns.js";
import { flatten, same } from "./diff.js";
import { byKey, isNumeric, plural, runDuration, toNumber } from "./format.js";
import { fieldOf, heading, kindOf, METRICS, pageOf, titleOf } from "./schema.js";
import { Short } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Kind} Kind */
/** @typedef {import("./cells.js").NameOf} NameOf */
/** @typedef {{key: string, values: any[], differs: boolean}} Line */

const LINES_AT_FIRST = 300;
/** @param {Entity} run */
function durationOf(run) {
  const seconds = runDuration(run);
  return Number.isNaN(seconds) ? undefined : seconds;
}

/** @param {Entity} entity @param {Kind} kind @param {string} section a map, or none for the entity's own columns @returns {Map<string, any>} */
function valuesOf(entity, kind, section) {
  if (!section) return new Map(kind.compared.map((name) => [name, name === "duration" ? durationOf(entity) : entity[ownColumns(kind).get(name)?.fields[0] ?? ""]]));
  if (!fieldOf(kind, section)?.names_blobs) return flatten(entity[section] ?? {});
  return new Map(Object.entries(entity[section] ?? {}).map(([path, entry]) => [path, String(entry?.digest ?? "").slice(0, 12)]));
}

/** @param {Entity[]} entities of one kind @param {string} section @returns {Line[]} */
export function compareSection(entities, section) {
  const kind = kindOf(entities[0]?.kind);
  if (!kind) return [];
  const maps = entities.map((entity) => valuesOf(entity, kind, section));
  const keys = [...new Set(maps.flatMap((map) => [...map.keys()]))];
  const lines = (section ? keys.sort(byKey) : keys).map((key) => {
    const values = maps.map((map) => map.get(key));
    return { key, values, differs: values.some((value) => !same(value, values[0])) };
  });
  return lines.filter(({ values }) => values.some((value) => value !== undefined));
}

/**
 * @param {{entities: Entity[], slots?: Map<string, number>, nameOf: NameOf, onHot?: (id: string) => void}} props `slots`: their colours
 */
export function CompareTable({ entities, slots, nameOf, onHot = () => undefined }) {
  const [all, setAll] = useState(false);
  const kind = kindOf(entities[0]?.kind);
  const sections = ["", ...(kind?.maps ?? [])].map((section) => ({ section, nameOf, title: kind && (fieldOf(kind, section)?.title ?? heading(kind.words)), lines: compareSection(entities, section) }));
  const differing = sections.map((entry) => ({ ...entry, lines: entry.lines.filter(({ differs }) => differs) })).filter(({ lines }) => lines.length);
  const alike = sections.map((entry) => ({ ...entry, lines: entry.lines.filter(({ differs }) => !differs) })).filter(({ lines }) => lines.length);
  const count = alike.reduce((sum, { lines }) => sum + lines.length, 0);
  return html`<table class="diff-table"><thead><tr><th scope="col"><span class="visually-hidden">Key</span></th>${entities.map((entity) => html`<th key=${entity.entity_id} scope="col" onMouseEnter=${() => onHot(entity.entity_id)} onMouseLeave=${() => onHot("")}>
      <a href=${pageOf(entity.kind, entity.entity_id)} title=${titleOf(entity)}>${slots ? html`<span class=${`swatch drawn ${colorClass(slots.get(entity.entity_id) ?? 0)}`}></span>` : null}<span>${titleOf(entity)}</span></a></th>`)}</tr></thead>
    <tbody>
      ${differing.length ? null : html`<tr><th class="group" colspan=${entities.length + 1}>Nothing that was recorded differs</th></tr>`}
      ${differing.map((entry) => html`<${Group} key=${entry.section} ...${entry} entities=${entities} />`)}
      ${count ? html`<tr><th class="group" colspan=${entities.length + 1}><button class="button small" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? "Hide" : "Show"} ${plural(count, "line")} that ${count === 1 ? "is" : "are"} the same</button></th></tr>` : null}
      ${all ? alike.map((entry) => html`<${Group} key=${`same ${entry.section}`} ...${entry} entities=${entities} />`) : null}
    </tbody></table>`;
}

/** @param {{section: string, title: string | undefined, lines: Line[], entities: Entity[], nameOf: NameOf}} props */
function Group({ section, title, lines, entities, nameOf }) {
  const columns = ownColumns(/** @type {Kind} */ (kindOf(entities[0].kind)));
  const [most, setMost] = useState(LINES_AT_FIRST);
  return html`<tr><th class="group" colspan=${entities.length + 1}>${title} <span class="faint">${lines.length}</span></th></tr>
    ${lines.slice(0, most).map(({ key, values, differs }) => {
      const common = differs ? mostCommon(values) : undefined;
      const label = section ? key : columns.get(key)?.title;
      const numeric = values.every((value) => value === undefined || isNumeric(value));
      const best = section === METRICS && numeric && differs ? bestOf(key, values) : [];
      return html`<tr key=${key}><th scope="row" title=${section ? `${section}.${key}` : key}>${label}</th>${values.map((value, at) => html`<td key=${at} class=${`${numeric ? "num" : ""} ${common && section !== METRICS && !same(value, common.value) ? "differs" : ""} ${best.includes(at) ? "best" : ""} ${value === undefined ? "missing" : ""}`} title=${best.includes(at) ? "The best of these, going by the metric's name" : undefined}>
        ${value === undefined ? html`<span title="Not recorded">–</span>` : section ? html`<${Short} value=${inALine(value)} measured=${section === METRICS} />` : ownCell(entities[at], key, nameOf)}</td>`)}</tr>`;
    })}
    ${lines.length > most ? html`<tr><th class="group" colspan=${entities.length + 1}><button class="button small" onClick=${() => setMost(most + 2000)}>Show ${lines.length - most} more</button></th></tr>` : null}`;
}

/** A text of many lines as their number: it is compared as a whole, and no cell has room for it. @param {any} value */
const inALine = (value) => (typeof value === "string" && value.includes("\n") ? `${value.replace(/\n$/, "").split("\n").length} lines` : value);

/** What most of them have, of which the others differ; `undefined` where no value comes twice. @param {any[]} values */
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
