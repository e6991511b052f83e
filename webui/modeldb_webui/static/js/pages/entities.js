// All entities of one kind, whichever it is: the columns are those that the server says the kind has.

import { Component, html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { lookUp } from "../columns.js";
import { filterOf } from "../completion.js";
import { FilterBox, FilterError } from "../filter_box.js";
import { formatCount } from "../format.js";
import { pageId, setPlace, showPlace, startFrame } from "../frame.js";
import { parameter, setParameters } from "../storage.js";
import { Ago, Problem, Short, Tags } from "../values.js";

/** @typedef {import("../types").Entity} Entity */
/** @typedef {import("../types").Kind} Kind */

const PAGE = 100;
const KEYS = 2000;
/** Columns that are shown at the end, where there is room. */
const COMMON = ["owner", "created_at", "updated_at"];

/** The columns of a kind that its entities hold themselves. @param {Kind} kind */
function columnsOf({ columns, fields }) {
  const own = columns.filter(({ name }) => fields.some((field) => field.name === name) && ![...COMMON, "name", "description", "deleted_at"].includes(name));
  const common = columns.filter(({ name }) => COMMON.includes(name));
  return [...own, ...common];
}

/** @extends {Component<{}, any>} */
class Entities extends Component {
  constructor() {
    super({});
    this.state = { kind: /** @type {Kind | null} */ (null), items: /** @type {Entity[]} */ ([]), cursor: null, total: 0, error: null, wrong: null, filter: parameter("filter"), order: parameter("order") };
  }

  componentDidMount() {
    void this.begin();
  }

  begin = async () => {
    try {
      const kind = (await api.kinds()).find(({ path }) => path === pageId);
      if (!kind) throw new api.ApiError(`There is no kind of entities ${pageId}.`, "not_found", 404);
      setPlace([{ label: "Projects", href: api.BASE }, { label: title(kind) }]);
      this.setState({ kind, error: null }, () => this.load(true));
    } catch (error) {
      this.setState({ error });
    }
  };

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

  fields = () => {
    const kind = this.state.kind?.kind ?? "";
    return api.withColumns(kind, api.findKeys({ kind, limit: KEYS }));
  };

  /** @param {string} name */
  head(name) {
    const { order } = this.state;
    const falls = order === `${name} desc`;
    return html`<th key=${name} aria-sort=${order === name ? "ascending" : falls ? "descending" : "none"}>
      <button class="button quiet" onClick=${() => this.ask({ order: falls ? name : `${name} desc` })}>${name.replaceAll("_", " ")}</button></th>`;
  }

  /** @param {{}} _ @param {any} state */
  render(_, { kind, items, total, cursor, error, wrong, filter }) {
    if (error) return html`<div class="page"><${Problem} error=${error} retry=${this.begin} /></div>`;
    if (!kind) return html`<div class="page"></div>`;
    const columns = columnsOf(kind);
    return html`<div class="page"><div class="row"><h1 class="grow">${title(kind)} <span class="faint">${formatCount(total)}</span></h1></div>
      <p class="muted">${kind.summary}</p>
      <${FilterBox} text=${filter} what=${kind.words} keys=${this.fields} names=${{}} bad=${Boolean(wrong)} onChange=${(/** @type {string} */ text) => this.ask({ filter: text })} />
      ${wrong ? html`<${FilterError} error=${wrong} text=${filter} />` : null}
      <table class="plain listing"><thead><tr>${this.head("name")}${columns.map(({ name }) => this.head(name))}<th>tags</th></tr></thead>
        <tbody>${items.map((/** @type {Entity} */ item) => html`<tr key=${item.entity_id}><td class="main" title=${item.description}>${item.name || item.entity_id}</td>
          ${columns.map(({ name, type }) => html`<td key=${name}>${cell(lookUp(item, name), type)}</td>`)}<td><${Tags} tags=${item.tags} limit=${4} /></td></tr>`)}</tbody></table>
      ${items.length ? null : html`<p class="muted">Nothing is to be found here.</p>`}
      ${cursor ? html`<p><button class="button" onClick=${() => this.load(false)}>Show more</button></p>` : null}</div>`;
  }
}

/** @param {any} value @param {string} type */
function cell(value, type) {
  if (value === undefined || value === null) return null;
  return type === "time" ? html`<${Ago} time=${value} />` : html`<${Short} value=${value} />`;
}

/** @param {Kind} kind */
const title = ({ path }) => path.charAt(0).toUpperCase() + path.slice(1).replaceAll("-", " ");

startFrame();
setPlace([{ label: "Projects", href: api.BASE }]);
showPlace(html`<${Entities} />`);
