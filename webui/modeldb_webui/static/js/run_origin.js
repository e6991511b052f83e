// Where a run came from: code, environment, data, children.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { lookUp } from "./columns.js";
import { Patch, patchSize } from "./diff.js";
import { Facts } from "./facts.js";
import { formatCount, formatDuration, formatSize, fullValue, isOwnMeasure, plural, runDuration } from "./format.js";
import { Status } from "./icons.js";
import { pageOf } from "./schema.js";
import { Copy, Long, Problem, Short } from "./values.js";

/** @typedef {import("./types").Run} Run */

const CODE_FACTS = ["commit", "branch", "remote", "dirty", "script", "notebook", "git_error", "diff_error"];

/** The name of the file that holds a value, "" for one that is in the record. @param {any} value @returns {string} */
const blobOf = (value) => (typeof value?.$blob === "string" ? value.$blob : "");

/**
 * Reads the values of a section that were too large for the record, then draws the section with them.
 * @extends {Component<{run: Run, section: "code" | "environment", draw: (values: Record<string, any>, run: Run) => any}, any>}
 */
class WithLargeValues extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { read: new Map(), error: null };
    this.asked = new Set();
  }

  componentDidMount() {
    void this.load();
  }

  componentDidUpdate() {
    void this.load();
  }

  async load() {
    const { run, section } = this.props;
    for (const [key, value] of Object.entries(run[section] ?? {})) {
      const name = blobOf(value);
      if (!name || this.asked.has(name)) continue;
      this.asked.add(name);
      try {
        const whole = await api.readValue(run.entity_id, section, key);
        this.setState((/** @type {any} */ state) => ({ read: new Map(state.read).set(name, whole) }));
      } catch (error) {
        this.setState({ error });
      }
    }
  }

  /** @param {any} props @param {any} state */
  render({ run, section, draw }, { read, error }) {
    if (error) return html`<div class="tab"><${Problem} error=${error} /></div>`;
    const entries = Object.entries(run[section] ?? {}).map(([key, value]) => [key, read.get(blobOf(value)) ?? value]);
    return draw(Object.fromEntries(entries), run);
  }
}

/** @param {{run: Run}} props */
export const Code = ({ run }) => html`<${WithLargeValues} key=${run.entity_id} run=${run} section="code" draw=${drawCode} />`;

/** @param {{run: Run}} props */
export const Environment = ({ run }) => html`<${WithLargeValues} key=${run.entity_id} run=${run} section="environment" draw=${drawEnvironment} />`;

/** @param {Record<string, any>} code */
function drawCode(code) {
  if (!Object.keys(code).length) return html`<div class="tab muted">No code was recorded: recording it is switched off, or it was an interactive session outside of a git repository.</div>`;
  const diff = typeof code.diff === "string" ? code.diff : "";
  const { files, added, removed } = patchSize(diff);
  const rest = Object.fromEntries(Object.entries(code).filter(([key]) => !["diff", "diff_bytes", "diff_truncated", "diff_redacted", "untracked", "untracked_count", "source", "source_digest"].includes(key) && !CODE_FACTS.includes(key)));
  const known = Object.fromEntries(CODE_FACTS.filter((key) => key in code).map((key) => [key, code[key]]));
  return html`<div class="tab"><${Facts} title="Version" map=${{ ...known, ...rest }} />
    <section class="block"><h2>Changes that were not committed <span class="count">${diff ? `${plural(files, "file")}, +${added} −${removed}` : ""}</span></h2>
      ${code.diff_truncated ? html`<p class="notice">The diff was longer than is recorded: ${formatSize(Number(code.diff_bytes))} in all.</p>` : null}
      ${code.diff_redacted ? html`<p class="notice">What looked like a password or a key was left out.</p>` : null}
      ${diff ? html`<${Patch} text=${diff} />` : html`<p class="none">${blobOf(code.diff) ? "Reading them…" : code.dirty === false ? "None: the working tree was clean." : "None were recorded."}</p>`}</section>
    ${typeof code.source === "string" ? html`<section class="block"><h2>The script, which no commit holds</h2><pre class="mono">${code.source}</pre></section>` : null}
    ${Array.isArray(code.untracked) && code.untracked.length ? html`<section class="block"><h2>Files that git does not know <span class="count">${formatCount(Number(code.untracked_count ?? code.untracked.length))}</span></h2><ul class="mono">${code.untracked.map((/** @type {string} */ path) => html`<li key=${path}>${path}</li>`)}</ul></section>` : null}</div>`;
}

/** @param {Record<string, any>} environment @param {Run} run */
function drawEnvironment(environment, run) {
  const { packages, ...rest } = environment;
  const context = /** @type {Record<string, any>} */ ({ ...(run.context ?? {}) });
  if (typeof context.memory_bytes === "number") context.memory = formatSize(context.memory_bytes);
  delete context.memory_bytes;
  if (Array.isArray(context.command)) context.command = context.command.join(" ");
  return html`<div class="tab"><div class="columns"><div><${Facts} title="Machine and command" map=${context} none="Nothing was recorded." /><${Facts} title="Python" map=${rest} none="Nothing was recorded." /></div>
    <div><${Facts} title="Packages" map=${blobOf(packages) ? {} : packages ?? {}} none=${packages ? "Reading them…" : "No packages were recorded."} /></div></div></div>`;
}

