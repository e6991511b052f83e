// The list of projects.

import { Component, html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { follow } from "../events.js";
import { formatCount } from "../format.js";
import { setPlace, showPlace, startFrame } from "../frame.js";
import { bind } from "../keyboard.js";
import { Status } from "../icons.js";
import { parameter, setParameters } from "../storage.js";
import { inTurn } from "../timing.js";
import { Ago, Problem, Snippet } from "../values.js";

/** @typedef {import("../types").Entity} Entity */
/** @typedef {{count: number, last: Entity | undefined}} Activity */

const PAGE = 100;
const AT_ONCE = 4;
const FIRST_RUN = `import modeldb_core as modeldb

with modeldb.start_run(project="first") as run:
    run.log_metrics({"loss": 0.25}, step=1)`;

/** @extends {Component<{}, any>} */
class Projects extends Component {
  constructor() {
    super({});
    this.state = { items: /** @type {Entity[] | null} */ (null), cursor: null, total: 0, error: null, search: parameter("q") };
    /** @type {Map<string, Activity>} */
    this.activity = new Map();
    /** @type {string[]} */
    this.queue = [];
    this.busy = 0;
    /** Whether the list is to be asked for from its beginning. */
    this.fromStart = false;
  }

  componentDidMount() {
    void this.load(true);
    bind("/", "Filter", () => /** @type {HTMLElement | null} */ (document.querySelector("input[type=search]"))?.focus());
    this.end = follow((changed, all) => {
      if (all || changed.some(({ kind }) => kind === "project")) void this.load(true);
      else if (changed.some(({ kind }) => kind === "run")) this.ask((this.state.items ?? []).slice(0, 20));
    });
  }

  /** @param {boolean} [fromStart] */
  load(fromStart = false) {
    this.fromStart ||= fromStart;
    return this.loadNext();
  }

  loadNext = inTurn(async () => {
    const { search, cursor, items } = this.state;
    const { fromStart } = this;
    this.fromStart = false;
    const filter = search ? `name contains "${search.replaceAll('"', '""')}"` : "";
    try {
      const page = await api.find("projects", { filter, limit: PAGE, cursor: fromStart ? null : cursor, count: 1, order_by: "updated_at desc", fields: "description,owner,tags" });
      this.setState({ items: fromStart ? page.items : [...(items ?? []), ...page.items], cursor: page.cursor, total: page.total, error: null });
      this.ask(page.items);
    } catch (error) {
      this.setState({ error });
    }
  });

  /** Asks how many runs there are, a few projects at a time. @param {Entity[]} items */
  ask(items) {
    this.queue.push(...items.map((item) => item.entity_id).filter((id) => !this.queue.includes(id)));
    while (this.busy < AT_ONCE && this.queue.length) void this.askNext();
  }

  async askNext() {
    const id = this.queue.shift();
    if (!id) return;
    this.busy += 1;
    try {
      const page = await api.find("runs", { within: id, limit: 1, count: 1, fields: "status" });
      this.activity.set(id, { count: page.total ?? 0, last: page.items[0] });
      this.forceUpdate();
    } catch {
      // The list is of use without the counts; an unreachable server says so elsewhere.
    } finally {
      this.busy -= 1;
      void this.askNext();
    }
  }

  searched = (/** @type {any} */ event) => {
    this.setState({ search: event.target.value }, () => {
      setParameters({ q: this.state.search });
      void this.load(true);
    });
  };

  /** @param {{}} _ @param {any} state */
  render(_, { items, total, cursor, error, search }) {
    if (error) return html`<div class="page"><${Problem} error=${error} retry=${() => this.load(true)} /></div>`;
    if (!items) return html`<div class="page"></div>`;
    if (!items.length && !search) {
      return html`<div class="empty"><h1>No runs yet</h1><p class="muted">Three lines in a training script, and its project appears here by itself.</p><${Snippet} code=${FIRST_RUN} /></div>`;
    }
    return html`<div class="page"><div class="row"><h1 class="grow">Projects <span class="faint">${formatCount(total)}</span></h1>
        <input class="input" type="search" aria-label="Filter projects by name" placeholder="Filter by name" value=${search} onInput=${this.searched} /></div>
      <table class="plain listing"><thead><tr><th>Name</th><th class="num">Runs</th><th>Last run</th><th>Started</th><th>Description</th></tr></thead>
        <tbody>${items.map((/** @type {Entity} */ item) => this.row(item))}</tbody></table>
      ${items.length ? null : html`<p class="muted">No project has “${search}” in its name.</p>`}
      ${cursor ? html`<p><button class="button" onClick=${() => this.load()}>Show more</button></p>` : null}</div>`;
  }

  /** @param {Entity} item */
  row(item) {
    const found = this.activity.get(item.entity_id);
    return html`<tr key=${item.entity_id}><td class="main"><a class="link" href=${`${api.BASE}projects/${item.entity_id}`}>${item.name || item.entity_id}</a></td>
      <td class="num tight">${found ? formatCount(found.count) : "…"}</td>
      <td class="tight"><${Status} status=${found?.last?.status} /></td>
      <td class="when tight"><${Ago} time=${found ? found.last?.created_at ?? item.created_at : null} /></td><td class="muted">${item.description}</td></tr>`;
  }
}

startFrame();
setPlace([{ label: "Projects" }]);
showPlace(html`<${Projects} />`);
