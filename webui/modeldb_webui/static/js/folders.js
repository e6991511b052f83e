// Locations with slashes, folder by folder: what a commit or a version of a data set consists of.

import { Component, html } from "../vendor/preact-htm.js";
import { formatCount } from "./format.js";
import { parameter, setParameters } from "./storage.js";
import { Problem } from "./values.js";

/** @typedef {{location: string, note: unknown}} Item */
/** @typedef {{items: Item[], after: string | null}} ItemPage */
/**
 * @typedef {object} FoldersProps
 * @property {(prefix: string, after: string | null) => Promise<ItemPage>} load
 * @property {string} noted what the notes say
 * @property {(location: string) => unknown} [view] shows what lies at a location
 * @property {string} empty
 */

/** Folders and locations directly below a prefix. @param {Item[]} items @param {string} prefix */
export function folderOf(items, prefix) {
  /** @type {Map<string, {name: string, note: unknown, count: number}>} */
  const found = new Map();
  for (const { location, note } of items) {
    const rest = location.slice(prefix.length);
    const slash = rest.indexOf("/");
    const name = slash < 0 ? rest : rest.slice(0, slash + 1);
    const entry = found.get(name) ?? { name, note, count: 0 };
    entry.count += 1;
    found.set(name, entry);
  }
  return [...found.values()].sort((a, b) => Number(b.name.endsWith("/")) - Number(a.name.endsWith("/")) || a.name.localeCompare(b.name, "en", { numeric: true }));
}

/** @extends {Component<FoldersProps, any>} */
export class Folders extends Component {
  /** @param {FoldersProps} props */
  constructor(props) {
    super(props);
    this.state = { path: parameter("path"), items: null, after: null, error: null };
  }

  componentDidMount() {
    void this.load();
  }

  folder = () => this.state.path.slice(0, this.state.path.lastIndexOf("/") + 1);

  /** @param {boolean} [more] */
  async load(more = false) {
    const { after, items } = this.state;
    const folder = this.folder();
    try {
      const page = await this.props.load(folder, more ? after : null);
      if (folder === this.folder()) this.setState({ items: more ? [...(items ?? []), ...page.items] : page.items, after: page.after, error: null });
    } catch (error) {
      this.setState({ error });
    }
  }

  /** @param {string} path */
  open(path) {
    const before = this.folder();
    setParameters({ path });
    this.setState({ path }, () => before !== this.folder() && this.load());
  }

  /** @param {FoldersProps} props @param {any} state */
  render({ noted, view, empty }, { path, items, after, error }) {
    const folder = this.folder();
    const steps = folder.split("/").filter(Boolean);
    /** @param {string} to @param {string} label */
    const link = (to, label) => html`<button class="button quiet small" onClick=${() => this.open(to)}>${label}</button>`;
    /** @param {ReturnType<typeof folderOf>[number]} entry */
    const row = ({ name, note, count }) => html`<tr key=${name}><td>${view || name.endsWith("/") ? link(folder + name, name) : name}</td><td class="muted">${name.endsWith("/") ? `${formatCount(count)}${after ? " or more" : ""}` : note}</td></tr>`;
    return html`<div class="tab"><div class="row wrap">${link("", "All")}${steps.map((/** @type {string} */ step, /** @type {number} */ at) => html`<span key=${at} class="row">/ ${link(`${steps.slice(0, at + 1).join("/")}/`, step)}</span>`)}</div>
      ${error ? html`<${Problem} error=${error} retry=${() => this.load()} />` : null}
      <div class=${view ? "columns" : ""}><div>${!items ? null : items.length ? html`<table class="plain"><thead><tr><th>Location</th><th>${noted}</th></tr></thead><tbody>${folderOf(items, folder).map(row)}</tbody></table>` : html`<p class="muted">${empty}</p>`}
        ${after ? html`<p><button class="button" onClick=${() => this.load(true)}>Show more</button></p>` : null}</div>
      ${view && path && !path.endsWith("/") ? html`<div key=${path}>${view(path)}</div>` : null}</div></div>`;
  }
}
