// Differences: of code, as git writes them, and of lists and texts of two or more runs.

import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { untagged } from "./format.js";

const LINES_AT_FIRST = 2000;

/** @param {string} line */
function kindOf(line) {
  if (/^(diff --git|index |--- |\+\+\+ |new file|deleted file|similarity|rename |old mode|new mode|Binary )/.test(line)) return "file";
  if (line.startsWith("@@")) return "hunk";
  if (line.startsWith("+")) return "add";
  return line.startsWith("-") ? "del" : "";
}

/** A patch with its lines coloured. @param {{text: string, label?: string}} props */
export function Patch({ text, label = "Changes" }) {
  const lines = useMemo(() => text.replace(/\n$/, "").split("\n"), [text]);
  const [most, setMost] = useState(LINES_AT_FIRST);
  return html`<div class="code" tabindex="0" role="region" aria-label=${label}>${lines.slice(0, most).map((line, index) => html`<div key=${index} class=${kindOf(line)}>${line}</div>`)}
    ${lines.length > most ? html`<button class="button small" onClick=${() => setMost(most * 10)}>Show ${lines.length - most} more lines</button>` : null}</div>`;
}

/** @param {string} text @returns {{files: number, added: number, removed: number}} */
export function patchSize(text) {
  let files = 0, added = 0, removed = 0;
  for (const line of text.split("\n")) {
    const kind = kindOf(line);
    if (line.startsWith("diff --git") || (kind === "file" && line.startsWith("+++ ") && !text.includes("diff --git"))) files += 1;
    if (kind === "add") added += 1;
    if (kind === "del") removed += 1;
  }
  return { files, added, removed };
}

/**
 * Maps of maps as one map, with dotted keys: for comparing them line by line. Lists of short values stay whole.
 * @param {any} value @param {string} [prefix] @param {Map<string, any>} [into]
 */
export function flatten(value, prefix = "", into = new Map()) {
  const tagged = value !== null && typeof value === "object" && ("$float" in value || "$int" in value || "$blob" in value);
  if (value !== null && typeof value === "object" && !Array.isArray(value) && !tagged && Object.keys(value).length) {
    for (const [key, item] of Object.entries(value)) flatten(item, prefix ? `${prefix}.${untagged(key)}` : untagged(key), into);
  } else if (prefix) into.set(prefix, value);
  return into;
}

/** Whether two values are the same, to the last bit that JSON carries. @param {unknown} a @param {unknown} b */
export function same(a, b) {
  return a === b || JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

/** @param {any} value @returns {any} */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value === undefined ? null : value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}
