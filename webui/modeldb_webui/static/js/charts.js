// All charts of the drawn runs: a panel for every key, in sections by the beginning of the key, with one zoom for all.

import { Component, html } from "../vendor/preact-htm.js";
import { ChartData } from "./chart_data.js";
import { Panel } from "./chart_panel.js";
import { byKey, OWN_PREFIX, plural } from "./format.js";
import { icon } from "./icons.js";
import { parameter, recall, remember, setParameters } from "./storage.js";
import { debounce } from "./timing.js";

/** @typedef {import("./types").Drawn} Drawn */
/** @typedef {{mode: import("./series.js").XMode, smoothing: number, logX: boolean, logY: boolean, zoom: [number, number] | null}} ChartSettings */
/**
 * @typedef {object} ChartsProps
 * @property {Drawn[]} runs
 * @property {string} storage where the reader's habits are kept
 * @property {string} hot
 * @property {(id: string) => void} onHot
 * @property {unknown} [lead] shown first in the bar
 * @property {unknown} [empty]
 */

const PANELS_AT_FIRST = 36;
const MOST_SECTIONS = 12;
const OWN_SECTION = OWN_PREFIX.slice(0, -1);
const MODES = /** @type {const} */ ({ step: "Step", relative: "Time", wall: "Date" });
let groups = 0;

/** @extends {Component<ChartsProps, any>} */
export class Charts extends Component {
  /** @param {ChartsProps} props */
  constructor(props) {
    super(props);
    this.group = `charts${(groups += 1)}`;
    this.data = new ChartData(() => this.setState((/** @type {any} */ state) => ({ revision: state.revision + 1 })));
    const kept = recall(`charts.${props.storage}`, {});
    const mode = parameter("x") || kept.mode || "step";
    const zoom = parameter("zoom").split(":").map(Number);
    this.state = {
      revision: 0,
      search: parameter("keys"),
      folded: new Set(kept.folded ?? [OWN_SECTION]),
      more: new Set(),
      big: parameter("panel"),
      settings: /** @type {ChartSettings} */ ({
        mode: Object.hasOwn(MODES, mode) ? mode : "step",
        smoothing: Math.max(0, Math.min(1, Number(parameter("smooth") || kept.smoothing || 0) || 0)),
        logX: parameter("logx") === "1",
        logY: (parameter("logy") || kept.logY) === "1",
        zoom: zoom.length === 2 && zoom.every(Number.isFinite) && zoom[0] < zoom[1] ? zoom : null,
      }),
    };
    this.data.setAxis(this.state.settings.mode, this.state.settings.logX);
    this.write = debounce(() => this.keep(), 250);
  }

  componentWillUnmount() {
    this.data.close();
  }

  keep() {
    const { settings, folded, search, big } = this.state;
    const { mode, smoothing, logX, logY, zoom } = settings;
    setParameters({ x: mode === "step" ? "" : mode, smooth: smoothing ? String(smoothing) : "", logx: logX ? "1" : "", logy: logY ? "1" : "", zoom: zoom ? zoom.map((/** @type {number} */ edge) => Number(edge.toPrecision(17))).join(":") : "", keys: search, panel: big });
    remember(`charts.${this.props.storage}`, { mode, smoothing, logY: logY ? "1" : "", folded: [...folded] });
  }

  /** @param {Partial<ChartSettings>} change */
  set(change) {
    const settings = { ...this.state.settings, ...change };
    this.data.setAxis(settings.mode, settings.logX);
    this.setState((/** @type {any} */ state) => ({ settings, revision: state.revision + 1 }), this.write);
  }

  /** @param {object} change */
  put(change) {
    this.setState(change, this.write);
  }

  /** The keys to draw, by the part before the first slash. */
  sections() {
    const wanted = this.state.search.toLowerCase();
    /** @type {Map<string, string[]>} */
    const sections = new Map();
    const keys = new Set(this.props.runs.flatMap((run) => Object.keys(run.series)));
    for (const key of [...keys].sort(byKey)) {
      if (wanted && !key.toLowerCase().includes(wanted)) continue;
      const at = key.indexOf("/");
      const section = at > 0 ? key.slice(0, at) : "";
      sections.set(section, [...(sections.get(section) ?? []), key]);
    }
    if (sections.size > MOST_SECTIONS) {
      // Keys such as layer17/grad would each be alone in a section.
      const alone = [...sections].filter(([name, found]) => found.length === 1 && name !== OWN_SECTION);
      for (const [section] of alone) sections.delete(section);
      if (alone.length) sections.set("", [...(sections.get("") ?? []), ...alone.flatMap(([, found]) => found)]);
    }
    const order = [...sections].sort(([a], [b]) => Number(a === OWN_SECTION) - Number(b === OWN_SECTION) || a.localeCompare(b));
    return order;
  }

