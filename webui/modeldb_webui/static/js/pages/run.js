// One run: everything that was logged, live while it trains.

import { Component, html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { follow } from "../events.js";
import { Charts, drawn } from "../charts.js";
import { assignSlots } from "../colors.js";
import { exactTime, formatAgo, formatDuration, runDuration } from "../format.js";
import { pageId, setPlace, showPlace, startFrame } from "../frame.js";
import { icon, Status } from "../icons.js";
import { askToDelete, EditableTags, EditableText } from "../edits.js";
import { bind } from "../keyboard.js";
import { toast } from "../overlays.js";
import { Artifacts } from "../run_artifacts.js";
import { Audit, Children, Code, Data, Environment } from "../run_origin.js";
import { Overview } from "../run_overview.js";
import { debounce, parameter, setParameters } from "../storage.js";
import { Copy, Problem, Tags } from "../values.js";

/** @typedef {import("../types").Run} Run */

const TABS = { overview: "Overview", charts: "Charts", artifacts: "Artifacts", code: "Code", environment: "Environment", data: "Data", children: "Children", audit: "Audit" };

/** @extends {Component<{}, any>} */
class RunPlace extends Component {
  constructor() {
    super({});
    const tab = parameter("tab");
    this.state = { run: /** @type {Run | null} */ (null), error: null, tab: Object.hasOwn(TABS, tab) ? tab : "overview", names: /** @type {Record<string, string>} */ ({}), revision: 0, children: null };
    /** @type {Run | null} */
    this.lastRun = null;
    this.refreshSoon = debounce(() => this.load(), 200);
  }

  componentDidMount() {
    void this.load();
    follow((changed, all) => {
      if (all || changed.some(({ entity_id: id, kind }) => id === pageId || kind === "comment")) this.refreshSoon();
    });
    setInterval(() => this.state.run?.status === "running" && !document.hidden && this.forceUpdate(), 1000);
    addEventListener("popstate", () => this.setState({ tab: Object.hasOwn(TABS, parameter("tab")) ? parameter("tab") : "overview" }));
    Object.keys(TABS).forEach((tab, at) => bind(String(at + 1), at ? "" : "First tab; 2 to 8 the others", () => this.show(tab)));
    bind("u", "Up to the project", () => this.state.run && (location.href = `${api.BASE}projects/${this.state.run.project_id}`));
  }

  async load() {
    try {
      const run = await api.get("runs", pageId);
      this.setState({ run, error: null, revision: this.state.revision + 1 });
      if (this.named !== run.name) void this.name(run);
    } catch (error) {
      this.setState({ error });
      setPlace([{ label: "Projects", href: api.BASE }, { label: "Run" }]);
    }
  }

  /** The names of what the run lies in. @param {Run} run */
  async name(run) {
    this.named = run.name;
    startFrame(run.project_id);
    /** @param {string} kinds @param {string | null | undefined} id */
    const nameOf = (kinds, id) => (id ? api.get(kinds, id).then((entity) => entity.name, () => "") : Promise.resolve(""));
    const [project, experiment, parent] = await Promise.all([nameOf("projects", run.project_id), nameOf("experiments", run.experiment_id), nameOf("runs", run.parent_id)]);
    this.setState({ names: { project, experiment, parent } });
    const name = run.name || run.entity_id.slice(0, 8);
    setPlace([{ label: "Projects", href: api.BASE }, { label: project || "Project", href: `${api.BASE}projects/${run.project_id}` }, { label: name }]);
    const children = await api.find("runs", { filter: `parent_id = ${JSON.stringify(pageId)}`, limit: 1, count: 1, fields: "name" });
    this.setState({ children: children.total });
  }

  loadNow = () => void this.load();

  /** @param {{name?: string, description?: string}} change */
  edit = async (change) => {
    const run = await api.edit("runs", pageId, change);
    this.setState({ run, revision: this.state.revision + 1 });
    if (change.name !== undefined) void this.name(run);
  };

  restore = () => api.restore("runs", pageId).then(this.loadNow, (error) => toast(error.message, true));

  /** @param {string} tab */
  show(tab) {
    this.setState({ tab });
    setParameters({ tab: tab === "overview" ? "" : tab }, true);
  }

  /** @param {Run} run */
  head(run) {
    const { names } = this.state;
    const commit = run.code?.commit;
    const title = html`<h1>${run.name || run.entity_id.slice(0, 8)}</h1>`;
    /** @param {string} label @param {unknown} value */
    const fact = (label, value) => (value ? html`<div><dt>${label}</dt><dd>${value}</dd></div>` : null);
    return html`<header class="run-head"><div class="run-title">${run.deleted_at ? title : html`<${EditableText} label="Rename the run" value=${run.name} empty=${run.entity_id.slice(0, 8)} shown=${title} save=${(/** @type {string} */ name) => this.edit({ name })} />`}<${Status} status=${run.status} />
        ${run.deleted_at ? html`<${Tags} tags=${run.tags} /><span class="badge failed">deleted</span><button class="button small" onClick=${this.restore}>Restore</button>` : html`<${EditableTags} kinds="runs" entity=${run} onChange=${this.loadNow} /><span class="grow"></span><button class="button quiet small" onClick=${() => askToDelete("runs", run, this.loadNow)}>${icon("remove")}Delete</button>`}</div>
      <dl class="facts">
        ${fact("Experiment", names.experiment && html`<a class="link" href=${`${api.BASE}projects/${run.project_id}?experiment=${run.experiment_id}`}>${names.experiment}</a>`)}
        ${fact("Duration", formatDuration(runDuration(run)))}
        ${fact("Started", run.started_at && html`<time datetime=${run.started_at} title=${exactTime(run.started_at)}>${formatAgo(run.started_at)}</time>`)}
        ${fact("Recorded", run.reported_times?.length && html`<time datetime=${run.created_at} title=${exactTime(run.created_at)}>${formatAgo(run.created_at)}</time> <span class="faint" title=${`Given by the one who logged the run: ${run.reported_times.join(", ")}`}>(times reported, not measured)</span>`)}
        ${fact("Author", run.owner)}
        ${fact("Commit", commit && html`<a class="link" href="?tab=code" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); this.show("code"); }}><code>${String(commit).slice(0, 10)}</code></a>${run.code?.dirty ? html` <span class="badge killed" title="There were changes that were not committed">changed</span>` : null}`)}
        ${fact("Parent", run.parent_id && html`<a class="link" href=${`${api.BASE}runs/${run.parent_id}`}>${names.parent || run.parent_id.slice(0, 8)}</a>`)}
        ${fact("Id", html`<span class="row"><code title=${run.entity_id}>${run.entity_id.slice(0, 8)}…${run.entity_id.slice(-4)}</code><${Copy} text=${run.entity_id} label="Copy the id" /></span>`)}
      </dl>
      ${run.deleted_at ? html`<p class="muted">${run.description}</p>` : html`<${EditableText} label="Describe the run" long=${true} value=${run.description ?? ""} empty="No description" shown=${html`<p class="muted description">${run.description}</p>`} save=${(/** @type {string} */ description) => this.edit({ description })} />`}
      ${(run.notes ?? []).map((note) => html`<div class="notice" role="note" key=${note}>${icon("warning")}<div class="grow">${note}</div></div>`)}</header>`;
  }

  /** @param {Run} run @param {string} tab */
  counts(run, tab) {
    const size = { charts: run.series, artifacts: run.artifacts, data: run.datasets }[tab];
    return tab === "children" ? this.state.children : size ? Object.keys(size).length : 0;
  }

  /** The same list while the run is the same. @param {Run} run */
  drawnList(run) {
    if (this.lastRun !== run) {
      this.lastRun = run;
      this.lastDrawn = [drawn(run, assignSlots([run.entity_id]).get(run.entity_id) ?? 0)];
    }
    return this.lastDrawn;
  }

  /** @param {{}} _ @param {any} state */
  render(_, { run, error, tab, revision }) {
    if (error && !run) return html`<div class="page"><${Problem} error=${error} retry=${error.status === 404 ? undefined : () => this.load()} /></div>`;
    if (!run) return html`<div class="page"></div>`;
    return html`${this.head(run)}${error ? html`<${Problem} error=${error} retry=${() => this.load()} />` : null}
      <nav class="tabs" aria-label="Parts of the run">${Object.entries(TABS).map(([name, label]) => html`<a key=${name} href=${name === "overview" ? location.pathname : `?tab=${name}`} aria-current=${tab === name ? "page" : undefined}
        onClick=${(/** @type {MouseEvent} */ event) => { if (event.ctrlKey || event.metaKey || event.shiftKey) return; event.preventDefault(); this.show(name); }}>${label}${this.counts(run, name) ? html`<span class="count">${this.counts(run, name)}</span>` : null}</a>`)}</nav>
      ${tab === "overview" ? html`<${Overview} run=${run} revision=${revision} />`
        : tab === "charts" ? html`<div class="tab flush"><${Charts} runs=${this.drawnList(run)} storage="run" hot="" onHot=${() => undefined} /></div>`
        : tab === "artifacts" ? html`<${Artifacts} run=${run} />`
        : tab === "code" ? html`<${Code} run=${run} />`
        : tab === "environment" ? html`<${Environment} run=${run} />`
        : tab === "data" ? html`<${Data} run=${run} />`
        : tab === "children" ? html`<${Children} run=${run} revision=${revision} />`
        : html`<${Audit} run=${run} revision=${revision} />`}`;
  }
}

startFrame();
setPlace([{ label: "Projects", href: api.BASE }, { label: "…" }], "Run");
showPlace(html`<${RunPlace} />`);
