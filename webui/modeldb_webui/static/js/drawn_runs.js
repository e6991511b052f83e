// The runs that the charts of a project draw: what is known of each, fetched as the selection asks for it.

import * as api from "./api.js";
import { drawn } from "./charts.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {import("./types").Drawn} Drawn */
/** @typedef {ReturnType<import("./selection.js").Selection["ofGroups"]>} Grouping */

const FIELDS = "name,status,started_at,series";

export class DrawnRuns {
  /** @param {string} within the project */
  constructor(within) {
    this.within = within;
    /** @type {Map<string, Run>} */
    this.runs = new Map();
    /** @type {Set<string>} ids of runs that have changed since they were fetched */
    this.dirty = new Set();
    /** @type {Set<string>} ids of runs that are in the project no more, or never were */
    this.gone = new Set();
    /** @type {Run[]} */
    this.last = [];
    /** @type {unknown} */
    this.lastColours = null;
    /** @type {Drawn[]} */
    this.lastDrawn = [];
  }

  /** Those of which something is to be fetched. @param {string[]} ids */
  missing(ids) {
    return ids.filter((id) => !this.gone.has(id) && (!this.runs.has(id) || this.dirty.has(id)));
  }

  /** Fetches what is missing. @param {string[]} ids @returns {Promise<string[]>} the ids of runs that there are not */
  async load(ids) {
    for (const id of ids) this.dirty.delete(id);
    try {
      const page = await api.find("runs", { within: this.within, filter: api.idFilter(ids), fields: FIELDS, limit: ids.length });
      for (const item of page.items) this.runs.set(item.entity_id, item);
      const found = new Set(page.items.map((item) => item.entity_id));
      const gone = ids.filter((id) => !found.has(id));
      for (const id of gone) {
        this.gone.add(id);
        this.runs.delete(id);
      }
      return gone;
    } catch (error) {
      for (const id of ids) this.dirty.add(id);
      throw error;
    }
  }

  /** Runs have changed, or come back. @param {Iterable<string>} ids */
  changed(ids) {
    for (const id of ids) {
      this.gone.delete(id);
      if (this.runs.has(id)) this.dirty.add(id);
    }
  }

  allChanged() {
    this.gone.clear();
    this.changed(this.runs.keys());
  }

  /** What charts draw: the same list while nothing in it changed. @param {string[]} ids @param {Map<string, number>} slots @param {Grouping | null} grouping @returns {Drawn[]} */
  list(ids, slots, grouping) {
    const runs = ids.flatMap((id) => this.runs.get(id) ?? []);
    const colours = grouping ?? slots;
    if (this.last.length !== runs.length || runs.some((run, at) => run !== this.last[at]) || this.lastColours !== colours) {
      this.last = runs;
      this.lastColours = colours;
      this.lastDrawn = runs.map((run) => ({ ...drawn(run, slots.get(run.entity_id) ?? 0), group: grouping?.groupOf.get(run.entity_id) }));
    }
    return this.lastDrawn;
  }
}
