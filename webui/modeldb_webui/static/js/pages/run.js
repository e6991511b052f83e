// One run: everything that was logged, live while it trains.

import { Component, html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { follow } from "../events.js";
import { Charts, drawn } from "../charts.js";
import { assignSlots } from "../colors.js";
import { exactTime, formatAgo, formatDuration, runDuration } from "../format.js";
import { pageId, setPlace, showPlace, startFrame } from "../frame.js";
import { EntityHead } from "../entity_head.js";
import { Followed } from "../followed.js";
import { History } from "../history.js";
import { icon, Status } from "../icons.js";
import { bind } from "../keyboard.js";
import { Artifacts } from "../run_artifacts.js";
import { Children, Code, Data, Environment } from "../run_origin.js";
import { Overview } from "../run_overview.js";
import { currentTab, followTabs, openTab, Tabs } from "../tabs.js";
import { debounce } from "../timing.js";
import { Later, Problem } from "../values.js";

/** @typedef {import("../types").Run} Run */

const TABS = { overview: "Overview", charts: "Charts", artifacts: "Artifacts", code: "Code", environment: "Environment", data: "Data", children: "Children", lineage: "Lineage", audit: "Audit" };

/** @extends {Component<{}, any>} */
class RunPlace extends Component {
  constructor() {
    super({});
    this.state = { run: /** @type {Run | null} */ (null), error: null, tab: currentTab(TABS), names: /** @type {Record<string, string>} */ ({}), revision: 0, remarks: 0, children: null };
    this.followed = new Followed("runs", pageId);
    /** @type {Run | null} */
    this.lastRun = null;
    this.refreshSoon = debounce(() => this.load(), 200);
  }

  componentDidMount() {
    void this.load();
    follow((changed, all) => {
      if (all || changed.some(({ kind }) => kind === "comment")) this.setState({ remarks: this.state.remarks + 1 });
      if (all || changed.some(({ entity_id: id }) => id === pageId)) this.refreshSoon();
    });
    setInterval(() => this.state.run?.status === "running" && !document.hidden && this.forceUpdate(), 1000);
    followTabs(() => TABS, this.show);
    bind("u", "Up to the project", () => this.state.run && (location.href = `${api.BASE}projects/${this.state.run.project_id}`));
  }

  async load() {
    try {
      const run = await this.followed.load();
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
    const children = await api.find("runs", { filter: `parent_id = ${JSON.stringify(pageId)}`, limit: 1, count: 1, fields: "name" }).catch(() => null);
    this.setState({ children: children?.total ?? null });
  }

  loadNow = () => this.load();

  show = (/** @type {string} */ tab) => this.setState({ tab });

  /** @param {Run} run @returns {[string, unknown][]} */
  facts(run) {
    const { names } = this.state;
    const commit = run.code?.commit;
    const toCode = (/** @type {Event} */ event) => { event.preventDefault(); openTab(TABS, "code", this.show); };
    return [
      ["Experiment", names.experiment && html`<a class="link" href=${`${api.BASE}projects/${run.project_id}?experiment=${run.experiment_id}`}>${names.experiment}</a>`],
      ["Duration", formatDuration(runDuration(run))],
      ["Started", run.started_at && html`<time datetime=${run.started_at} title=${exactTime(run.started_at)}>${formatAgo(run.started_at)}</time>`],
      ["Recorded", run.reported_times?.length && html`<time datetime=${run.created_at} title=${exactTime(run.created_at)}>${formatAgo(run.created_at)}</time> <span class="faint" title=${`Given by the one who logged the run: ${run.reported_times.join(", ")}`}>(times reported, not measured)</span>`],
      ["Author", run.owner],
      ["Commit", commit && html`<a class="link" href="?tab=code" onClick=${toCode}><code>${String(commit).slice(0, 10)}</code></a>${run.code?.dirty ? html` <span class="badge killed" title="There were changes that were not committed">changed</span>` : null}`],
      ["Parent", run.parent_id && html`<a class="link" href=${`${api.BASE}runs/${run.parent_id}`}>${names.parent || run.parent_id.slice(0, 8)}</a>`],
    ];
  }

  /** @param {Run} run */
  counts(run) {
    /** @param {object | undefined} map */
    const size = (map) => Object.keys(map ?? {}).length;
    return { charts: size(run.series), artifacts: size(run.artifacts), data: size(run.datasets), children: this.state.children };
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
  render(_, { run, error, tab, revision, remarks }) {
    if (error && !run) return html`<div class="page"><${Problem} error=${error} retry=${error.status === 404 ? undefined : () => this.load()} /></div>`;
    if (!run) return html`<div class="page"></div>`;
    return html`<${EntityHead} entity=${run} mark=${html`<${Status} status=${run.status} />`} facts=${this.facts(run)} load=${this.loadNow} />
      ${(run.notes ?? []).map((/** @type {string} */ note) => html`<div class="notice of-run" role="note" key=${note}>${icon("warning")}<div class="grow">${note}</div></div>`)}
      ${error ? html`<${Problem} error=${error} retry=${() => this.load()} />` : null}
      <${Tabs} tabs=${TABS} current=${tab} label="Parts of the run" counts=${this.counts(run)} show=${this.show} />
      ${tab === "overview" ? html`<${Overview} run=${run} remarks=${remarks} />`
        : tab === "charts" ? html`<div class="tab flush"><${Charts} runs=${this.drawnList(run)} storage="run" hot="" onHot=${() => undefined} /></div>`
        : tab === "artifacts" ? html`<${Artifacts} run=${run} />`
        : tab === "code" ? html`<${Code} run=${run} />`
        : tab === "environment" ? html`<${Environment} run=${run} />`
        : tab === "data" ? html`<${Data} run=${run} />`
        : tab === "children" ? html`<${Children} run=${run} revision=${revision} />`
        : tab === "lineage" ? html`<${Later} load=${() => import("../lineage.js").then(({ Lineage }) => Lineage)} entity=${run} revision=${revision} />`
        : html`<${History} entity=${run} revision=${revision} />`}`;
  }
}

startFrame();
setPlace([{ label: "Projects", href: api.BASE }, { label: "…" }], "Run");
showPlace(html`<${RunPlace} />`);
