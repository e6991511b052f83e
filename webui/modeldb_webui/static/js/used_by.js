// What names an entity: a table of each kind of it.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { EntityTable } from "./entity_table.js";
import { heading, KINDS } from "./schema.js";
import { inTurn } from "./timing.js";
import { Problem } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Kind} Kind */

/** The fields by which entities of a kind name one of another kind, beside those that say what contains them. @param {Kind} kind @param {string} named */
const fieldsTo = (kind, named) => kind.fields.filter((field) => !field.container && !field.computed && [field.refers_to, ...Object.values(field.entries)].some((each) => each === named || each === "*"));

/** Which entities of a kind name an entity. @param {Kind} kind @param {Entity} entity @returns {import("./rows.js").Among} */
function amongThose(kind, entity) {
  const fields = fieldsTo(kind, entity.kind);
  return { linked: `${entity.kind}:${entity.entity_id}`, link_field: fields.length === 1 ? fields[0].name : undefined };
}

/** How many entities of each kind name an entity; kinds of which none does are left out. @param {Entity} entity @returns {Promise<{kind: Kind, count: number}[]>} */
export async function countUses(entity) {
  const kinds = KINDS.filter((kind) => fieldsTo(kind, entity.kind).length);
  const pages = await Promise.all(kinds.map((kind) => api.find(kind.path, { ...amongThose(kind, entity), limit: 1, count: 1, fields: "name" })));
  return kinds.map((kind, at) => ({ kind, count: pages[at].total ?? 0 })).filter(({ count }) => count);
}

/** @extends {Component<{entity: Entity, revision: number}, any>} */
export class UsedBy extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { uses: null, chosen: "", error: null };
  }

  componentDidMount() {
    void this.load();
  }

  /** @param {any} before */
  componentDidUpdate(before) {
    if (before.revision !== this.props.revision) void this.load();
  }

  load = inTurn(() => countUses(this.props.entity).then((uses) => this.setState({ uses, error: null }), (error) => this.setState({ error })));

  /** @param {any} props @param {any} state */
  render({ entity }, { uses, chosen, error }) {
    if (error) return html`<div class="tab"><${Problem} error=${error} retry=${this.load} /></div>`;
    if (!uses) return html`<div class="tab"></div>`;
    if (!uses.length) return html`<div class="tab muted">Nothing that is recorded names it.</div>`;
    const { kind } = uses.find((/** @type {{kind: Kind}} */ use) => use.kind.kind === chosen) ?? uses[0];
    return html`${uses.length > 1 ? html`<div class="toolbar"><span class="segments" role="group" aria-label="Which kind">${uses.map((/** @type {{kind: Kind, count: number}} */ use) => html`<button key=${use.kind.kind} class="button" aria-pressed=${use.kind === kind} onClick=${() => this.setState({ chosen: use.kind.kind })}>${heading(use.kind.path.replaceAll("-", " "))} ${use.count.toLocaleString("en-US")}</button>`)}</span></div>` : null}
      <${EntityTable} key=${kind.kind} kind=${kind} place=${`used.${kind.kind}`} among=${amongThose(kind, entity)} />`;
  }
}
