// What versions of data sets have beside other entities: what differs between two of them.

import { html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { BeforeAfter } from "./before_after.js";
import { formatSize } from "./format.js";
import { Problem, useAnswer } from "./values.js";

/** @typedef {{before: any, after: any}} Pair */

/** @param {Record<string, any>} added @param {Record<string, any>} removed @param {Record<string, Pair>} changed @returns {import("./before_after.js").Row[]} */
const rowsOf = (added, removed, changed) => [
  ...Object.entries(changed).map(([name, { before, after }]) => /** @type {import("./before_after.js").Row} */ ([name, before, after])),
  ...Object.entries(added).map(([name, value]) => /** @type {import("./before_after.js").Row} */ ([name, undefined, value])),
  ...Object.entries(removed).map(([name, value]) => /** @type {import("./before_after.js").Row} */ ([name, value, undefined])),
];

/** What differs from one version to another. @param {{dataset: string, before: string, after: string}} props */
export function Difference({ dataset, before, after }) {
  const { value, error } = useAnswer(() => api.request(`/datasets/${dataset}/diff`, { params: { before, after } }), [before, after]);
  if (error) return html`<${Problem} error=${error} />`;
  if (!value) return null;
  const statistics = Object.entries(value.statistics).flatMap(([column, changes]) => rowsOf({}, {}, changes).map(([name, ...pair]) => /** @type {import("./before_after.js").Row} */ ([`${column}: ${name}`, ...pair])));
  return html`${value.is_same ? html`<p class="muted">Their content is the same.</p>` : null}
    <${BeforeAfter} title="Files" rows=${rowsOf(value.files.added, value.files.removed, value.files.changed)} shown=${(/** @type {number} */ size) => formatSize(size)} />
    <${BeforeAfter} title="Columns" rows=${rowsOf(value.columns.added, value.columns.removed, value.columns.changed)} />
    <${BeforeAfter} title="Statistics" rows=${statistics} /><${BeforeAfter} title="Other facts" rows=${rowsOf({}, {}, value.values)} />`;
}
