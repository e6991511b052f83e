// The head of the page of an entity: its name, description and tags, edited where they stand; what is known first; deleting.

import { html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { askToDelete, EditableTags, EditableText } from "./edits.js";
import { icon } from "./icons.js";
import { toast } from "./overlays.js";
import { kindOf, titleOf } from "./schema.js";
import { Copy, Tags } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {{entity: Entity, mark?: unknown, facts: [string, unknown][], load: () => Promise<unknown>}} HeadProps `mark` stands beside the name */

/** @param {HeadProps} props */
export function EntityHead({ entity, mark, facts, load }) {
  const { path, words } = /** @type {import("./types").Kind} */ (kindOf(entity.kind));
  const id = entity.entity_id;
  const title = html`<h1>${titleOf(entity)}</h1>`;
  /** @param {{name?: string, description?: string}} change */
  const edit = (change) => api.edit(path, id, change).then(load);
  const restore = () => api.restore(path, id).then(load, (error) => toast(error.message, true));
  const shown = [...facts, ["Id", html`<span class="row"><code title=${id}>${id.slice(0, 8)}…${id.slice(-4)}</code><${Copy} text=${id} label="Copy the id" /></span>`]].filter(([, value]) => value);
  return html`<header class="run-head"><div class="run-title">${entity.deleted_at ? title : html`<${EditableText} label=${`Rename the ${words}`} value=${entity.name} empty=${titleOf(entity)} shown=${title} save=${(/** @type {string} */ name) => edit({ name })} />`}${mark}
      ${entity.deleted_at ? html`<${Tags} tags=${entity.tags} /><span class="badge failed">deleted</span><button class="button small" onClick=${restore}>Restore</button>` : html`<${EditableTags} kinds=${path} entity=${entity} onChange=${load} /><span class="grow"></span><button class="button quiet small" onClick=${() => askToDelete(path, entity, load)}>${icon("remove")}Delete</button>`}</div>
    <dl class="facts">${shown.map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>
    ${entity.deleted_at ? html`<p class="muted">${entity.description}</p>` : html`<${EditableText} label=${`Describe the ${words}`} long=${true} value=${entity.description ?? ""} empty="No description" shown=${html`<p class="muted description">${entity.description}</p>`} save=${(/** @type {string} */ description) => edit({ description })} />`}</header>`;
}
