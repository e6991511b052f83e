// What the server declares, sent with the page: the kinds of entities, their columns and their fields.

import { BASE } from "./api.js";

/** @typedef {import("./types").Kind} Kind */
/** @typedef {import("./types").KeyInfo} KeyInfo */

/** The kinds that there are. @type {Kind[]} */
export const KINDS = JSON.parse(document.body.dataset.kinds || "[]");
/** The kind of what trains. */
export const RUN = /** @type {Kind} */ (KINDS.find(({ kind }) => kind === "run"));
/** The map whose values are the last ones of series. */
export const METRICS = "metrics";

/** @param {Kind} kind @param {string} name */
export const fieldOf = (kind, name) => kind.fields.find((field) => field.name === name);

/** What a filter can name beside keys: the columns of a kind, in no section. @param {Kind} kind @returns {KeyInfo[]} */
export const columnKeys = (kind) => kind.columns.map(({ name, type, choices }) => ({ section: "", key: name, count: 0, value_types: [type], choices }));

/** A name in words, as a heading. @param {string} words */
export const heading = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** @param {string | null | undefined} name @returns {Kind | undefined} */
export const kindOf = (name) => KINDS.find(({ kind }) => kind === name);

/** The kind of the entities that the page shows, where its script knows nothing of kinds. */
export const pageKind = /** @type {Kind} */ (kindOf(document.body.dataset.kind));

/** The page of an entity; empty for kinds that have none. @param {string | null | undefined} name of the kind @param {string} id */
export function pageOf(name, id) {
  if (name === "run" || name === "project") return `${BASE}${name}s/${id}`;
  const kind = kindOf(name);
  return kind ? `${BASE}kinds/${kind.path}/${id}` : "";
}

/** The fields that the name of an entity for readers is made from. */
export const TITLES = ["name", "version", "message", "digest"];

/** What an entity is called: versions have a number, commits a message. @param {import("./types").Entity} entity */
export function titleOf({ name, version, message, digest, entity_id: id }) {
  if (version) return name === `v${version}` ? name : `${name} v${version}`.trim();
  return name || String(message ?? "").trim().split("\n")[0] || String(digest || id).slice(0, 8);
}
