// A panel: one key, all drawn runs. It asks for points once it comes into view.

import { Component, html } from "../vendor/preact-htm.js";
import { Chart } from "./chart.js";
import { formatCount, plural } from "./format.js";
import { icon } from "./icons.js";
import { lazily, openMenu } from "./overlays.js";
import { makeLine, meanLines } from "./series.js";

/** @typedef {import("./types").Drawn} Drawn */
/**
 * @typedef {object} PanelProps
 * @property {string} name the key
 * @property {string} title what of it is shown
 * @property {Drawn[]} runs
 * @property {import("./chart_data.js").ChartData} data
 * @property {number} revision of the data
 * @property {import("./charts.js").ChartSettings} settings
 * @property {string} hot
 * @property {boolean} big
 * @property {string} group
 * @property {(zoom: [number, number] | null) => void} onZoom
 * @property {(id: string) => void} onHot
 * @property {() => void} onBig
 */

const HEIGHT = 190;
const BIG_HEIGHT = 420;

/** @param {(exports: typeof import("./chart_export.js")) => void} use */
const withExport = (use) => lazily(import("./chart_export.js"), use);

/** @extends {Component<PanelProps, {seen: boolean, logY: boolean | null}>} */
export class Panel extends Component {
  /** @param {PanelProps} props */
  constructor(props) {
    super(props);
    this.state = { seen: false, logY: null };
    /** @type {HTMLElement | null} */
    this.box = null;
    /** @type {Chart | null} */
    this.chart = null;
    this.width = 0;
    /** @type {import("./types").Line[]} */
    this.lines = [];
    this.drawn = "";
    /** Whether what is drawn is what the zoom asks for. */
    this.exact = true;
    this.wasBig = props.big;
  }

  componentDidMount() {
    const box = /** @type {HTMLElement} */ (this.box);
    this.visible = false;
    this.watcher = new IntersectionObserver((entries) => {
      this.visible = entries[entries.length - 1].isIntersecting;
      if (this.visible && !this.state.seen) this.setState({ seen: true });
      else if (this.visible) this.componentDidUpdate();
    }, { rootMargin: "200px" });
    this.watcher.observe(box);
    this.sizer = new ResizeObserver(() => {
      if (Math.abs(box.clientWidth - this.width) < 2) return;
      this.width = box.clientWidth;
      this.chart?.resize(this.width, this.height);
    });
    this.sizer.observe(box);
  }

  componentWillUnmount() {
    this.watcher?.disconnect();
    this.sizer?.disconnect();
    this.chart?.destroy();
  }

  /** @param {PanelProps} next @param {any} state */
  shouldComponentUpdate(next, state) {
    const now = this.props;
    return state !== this.state || ["runs", "revision", "settings", "hot", "big", "name"].some((name) => now[/** @type {keyof PanelProps} */ (name)] !== next[/** @type {keyof PanelProps} */ (name)]);
  }

  get height() {
    return this.props.big ? BIG_HEIGHT : HEIGHT;
  }

  get having() {
    return this.props.runs.filter((run) => Object.hasOwn(run.series, this.props.name));
  }

  componentDidUpdate() {
    const { data, name, settings, hot, revision, big, runs } = this.props;
    if (!this.state.seen || !this.box || !this.visible) return;
    const having = this.having;
    this.width = this.box.clientWidth;
    const { zoom, mode } = settings;
    data.need(having, name, this.width, zoom);
    const logY = this.state.logY ?? settings.logY;
    const key = `${revision} ${mode} ${settings.smoothing} ${settings.logX} ${zoom} ${runs.map((run) => `${run.id}${run.slot}${run.name}${run.group?.key ?? ""}`).join()}`;
    if (key !== this.drawn) {
      this.drawn = key;
      const drawn = having.filter((run) => data.get(run, name, zoom));
      this.exact = drawn.every((run) => data.isExact(run, name, zoom));
      this.lines = drawn.map((run) => makeLine(run, /** @type {import("./series.js").Curve} */ (data.get(run, name, zoom)), { ...settings, logX: settings.logX && mode !== "wall" }));
      if (runs.some(({ group }) => group)) this.lines = meanLines(this.lines, drawn, zoom, mode === "step");
    }
    if (!this.lines.length && !this.chart) return;
    this.chart ??= new Chart(this.box, this.height, this.props.group, { onZoom: (zoom) => this.props.onZoom(zoom), onHot: (id) => this.props.onHot(id) });
    if (this.wasBig !== big) this.chart.resize(this.width, this.height);
    this.wasBig = big;
    this.chart.update({ lines: this.lines, mode: settings.mode, zoom: settings.zoom, logX: settings.logX, logY, hot });
    const said = this.said();
    const place = this.base.querySelector?.(".said");
    if (place) {
      place.textContent = said;
      place.setAttribute("title", said);
    }
  }

