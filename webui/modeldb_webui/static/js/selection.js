// Which runs are selected, and so drawn. While none is, the first rows of the table are drawn.

import { assignSlots } from "./colors.js";
import { formatValue } from "./format.js";

export const DRAWN_AT_FIRST = 10;
export const MOST_SELECTED = 100;
const MOST_GROUPS = 12;

/** How many of so many groups are drawn, and how many runs of each. @param {number} count @returns {[number, number]} */
export function drawnOf(count) {
  const most = Math.min(count, MOST_GROUPS);
  return [most, Math.max(1, Math.floor(MOST_SELECTED / Math.max(1, most)))];
}

export class Selection {
  /** @param {string[]} ids */
  constructor(ids) {
    this.ids = ids.slice(0, MOST_SELECTED);
    this.anchor = -1;
    this.drawnKey = "";
    /** @type {Map<string, number>} */
    this.slots = new Map();
  }

  /** @param {string} id */
  has(id) {
    return this.ids.includes(id);
  }

  /** @param {string} id */
  toggle(id) {
    this.ids = this.has(id) ? this.ids.filter((other) => other !== id) : [...this.ids, id].slice(-MOST_SELECTED);
  }

  /** @param {string[]} ids */
  add(ids) {
    this.ids = [...new Set([...this.ids, ...ids])].slice(0, MOST_SELECTED);
  }

  clear() {
    this.ids = [];
  }

  /**
   * The runs to draw of groups: some of each, in the colour of their group.
   * @param {import("./run_groups.js").Group[]} groups @param {string} by
   */
  ofGroups(groups, by) {
    const [most, each] = drawnOf(groups.length);
    const shown = groups.slice(0, most);
    const slots = assignSlots(shown.map(({ key }) => `${by}=${key}`));
    return {
      slots: new Map(shown.map(({ key }) => [key, slots.get(`${by}=${key}`) ?? 0])),
      groupOf: new Map(shown.flatMap(({ key, value, count, ids }) => ids.slice(0, each).map((id) => [id, { key, name: value === undefined ? "not set" : formatValue(value), slot: slots.get(`${by}=${key}`) ?? 0, size: count }]))),
    };
  }

  /** The runs to draw, given the first rows; each gets its colour. @param {string[]} first */
  drawn(first) {
    const ids = this.ids.length ? this.ids : first;
    const key = ids.join();
    if (key !== this.drawnKey) {
      this.drawnKey = key;
      this.slots = assignSlots(ids);
    }
    return ids;
  }
}
