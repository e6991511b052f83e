// What can be done with one column of the table of runs.

import { AGGREGATES, orderName } from "./columns.js";
import { openMenu } from "./overlays.js";
import { METRICS } from "./schema.js";

/** @typedef {import("./types").Column} Column */

/**
 * The order after a click on a head: the next of the directions.
 * @param {string} order the one in force @param {Column} column @param {("asc" | "desc" | "")[]} directions
 */
export function sortedBy(order, column, directions) {
  const name = orderName(column);
  const now = order === name ? "asc" : order === `${name} desc` ? "desc" : "";
  const next = directions[(directions.indexOf(now) + 1) % directions.length];
  return next === "" ? "" : next === "asc" ? name : `${name} desc`;
}

/**
 * @param {Column} column @param {HTMLElement} anchor @param {Column[]} columns
 * @param {{set: (columns: Column[]) => void, order: (order: string) => void}} actions
 */
export function columnMenu(column, anchor, columns, { set, order }) {
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
    ...(name ? [{ label: "Smallest first", action: () => order(name) }, { label: "Largest first", action: () => order(`${name} desc`) }, { label: "Newest run first", action: () => order("") }, { line: true }] : []),
    ...(column.section === METRICS ? [...AGGREGATES.map((agg) => ({ label: agg === "last" ? "Last value" : { min: "Smallest point", max: "Largest point", first: "First point", mean: "Mean of points", count: "Number of points" }[agg], checked: (column.agg ?? "last") === agg, action: () => change({ agg: agg === "last" ? undefined : agg, width: Math.max(column.width, (column.key.length + agg.length) * 7 + 34) }) })), { line: true }] : []),
    { label: "Pin to the left", checked: column.pinned, action: () => change({ pinned: !column.pinned }) },
    ...(at > 0 ? [{ label: "Move left", action: () => move(at - 1) }] : []),
    ...(at < columns.length - 1 ? [{ label: "Move right", action: () => move(at + 1) }] : []),
    ...(column.key === "name" && !column.section ? [] : [{ label: "Hide", action: () => set(columns.filter(({ id }) => id !== column.id)) }]),
  ]);
}
