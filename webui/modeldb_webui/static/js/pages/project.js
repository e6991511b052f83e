// The runs of a project: a table and charts, side by side, of one selection.

import { Component, html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { follow } from "../events.js";
import { Charts } from "../charts.js";
import { cellOf } from "../cells.js";
import { guessColumns, keyColumn, readColumns, recallColumns, rememberColumns, writeColumns, fieldsOf } from "../columns.js";
import { headOf } from "../column_menu.js";
import { filterOf } from "../completion.js";
import { DrawnRuns } from "../drawn_runs.js";
import { FilterBox, FilterError } from "../filter_box.js";
import { plural } from "../format.js";
import { pageId, setPlace, showPlace, startFrame } from "../frame.js";
import { Grid } from "../grid.js";
import { icon } from "../icons.js";
import { lazily, toast } from "../overlays.js";
import { bind } from "../keyboard.js";
import { Mark, runLines } from "../run_cells.js";
import { Rows } from "../rows.js";
import { DRAWN_AT_FIRST, MOST_SELECTED, Selection } from "../selection.js";
import { columnKeys, RUN } from "../schema.js";
import { Splitter } from "../splitter.js";
import { parameter, recall, remember, setParameters } from "../storage.js";
import { debounce, inTurn } from "../timing.js";
import { Later, Problem, Snippet } from "../values.js";

/** @typedef {import("../types").Column} Column */
/** @typedef {import("../types").Run} Run */

const NARROW = matchMedia("(max-width: 760px)");
const SAMPLE = 8;
const KEYS = 20_000;
const LONGEST = 6000;
const RETRY_MS = 3000;
const REGROUP_MS = 5000;

/** @param {(editors: typeof import("../edits.js")) => void} open */
const withEditors = (open) => lazily(import("../edits.js"), open);

const loadGroups = () => import("../run_groups.js").then(({ RunGroups }) => RunGroups);

/** @extends {Component<{}, any>} */
class Project extends Component {
  constructor() {
    super({});
    this.rows = new Rows(RUN.path, () => this.touch());
    this.rows.failed = (error) => this.setState({ error });
    this.selection = new Selection(parameter("runs").split(",").filter(Boolean));
    /** @type {ReturnType<Selection["ofGroups"]> | null} */
    this.grouping = null;
    this.drawn = new DrawnRuns(pageId);
    /** @type {Map<string, string>} */
    this.experiments = new Map();
    /** @type {Promise<import("../types").KeyInfo[]> | undefined} */
    this.keysPromise = undefined;
    /** What was asked for and is not answered yet. @type {{order?: string, experiment?: string}} */
    this.wanted = {};
    const view = NARROW.matches ? "table" : parameter("view") || recall("view", "both");
    this.state = {
      project: /** @type {import("../types").Entity | null} */ (null), filter: parameter("filter"), order: parameter("order"), experiment: parameter("experiment"), group: parameter("group"), choices: /** @type {string[]} */ ([]), columns: /** @type {Column[] | null} */ (null),
      view, left: recall("left", 54), current: -1, hot: "", revision: 0, error: null, filterError: null, missing: null, groupVersion: 0, stale: false, pending: /** @type {string[]} */ ([]), ready: false,
    };
    this.drawSoon = debounce(inTurn(() => this.loadDrawn()), 30);
    this.writeSoon = debounce(() => this.write(), 200);
    this.refreshSoon = debounce(this.refresh, 250);
    this.retrySoon = debounce(this.refresh, RETRY_MS);
    this.regroupSoon = debounce(() => this.setState({ groupVersion: this.state.groupVersion + 1 }), REGROUP_MS);
  }

  componentDidMount() {
    this.keyboard();
    void this.load();
    this.end = follow((changed, all) => this.changed(changed, all));
    NARROW.addEventListener("change", () => this.setState({ view: NARROW.matches ? "table" : "both" }));
    setInterval(() => document.hidden || this.touch(), 30_000);
    addEventListener("popstate", () => location.reload());
  }

  async load() {
    void this.loadPlace();
    await this.search();
  }

  /** The project itself, and its experiments. */
  loadPlace = inTurn(() => Promise.all([
    api.get("projects", pageId).then((project) => {
      this.setState({ project, missing: null });
      setPlace([{ label: "Projects", href: api.BASE }, { label: project.name || "Project" }]);
    }, (error) => this.setState(error.status === 404 ? { missing: error } : { error })),
    api.find("experiments", { within: pageId, limit: 500, fields: "name", order_by: "name" }).then((page) => {
      this.experiments = new Map(page.items.map((item) => [item.entity_id, item.name]));
      this.touch();
    }, () => undefined),
  ]));

  /**
   * Asks again; what was there stays until the answer comes, and so do order, arrow and address. A change that was asked for
   * and has no answer yet is part of the next question.
   * @param {boolean} [firm] whether to complain about a filter @param {{order?: string, experiment?: string}} [change] @param {boolean} [still] whether to stay where the reader is
   */
  async search(firm = true, change = {}, still = false) {
    const wanted = (this.wanted = { ...this.wanted, ...change });
    const { filter, order, experiment } = { ...this.state, ...wanted };
    try {
      const columns = this.state.columns ?? (await this.firstColumns());
      if (wanted !== this.wanted) return;
      if (!this.state.columns) this.setState({ columns });
      await this.rows.start({ filter: filterOf(filter), order, among: { within: experiment || pageId }, fields: [...new Set(/** @type {string[]} */ (columns.flatMap(fieldsOf)))] });
      this.wanted = {};
      this.setState({ ...wanted, error: null, filterError: null, ready: true, stale: false, pending: [], ...(still ? {} : { current: -1 }), revision: this.state.revision + 1 }, firm ? () => this.write() : this.writeSoon);
      if (this.grid?.root && !still) this.grid.root.scrollTop = 0;
      this.draw();
    } catch (/** @type {any} */ error) {
      if (error.name === "AbortError") return;
      this.wanted = {};
      this.setState({ ready: true, columns: this.state.columns ?? guessColumns(RUN, []) });
      const isFilter = error.code === "query_syntax" && error.part !== "order";
      if (!isFilter) this.setState({ error });
      else if (firm || this.state.filterError || !this.rows.among) this.setState({ filterError: error });
      // An order of the address that cannot be is left out, or nobody would get to the rows.
      if (!isFilter && !this.rows.among && order && error.status === 400) {
        this.setState({ order: "" });
        await this.search(firm);
        this.setState({ error });
      }
    }
  }

  /** Those of the address, the reader's own, or the ones that the newest runs suggest. */
  async firstColumns() {
    const given = readColumns(RUN, parameter("columns"));
    const kept = given.length ? given : recallColumns(pageId);
    if (kept) return kept;
    const page = await api.find("runs", { within: pageId, limit: SAMPLE, fields: RUN.listed.join(",") });
    return guessColumns(RUN, page.items);
  }

  touch() {
    this.setState((/** @type {any} */ state) => ({ revision: state.revision + 1 }));
    this.draw();
  }

  /** Makes sure that the charts have what the selection asks for. */
  draw() {
    const ids = this.drawnIds();
    if (this.drawn.missing(ids).length) this.drawSoon();
  }

  async loadDrawn() {
    if (this.state.view === "table") return;
    const ids = this.drawn.missing(this.drawnIds());
    if (!ids.length) return;
    try {
      // A run that was deleted is not drawn, and not selected where it is not in the table any more.
      const gone = await this.drawn.load(ids);
      if (!api.asksForDeleted(filterOf(this.state.filter))) for (const id of gone) if (this.selection.has(id)) this.toggle(id);
      this.touch();
    } catch (error) {
      this.setState({ error });
    }
  }

  drawnIds() {
    const ids = this.grouping ? [...this.grouping.groupOf.keys()] : this.selection.drawn(this.rows.firstIds(DRAWN_AT_FIRST));
    return ids.filter((id) => !this.drawn.gone.has(id));
  }

  /** @param {import("../run_groups.js").Group[]} groups */
  setGroups = (groups) => {
    this.grouping = this.state.group ? this.selection.ofGroups(groups, this.state.group) : null;
    this.touch();
  };

  /** @param {string} group a hyperparameter, or nothing */
  setGroup(group) {
    this.grouping = null;
    this.setState({ group }, () => { this.touch(); this.write(); });
  }

  /** @param {import("../types").ChangeNotice[]} changed @param {boolean} all */
  changed(changed, all) {
    if (all) this.lookAgain();
    for (const { kind, entity_id: id } of changed) if (kind === "run") (this.waiting ??= new Set()).add(id);
    if (changed.some(({ kind, entity_id: id }) => kind === "experiment" || (kind === "project" && id === pageId))) void this.loadPlace();
    if (this.waiting?.size) this.refreshSoon();
  }

  /** After changes that nobody listed: everything may be different. */
  lookAgain = () => {
    this.drawn.allChanged();
    this.keysPromise = undefined;
    void this.loadPlace();
    void this.search(false, {}, true);
    this.regroupSoon();
  };

  refresh = inTurn(async () => {
    const ids = this.waiting ?? new Set();
    this.waiting = new Set();
    try {
      const fresh = await this.rows.refresh(ids);
      this.drawn.changed(ids);
      const top = (this.grid?.root?.scrollTop ?? 0) < 4;
      this.regroupSoon();
      if (this.state.order) {
        // Rows that changed may belong elsewhere: they are put there at once, or when a reader who is far down says so.
        if (top) await this.search(false, {}, true);
        else this.setState({ stale: true });
      } else if (top) this.rows.admit(fresh);
      else this.setState({ pending: [...new Set([...fresh, ...this.state.pending])].filter((id) => this.rows.entities.has(id)) });
      this.touch();
    } catch {
      for (const id of ids) this.waiting.add(id);
      this.retrySoon();
    }
  });

  admit = () => {
    this.rows.admit(this.state.pending);
    this.setState({ pending: [] });
    if (this.grid?.root) this.grid.root.scrollTop = 0;
    this.touch();
  };

  write() {
    const { filter, order, experiment, columns, view } = this.state;
    const own = columns && this.chosen ? writeColumns(columns) : parameter("columns");
    // Thousands of columns are kept in the browser only: no server takes so long an address.
    setParameters({ filter, order, experiment, group: this.state.group, columns: own.length > LONGEST ? "" : own, runs: this.selection.ids.join(","), view: view === "both" || NARROW.matches ? "" : view });
  }

  /** @param {Column[]} columns */
  setColumns = (columns) => {
    this.chosen = true;
    rememberColumns(pageId, columns);
    this.setState({ columns, revision: this.state.revision + 1 }, this.writeSoon);
  };

  resetColumns = async () => {
    const page = await api.find("runs", { within: pageId, limit: SAMPLE, fields: RUN.listed.join(",") }).catch((error) => toast(error.message, true));
    if (!page) return;
    this.chosen = false;
    rememberColumns(pageId, []);
    setParameters({ columns: "" });
    this.setState({ columns: guessColumns(RUN, page.items), revision: this.state.revision + 1 });
  };

  /** @param {string} order */
  setOrder = (order) => this.search(true, { order });

  fields = async () => [...columnKeys(RUN), ...(await this.keys())];

  /** The name of what contains runs. @param {string} kind @param {string} id */
  nameOf = (kind, id) => (kind === "project" ? this.state.project?.name : this.experiments.get(id)) ?? "";

  keys = () => {
    this.keysPromise ??= api.findKeys({ kind: RUN.kind, within: pageId, limit: KEYS });
    this.keysPromise.catch(() => (this.keysPromise = undefined));
    return this.keysPromise;
  };

  /** @param {string} id */
  toggle(id) {
    if (!this.selection.has(id) && this.selection.ids.length >= MOST_SELECTED) toast(`${MOST_SELECTED} runs are selected, which is the most: the first one gave way.`);
    this.selection.toggle(id);
    this.touch();
    this.writeSoon();
  }

  picked = (/** @type {number} */ index, /** @type {MouseEvent} */ event) => {
    const run = this.rows.at(index);
    if (!run) return;
    const mark = /** @type {HTMLElement} */ (event.target).closest(".pick");
    if (event.shiftKey && this.selection.anchor >= 0) {
      const [from, to] = [Math.min(this.selection.anchor, index), Math.max(this.selection.anchor, index)];
      const ids = [];
      for (let at = from; at <= to; at += 1) ids.push(this.rows.at(at)?.entity_id);
      this.selection.add(/** @type {string[]} */ (ids.filter(Boolean)));
      if (to - from + 1 > MOST_SELECTED) toast(`${MOST_SELECTED} runs are selected, which is the most; to change more of them, edit all that match.`);
      getSelection()?.removeAllRanges();
    } else if (mark || event.ctrlKey || event.metaKey) {
      this.toggle(run.entity_id);
    }
    this.selection.anchor = index;
    this.setState({ current: index });
    this.touch();
    this.writeSoon();
  };

  pickAll = () => {
    if (this.selection.ids.length) this.selection.clear();
    else this.selection.add(this.rows.firstIds(DRAWN_AT_FIRST));
    this.touch();
    this.writeSoon();
  };

  compare = () => {
    const ids = this.selection.drawn(this.rows.firstIds(DRAWN_AT_FIRST));
    if (ids.length > 1) location.href = `${api.BASE}compare?runs=${ids.join(",")}`;
  };

  keyboard() {
    /** @param {number} by */
    const move = (by) => {
      const current = Math.max(0, Math.min(this.rows.count - 1, this.state.current + by));
      this.setState({ current });
      this.grid?.reveal(current);
    };
    const here = () => this.rows.at(this.state.current);
    const open = () => here() && (location.href = `${api.BASE}runs/${here()?.entity_id}`);
    bind("/", "Filter", () => this.box?.focus());
    bind("j", "Next run", () => move(1));
    bind("k", "Previous run", () => move(-1));
    bind("ArrowDown", "", () => move(1));
    bind("ArrowUp", "", () => move(-1));
    bind("e", "Edit the selected runs", this.edit);
    bind("x", "Select the run, or clear it", () => here() && this.toggle(/** @type {Run} */ (here()).entity_id));
    bind("Escape", "Clear the selection", () => { this.selection.clear(); this.touch(); this.writeSoon(); });
    bind("o", "Open the run", open);
    bind("Enter", "", open);
    bind("c", "Compare what is drawn", this.compare);
    bind("v", "Table, both, charts", () => this.setView({ both: "charts-only", "charts-only": "table", table: "both" }[/** @type {string} */ (this.state.view)] ?? "both"));
  }

  edit = () => withEditors(({ openRunEditor }) => {
    const { filter, experiment } = this.state;
    const total = this.rows.isCounted && !this.state.filterError ? this.rows.count : null;
    openRunEditor({ ids: this.selection.ids, filter: filterOf(filter), within: experiment || pageId, total, done: this.lookAgain });
  });

  /** A project that is not there, or not any more. @param {any} error */
  missing(error) {
    return html`<div class="empty"><h1>There is no such project</h1><p class="muted">${error.message} It may have been deleted for good, or the address may be of another store.</p><p><a class="link" href=${api.BASE}>To the projects</a></p></div>`;
  }

  showDeleted = () => this.setState({ filter: "deleted_at exists" }, () => this.search());

  restore = () => api.restore("projects", pageId).then(this.lookAgain, (error) => toast(error.message, true));

  /** @param {string} view */
  setView(view) {
    if (!NARROW.matches) remember("view", view);
    this.setState({ view }, () => { this.draw(); this.writeSoon(); });
  }

  /** @param {{}} _ @param {any} state */
  render(_, state) {
    const { filter, filterError, error, view, columns, experiment, left, ready } = state;
    if (state.missing) return this.missing(state.missing);
    const ids = this.drawnIds();
    const views = NARROW.matches ? [["table", "Runs"], ["charts-only", "Charts"]] : [["table", "Table"], ["both", "Both"], ["charts-only", "Charts"]];
    return html`<div class="toolbar">
        <${FilterBox} ref=${(/** @type {any} */ box) => (this.box = box)} text=${filter} bad=${Boolean(filterError)} keys=${this.fields} names=${{ experiment: [...this.experiments.values()] }}
          onChange=${(/** @type {string} */ text, /** @type {boolean} */ firm) => this.setState({ filter: text }, () => this.search(firm))} />
        ${this.experiments.size > 1 ? html`<select class="input facet" aria-label="Experiment" value=${experiment} onChange=${(/** @type {any} */ event) => this.search(true, { experiment: event.target.value })}>
          <option value="">All experiments</option>${[...this.experiments].map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}</select>` : null}
        <select class="input facet wide" aria-label="Group by" value=${state.group} onFocus=${this.loadChoices} onChange=${(/** @type {any} */ event) => this.setGroup(event.target.value)}>
          <option value="">Not grouped</option>${this.groupChoices().map((key) => html`<option key=${key} value=${key}>by ${key}</option>`)}</select>
        <button class="button wide" onClick=${() => lazily(import("../column_dialog.js"), ({ openColumns }) => openColumns(RUN, columns ?? [], this.keys, this.setColumns, this.resetColumns))}>${icon("columns")}Columns</button>
        <button class="button wide" disabled=${!this.rows.count} onClick=${this.edit} title="Tag, describe or delete the selected runs, or all that match (e)">${icon("edit")}Edit${this.selection.ids.length ? ` ${this.selection.ids.length}` : ""}</button>
        <button class="button" disabled=${ids.length < 2} onClick=${this.compare} title="Compare what is drawn (c)">Compare ${ids.length > 1 ? ids.length : ""}</button>
        <span class="segments" role="group" aria-label="What to show">${views.map(([name, label]) => html`<button key=${name} class="button" aria-pressed=${view === name} onClick=${() => this.setView(name)}>${label}</button>`)}</span>
      </div>
      ${state.project?.deleted_at ? html`<div class="notice">This project is deleted. <button class="button small" onClick=${this.restore}>Restore</button></div>` : null}
      ${filterError ? html`<${FilterError} error=${filterError} text=${filter} />` : null}
      ${error ? html`<${Problem} error=${error} retry=${() => this.search()} />` : null}
      <div class=${`split ${view}`} ref=${(/** @type {HTMLElement} */ element) => element?.style.setProperty("--left", `${left}%`)}>
        <div class="left">${columns ? (state.group ? this.groups(state) : this.table(state)) : null}${state.stale ? html`<button class="pill" onClick=${() => this.search(false)}>Runs have changed: sort again</button>` : state.pending.length ? html`<button class="pill" onClick=${this.admit}>${plural(state.pending.length, "new run")}</button>` : null}</div>
        <${Splitter} value=${left} onChange=${(/** @type {number} */ value) => { this.setState({ left: value }); remember("left", value); }} />
        <div class="right">${view !== "table" && ready ? html`<${Charts} runs=${this.drawn.list(ids, this.selection.slots, this.grouping)} storage=${pageId} hot=${state.hot} onHot=${this.setHot} lead=${this.lead(ids)} empty=${this.rows.count ? undefined : " "} />` : null}</div>
      </div>
      <div class="statusbar"><span aria-live="polite">${ready ? (this.rows.isCounted ? plural(this.rows.count, "run") : "Counting runs") : "Loading"}${filter && ready && this.rows.isCounted ? " match" : ""}</span>
        ${this.selection.ids.length ? html`<span>${this.selection.ids.length} selected</span><button class="button quiet small" onClick=${this.pickAll}>Clear selection</button>` : null}
        <span class="grow"></span>${api.asksForDeleted(filter) ? null : html`<button class="button quiet small" onClick=${this.showDeleted}>Deleted runs</button>`}${state.project && !state.project.deleted_at ? html`<button class="button quiet small" onClick=${() => withEditors(({ openProjectEditor }) => openProjectEditor(/** @type {import("../types").Entity} */ (state.project), this.lookAgain))}>Edit project</button>` : null}<span class="faint wide"><kbd>j</kbd> <kbd>k</kbd> move  <kbd>x</kbd> select  <kbd>o</kbd> open  <kbd>c</kbd> compare  <kbd>?</kbd> keys</span></div>`;
  }

  loadChoices = async () => {
    if (this.state.choices.length) return;
    const keys = await this.keys().catch(() => []);
    this.setState({ choices: keys.filter(({ section, value_types: types }) => section === "hyperparameters" && !types.includes("json")).map(({ key }) => key) });
  };

  /** The hyperparameters that can be grouped by, as far as they are known. */
  groupChoices() {
    const { columns, group, choices } = this.state;
    const shown = (columns ?? []).filter((/** @type {Column} */ { section }) => section === "hyperparameters").map((/** @type {Column} */ { key }) => key);
    return [...new Set([...(group ? [group] : []), ...shown, ...choices])].slice(0, 500);
  }

  /** @param {any} state */
  groups({ group, columns, filter, experiment, revision }) {
    return html`<${Later} load=${loadGroups} within=${experiment || pageId} filter=${filterOf(filter)} by=${group} columns=${columns} revision=${revision} version=${this.state.groupVersion} slots=${this.grouping?.slots ?? new Map()} onGroups=${this.setGroups}
      onOpen=${(/** @type {string} */ condition) => { this.setState({ filter: filter ? `(${filterOf(filter)}) and ${condition}` : condition }, () => this.search()); this.setGroup(""); }} />`;
  }

  setHot = (/** @type {string} */ hot) => hot !== this.state.hot && this.setState({ hot });

  /** @param {string[]} ids */
  lead(ids) {
    const chosen = this.selection.ids.length;
    if (this.grouping) return html`<span class="muted cut" title="Mean, and the least and greatest of all points">${plural(this.grouping.slots.size, "group")}</span>`;
    return html`<span class="muted cut">${chosen ? plural(chosen, "selected run") : ids.length < DRAWN_AT_FIRST ? plural(ids.length, "run") : `First ${plural(ids.length, "run")}`}</span>`;
  }

  /** @param {any} state */
  table({ project, columns, current, hot, revision, order, filter }) {
    const narrow = NARROW.matches;
    const width = Math.max(200, innerWidth - 36);
    const shown = narrow ? [{ ...keyColumn("", "name", false), id: "list", title: "Run", width }] : [...columns.filter((/** @type {Column} */ c) => c.pinned), ...columns.filter((/** @type {Column} */ c) => !c.pinned)];
    const cell = narrow ? (/** @type {Run} */ run) => runLines(run, columns) : (/** @type {Run} */ run, /** @type {Column} */ column) => cellOf(run, column, this.nameOf);
    const head = {
      ...headOf(RUN, columns, order, { set: this.setColumns, order: this.setOrder }),
      onPickAll: this.pickAll,
      pickTitle: "Draw all, none, or the first again",
      pickAll: html`<span class=${`check ${this.selection.ids.length ? "" : "drawn c9"}`}></span>`,
    };
    const empty = this.state.filterError ? html`<p>The filter above cannot be read.</p>` : this.state.error ? html`<p>The runs could not be read.</p>` : filter ? html`<p>No run matches this filter.</p>` : html`<p>No runs in this project yet. Log one:</p><${Snippet} code=${`import modeldb_core as modeldb\n\nwith modeldb.start_run(project=${JSON.stringify(project?.name ?? "first")}) as run:\n    run.log_metrics({"loss": 0.25}, step=1)`} />`;
    return html`<${Grid} ref=${(/** @type {any} */ grid) => (this.grid = grid)} label="Runs" columns=${shown} count=${this.state.ready ? this.rows.count : 0} rowHeight=${narrow ? 50 : 28} rowAt=${(/** @type {number} */ index) => this.rows.at(index)} cell=${cell}
      rowClass=${(/** @type {Run} */ run) => `${this.selection.has(run.entity_id) ? "selected" : ""} ${run.entity_id === hot ? "hot" : ""}`}
      pick=${(/** @type {Run} */ run) => html`<${Mark} selected=${this.selection.has(run.entity_id)} slot=${this.selection.slots.get(run.entity_id)} />`}
      onView=${(/** @type {number} */ first, /** @type {number} */ last, /** @type {Column[]} */ seen) => this.rows.view(first, last, narrow ? columns : seen)} onPick=${this.picked}
      onHover=${(/** @type {number} */ index) => this.setHot(this.rows.at(index)?.entity_id ?? "")} current=${current} revision=${revision} empty=${this.state.ready ? empty : null} head=${head} />`;
  }
}

startFrame(pageId);
setPlace([{ label: "Projects", href: api.BASE }, { label: "…" }], "Runs");
showPlace(html`<${Project} />`);
