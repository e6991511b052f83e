// What the cells of tables of entities show.

import { html } from "../vendor/preact-htm.js";
import { ownColumns, valueAt } from "./columns.js";
import { formatCount, formatDuration, formatSize, formatValue, runDuration } from "./format.js";
import { Status } from "./icons.js";
import { fieldOf, kindOf, METRICS, pageOf, titleOf } from "./schema.js";
import { Ago, Short, Tags } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Kind} Kind */
/** @typedef {import("./types").Column} Column */
/** @typedef {(kind: string, id: string) => string} NameOf the name of an entity that another one names, "" where it is not known */

/** @param {Entity} entity @param {Column} column @param {NameOf} nameOf */
export function cellOf(entity, column, nameOf) {
  if (!column.section) return ownCell(entity, column.key, nameOf);
  const value = valueAt(entity, column);
  return value === undefined ? null : html`<${Short} value=${value} measured=${column.section === METRICS} />`;
}

/** A cell of one of the entity's own columns. @param {Entity} entity @param {string} name @param {NameOf} nameOf */
export function ownCell(entity, name, nameOf) {
  const kind = /** @type {Kind} */ (kindOf(entity.kind));
  if (name === "name") return html`<a class="name" href=${pageOf(entity.kind, entity.entity_id)} title=${titleOf(entity)}>${titleOf(entity)}</a>`;
  if (name === "duration") return formatDuration(runDuration(entity));
  if (name === "status" && kind.has_points) return html`<${Status} status=${entity.status} />`;
  const { type, fields } = /** @type {import("./types").KindColumn} */ (ownColumns(kind).get(name));
  const value = entity[fields[0]];
  const target = fieldOf(kind, fields[0])?.refers_to;
  if (value === undefined || value === null) return null;
  if (type === "texts") return html`<${Tags} tags=${value} limit=${4} />`;
  if (type === "time") return html`<${Ago} time=${value} />`;
  if (fields[0] !== name && kind.has_points) return nameOf(String(target), value);
  if (name.endsWith("_bytes")) return html`<span title=${`${formatCount(value)} bytes`}>${formatSize(value)}</span>`;
  return target ? html`<${Reference} kind=${target} id=${value} nameOf=${nameOf} />` : html`<${Short} value=${value} />`;
}

/** An entity that another one names, by its name. @param {{kind: string, id: string, nameOf: NameOf}} props */
export function Reference({ kind, id, nameOf }) {
  const name = nameOf(kind, id) || String(id).slice(0, 8);
  const page = pageOf(kind, id);
  return page ? html`<a class="link" href=${page} title=${name}>${name}</a>` : html`<span title=${id}>${name}</span>`;
}

const FACTS = 3;

/** One entity as two lines, for narrow screens. @param {Entity} entity @param {Column[]} columns @param {NameOf} nameOf */
export function linesOf(entity, columns, nameOf) {
  const facts = columns.filter(({ id }) => !["name", "created_at", "tags"].includes(id)).map((column) => ({ column, value: valueAt(entity, column) }));
  const shown = facts.filter(({ value }) => value !== undefined && value !== null).slice(0, FACTS);
  return html`<div class="two-lines"><div class="row"><span class="cut grow">${ownCell(entity, "name", nameOf)}</span><span class="faint"><${Ago} time=${entity.created_at} /></span></div>
    <div class="row faint"><span class="cut grow">${shown.map(({ column, value }) => `${column.title} ${formatValue(value)}`).join("   ")}</span></div></div>`;
}
