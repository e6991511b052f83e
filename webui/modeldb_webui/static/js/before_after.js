// What differs, as rows with what was before and what came after.

import { html, useState } from "../vendor/preact-htm.js";
import { formatCount } from "./format.js";
import { Long } from "./values.js";

/** @typedef {[name: string, before: any, after: any]} Row `undefined` where there is none */

const AT_FIRST = 200;

/** @param {{title: string, note?: string, rows: Row[], shown?: (value: any) => unknown}} props */
export function BeforeAfter({ title, note = "", rows, shown = (value) => html`<${Long} value=${value} />` }) {
  const [most, setMost] = useState(AT_FIRST);
  if (!rows.length && !note) return null;
  /** @param {any} value */
  const cell = (value) => (value === undefined || value === null ? null : shown(value));
  return html`<section class="block" aria-label=${title}><h2>${title} <span class="count">${note || formatCount(rows.length)}</span></h2>
    ${rows.length ? html`<table class="plain even"><thead><tr><th>What</th><th>Before</th><th>After</th></tr></thead><tbody>${rows.slice(0, most).map(([name, before, after]) => html`<tr key=${name}><td>${name}</td><td class="del">${cell(before)}</td><td class="add">${cell(after)}</td></tr>`)}</tbody></table>` : null}
    ${rows.length > most ? html`<button class="button small" onClick=${() => setMost(most + 1000)}>Show ${formatCount(rows.length - most)} more</button>` : null}</section>`;
}
