// Two to a hundred runs: what differs first, series in one chart for each key, code side by side.

import { Component, html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { follow } from "../events.js";
import { Charts, drawn } from "../charts.js";
import { assignSlots, colorClass } from "../colors.js";
import { ComparePlots } from "../compare_plots.js";
import { CompareTable } from "../compare_table.js";
import { Patch, patchSize } from "../diff.js";
import { plural } from "../format.js";
import { setPlace, showPlace, startFrame } from "../frame.js";
import { bind } from "../keyboard.js";
import { runName } from "../run_cells.js";
import { KINDS, RUN } from "../schema.js";
import { MOST_SELECTED } from "../selection.js";
import { parameter, setParameters } from "../storage.js";
import { debounce, inTurn } from "../timing.js";
import { Problem } from "../values.js";

/** @typedef {import("../types").Run} Run */

const TABS = { table: "Differences", charts: "Charts", plots: "Parallel and scatter", code: "Code" };

/** @extends {Component<{}, any>} */
class Compare extends Component {
  constructor() {
    super({});
    const tab = parameter("tab");
    this.ids = [...new Set(parameter("runs").split(",").filter(Boolean))];
    this.slots = assignSlots(this.ids.slice(0, MOST_SELECTED));
    this.state = { runs: null, names: new Map(), error: null, hot: "", tab: Object.hasOwn(TABS, tab) ? tab : "table" };
    this.again = debounce(() => this.load(), 500);
  }

  componentDidMount() {
    if (this.ids.length) void this.load();
    follow((changed, all) => (all || changed.some(({ entity_id: id }) => this.ids.includes(id))) && this.again());
    addEventListener("popstate", () => this.setState({ tab: Object.hasOwn(TABS, parameter("tab")) ? parameter("tab") : "table" }));
    Object.keys(TABS).forEach((tab, at) => bind(String(at + 1), at ? "" : "First tab; 2 to 4 the others", () => this.show(tab)));
  }

  load = inTurn(async () => {
    const ids = this.ids.slice(0, MOST_SELECTED);
    try {
      const page = await api.find("runs", { filter: api.idFilter(ids), limit: ids.length, include_deleted: 1 });
      const found = new Map(page.items.map((item) => [item.entity_id, item]));
      const runs = ids.flatMap((id) => found.get(id) ?? []);
      this.list = runs.map((run) => drawn(run, this.slots.get(run.entity_id) ?? 0));
      this.setState({ runs, error: null });
      if (!this.named && runs.length) void this.name(runs);
    } catch (error) {
      this.setState({ error });
    }
  });

  /** The names of what contains the runs. @param {Run[]} runs */
  async name(runs) {
    this.named = true;
    const here = { label: `Compare ${plural(runs.length, "run")}` };
    const projects = new Set(runs.map((run) => String(run.project_id)));
    const id = [...projects][0];
    if (projects.size > 1) setPlace([{ label: "Projects", href: api.BASE }, here]);
    else startFrame(id);
    /** @type {Map<string, string>} */
    const names = new Map();
    const containers = RUN.columns.filter((column) => column.fields.length === 1 && column.fields[0] !== column.name);
    await Promise.all(containers.map(async ({ name, fields }) => {
      const kind = KINDS.find((each) => each.kind === name);
      const ids = [...new Set(runs.map((run) => run[fields[0]]).filter(Boolean))];
      const found = kind && ids.length ? await api.find(kind.path, { filter: api.idFilter(ids), fields: "name", limit: ids.length, include_deleted: 1 }).catch(() => null) : null;
      for (const item of found?.items ?? []) names.set(item.entity_id, item.name);
    }));
    this.setState({ names });
    if (projects.size === 1) setPlace([{ label: "Projects", href: api.BASE }, { label: names.get(id) || "Project", href: `${api.BASE}projects/${id}?runs=${this.ids.join(",")}` }, here]);
  }

  /** @param {string} tab */
  show(tab) {
    this.setState({ tab });
    setParameters({ tab: tab === "table" ? "" : tab }, true);
  }

  setHot = (/** @type {string} */ hot) => hot !== this.state.hot && this.setState({ hot });

  /** @param {{}} _ @param {any} state */
  render(_, { runs, names, error, hot, tab }) {
    if (!this.ids.length) return html`<div class="empty"><h1>Nothing to compare</h1><p class="muted">Select runs in a project's table, with their marks or with <kbd>x</kbd>, and press <kbd>c</kbd>.</p><p><a class="link" href=${api.BASE}>To the projects</a></p></div>`;
    if (error && !runs) return html`<div class="page"><${Problem} error=${error} retry=${() => this.load()} /></div>`;
    if (!runs) return html`<div class="page"></div>`;
    const missing = Math.min(this.ids.length, MOST_SELECTED) - runs.length;
    return html`<nav class="tabs" aria-label="Ways to compare">${Object.entries(TABS).map(([name, label]) => html`<a key=${name} href="#" aria-current=${tab === name ? "page" : undefined} onClick=${(/** @type {Event} */ event) => { event.preventDefault(); this.show(name); }}>${label}</a>`)}</nav>
      ${missing > 0 ? html`<div class="notice">${plural(missing, "run")} of this comparison ${missing === 1 ? "does" : "do"} not exist in this store.</div>` : null}
      ${this.ids.length > MOST_SELECTED ? html`<div class="notice">The first ${MOST_SELECTED} of ${this.ids.length} runs are compared.</div>` : null}
      <div class="compare-body" tabindex="0" role="region" aria-label=${TABS[/** @type {keyof typeof TABS} */ (tab)]}>
        ${tab === "table" ? html`<${CompareTable} entities=${runs} slots=${this.slots} nameOf=${(/** @type {string} */ _, /** @type {string} */ id) => names.get(id) ?? id} onHot=${this.setHot} />`
          : tab === "charts" ? html`<${Charts} runs=${this.list} storage="compare" hot=${hot} onHot=${this.setHot} lead=${this.legend(runs)} />`
          : tab === "plots" ? html`<${ComparePlots} runs=${runs} slots=${this.slots} hot=${hot} onHot=${this.setHot} />`
          : html`<${CodeSide} runs=${runs} slots=${this.slots} />`}</div>`;
  }

  /** @param {Run[]} runs */
  legend(runs) {
    return html`<span class="legend">${runs.slice(0, 12).map((run) => html`<a key=${run.entity_id} class="row" href=${`${api.BASE}runs/${run.entity_id}`} onMouseEnter=${() => this.setHot(run.entity_id)} onMouseLeave=${() => this.setHot("")}><span class=${`swatch drawn ${colorClass(this.slots.get(run.entity_id) ?? 0)}`}></span><span class="cut">${runName(run)}</span></a>`)}
      ${runs.length > 12 ? html`<span class="faint">and ${runs.length - 12} more</span>` : null}</span>`;
  }
}

/** The code of every run: commit, and what was changed on top of it. Runs of the same code are told once. @param {{runs: Run[], slots: Map<string, number>}} props */
function CodeSide({ runs, slots }) {
  /** @type {Map<string, Run[]>} */
  const versions = new Map();
  for (const run of runs) {
    const key = `${run.code?.commit ?? ""}\n${run.code?.diff ?? ""}`;
    versions.set(key, [...(versions.get(key) ?? []), run]);
  }
  return html`<div class="tab">${versions.size === 1 ? html`<p class="muted">All of these runs ran the same code.</p>` : null}${[...versions.values()].map((same) => {
    const { commit, branch, diff } = same[0].code ?? {};
    const size = patchSize(String(diff ?? ""));
    return html`<section class="block" key=${same[0].entity_id}><h2>${commit ? html`<code>${String(commit).slice(0, 10)}</code>` : "No commit recorded"} <span class="count">${branch ?? ""} ${diff ? `+${size.added} −${size.removed} not committed` : ""}</span></h2>
      <p class="legend">${same.map((run) => html`<a key=${run.entity_id} class="row" href=${`${api.BASE}runs/${run.entity_id}?tab=code`}><span class=${`swatch drawn ${colorClass(slots.get(run.entity_id) ?? 0)}`}></span>${runName(run)}</a>`)}</p>
      ${diff ? html`<${Patch} text=${String(diff)} label="Changes that were not committed" />` : null}</section>`;
  })}</div>`;
}

startFrame();
setPlace([{ label: "Projects", href: api.BASE }, { label: "Compare" }]);
showPlace(html`<${Compare} />`);
