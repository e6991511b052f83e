// All entities of one kind, whichever it is: the columns are those that the server says the kind has.

import { Component, html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { commonKeys, orderName, valueAt } from "../columns.js";
import { filterOf } from "../completion.js";
import { FilterBox, FilterError } from "../filter_box.js";
import { formatCount } from "../format.js";
import { pageId, setPlace, showPlace, startFrame } from "../frame.js";
import { columnKeys, fieldOf, heading, KINDS, pageOf } from "../schema.js";
import { parameter, setParameters } from "../storage.js";
import { Ago, Problem, Short, Tags } from "../values.js";

/** @typedef {import("../types").Entity} Entity */
/** @typedef {import("../types").Kind} Kind */

const PAGE = 100;
const KEYS = 2000;
/** The server has a page for each kind that it declares. */
const kind = /** @type {Kind} */ (KINDS.find(({ path }) => path === pageId));
const title = heading(kind.path.replaceAll("-", " "));
/** What the first cell of a row shows. */
const FIRST = new Set(["name", "description"]);

/** The columns of a kind that its entities hold themselves; when they were deleted, only where deleted ones are asked for. @param {Kind} kind @param {string} filter */
const columnsOf = ({ columns, fields }, filter) =>
  columns.filter(({ name }) => !FIRST.has(name) && fields.some((field) => field.name === name && !field.computed) && (name !== "deleted_at" || api.asksForDeleted(filter)));

/** @extends {Component<{}, any>} */
class Entities extends Component {
  constructor() {
    super({});
    this.state = { items: /** @type {Entity[]} */ ([]), cursor: null, total: 0, error: null, wrong: null, filter: parameter("filter"), order: parameter("order") };
  }

  componentDidMount() {
    void this.load(true);
  }

  /** @param {boolean} first */
  async load(first) {
    const { filter, order, cursor, items } = this.state;
    try {
      const page = await api.find(pageId, { filter: filterOf(filter), order_by: order, limit: PAGE, cursor: first ? null : cursor, count: 1 });
      this.setState({ items: first ? page.items : [...items, ...page.items], cursor: page.cursor, total: page.total, error: null, wrong: null });
    } catch (error) {
      this.setState(error instanceof api.ApiError && error.status === 400 ? { wrong: error } : { error });
    }
  }

  /** @param {{filter?: string, order?: string}} asked */
  ask(asked) {
    this.setState(asked, () => {
      setParameters({ filter: this.state.filter, order: this.state.order });
      void this.load(true);
    });
  }

  fields = async () => [...columnKeys(kind), ...(await api.findKeys({ kind: kind.kind, limit: KEYS }))];

  /** @param {{name: string, title: string}} column */
  head({ name, title: label }) {
    const { order } = this.state;
    const falls = order === `${name} desc`;
    return html`<th key=${name} aria-sort=${order === name ? "ascending" : falls ? "descending" : "none"}>
      <button class="button quiet" onClick=${() => this.ask({ order: falls ? name : `${name} desc` })}>${label}</button></th>`;
  }

  /** @param {{}} _ @param {any} state */
  render(_, { items, total, cursor, error, wrong, filter }) {
    if (error) return html`<div class="page"><${Problem} error=${error} retry=${() => this.load(true)} /></div>`;
    const columns = columnsOf(kind, filter);
    const keys = commonKeys(items, kind.listed);
    return html`<div class="page"><div class="row"><h1 class="grow">${title} <span class="faint">${formatCount(total)}</span></h1></div>
      <p class="muted">${kind.summary}</p>
      <${FilterBox} text=${filter} what=${kind.words} keys=${this.fields} names=${{}} bad=${Boolean(wrong)} onChange=${(/** @type {string} */ text) => this.ask({ filter: text })} />
      ${wrong ? html`<${FilterError} error=${wrong} text=${filter} />` : null}
      <table class="plain listing"><thead><tr>${[...kind.columns.filter(({ name }) => name === "name"), ...columns, ...keys.map((column) => ({ ...column, name: orderName(column) }))].map((column) => this.head(column))}<th>Tags</th></tr></thead>
        <tbody>${items.map((/** @type {Entity} */ item) => html`<tr key=${item.entity_id}><td class="main" title=${item.description}>${item.name || item.entity_id}</td>
          ${columns.map(({ name, type }) => html`<td key=${name}>${cell(item[name], type, fieldOf(kind, name)?.refers_to)}</td>`)}
          ${keys.map((column) => html`<td key=${column.id}>${cell(valueAt(item, column), "", "")}</td>`)}<td><${Tags} tags=${item.tags} limit=${4} /></td></tr>`)}</tbody></table>
      ${items.length ? null : html`<p class="muted">Nothing is to be found here.</p>`}
      ${cursor ? html`<p><button class="button" onClick=${() => this.load(false)}>Show more</button></p>` : null}</div>`;
  }
}

/** @param {any} value @param {string} type @param {string | null | undefined} target the kind of the entity that it names */
function cell(value, type, target) {
  if (value === undefined || value === null) return null;
  if (pageOf(target, value)) return html`<a class="link" href=${pageOf(target, value)}>${String(value).slice(0, 8)}</a>`;
  return type === "time" ? html`<${Ago} time=${value} />` : html`<${Short} value=${value} />`;
}

startFrame();
setPlace([{ label: "Projects", href: api.BASE }, { label: title }]);
showPlace(html`<${Entities} />`);
