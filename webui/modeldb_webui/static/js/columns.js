// The columns of tables of entities: which a kind has, which are shown, what a cell holds, and how a query names them.

import { isOwnMeasure, untagged } from "./format.js";
import { fieldOf, heading, METRICS, TITLES } from "./schema.js";
import { recall, remember } from "./storage.js";

/** @typedef {import("./types").Column} Column */
/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Kind} Kind */
/** @typedef {import("./types").KeyInfo} KeyInfo */
/** @typedef {import("./types").KindColumn} KindColumn */

export const AGGREGATES = ["last", "min", "max", "first", "mean", "count"];
/** What the API calls the aggregates of a series. @type {Record<string, string>} */
export const SUMMARY_FIELDS = { last: "last", min: "minimum", max: "maximum", first: "first", mean: "mean", count: "count" };
const BARE_KEY = /^[\p{L}\p{N}_/-]+(\.[\p{L}\p{N}_/-]+)*$/u;

const WIDTHS = { text: 120, time: 104, number: 92, boolean: 80, texts: 150 };
const NAME_WIDTH = 184;
const FIRST_OF_RUNS = ["name", "status", "started_at"];
const LAST_OF_RUNS = ["tags", "duration"];
/** What tables of a kind leave out at first: what says little, and what every entity has. */
const RARE = new Set(["entity_id", "description", "updated_at", "deleted_at", "visibility", "workspace"]);
const KEYS_AT_FIRST = 8;

/** @type {WeakMap<Kind, Map<string, KindColumn>>} */
const own = new WeakMap();

/** The columns of a kind that are not keys of maps, tags among them, by name. @param {Kind} kind */
export function ownColumns(kind) {
  let found = own.get(kind);
  if (!found) {
    const columns = [...kind.columns.filter(({ name }) => kind.shown.includes(name)), { name: "tags", type: "texts", title: "Tags", choices: [], fields: ["tags"] }];
    found = new Map(columns.map((column) => [column.name, column]));
    own.set(kind, found);
  }
  return found;
}

/** What heads the columns of a map; those of none are the entity's own. @param {Kind} kind @param {string} section */
export const groupTitle = (kind, section) => (section ? fieldOf(kind, section)?.title ?? section : heading(kind.words));

/** How a query names a key of a section. @param {string} section @param {string} key @param {string} [agg] */
export function fieldName(section, key, agg = "") {
  if (!section) return key;
  const last = key.slice(key.lastIndexOf(".") + 1);
  const bare = BARE_KEY.test(key) && !(section === METRICS && key.includes(".") && AGGREGATES.includes(last));
  const name = `${section}.${bare ? key : `"${key.replaceAll('"', '""')}"`}`;
  return agg && agg !== "last" ? `${name}.${agg}` : name;
}

/** @param {Kind} kind @param {string} name of one of its own columns @returns {Column} */
function ownColumn(kind, name) {
  const { title, type } = /** @type {KindColumn} */ (ownColumns(kind).get(name));
  const width = name === "name" ? NAME_WIDTH : WIDTHS[/** @type {keyof typeof WIDTHS} */ (type)];
  const fields = name === "name" ? TITLES.filter((field) => fieldOf(kind, field)) : undefined;
  return { id: name, section: "", key: name, title, width, numeric: type === "number", pinned: name === "name", fields };
}

/** @param {string} section @param {string} key @param {boolean} numeric @param {string} [agg] @returns {Column} */
export function keyColumn(section, key, numeric, agg = "") {
  const width = Math.max(86, Math.min(168, (key.length + (agg ? agg.length + 1 : 0)) * 7 + 26));
  return { id: columnId(section, key), section, key, title: key, width, numeric, pinned: false, agg: agg || undefined };
}

/** @param {string} section @param {string} key */
export const columnId = (section, key) => (section ? `${section}.${key}` : key);

/** @param {Column} column what must be asked for so that its cells can be shown */
export const fieldsOf = (column) => column.fields ?? [fieldName(column.section, column.key, column.agg)];

/** What an order by this column is called; empty where there is none. @param {Column} column */
export const orderName = (column) => (!column.section && column.key === "tags" ? "" : fieldName(column.section, column.key, column.agg));

/** The value in a cell, `undefined` for none. @param {Entity} entity @param {Column} column @returns {any} */
export function valueAt(entity, column) {
  if (!column.section) return entity[column.key];
  if (column.agg && column.agg !== "last") return seriesOf(entity, column.key)?.[/** @type {keyof import("./types").SeriesSummary} */ (SUMMARY_FIELDS[column.agg])];
  const value = lookUp(entity[column.section], column.key);
  return value === undefined && column.section === METRICS ? seriesOf(entity, column.key)?.last : value;
}

/** What is known of a series of a run. @param {Entity} run @param {string} key @returns {import("./types").SeriesSummary | undefined} */
export const seriesOf = (run, key) => (run.series && Object.hasOwn(run.series, key) ? run.series[key] : undefined);

