// A table of entities of one kind, any kind and any number: a filter, columns to choose, rows that follow what changes.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { cellOf, linesOf } from "./cells.js";
import { headOf } from "./column_menu.js";
import { fieldsOf, guessColumns, recallColumns, rememberColumns } from "./columns.js";
import { filterOf } from "./completion.js";
import { follow } from "./events.js";
import { FilterBox, FilterError } from "./filter_box.js";
import { plural } from "./format.js";
import { Grid } from "./grid.js";
import { icon } from "./icons.js";
import { bind } from "./keyboard.js";
import { Names } from "./names.js";
import { lazily } from "./overlays.js";
import { Rows } from "./rows.js";
import { columnKeys, pageOf } from "./schema.js";
import { parameter, setParameters } from "./storage.js";
import { debounce, inTurn } from "./timing.js";
import { Problem } from "./values.js";

/** @typedef {import("./types").Column} Column */
/** @typedef {import("./types").Entity} Entity */
/**
 * @typedef {object} TableProps
 * @property {import("./types").Kind} kind
 * @property {string} place under which the reader's columns are kept
 * @property {import("./rows.js").Among} [among] which entities of the kind; all without it
 * @property {string} [order] before the reader chooses one; the newest first without it
 * @property {string[]} [without] columns that say the same in every row
 * @property {{label: string, act: (ids: string[]) => void}} [two] what can be done with two rows
 * @property {unknown} [empty] shown where there are none
 */

const NARROW = matchMedia("(max-width: 760px)");
const SAMPLE = 8;
const KEYS = 2000;

/** @extends {Component<TableProps, any>} */
export class EntityTable extends Component {
  /** @param {TableProps} props */
  constructor(props) {
    super(props);
    const { kind, place } = props;
    this.rows = new Rows(kind.path, () => this.touch());
    this.rows.failed = (error) => this.setState({ error });
    this.names = new Names(() => this.touch());
    /** @type {Set<string>} identifiers of what has changed */
    this.waiting = new Set();
    /** The last question. */
    this.asked = {};
    /** @type {(() => unknown)[]} */
    this.ends = [];
    this.state = {
      columns: /** @type {Column[] | null} */ (recallColumns(place)), filter: parameter("filter"), order: parameter("order"), picked: /** @type {string[]} */ ([]),
      error: null, wrong: null, ready: false, current: -1, revision: 0, fresh: /** @type {string[]} */ ([]), narrow: NARROW.matches,
    };
    this.refreshSoon = debounce(inTurn(() => this.refresh()), 250);
  }

  componentDidMount() {
    const turned = () => this.setState({ narrow: NARROW.matches });
    NARROW.addEventListener("change", turned);
    const { kind, two } = this.props;
    const here = () => this.rows.at(this.state.current);
    const open = () => here() && (location.href = pageOf(kind.kind, /** @type {Entity} */ (here()).entity_id));
    this.ends = [
      () => NARROW.removeEventListener("change", turned),
      follow((changed, all) => this.changed(changed, all)),
      bind("/", "Filter", () => this.box?.focus()),
      bind("j", `Next ${kind.words}`, () => this.move(1)),
      bind("k", `Previous ${kind.words}`, () => this.move(-1)),
      bind("ArrowDown", "", () => this.move(1)),
      bind("ArrowUp", "", () => this.move(-1)),
      bind("o", `Open the ${kind.words}`, open),
      bind("Enter", "", open),
      ...(two ? [bind("x", `Select the ${kind.words}, or clear it`, () => here() && this.toggle(/** @type {Entity} */ (here()).entity_id)), bind("c", `${two.label} the two that are selected`, this.act)] : []),
    ];
    void this.search();
  }

  componentWillUnmount() {
    for (const end of this.ends) end();
  }

  touch() {
    this.setState((/** @type {any} */ state) => ({ revision: state.revision + 1 }));
  }