/** @param {{run: Run}} props */
export function Data({ run }) {
  const entries = Object.entries(run.datasets ?? {});
  if (!entries.length) return html`<div class="tab muted">No data set was logged: run.log_dataset(frame) records its digest and shape.</div>`;
  return html`<div class="tab">${entries.map(([name, data]) => {
    const { schema, digest, dataset_id: set, dataset_version_id: version, ...rest } = data ?? {};
    const page = version ? pageOf("dataset_version", version) : pageOf("dataset", set);
    const columns = lookUp(schema, "columns");
    return html`<section class="block" key=${name}><h2>${set ? html`<a class="link" href=${page}>${name}</a>` : name} <span class="count">${Array.isArray(data?.shape) ? data.shape.join(" × ") : ""}</span></h2>
      <table class="plain"><tbody>${digest ? html`<tr><td class="key">digest</td><td><span class="row"><code>${digest}</code><${Copy} text=${String(digest)} /></span></td></tr>` : null}
        ${Object.entries(rest).filter(([, value]) => value !== null && value !== "").map(([key, value]) => html`<tr key=${key}><td class="key">${key}</td><td>${key === "size_bytes" ? html`<span title=${`${value} bytes`}>${formatSize(Number(value))}</span>` : html`<${Long} value=${value} />`}</td></tr>`)}
        ${schema && !Array.isArray(columns) && Object.keys(schema).length ? html`<tr><td class="key">schema</td><td><${Long} value=${schema} /></td></tr>` : null}</tbody></table>
      ${Array.isArray(columns) ? html`<details class="json"><summary>${plural(columns.length, "column")}</summary><table class="plain"><tbody>${columns.map((/** @type {any} */ column, /** @type {number} */ at) => html`<tr key=${at}><td class="key">${column.name}</td><td>${column.dtype}</td></tr>`)}</tbody></table></details>` : null}</section>`;
  })}</div>`;
}

/** @extends {Component<{run: Run, revision: number}, any>} */
export class Children extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { items: /** @type {Run[] | null} */ (null), cursor: null, error: null };
  }

  componentDidMount() {
    void this.load(null);
  }

  /** @param {any} before */
  componentDidUpdate(before) {
    if (before.revision !== this.props.revision && (this.state.items?.length ?? 0) <= 100) void this.load(null);
  }

  /** @param {string | null} cursor */
  async load(cursor) {
    try {
      const filter = `parent_id = ${JSON.stringify(this.props.run.entity_id)}`;
      const page = await api.find("runs", { filter, limit: 100, cursor, order_by: "created_at", fields: "status,started_at,finished_at,hyperparameters,metrics" });
      this.setState({ items: cursor ? [...(this.state.items ?? []), ...page.items] : page.items, cursor: page.cursor, error: null });
    } catch (error) {
      this.setState({ error });
    }
  }

  /** @param {any} _ @param {any} state */
  render(_, { items, cursor, error }) {
    if (error) return html`<div class="tab"><${Problem} error=${error} /></div>`;
    if (!items) return html`<div class="tab"></div>`;
    if (!items.length) return html`<div class="tab muted">This run has no children.</div>`;
    const metrics = common(items, "metrics", 6);
    const settings = common(items, "hyperparameters", 6).filter((key) => new Set(items.map((/** @type {Run} */ run) => fullValue(own(run.hyperparameters, key)))).size > 1);
    const ids = items.slice(0, 100).map((/** @type {Run} */ run) => run.entity_id);
    return html`<div class="tab"><div class="row"><span class="muted grow">${plural(items.length, "child run")}${cursor ? " so far" : ""}${settings.length ? "; hyperparameters that differ are shown" : ""}</span>${ids.length > 1 ? html`<a class="button small" href=${`${api.BASE}compare?runs=${ids.join(",")}`}>Compare ${ids.length}</a>` : null}</div>
      <table class="plain"><thead><tr><th>Name</th><th>Status</th><th class="num">Duration</th>${[...settings, ...metrics].map((key) => html`<th key=${key} class="num">${key}</th>`)}</tr></thead><tbody>
      ${items.map((/** @type {Run} */ run) => html`<tr key=${run.entity_id}><td><a class="link" href=${`${api.BASE}runs/${run.entity_id}`}>${run.name || run.entity_id.slice(0, 8)}</a></td><td class="tight"><${Status} status=${run.status} /></td><td class="num">${formatDuration(runDuration(run))}</td>
        ${settings.map((key) => html`<td key=${key} class="num"><${Short} value=${own(run.hyperparameters, key)} /></td>`)}${metrics.map((key) => html`<td key=${key} class="num"><${Short} value=${own(run.metrics, key)} measured=${true} /></td>`)}</tr>`)}</tbody></table>
      ${cursor ? html`<p><button class="button" onClick=${() => this.load(cursor)}>Show more</button></p>` : null}</div>`;
  }
}

/** @param {Record<string, any> | undefined} map @param {string} key @returns {any} */
const own = (map, key) => (map && Object.hasOwn(map, key) ? map[key] : undefined);

/** The keys that most of the runs have. @param {Run[]} runs @param {string} section @param {number} most */
function common(runs, section, most) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const run of runs) for (const key of Object.keys(run[section] ?? {})) if (!isOwnMeasure(key)) counts.set(key, (counts.get(key) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, most).map(([key]) => key);
}
