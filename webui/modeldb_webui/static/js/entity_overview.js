// What is recorded of an entity, whichever kind it is of: its fields, its maps, what people said of it.

import { html, useState } from "../vendor/preact-htm.js";
import { Reference } from "./cells.js";
import { Comments } from "./comments.js";
import { Facts } from "./facts.js";
import { formatCount, formatSize } from "./format.js";
import { heading, kindOf } from "./schema.js";
import { Ago, Copy, Long } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").KindField} KindField */
/** @typedef {import("./cells.js").NameOf} NameOf */

/** What the head of the page shows. */
const IN_HEAD = new Set(["name", "description", "tags", "owner", "created_at", "deleted_at", "revision"]);
const FILES_AT_FIRST = 200;
const DIGEST = /^[0-9a-f]{32,}$/;

/** @param {KindField} field @param {any} value @param {NameOf} nameOf */
export function fieldValue({ name, type, refers_to: target }, value, nameOf) {
  if (target && Array.isArray(value)) return html`<ul>${value.map((id) => html`<li key=${id}><${Reference} kind=${target} id=${id} nameOf=${nameOf} /></li>`)}</ul>`;
  if (target) return html`<${Reference} kind=${target} id=${value} nameOf=${nameOf} />`;
  if (type === "time") return html`<${Ago} time=${value} />`;
  if (name.endsWith("_bytes")) return html`<span title=${`${formatCount(value)} bytes`}>${formatSize(value)}</span>`;
  if (DIGEST.test(String(value))) return html`<code>${value}</code><${Copy} text=${String(value)} />`;
  return html`<${Long} value=${value} />`;
}

/** A map whose entries name entities, such as aliases. @param {{field: KindField, map: Record<string, any>, nameOf: NameOf}} props */
export function NamedEntities({ field, map, nameOf }) {
  const references = Object.entries(field.entries);
  /** @param {any} entry */
  const links = (entry) => references.map(([key, target]) => ({ target, id: key ? entry?.[key] : entry, kind: entry?.kind })).filter(({ id }) => typeof id === "string");
  return html`<section class="block" aria-label=${field.title}><h2>${field.title} <span class="count">${Object.keys(map).length}</span></h2><table class="plain"><tbody>
    ${Object.entries(map).map(([key, entry]) => html`<tr key=${key}><td class="key">${key}</td><td>${links(entry).map(({ target, id, kind }) => html`<div key=${id}><${Reference} kind=${target === "*" ? String(kind ?? "") : target} id=${id} nameOf=${nameOf} />${references.length > 1 ? html`<div class="faint">${kindOf(target)?.words}</div>` : null}</div>`)}</td></tr>`)}</tbody></table></section>`;
}

/** Files by path. @param {{title: string, map: Record<string, any>}} props */
function Files({ title, map }) {
  const [most, setMost] = useState(FILES_AT_FIRST);
  const files = Object.entries(map);
  return html`<section class="block" aria-label=${title}><h2>${title} <span class="count">${formatCount(files.length)}</span></h2><table class="plain"><thead><tr><th>Path</th><th class="num">Size</th><th>Digest</th></tr></thead><tbody>
    ${files.slice(0, most).map(([path, file]) => html`<tr key=${path}><td>${path}</td><td class="num">${formatSize(Number(file?.size_bytes))}</td><td class="tight"><code title=${file?.digest}>${String(file?.digest ?? "").slice(0, 12)}</code></td></tr>`)}</tbody></table>
    ${files.length > most ? html`<button class="button small" onClick=${() => setMost(most * 10)}>Show ${formatCount(files.length - most)} more</button>` : null}</section>`;
}

/** The section of a map. @param {KindField} field @param {any} map @param {NameOf} nameOf */
function mapSection(field, map, nameOf) {
  if (Object.keys(field.entries).length) return html`<${NamedEntities} key=${field.name} field=${field} map=${map} nameOf=${nameOf} />`;
  if (field.names_blobs) return html`<${Files} key=${field.name} title=${field.title} map=${map} />`;
  return html`<${Facts} key=${field.name} title=${field.title} map=${map} />`;
}

/** @param {{entity: Entity, revision: number, nameOf: NameOf, without?: string[], children?: unknown}} props `without`: fields that `children` show */
export function EntityOverview({ entity, revision, nameOf, without = [], children }) {
  const kind = /** @type {import("./types").Kind} */ (kindOf(entity.kind));
  const held = kind.fields.filter(({ name, type }) => !IN_HEAD.has(name) && !without.includes(name) && type !== "series" && entity[name] !== undefined && entity[name] !== null);
  const plain = held.filter(({ type, common, names_trees: isTree }) => type !== "map" && !common && !isTree);
  const maps = held.filter(({ type }) => type === "map");
  return html`<div class="tab"><div class="columns"><div>
      ${plain.length ? html`<section class="block" aria-label="Facts"><h2>${heading(kind.words)}</h2><table class="plain"><tbody>${plain.map((field) => html`<tr key=${field.name}><td class="key">${field.title}</td><td>${fieldValue(field, entity[field.name], nameOf)}</td></tr>`)}</tbody></table></section>` : null}
      ${maps.map((field) => mapSection(field, entity[field.name], nameOf))}</div>
    <div>${children}<${Comments} entity=${entity} revision=${revision} /></div></div></div>`;
}
