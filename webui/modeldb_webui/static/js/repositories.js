// What repositories and their commits have beside other entities: the log of a branch, what a commit holds, and what differs.

import { html, useState } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { BeforeAfter } from "./before_after.js";
import { flatten, Patch } from "./diff.js";
import { Facts } from "./facts.js";
import { formatCount } from "./format.js";
import { pageOf, titleOf } from "./schema.js";
import { parameter, setParameters } from "./storage.js";
import { Ago, Problem, useAnswer } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {{part: string[], status: string, before?: any, after?: any}} Part */
/** @typedef {{location: string, status: string, kind: string, parts: Part[]}} Difference */

const PAGE = 1000;
const LOG_PAGE = 200;

/** @param {string} id @param {string} path @param {import("./api.js").Params} params */
const ask = (id, path, params) => api.request(`/repositories/${id}/${path}`, { params });

/** The last commits that lead to a revision, page by page. @param {string} id @param {string} revision @param {number} most */
async function log(id, revision, most) {
  const items = [];
  let cursor = "";
  do {
    const page = await ask(id, "log", { revision, cursor, limit: LOG_PAGE });
    items.push(...page.items);
    cursor = page.cursor;
  } while (cursor && items.length < most);
  return { items, more: Boolean(cursor) };
}

/** The commits that lead to a branch or tag, the newest first. @param {{entity: Entity, revision: number}} props */
export function Log({ entity, revision }) {
  const names = [...Object.keys(entity.branches ?? {}), ...Object.keys(entity.commit_tags ?? {})];
  const [chosen, setChosen] = useState(parameter("revision") || (names.includes("main") ? "main" : names[0] ?? ""));
  const [pages, setPages] = useState(1);
  const { value, error } = useAnswer(() => (chosen ? log(entity.entity_id, chosen, pages * LOG_PAGE) : Promise.resolve({ items: [], more: false })), [chosen, pages, revision]);
  if (!names.length) return html`<div class="tab muted">Nothing has been committed yet.</div>`;
  const choose = (/** @type {any} */ event) => { setParameters({ revision: event.target.value }); setPages(1); setChosen(event.target.value); };
  return html`<div class="tab"><div class="row"><select class="input" aria-label="Branch or tag" value=${chosen} onChange=${choose}>${names.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></div>
    ${error ? html`<${Problem} error=${error} />` : null}
    ${value ? html`<div class="scroll-x" tabindex="0" role="region" aria-label="Commits"><table class="plain"><thead><tr><th>Commit</th><th>Message</th><th>Written by</th><th>When</th></tr></thead><tbody>${value.items.map((/** @type {Entity} */ commit) => html`<tr key=${commit.entity_id}><td class="tight"><code>${String(commit.digest).slice(0, 10)}</code></td><td><a class="link" href=${pageOf("commit", commit.entity_id)}>${titleOf(commit)}</a>${(commit.parent_ids ?? []).length > 1 ? html` <span class="tag">merge</span>` : null}</td><td class="tight">${commit.author || commit.owner}</td><td class="when tight"><${Ago} time=${commit.authored_at ?? commit.created_at} /></td></tr>`)}</tbody></table></div>
      ${value.more ? html`<p><button class="button" onClick=${() => setPages(pages + 1)}>Show more</button></p>` : null}` : null}</div>`;
}

/** What a commit holds at a location. @param {{entity: Entity, location: string}} props */
export function BlobView({ entity, location }) {
  const { value, error } = useAnswer(() => ask(entity.repository_id, "blob", { revision: entity.entity_id, path: location }), []);
  if (error) return html`<${Problem} error=${error} />`;
  if (!value) return null;
  const { diff, ...rest } = value;
  return html`<${Facts} title=${location} map=${Object.fromEntries(flatten(rest))} />${typeof diff === "string" && diff ? html`<${Patch} text=${diff} label="Changes that were not committed" />` : null}`;
}

/** What differs between two commits, or between one and its first parent. @param {{repository: string, before?: string, after: string}} props */
export function Differences({ repository, before, after }) {
  const { value, error } = useAnswer(() => ask(repository, "diff", { before, after, limit: PAGE }), [before, after]);
  if (error) return html`<${Problem} error=${error} />`;
  if (!value) return null;
  if (!value.items.length) return html`<p class="muted">They hold the same.</p>`;
  return html`${value.items.map((/** @type {Difference} */ { location, status, kind, parts }) => html`<${BeforeAfter} key=${location} title=${location} note=${`${status}, ${kind}`} rows=${parts.map(({ part, before, after }) => [part.join(".") || "content", before, after])} />`)}
    ${value.is_cut ? html`<p class="notice">More than ${formatCount(PAGE)} locations differ: the first of them are shown.</p>` : null}`;
}
