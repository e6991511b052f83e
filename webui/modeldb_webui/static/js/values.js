// Shows values of any type. User text only ever becomes text nodes.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { exactTime, formatAgo, formatValue, fullValue, isNumeric, toNumber } from "./format.js";
import { icon } from "./icons.js";

/** A value in one line, the whole of it on hover. @param {{value: unknown, measured?: boolean}} props */
export function Short({ value, measured }) {
  const text = formatValue(value, measured);
  const special = value === null || (isNumeric(value) && !Number.isFinite(toNumber(value)));
  return html`<span class=${special ? "special" : ""} title=${fullValue(value)}>${text.length > 300 ? `${text.slice(0, 300)}…` : text}</span>`;
}

/** A value as large as it needs to be: maps and lists can be opened. @param {{value: any}} props */
export function Long({ value }) {
  if (value !== null && typeof value === "object" && !isNumeric(value) && !("$blob" in value)) {
    const text = fullValue(value, 2);
    if (text.length <= 80) return html`<span class="json">${fullValue(value)}</span>`;
    const count = Array.isArray(value) ? `list of ${value.length}` : `map of ${Object.keys(value).length}`;
    return html`<details class="json" open=${text.length < 600}><summary>${count}</summary>${text}</details>`;
  }
  if (typeof value === "string") return html`<${LongText} text=${value} />`;
  return html`<${Short} value=${value} />`;
}

/** @param {{text: string}} props */
function LongText({ text }) {
  const [open, setOpen] = useState(false);
  if (text === "") return html`<span class="special">empty text</span>`;
  if (open || text.length <= 600) return html`<span>${text}</span>`;
  return html`<span>${text.slice(0, 500)}… <button class="button small" onClick=${() => setOpen(true)}>show all ${text.length.toLocaleString("en-US")} characters</button></span>`;
}

/** @param {{time?: string | null}} props */
export const Ago = ({ time }) => (time ? html`<time datetime=${time} title=${exactTime(time)}>${formatAgo(time)}</time>` : null);

/** @param {{tags?: string[], limit?: number}} props */
export const Tags = ({ tags = [], limit = 99 }) =>
  tags.length ? html`<span class="tags" title=${tags.join(", ")}>${tags.slice(0, limit).map((tag) => html`<span class="tag" key=${tag}>${tag}</span>`)}
    ${tags.length > limit ? html`<span class="faint">+${tags.length - limit}</span>` : null}</span>` : null;

/** @param {{text: string, label?: string}} props */
export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard?.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1200);
  };
  return html`<button class="button quiet small icon" title=${label} aria-label=${done ? "Copied" : label} onClick=${copy}>${icon(done ? "finished" : "copy")}</button>`;
}

/** @param {{error: any, retry?: () => void}} props */
export const Problem = ({ error, retry }) =>
  html`<div class="notice bad" role="alert"><div class="grow">${error.message ?? String(error)}</div>
    ${retry ? html`<button class="button small" onClick=${retry}>Try again</button>` : null}</div>`;

/** Code that a reader can take along. @param {{code: string}} props */
export const Snippet = ({ code }) => html`<div class="snippet" tabindex="0" role="group" aria-label="Code">${code}<${Copy} text=${code} /></div>`;

/** A part of a page whose script is loaded now that it is shown; it is given the other properties. @param {{load: () => Promise<any>, [name: string]: any}} props */
export function Later({ load, ...rest }) {
  const [part, setPart] = useState(/** @type {any} */ ({}));
  useEffect(() => void load().then((shown) => setPart({ shown }), (error) => setPart({ error })), []);
  if (part.error) return html`<div class="tab"><${Problem} error=${part.error} /></div>`;
  return part.shown ? html`<${part.shown} ...${rest} />` : html`<div class="tab"></div>`;
}

/** Asks again when what it depends on changes. @template T @param {() => Promise<T>} load @param {unknown[]} needs @returns {{value?: T, error?: any}} */
export function useAnswer(load, needs) {
  const [answer, setAnswer] = useState(/** @type {{value?: T, error?: any}} */ ({}));
  useEffect(() => {
    let isWanted = true;
    load().then((value) => isWanted && setAnswer({ value }), (error) => isWanted && setAnswer({ error }));
    return () => void (isWanted = false);
  }, needs);
  return answer;
}
