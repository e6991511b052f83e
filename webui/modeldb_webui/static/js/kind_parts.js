// What the pages of some kinds have beside what those of all have.

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./cells.js").NameOf} NameOf */
/** @typedef {{entity: Entity, revision: number, nameOf: NameOf, open?: (tab: string, more: Record<string, string>) => void}} Shown */
/**
 * @typedef {object} Parts
 * @property {Record<string, string>} tabs titles by name
 * @property {string[]} without fields that the overview leaves out, as they are shown elsewhere
 * @property {(entity: Entity, nameOf: NameOf) => [string, unknown][]} facts in the head
 * @property {(shown: Shown) => unknown} overview beside the fields
 * @property {(tab: string, shown: Shown) => unknown} draw a tab
 * @property {(first: Entity, second: Entity) => unknown} difference above the comparison of two
 */

/** @type {Parts} */
const NONE = { tabs: {}, without: [], facts: () => [], overview: () => null, draw: () => null, difference: () => null };

/** @type {Record<string, Partial<Parts>>} */
const PARTS = {};

/** @param {import("./types").Kind} kind @returns {Parts} */
export const partsOf = ({ kind }) => ({ ...NONE, ...PARTS[kind] });
