// The columns of the table of runs: which there are, which are shown, what a cell holds, and how a query names them.

import { isOwnMeasure, untagged } from "./format.js";
import { fieldOf, heading, METRICS, RUN } from "./schema.js";
import { recall, remember } from "./storage.js";

/** @typedef {import("./types").Column} Column */
/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Run} Run */
/** @typedef {import("./types").KeyInfo} KeyInfo */
/** @typedef {import("./types").KindColumn} KindColumn */

export const AGGREGATES = ["last", "min", "max", "first", "mean", "count"];
/** What the API calls the aggregates of a series. @type {Record<string, string>} */
export const SUMMARY_FIELDS = { last: "last", min: "minimum", max: "maximum", first: "first", mean: "mean", count: "count" };
const BARE_KEY = /^[\p{L}\p{N}_/-]+(\.[\p{L}\p{N}_/-]+)*$/u;

const WIDTHS = { text: 120, time: 104, number: 92, boolean: 80, texts: 150 };
const NAME_WIDTH = 184;
/** The columns that are not keys of maps, tags among them. @type {Map<string, KindColumn>} */
export const COLUMNS = new Map(
  [...RUN.columns.filter(({ name }) => RUN.shown.includes(name)), { name: "tags", type: "texts", title: "Tags", choices: [], fields: ["tags"] }].map((column) => [column.name, column]),
);
/** What heads the columns of a map, by its name; those of none are the run's own. @type {Map<string, string>} */
export const GROUPS = new Map([["", heading(RUN.words)], ...RUN.sections.map((section) => /** @type {[string, string]} */ ([section, fieldOf(RUN, section)?.title ?? section]))]);
const SHOWN_FIRST = ["name", "status", "started_at"];
const SHOWN_LAST = ["tags", "duration"];
const KEYS_AT_FIRST = 8;

/** How a query names a key of a section. @param {string} section @param {string} key @param {string} [agg] */
export function fieldName(section, key, agg = "") {
  if (!section) return key;
  const last = key.slice(key.lastIndexOf(".") + 1);
  const bare = BARE_KEY.test(key) && !(section === METRICS && key.includes(".") && AGGREGATES.includes(last));
  const name = `${section}.${bare ? key : `"${key.replaceAll('"', '""')}"`}`;
  return agg && agg !== "last" ? `${name}.${agg}` : name;
}

/** @param {string} name of one of the run's own columns @returns {Column} */
function ownColumn(name) {
  const { title, type } = /** @type {KindColumn} */ (COLUMNS.get(name));
  const width = name === "name" ? NAME_WIDTH : WIDTHS[/** @type {keyof typeof WIDTHS} */ (type)];
  return { id: name, section: "", key: name, title, width, numeric: type === "number", pinned: name === "name" };
}

/** @param {string} section @param {string} key @param {boolean} numeric @param {string} [agg] @returns {Column} */
export function keyColumn(section, key, numeric, agg = "") {
  const width = Math.max(86, Math.min(168, (key.length + (agg ? agg.length + 1 : 0)) * 7 + 26));
  return { id: columnId(section, key), section, key, title: key, width, numeric, pinned: false, agg: agg || undefined };
}

/** @param {string} section @param {string} key */
export const columnId = (section, key) => (section ? `${section}.${key}` : key);

/** @param {Column} column what must be asked for so that its cells can be shown */
export const fieldsOf = (column) => [fieldName(column.section, column.key, column.agg)];

/** What an order by this column is called; empty where there is none. @param {Column} column */
export const orderName = (column) => (!column.section && COLUMNS.get(column.key)?.type === "texts" ? "" : fieldName(column.section, column.key, column.agg));

/** The value in a cell, `undefined` for none. @param {Entity} run @param {Column} column @returns {any} */
export function valueAt(run, column) {
  if (!column.section) return run[column.key];
  if (column.agg && column.agg !== "last") return seriesOf(run, column.key)?.[/** @type {keyof import("./types").SeriesSummary} */ (SUMMARY_FIELDS[column.agg])];
  const value = lookUp(run[column.section], column.key);
  return value === undefined && column.section === METRICS ? seriesOf(run, column.key)?.last : value;
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

/** Columns for a first visit: the usual facts, and the keys that most of the first runs have. @param {Run[]} runs @returns {Column[]} */
export const guessColumns = (runs) => [...SHOWN_FIRST.map(ownColumn), ...commonKeys(runs, RUN.listed), ...SHOWN_LAST.map(ownColumn)];

/** @param {any} value a map or list that was logged, not a tagged number */
const isMap = (value) => value !== null && typeof value === "object" && !isNumber(value);

/** @param {any} value */
const isNumber = (value) => typeof value === "number" || (value !== null && typeof value === "object" && ("$int" in value || "$float" in value));

/** All columns that could be chosen. @param {KeyInfo[]} keys @returns {(Column & {count?: number})[]} */
export function allColumns(keys) {
  const found = [...COLUMNS.keys()].map(ownColumn);
  for (const { section, key, count, value_types: types } of keys) {
    if (!section || !GROUPS.has(section)) continue;
    // A map is not a column: its inner keys are.
    if (types.length && types.every((type) => type === "json") && keys.some((other) => other.section === section && other.key.startsWith(`${key}.`))) continue;
    const numeric = types.every((type) => type === "number" || type === "series");
    found.push(Object.assign(keyColumn(section, key, numeric), { count }));
  }
  return found.sort((a, b) => Number(isOwnMeasure(a.key)) - Number(isOwnMeasure(b.key)));
}

/** The reader's choice for a project, or `null`. @param {string} projectId @returns {Column[] | null} */
export function recallColumns(projectId) {
  const kept = recall(`columns.${projectId}`, null);
  return Array.isArray(kept) && kept.length ? kept : null;
}

/** @param {string} projectId @param {Column[]} columns */
export const rememberColumns = (projectId, columns) => remember(`columns.${projectId}`, columns);

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

/** @param {string} text @returns {Column[]} */
export function readColumns(text) {
  /** @type {Column[]} */
  const columns = [];
  for (const part of text.split(",").filter(Boolean)) {
    const match = /^(\*?)([^@!]+)(!?)(?:@(\w+))?$/.exec(part);
    if (!match) continue;
    const id = decoded(match[2]);
    const dot = id.indexOf(".");
    const section = id.slice(0, Math.max(0, dot));
    if (dot < 0 ? !COLUMNS.has(id) : !section || !GROUPS.has(section)) continue;
    if (match[4] && !AGGREGATES.includes(match[4])) continue;
    const column = dot < 0 ? ownColumn(id) : keyColumn(id.slice(0, dot), id.slice(dot + 1), !match[3], match[4]);
    columns.push({ ...column, pinned: match[1] === "*" });
  }
  return columns;
}