  /** How many points there are, how they are shown, and which cannot be: as the store counts them. */
  said() {
    const { lines } = this;
    const { data, name } = this.props;
    const failed = this.having.filter((run) => data.errors.has(`${run.id}\n${name}`)).length;
    const missing = failed && lines.length ? `, ${plural(failed, "run")} not read` : "";
    if (!lines.length) return "";
    if (!this.exact) return `…${missing}`;
    const logY = this.state.logY ?? this.props.settings.logY;
    /** @param {"total" | "nans" | "infinities" | "nonpositive" | "hidden"} what */
    const sum = (what) => lines.reduce((all, line) => all + line[what], 0);
    const parts = [`${plural(sum("total"), "point")}${lines.every(({ isWhole }) => isWhole) ? "" : " as means"}`];
    if (sum("nans")) parts.push(`${formatCount(sum("nans"))} NaN`);
    if (sum("infinities")) parts.push(`${formatCount(sum("infinities"))} ∞`);
    if (logY && sum("nonpositive")) parts.push(`${formatCount(sum("nonpositive"))} not above 0: not on a log axis`);
    if (sum("hidden")) parts.push(`${formatCount(sum("hidden"))} at x ≤ 0: not on a log axis`);
    return parts.join(", ") + missing;
  }

  /** @param {HTMLElement} anchor */
  menu(anchor) {
    const { name, settings } = this.props;
    const logY = this.state.logY ?? settings.logY;
    openMenu(anchor, [
      { label: "Logarithmic y", checked: logY, action: () => this.setState({ logY: !logY }) },
      { label: "Whole width", checked: this.props.big, action: this.props.onBig },
      { line: true },
      { label: "Download PNG", action: () => withExport(({ downloadPng }) => this.chart && downloadPng(this.chart, name)) },
      { label: "Download SVG", action: () => withExport(({ downloadSvg }) => this.chart && downloadSvg(this.chart, name)) },
      { label: "Download CSV, every point", action: () => withExport(({ downloadCsv }) => downloadCsv(this.having, name)) },
    ]);
  }

  /** @param {PanelProps} props @param {{seen: boolean}} state */
  render({ name, title, data, big, onBig }, { seen }) {
    const having = this.having;
    const error = having.map((run) => data.errors.get(`${run.id}\n${name}`)).find(Boolean);
    const waiting = seen && !this.lines.length && having.some((run) => data.isLoading(run, name));
    return html`<section class=${`panel ${big ? "big" : ""}`} aria-label=${`Chart of ${name}`}>
      <div class="panel-head"><h3 title=${name}>${title || name}</h3><span class="said" title=${this.said()}>${this.said()}</span>
        <span class="tools"><button class="button quiet icon" aria-label=${`Show ${name} ${big ? "small" : "large"}`} title=${big ? "Smaller" : "Larger"} onClick=${onBig}>${icon("expand")}</button>
        <button class="button quiet icon" aria-haspopup="menu" aria-label=${`Menu of chart ${name}`} onClick=${(/** @type {any} */ event) => this.menu(event.currentTarget)}>${icon("more")}</button></span></div>
      <div class="plot" style=${{ height: `${this.height}px` }}>
        <div ref=${(/** @type {HTMLElement} */ box) => (this.box = box)}></div>
        ${error && !this.lines.length ? html`<div class="plot-message"><span>${error} <button class="button small" onClick=${() => data.retry()}>Try again</button></span></div>` : waiting ? html`<div class="plot-message">Loading</div>` : null}
      </div></section>`;
  }
}
