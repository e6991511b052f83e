// An entity that is shown while it is written to: only what has changed of it is asked for again.

import * as api from "./api.js";
import { kindOf } from "./schema.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Changed} Changed */

export class Followed {
  /** @param {string} kinds the plural, as in the address @param {string} id */
  constructor(kinds, id) {
    this.kinds = kinds;
    this.id = id;
    /** @type {number | null} what the server has told of it up to now */
    this.cursor = null;
    /** @type {Entity | null} */
    this.entity = null;
    /** @type {Promise<unknown>} */
    this.before = Promise.resolve();
  }

  /** The entity as it is now; one answer is waited for before the next one is asked for. @returns {Promise<any>} */
  load() {
    const loading = this.before.then(async () => {
      const found = await api.getChanged(this.kinds, this.id, this.entity && this.cursor);
      this.cursor = found.cursor;
      this.entity = merged(this.entity, found);
      return this.entity;
    });
    this.before = loading.catch(() => undefined);
    return loading;
  }
}

/** @param {Entity | null} before @param {Changed} changed @returns {Entity} */
export function merged(before, { entity, keys }) {
  if (!keys || !before) return entity;
  const after = { ...entity };
  for (const { name, type } of kindOf(entity.kind)?.fields ?? []) {
    if (type === "map" || type === "series") after[name] = mergedMap(before[name], entity[name] ?? {}, keys[name] ?? []);
  }
  return after;
}

/** @param {Record<string, any> | undefined} before @param {Record<string, any>} now @param {string[]} keys those that have changed */
function mergedMap(before, now, keys) {
  if (!keys.length) return before;
  const after = { ...before, ...Object.fromEntries(keys.filter((key) => Object.hasOwn(now, key)).map((key) => [key, now[key]])) };
  for (const key of keys) if (!Object.hasOwn(now, key)) delete after[key];
  return after;
}
