// The content tree of an entity, folder by folder: what a commit or a version of a data set consists of.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { formatCount, formatSize } from "./format.js";
import { kindOf } from "./schema.js";
import { parameter, setParameters } from "./storage.js";
import { Problem } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {{location: string, entry: Record<string, any> | null}} Item an entry, or a folder */
/** @typedef {{entity: Entity, field: string, view?: (location: string, entity: Entity) => unknown}} FoldersProps `view` shows what lies at a location */

const PAGE = 500;

/** @param {Record<string, any>} entry */
const noteOf = (entry) => (entry.size_bytes === undefined ? entry.kind : formatSize(Number(entry.size_bytes)));

/** @extends {Component<FoldersProps, any>} */
export class Folders extends Component {
  /** @param {FoldersProps} props */
  constructor(props) {
    super(props);
    this.state = { path: parameter("path"), items: null, cursor: null, count: 0, error: null };
  }

  componentDidMount() {
    if (this.props.entity[this.props.field]) void this.load();
  }

  /** The folder that is open; empty at the top. */
  folder = () => this.state.path.slice(0, Math.max(0, this.state.path.lastIndexOf("/")));

  /** @param {string | null} [after] */
  async load(after = null) {
    const { entity, field } = this.props;
    const folder = this.folder();
    // An empty folder is the top, and not what nobody asked for.
    const query = new URLSearchParams({ field, folder, limit: String(PAGE), ...(after ? { after } : {}) });
    try {
      const page = await api.request(`/${kindOf(entity.kind)?.path}/${entity.entity_id}/tree?${query}`);
      if (folder !== this.folder() || (after && after !== this.state.cursor)) return; // another folder is open, or these have come
      this.setState({ items: after ? [...(this.state.items ?? []), ...page.items] : page.items, cursor: page.cursor, count: page.count, error: null });
    } catch (error) {
      if (folder === this.folder()) this.setState({ error });
    }
  }

  /** @param {string} path a folder ends with a slash */
  open(path) {
    const before = this.folder();
    setParameters({ path });
    this.setState({ path }, () => before !== this.folder() && this.load());
  }

  /** @param {FoldersProps} props @param {any} state */
  render({ entity, field, view }, { path, items, cursor, count, error }) {
    if (!entity[field]) return html`<div class="tab muted">It does not consist of files.</div>`;
    const folder = this.folder();
    const steps = folder.split("/").filter(Boolean);
    /** @param {string} to @param {string} label */
    const link = (to, label) => html`<button class="button quiet small" onClick=${() => this.open(to)}>${label}</button>`;
    /** @param {Item} item */
    const row = ({ location, entry }) => {
      const name = folder ? location.slice(folder.length + 1) : location;
      return html`<tr key=${location}><td>${entry === null ? link(`${location}/`, `${name}/`) : view ? link(location, name) : name}</td><td class="muted num">${entry && noteOf(entry)}</td></tr>`;
    };
    return html`<div class="tab"><div class="row wrap">${link("", "All")}${steps.map((/** @type {string} */ step, /** @type {number} */ at) => html`<span key=${at} class="row">/ ${link(`${steps.slice(0, at + 1).join("/")}/`, step)}</span>`)}<span class="muted">${items ? `${formatCount(count)} in all` : ""}</span></div>
      ${error ? html`<${Problem} error=${error} retry=${() => this.load()} />` : null}
      <div class=${view ? "columns" : ""}><div>${!items ? null : items.length ? html`<table class="plain"><tbody>${items.map(row)}</tbody></table>` : html`<p class="muted">There is nothing in it.</p>`}
        ${cursor ? html`<p><button class="button" onClick=${() => this.load(cursor)}>Show more</button></p>` : null}</div>
      ${view && path && !path.endsWith("/") ? html`<div key=${path}>${view(path, entity)}</div>` : null}</div></div>`;
  }
}
