// What the server declares, sent with the page: the kinds of entities, their columns and their fields.

import { BASE } from "./api.js";

/** @typedef {import("./types").Kind} Kind */
/** @typedef {import("./types").KeyInfo} KeyInfo */

/** The kinds that the page shows, and those of what contains them. @type {Kind[]} */
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

/** The page of an entity; empty for kinds that have none. @param {string | null | undefined} kind @param {string} id */
export const pageOf = (kind, id) => (kind === "run" ? `${BASE}runs/${id}` : kind === "project" ? `${BASE}projects/${id}` : "");
