// What can be done with the columns of a table: sorting, moving, sizing, and their menu.

import { AGGREGATES, groupTitle, orderName } from "./columns.js";
import { openMenu } from "./overlays.js";
import { METRICS } from "./schema.js";

/** @typedef {import("./types").Column} Column */

/** @param {string} order the one in force @param {Column} column @returns {"asc" | "desc" | ""} */
const directionOf = (order, column) => (order && order === orderName(column) ? "asc" : order && order === `${orderName(column)} desc` ? "desc" : "");

/**
 * The order after a click on a head: the next of the directions.
 * @param {string} order the one in force @param {Column} column
 */
function sortedBy(order, column) {
  /** @type {("asc" | "desc" | "")[]} */
  const directions = column.numeric ? ["desc", "asc", ""] : ["asc", "desc", ""];
  const name = orderName(column);
  const now = directionOf(order, column);
  const next = directions[(directions.indexOf(now) + 1) % directions.length];
  return next === "" ? "" : next === "asc" ? name : `${name} desc`;
}

/** @typedef {{set: (columns: Column[]) => void, order: (order: string) => unknown}} Actions */

/**
 * What the head of a table of entities does.
 * @param {import("./types").Kind} kind @param {Column[]} columns @param {string} order the one in force @param {Actions} actions
 */
export const headOf = (kind, columns, order, actions) => ({
  groupOf: (/** @type {Column} */ column) => groupTitle(kind, column.section),
  sorted: (/** @type {Column} */ column) => directionOf(order, column),
  onSort: (/** @type {Column} */ column) => orderName(column) && actions.order(sortedBy(order, column)),
  onMenu: (/** @type {Column} */ column, /** @type {HTMLElement} */ anchor) => columnMenu(kind, column, anchor, columns, actions),
  onResize: (/** @type {Column} */ column, /** @type {number} */ width) => actions.set(columns.map((other) => (other.id === column.id ? { ...other, width } : other))),
  onMove: (/** @type {Column} */ column, /** @type {string} */ before) => {
    const rest = columns.filter(({ id }) => id !== column.id);
    const at = rest.findIndex(({ id }) => id === before);
    actions.set([...rest.slice(0, at), { ...column, pinned: rest[at].pinned }, ...rest.slice(at)]);
  },
});

/** @param {import("./types").Kind} kind @param {Column} column @param {HTMLElement} anchor @param {Column[]} columns @param {Actions} actions */
function columnMenu(kind, column, anchor, columns, { set, order }) {
  const at = columns.findIndex(({ id }) => id === column.id);
  /** @param {Partial<Column>} change */
  const change = (change) => set(columns.map((other) => (other.id === column.id ? { ...other, ...change } : other)));
  /** @param {number} to */
  const move = (to) => {
    const rest = columns.filter(({ id }) => id !== column.id);
    set([...rest.slice(0, to), column, ...rest.slice(to)]);
  };
  const name = orderName(column);
  openMenu(anchor, [
    { head: column.section ? `${column.section}.${column.key}` : column.title },
    ...(name ? [{ label: "Smallest first", action: () => order(name) }, { label: "Largest first", action: () => order(`${name} desc`) }, { label: `Newest ${kind.words} first`, action: () => order("") }, { line: true }] : []),
    ...(column.section === METRICS ? [...AGGREGATES.map((agg) => ({ label: agg === "last" ? "Last value" : { min: "Smallest point", max: "Largest point", first: "First point", mean: "Mean of points", count: "Number of points" }[agg], checked: (column.agg ?? "last") === agg, action: () => change({ agg: agg === "last" ? undefined : agg, width: Math.max(column.width, (column.key.length + agg.length) * 7 + 34) }) })), { line: true }] : []),
    { label: "Pin to the left", checked: column.pinned, action: () => change({ pinned: !column.pinned }) },
    ...(at > 0 ? [{ label: "Move left", action: () => move(at - 1) }] : []),
    ...(at < columns.length - 1 ? [{ label: "Move right", action: () => move(at + 1) }] : []),
    ...(column.key === "name" && !column.section ? [] : [{ label: "Hide", action: () => set(columns.filter(({ id }) => id !== column.id)) }]),
  ]);
}