/** A key of a map; where it has none of that name, dots lead into inner maps. @param {any} map @param {string} key @returns {any} */
export function lookUp(map, key) {
  if (map === null || typeof map !== "object") return undefined;
  if (Object.hasOwn(map, key) && !key.startsWith("$")) return map[key];
  if (Object.hasOwn(map, `$${key}`)) return map[`$${key}`]; // "$$x" is the key "$x", and "$1" the number 1
  for (let at = key.indexOf("."); at >= 0; at = key.indexOf(".", at + 1)) {
    const outer = key.slice(0, at);
    const name = Object.hasOwn(map, outer) ? outer : `$${outer}`;
    const found = Object.hasOwn(map, name) ? lookUp(map[name], key.slice(at + 1)) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The keys that most of some entities have, as columns: a few of each map. @param {Entity[]} entities @param {string[]} sections */
export function commonKeys(entities, sections) {
  return sections.flatMap((section) => {
    /** @type {Map<string, {count: number, numeric: boolean}>} */
    const seen = new Map();
    for (const entity of entities) {
      for (const [sent, value] of Object.entries(entity[section] ?? {})) {
        const key = untagged(sent);
        if (isMap(value) || isOwnMeasure(key)) continue;
        const entry = seen.get(key) ?? { count: 0, numeric: true };
        entry.count += 1;
        entry.numeric &&= isNumber(value);
        seen.set(key, entry);
      }
    }
    const keys = [...seen].sort((a, b) => b[1].count - a[1].count).slice(0, KEYS_AT_FIRST);
    return keys.map(([key, { numeric }]) => keyColumn(section, key, numeric));
  });
}

/**
 * Columns for a first visit: the usual facts, and the keys that most of the first entities have.
 * @param {Kind} kind @param {Entity[]} entities @param {string[]} [without] columns that say the same in every row @returns {Column[]}
 */
export function guessColumns(kind, entities, without = []) {
  const all = [...ownColumns(kind).values()];
  const usual = all.filter(({ name, fields }) => !RARE.has(name) && !without.includes(name) && fields.every((field) => !fieldOf(kind, field)?.computed));
  const [first, last] = kind.has_points ? [FIRST_OF_RUNS, LAST_OF_RUNS] : [usual.map(({ name }) => name).filter((name) => name !== "tags"), ["tags"]];
  const columns = (/** @type {string[]} */ names) => names.map((name) => ownColumn(kind, name));
  return [...columns(first), ...commonKeys(entities, kind.listed), ...columns(last)];
}

/** @param {any} value a map or list that was logged, not a tagged number */
const isMap = (value) => value !== null && typeof value === "object" && !isNumber(value);

/** @param {any} value */
const isNumber = (value) => typeof value === "number" || (value !== null && typeof value === "object" && ("$int" in value || "$float" in value));

/** All columns that could be chosen. @param {Kind} kind @param {KeyInfo[]} keys @returns {(Column & {count?: number, sample?: number})[]} */
export function allColumns(kind, keys) {
  const found = [...ownColumns(kind).keys()].map((name) => ownColumn(kind, name));
  for (const { section, key, count, sample, value_types: types } of keys) {
    if (!kind.sections.includes(section)) continue;
    // A map is not a column: its inner keys are.
    if (types.length && types.every((type) => type === "json") && keys.some((other) => other.section === section && other.key.startsWith(`${key}.`))) continue;
    const numeric = types.every((type) => type === "number" || type === "series");
    found.push(Object.assign(keyColumn(section, key, numeric), { count, sample }));
  }
  return found.sort((a, b) => Number(isOwnMeasure(a.key)) - Number(isOwnMeasure(b.key)));
}

/** The reader's choice for a place, or `null`. @param {string} place @returns {Column[] | null} */
export function recallColumns(place) {
  const kept = recall(`columns.${place}`, null);
  return Array.isArray(kept) && kept.length ? kept : null;
}

/** @param {string} place @param {Column[]} columns */
export const rememberColumns = (place, columns) => remember(`columns.${place}`, columns);

/**
 * Columns in an address: ids between commas, `*` before pinned ones, `@max` behind those that show an aggregate.
 * @param {Column[]} columns
 */
export const writeColumns = (columns) =>
  columns.map(({ id, pinned, agg, numeric, section }) => `${pinned ? "*" : ""}${encodeURIComponent(id).replace(/[!*]/g, (sign) => (sign === "!" ? "%21" : "%2A"))}${section && !numeric ? "!" : ""}${agg ? `@${agg}` : ""}`).join(",");

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {Kind} kind @param {string} text @returns {Column[]} */
export function readColumns(kind, text) {
  /** @type {Column[]} */
  const columns = [];
  for (const part of text.split(",").filter(Boolean)) {
    const match = /^(\*?)([^@!]+)(!?)(?:@(\w+))?$/.exec(part);
    if (!match) continue;
    const id = decoded(match[2]);
    const dot = id.indexOf(".");
    const section = id.slice(0, Math.max(0, dot));
    if (dot < 0 ? !ownColumns(kind).has(id) : !kind.sections.includes(section)) continue;
    if (match[4] && !AGGREGATES.includes(match[4])) continue;
    const column = dot < 0 ? ownColumn(kind, id) : keyColumn(id.slice(0, dot), id.slice(dot + 1), !match[3], match[4]);
    columns.push({ ...column, pinned: match[1] === "*" });
  }
  return columns;
}
