// The colour of a run: it stays with the run on every page, and the runs drawn together get different ones.

import { recall, remember } from "./storage.js";
import { debounce } from "./timing.js";

export const COLORS = 10;
const KEPT = 2000;
/** Beyond ten runs the colours come back with dashes. In CSS pixels. */
export const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [1, 2], [12, 4]];

/** @type {Map<string, number>} */
const slots = new Map(recall("colors", []));
const save = debounce(() => remember("colors", [...slots].slice(-KEPT)), 500);

/**
 * Gives every run a slot: the one it has, or else the first that no other of them has.
 * @param {string[]} ids
 * @returns {Map<string, number>}
 */
export function assignSlots(ids) {
  const taken = new Set();
  /** @type {Map<string, number>} */
  const result = new Map();
  for (const id of ids) {
    const slot = slots.get(id);
    if (slot !== undefined && !taken.has(slot)) {
      taken.add(slot);
      result.set(id, slot);
    }
  }
  for (const id of ids) {
    if (result.has(id)) continue;
    let slot = 0;
    while (taken.has(slot)) slot += 1;
    taken.add(slot);
    result.set(id, slot);
    slots.delete(id);
    slots.set(id, slot);
  }
  save();
  return result;
}

/** @param {number} slot */
export const colorClass = (slot) => `c${slot % COLORS}`;

/** @param {number} slot */
export const dashOf = (slot) => DASHES[Math.floor(slot / COLORS) % DASHES.length];

/** The colours in force, for canvases. */
export function themeColors() {
  const style = getComputedStyle(document.documentElement);
  /** @param {string} name */
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    runs: Array.from({ length: COLORS }, (_, index) => read(`--c${index}`)),
    text: read("--text"),
    text2: read("--text-2"),
    text3: read("--text-3"),
    grid: read("--grid"),
    line: read("--line-2"),
    background: read("--bg"),
  };
}