  /** @param {number} by */
  move(by) {
    const current = Math.max(0, Math.min(this.rows.count - 1, this.state.current + by));
    this.setState({ current });
    this.grid?.reveal(current);
  }

  /** Asks again; what was there stays until the answer comes. @param {{filter?: string, order?: string}} [change] @param {boolean} [still] whether to stay where the reader is */
  async search(change = {}, still = false) {
    const { kind, among = {}, order: usual = "" } = this.props;
    this.setState(change);
    const { filter, order, columns } = { ...this.state, ...change };
    const asked = (this.asked = {});
    try {
      const shown = columns ?? (await this.firstColumns());
      if (asked !== this.asked) return; // another question has taken its place
      await this.rows.start({ filter: filterOf(filter), order: order || usual, among, fields: [...new Set(shown.flatMap(fieldsOf))] });
      this.setState((/** @type {any} */ state) => ({ columns: state.columns ?? shown, error: null, wrong: null, ready: true, fresh: [], revision: state.revision + 1, ...(still ? {} : { current: -1 }) }));
      if (this.grid?.root && !still) this.grid.root.scrollTop = 0;
      setParameters({ filter, order });
    } catch (/** @type {any} */ error) {
      if (error.name === "AbortError") return;
      const isFilter = error.status === 400 && error.part !== "order";
      this.setState((/** @type {any} */ state) => ({ ...(isFilter ? { wrong: error } : { error }), ready: true, columns: state.columns ?? guessColumns(kind, [], this.props.without) }));
    }
  }

  async firstColumns() {
    const { kind, among, without } = this.props;
    const sample = kind.listed.length ? (await api.find(kind.path, { ...among, limit: SAMPLE, fields: kind.listed.join(",") })).items : [];
    return guessColumns(kind, sample, without);
  }

  /** @param {import("./types").ChangeNotice[]} changed @param {boolean} all */
  changed(changed, all) {
    if (all) void this.search({}, true);
    for (const { kind, entity_id: id } of changed) if (kind === this.props.kind.kind) this.waiting.add(id);
    if (this.waiting.size) this.refreshSoon();
  }

  async refresh() {
    const ids = this.waiting;
    this.waiting = new Set();
    const atTop = (this.grid?.root?.scrollTop ?? 0) < 4;
    if (this.rows.among === null) return;
    if (atTop) {
      await this.search({}, true);
      return;
    }
    const fresh = await this.rows.refresh(ids).catch(() => []);
    this.setState((/** @type {any} */ state) => ({ fresh: [...new Set([...state.fresh, ...fresh])], revision: state.revision + 1 }));
  }

  /** @param {Column[]} columns */
  setColumns = (columns) => {
    rememberColumns(this.props.place, columns);
    this.setState((/** @type {any} */ state) => ({ columns, revision: state.revision + 1 }));
  };

  resetColumns = () => {
    rememberColumns(this.props.place, []);
    this.setState({ columns: null }, () => this.search({}, true));
  };

  setOrder = (/** @type {string} */ order) => this.search({ order });

  keys = () => api.findKeys({ kind: this.props.kind.kind, limit: KEYS });

  fields = async () => [...columnKeys(this.props.kind), ...(await this.keys())];

  /** At most two are selected: another one takes the place of the first. @param {string} id */
  toggle(id) {
    const { picked } = this.state;
    this.setState({ picked: picked.includes(id) ? picked.filter((/** @type {string} */ other) => other !== id) : [...picked, id].slice(-2) });
    this.touch();
  }

  act = () => this.state.picked.length === 2 && this.props.two?.act(this.state.picked);

  picked = (/** @type {number} */ index) => {
    const row = this.rows.at(index);
    this.setState({ current: index });
    if (row && this.props.two) this.toggle(row.entity_id);
  };

