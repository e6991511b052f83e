// The names of entities that others name: asked for together, as they come into view.

import * as api from "./api.js";
import { fieldOf, kindOf, TITLES, titleOf } from "./schema.js";

const AT_ONCE = 100;

export class Names {
  /** @param {() => void} changed called when names have come */
  constructor(changed) {
    this.changed = changed;
    /** @type {Map<string, string>} */
    this.known = new Map();
    /** @type {Map<string, Set<string>>} identifiers that are asked for, by kind */
    this.wanted = new Map();
  }

  /** What an entity is called; empty while nobody knows. @param {string} kind @param {string} id */
  of = (kind, id) => {
    const name = this.known.get(id);
    if (name !== undefined || !kindOf(kind)) return name ?? "";
    this.known.set(id, "");
    if (!this.wanted.size) setTimeout(() => void this.load());
    this.wanted.set(kind, (this.wanted.get(kind) ?? new Set()).add(id));
    return "";
  };

  async load() {
    const wanted = [...this.wanted];
    this.wanted.clear();
    await Promise.all(wanted.map(async ([name, all]) => {
      const kind = /** @type {import("./types").Kind} */ (kindOf(name));
      const ids = [...all];
      const fields = TITLES.filter((field) => fieldOf(kind, field)).join(",");
      for (let at = 0; at < ids.length; at += AT_ONCE) {
        const part = ids.slice(at, at + AT_ONCE);
        // What cannot be named keeps its identifier: nothing else depends on it.
        const page = await api.find(kind.path, { filter: api.idFilter(part), fields, limit: part.length, include_deleted: 1 }).catch(() => null);
        for (const entity of page?.items ?? []) this.known.set(entity.entity_id, titleOf(entity));
      }
    }));
    this.changed();
  }
}
