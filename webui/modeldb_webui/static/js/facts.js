// Maps as lists of names and values.

import { html, useState } from "../vendor/preact-htm.js";
import { byKey, formatCount, fullValue, untagged } from "./format.js";
import { Long } from "./values.js";

export const FILTER_FROM = 12;
export const SHOWN_AT_FIRST = 200;

/** @param {Record<string, unknown>} map @param {string} search */
export function entriesOf(map, search) {
  const wanted = search.toLowerCase();
  return Object.entries(map)
    .filter(([key, value]) => !wanted || key.toLowerCase().includes(wanted) || fullValue(value).toLowerCase().includes(wanted))
    .sort(([a], [b]) => byKey(a, b));
}

/**
 * A map as a list of names and values; a long one can be searched.
 * @param {{title: string, map?: Record<string, any>, none?: string}} props
 */
export function Facts({ title, map = {}, none = "None." }) {
  const [search, setSearch] = useState("");
  const [most, setMost] = useState(SHOWN_AT_FIRST);
  const count = Object.keys(map).length;
  const entries = entriesOf(map, search);
  return html`<section class="block" aria-label=${title}><h2>${title} <span class="count">${count ? formatCount(count) : ""}</span>
      ${count > FILTER_FROM ? html`<input class="input small" type="search" placeholder="Find" aria-label=${`Find in ${title}`} value=${search} onInput=${(/** @type {any} */ event) => setSearch(event.target.value)} />` : null}</h2>
    ${entries.length ? html`<table class="plain"><tbody>${entries.slice(0, most).map(([key, value]) => html`<tr key=${key}><td class="key">${key === "" ? html`<span class="special">empty</span>` : untagged(key)}</td><td><${Long} value=${value} /></td></tr>`)}</tbody></table>` : html`<p class="none">${search ? "Nothing found." : none}</p>`}
    ${entries.length > most ? html`<button class="button small" onClick=${() => setMost(most + 1000)}>Show ${formatCount(entries.length - most)} more</button>` : null}</section>`;
}