  /** @param {TableProps} props @param {any} state */
  render({ kind, two }, state) {
    const { columns, filter, wrong, error, ready, picked, fresh } = state;
    return html`<div class="entity-table"><div class="toolbar">
        <${FilterBox} ref=${(/** @type {any} */ box) => (this.box = box)} text=${filter} what=${kind.words} keys=${this.fields} names=${{}} bad=${Boolean(wrong)} onChange=${(/** @type {string} */ text) => this.search({ filter: text })} />
        <button class="button wide" onClick=${() => lazily(import("./column_dialog.js"), ({ openColumns }) => openColumns(kind, columns ?? [], this.keys, this.setColumns, this.resetColumns))}>${icon("columns")}Columns</button>
        ${two ? html`<button class="button" disabled=${picked.length < 2} title="Select two rows (x), then compare them (c)" onClick=${this.act}>${two.label}${picked.length ? ` ${picked.length}` : ""}</button>` : null}</div>
      ${wrong ? html`<${FilterError} error=${wrong} text=${filter} />` : null}
      ${error ? html`<${Problem} error=${error} retry=${() => this.search()} />` : null}
      <div class="entity-rows">${columns ? this.rowsOf(state) : null}
        ${fresh.length ? html`<button class="pill" onClick=${() => this.search()}>${plural(fresh.length, `new ${kind.words}`)}</button>` : null}</div>
      <div class="statusbar"><span aria-live="polite">${ready ? (this.rows.isCounted ? plural(this.rows.count, kind.words, kind.path.replaceAll("-", " ")) : "Counting") : "Loading"}${filter && ready && this.rows.isCounted ? " match" : ""}</span><span class="grow"></span>
        <span class="faint wide"><kbd>j</kbd> <kbd>k</kbd> move  ${two ? html`<kbd>x</kbd> select  <kbd>c</kbd> ${two.label.toLowerCase()}  ` : null}<kbd>o</kbd> open</span></div></div>`;
  }

  /** @param {any} state */
  rowsOf({ columns, order, current, revision, narrow, ready, filter, picked }) {
    const { kind, two, empty, order: usual = "" } = this.props;
    const shown = narrow ? [{ id: "list", section: "", key: "name", title: kind.words, width: Math.max(200, innerWidth - (two ? 36 : 0)), numeric: false, pinned: true }] : [...columns.filter((/** @type {Column} */ c) => c.pinned), ...columns.filter((/** @type {Column} */ c) => !c.pinned)];
    const cell = narrow ? (/** @type {Entity} */ entity) => linesOf(entity, columns, this.names.of) : (/** @type {Entity} */ entity, /** @type {Column} */ column) => cellOf(entity, column, this.names.of);
    const mark = (/** @type {Entity} */ { entity_id: id }) => html`<span title="Select"><span class=${`check ${picked.includes(id) ? "on c9" : ""}`}>${picked.includes(id) ? icon("finished") : null}</span></span>`;
    const head = { ...headOf(kind, columns, order || usual, { set: this.setColumns, order: this.setOrder }), onPickAll: () => { this.setState({ picked: [] }); this.touch(); }, pickAll: html`<span class="check"></span>`, pickTitle: "Clear the selection" };
    const nothing = filter ? html`<p>Nothing matches this filter.</p>` : empty ?? html`<p>There are none yet.</p>`;
    return html`<${Grid} ref=${(/** @type {any} */ grid) => (this.grid = grid)} label=${kind.path.replaceAll("-", " ")} columns=${shown} count=${ready ? this.rows.count : 0} rowHeight=${narrow ? 50 : 28} rowAt=${(/** @type {number} */ index) => this.rows.at(index)} cell=${cell}
      rowClass=${(/** @type {Entity} */ { entity_id: id }) => (picked.includes(id) ? "selected" : "")} pick=${two ? mark : undefined} onPick=${this.picked} current=${current} revision=${revision} empty=${ready ? nothing : null} head=${head}
      onView=${(/** @type {number} */ first, /** @type {number} */ last, /** @type {Column[]} */ seen) => this.rows.view(first, last, narrow ? columns : seen)} />`;
  }
}
