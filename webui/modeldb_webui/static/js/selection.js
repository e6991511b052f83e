// Which runs are selected, and so drawn. While none is, the first rows of the table are drawn.

import { assignSlots } from "./colors.js";

export const DRAWN_AT_FIRST = 10;
export const MOST_SELECTED = 100;

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
