// Choosing the columns of a table, from any number of keys.

import { Component, html } from "../vendor/preact-htm.js";
import { allColumns, groupTitle } from "./columns.js";
import { formatCount } from "./format.js";
import { close, openDialog } from "./overlays.js";

/** @typedef {import("./types").Column} Column */

const LINE = 26;
const SPARE = 10;

/**
 * @param {import("./types").Kind} kind of the entities
 * @param {Column[]} columns those that are shown
 * @param {() => Promise<import("./types").KeyInfo[]>} keys
 * @param {(columns: Column[]) => void} onChange
 * @param {() => void} onReset
 */
export function openColumns(kind, columns, keys, onChange, onReset) {
  openDialog("Columns", html`<${Chooser} kind=${kind} columns=${columns} keys=${keys} onChange=${onChange} onReset=${onReset} />`);
}

/** @extends {Component<any, any>} */
class Chooser extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { columns: props.columns, all: allColumns(props.kind, []), search: "", top: 0, error: null };
  }

  componentDidMount() {
    this.props.keys().then((/** @type {any} */ keys) => this.setState({ all: allColumns(this.props.kind, keys) }), (/** @type {any} */ error) => this.setState({ error }));
  }

  /** @param {Column[]} columns */
  set(columns) {
    this.setState({ columns });
    this.props.onChange(columns);
  }

  /** @param {Column} column */
  toggle(column) {
    const { columns } = this.state;
    if (columns.some((/** @type {Column} */ { id }) => id === column.id)) this.set(columns.filter((/** @type {Column} */ { id }) => id !== column.id));
    else {
      // Beside the others of its group.
      const at = columns.findLastIndex((/** @type {Column} */ { section }) => section === column.section);
      this.set(at < 0 ? [...columns, column] : [...columns.slice(0, at + 1), column, ...columns.slice(at + 1)]);
    }
  }

  /** @param {any} _ @param {any} state */
  render({ kind }, { columns, all, search, top, error }) {
    const wanted = search.toLowerCase();
    const shown = new Set(columns.map((/** @type {Column} */ { id }) => id));
    const found = all.filter((/** @type {Column} */ { id, title }) => `${id} ${title}`.toLowerCase().includes(wanted));
    const first = Math.max(0, Math.floor(top / LINE) - SPARE);
    const part = found.slice(first, first + 60);
    return html`<div class="body row"><input class="input grow" type="search" placeholder="Find a column" aria-label="Find a column" value=${search} onInput=${(/** @type {any} */ event) => this.setState({ search: event.target.value, top: 0 })} />
        <button class="button" disabled=${!found.length} onClick=${() => this.set([...columns, ...found.filter((/** @type {Column} */ { id }) => !shown.has(id))])}>Show ${search ? "these" : "all"} ${formatCount(found.length)}</button>
        <button class="button" onClick=${() => this.set(columns.filter((/** @type {Column} */ { id }) => id === "name" || !found.some((/** @type {Column} */ other) => other.id === id)))}>Hide ${search ? "these" : "all"}</button></div>
      <div class="chooser"><div class="list" tabindex="0" role="group" aria-label="Columns" onScroll=${(/** @type {any} */ event) => this.setState({ top: event.currentTarget.scrollTop })}>
        <div style=${{ height: `${found.length * LINE}px` }}></div>
        ${part.map((/** @type {any} */ column, /** @type {number} */ index) => html`<label key=${column.id} style=${{ top: `${(first + index) * LINE}px` }}><input type="checkbox" checked=${shown.has(column.id)} onChange=${() => this.toggle(column)} />
          <span class="cut">${column.title}</span><span class="in">${groupTitle(kind, column.section)}${column.count ? `, in ${formatCount(column.count)}${column.sample ? ` of the newest ${formatCount(column.sample)}` : ""}` : ""}</span></label>`)}
        ${error ? html`<p class="notice bad">${error.message}</p>` : null}</div></div>
      <div class="body row"><span class="grow faint">Drag a column's head to move it, its edge to size it.</span><button class="button" onClick=${() => { this.props.onReset(); close(); }}>Reset</button><button class="button primary" onClick=${close}>Done</button></div>`;
  }
}