  /** @param {string} section */
  fold(section) {
    const folded = new Set(this.state.folded);
    if (!folded.delete(section)) folded.add(section);
    this.put({ folded });
  }

  /** @param {ChartsProps} props @param {any} state */
  render({ runs, hot, onHot, lead, empty }, { settings, revision, search, folded, more, big }) {
    const sections = this.sections();
    /** @param {string} name @param {string} section */
    const panel = (name, section = "") => html`<${Panel} key=${name} name=${name} title=${section ? name.slice(section.length + 1) : name} runs=${runs} data=${this.data} revision=${revision} settings=${settings} hot=${hot} big=${big === name} group=${this.group}
      onZoom=${(/** @type {any} */ zoom) => this.set({ zoom })} onHot=${onHot} onBig=${() => this.put({ big: big === name ? "" : name })} />`;
    return html`<div class="charts">
      <div class="charts-bar">${lead}<span class="grow"></span>
        <input class="input small" type="search" aria-label="Find charts" placeholder="Find" value=${search} onInput=${(/** @type {any} */ event) => this.put({ search: event.target.value })} />
        <label class="range" title="Mean of the points around each; what was logged stays visible behind it">Smooth<input type="range" min="0" max="1" step="0.02" value=${settings.smoothing} onInput=${(/** @type {any} */ event) => this.set({ smoothing: Number(event.target.value) })} /></label>
        <span class="segments small" role="group" aria-label="What x is">${Object.entries(MODES).map(([mode, label]) => html`<button key=${mode} class="button" aria-pressed=${settings.mode === mode} onClick=${() => this.set({ mode: /** @type {any} */ (mode), zoom: null })}>${label}</button>`)}</span>
        <span class="segments small" role="group" aria-label="Logarithmic axes"><button class="button" aria-pressed=${settings.logX} disabled=${settings.mode === "wall"} title="Logarithmic x" onClick=${() => this.set({ logX: !settings.logX, zoom: null })}>log x</button>
          <button class="button" aria-pressed=${settings.logY} title="Logarithmic y" onClick=${() => this.set({ logY: !settings.logY })}>log y</button></span>
        ${settings.zoom ? html`<button class="button small" onClick=${() => this.set({ zoom: null })} title="Or double-click a chart">Reset zoom</button>` : null}
      </div>
      <div class="charts-body" tabindex="0" role="region" aria-label="Charts">
        ${sections.map(([section, keys]) => {
          const open = !folded.has(section) || search !== "";
          const shown = more.has(section) ? keys : keys.slice(0, PANELS_AT_FIRST);
          const alone = sections.length === 1 && section === "";
          return html`<div key=${section}>${alone ? html`<div class="section-head"></div>` : html`<button class="section-head" aria-expanded=${open} onClick=${() => this.fold(section)}>${icon(open ? "down" : "right")}${section === OWN_SECTION ? "Measured by ModelDB" : section || "metrics"}<span class="count">${keys.length}</span></button>`}
            ${open ? html`<div class="panels">${shown.map((key) => panel(key, section))}</div>` : null}
            ${open && shown.length < keys.length ? html`<p><button class="button small" onClick=${() => this.setState({ more: new Set([...more, section]) })}>Show ${plural(keys.length - shown.length, "more chart")}</button></p>` : null}</div>`;
        })}
        ${sections.length ? null : html`<div class="empty muted">${search ? `No chart has “${search}” in its name.` : empty ?? "These runs have no series: log a metric with a step to see a chart."}</div>`}
      </div></div>`;
  }
}

/** When the first point of any series was logged. @param {Record<string, import("./types").SeriesSummary>} [series] */
const firstTime = (series = {}) => Object.values(series).map(({ first_at: time }) => time).filter(Boolean).sort((a, b) => Date.parse(String(a)) - Date.parse(String(b)))[0];

/** @param {import("./types").Run} run @param {number} slot @returns {Drawn} */
export const drawn = (run, slot) => ({
  id: run.entity_id,
  name: run.name || run.entity_id.slice(0, 8),
  slot,
  series: run.series ?? {},
  origin: (Date.parse(run.started_at || firstTime(run.series) || run.created_at || "") || 0) / 1000,
});
