// The files of a run: a list, and a look at what can be shown without running any of it.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { Figure, FIGURE_TYPE, readFigure } from "./figures.js";
import { formatCount, formatSize, plural } from "./format.js";
import { icon } from "./icons.js";
import { parameter, setParameters } from "./storage.js";
import { inTurn } from "./timing.js";
import { Copy, Problem } from "./values.js";

/** @typedef {import("./types").Run} Run */

const PREVIEW_BYTES = 256 * 1024;
const FIGURE_BYTES = 1024 * 1024;
const FIGURES_AT_FIRST = 6;
const SHOWN = 500;

/** @extends {Component<{run: Run}, any>} */
export class Artifacts extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { search: "", open: parameter("path") };
  }

  /** @param {string} path */
  toggle(path) {
    const open = this.state.open === path ? "" : path;
    this.setState({ open });
    setParameters({ path: open });
  }

  /** @param {{run: Run}} props @param {any} state */
  render({ run }, { search, open }) {
    const entries = Object.entries(run.artifacts ?? {}).sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
    if (!entries.length) return html`<div class="tab muted">This run has no artifacts: run.log_artifact("confusion.png") adds a file.</div>`;
    const found = entries.filter(([path]) => path.toLowerCase().includes(search.toLowerCase()));
    const size = entries.reduce((sum, [, entry]) => sum + (Number(entry?.size_bytes) || 0), 0);
    return html`<div class="tab"><${Figures} run=${run} /><div class="row"><span class="muted grow">${plural(entries.length, "file")}, ${formatSize(size)}</span>
        ${entries.length > 8 ? html`<input class="input small" type="search" placeholder="Find a file" aria-label="Find a file" value=${search} onInput=${(/** @type {any} */ event) => this.setState({ search: event.target.value })} />` : null}</div>
      <table class="plain"><thead><tr><th>Path</th><th>Type</th><th class="num">Size</th><th>Digest</th><th></th></tr></thead><tbody>
        ${found.slice(0, SHOWN).map(([path, entry]) => html`<tr key=${path}><td><button class="button quiet small" aria-expanded=${open === path} onClick=${() => this.toggle(path)}>${icon(open === path ? "down" : "right")}<span>${path}</span></button></td>
          <td class="muted">${entry?.type || entry?.media_type}</td><td class="num" title=${`${formatCount(entry?.size_bytes ?? 0)} bytes`}>${formatSize(Number(entry?.size_bytes))}</td>
          <td class="tight"><span class="row"><code title=${entry?.digest}>${String(entry?.digest ?? "").slice(0, 12)}</code><${Copy} text=${String(entry?.digest ?? "")} label="Copy the digest" /></span></td>
          <td class="tight"><a class="button quiet small" href=${api.artifactAddress(run.entity_id, path, true)} download aria-label=${`Download ${path}`}>${icon("download")}</a></td></tr>
          ${open === path ? html`<tr key=${`${path} open`}><td colspan="5"><${Preview} key=${path} run=${run} path=${path} entry=${entry} /></td></tr>` : null}`)}
      </tbody></table>${found.length > SHOWN ? html`<p class="muted">${plural(found.length - SHOWN, "more file")}: narrow the search.</p>` : null}</div>`;
  }
}

/** @extends {Component<any, any>} */
class Preview extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { data: null, error: null, bytes: PREVIEW_BYTES };
  }

  async componentDidMount() {
    const { run, path } = this.props;
    try {
      this.setState({ data: await api.previewArtifact(run.entity_id, path, this.props.entry?.media_type === FIGURE_TYPE ? FIGURE_BYTES : PREVIEW_BYTES) });
    } catch (error) {
      this.setState({ error });
    }
  }

  /** @param {any} props @param {any} state */
  render({ run, path, entry }, { data, error }) {
    if (error) return html`<${Problem} error=${error} />`;
    if (!data) return html`<div class="preview muted">Loading</div>`;
    const cut = data.truncated ? html`<p class="muted">This is the beginning; download the file for the rest.</p>` : null;
    if (data.view === "image") return html`<div class="preview"><img src=${api.artifactAddress(run.entity_id, path)} alt=${path} /></div>`;
    if (data.view === "table") {
      return html`<div class="preview"><div class="scroll" tabindex="0" role="region" aria-label=${`Table ${path}`}><table class="plain"><thead><tr>${data.columns.map((/** @type {string} */ name, /** @type {number} */ at) => html`<th key=${at}>${name}</th>`)}</tr></thead>
        <tbody>${data.rows.map((/** @type {string[]} */ row, /** @type {number} */ at) => html`<tr key=${at}>${row.map((cell, column) => html`<td key=${column} class=${/^-?[\d.]+(e[-+]?\d+)?$/i.test(cell) ? "num" : ""}>${cell}</td>`)}</tr>`)}</tbody></table></div>${cut}</div>`;
    }
    const figure = entry?.media_type === FIGURE_TYPE && !data.truncated && data.view === "text" ? figureOf(data.text) : null;
    if (figure) return html`<div class="preview"><${Figure} figure=${figure} /></div>`;
    if (data.view === "text") return html`<div class="preview"><div class="code" tabindex="0" role="region" aria-label=${`Text of ${path}`}><span>${data.truncated ? data.text : laidOut(data)}</span></div>${cut}</div>`;
    return html`<div class="preview muted">${entry?.media_type || "This type of file"} is not shown here; download it to look into it.</div>`;
  }
}

/** The figure that a text holds. @param {string} text */
function figureOf(text) {
  try {
    return readFigure(JSON.parse(text));
  } catch {
    return null;
  }
}

/** What a file of a run shows, or why it shows nothing. @param {Run} run @param {string} path */
async function readFigureOf(run, path) {
  const data = await api.previewArtifact(run.entity_id, path, FIGURE_BYTES);
  const figure = data.view === "text" && !data.truncated ? figureOf(data.text) : null;
  return { figure, problem: figure ? "" : "This file is not a figure that can be drawn; it is among the artifacts." };
}

/** The paths of a run's figures. @param {Run} run */
export const figurePaths = (run) => Object.entries(run.artifacts ?? {}).filter(([, entry]) => entry?.media_type === FIGURE_TYPE).map(([path]) => path).sort();

/**
 * What was logged as a figure, drawn.
 * @extends {Component<{run: Run}, {drawn: Map<string, any>, most: number}>}
 */
export class Figures extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { drawn: new Map(), most: FIGURES_AT_FIRST };
  }

  componentDidMount() {
    void this.load();
  }

  componentDidUpdate() {
    void this.load();
  }

  /** Asks for what is missing, each file once, all together. */
  load = inTurn(async () => {
    const { run } = this.props;
    await Promise.all(figurePaths(run).slice(0, this.state.most).map(async (path) => {
      const digest = run.artifacts?.[path]?.digest;
      if (this.state.drawn.get(path)?.digest === digest) return;
      const read = await readFigureOf(run, path).catch((error) => ({ problem: error.message }));
      this.setState(({ drawn }) => ({ drawn: new Map(drawn).set(path, { digest, ...read }) }));
    }));
  });

  /** @param {{run: Run}} props @param {{drawn: Map<string, any>, most: number}} state */
  render({ run }, { drawn, most }) {
    const paths = figurePaths(run);
    if (!paths.length) return null;
    return html`<section class="block" aria-label="Figures"><h2>Figures <span class="count">${paths.length}</span></h2><div class="figures">
      ${paths.slice(0, most).map((path) => {
        const { figure, problem } = drawn.get(path) ?? {};
        return html`<div key=${path}>${figure ? html`<${Figure} figure=${figure} />` : html`<p class="muted">${path}: ${problem || "loading"}</p>`}</div>`;
      })}</div>${paths.length > most ? html`<button class="button small" onClick=${() => this.setState({ most: most + 12 })}>Show ${plural(paths.length - most, "more figure")}</button>` : null}</section>`;
  }
}

/** JSON on one line is laid out for reading; no name and no number in it is altered. @param {any} data @returns {string} */
function laidOut({ media_type: type, path, text }) {
  if (type !== "application/json" && !path.endsWith(".json")) return text;
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let line = "\n";
  /** @type {string[]} */
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g);
  return tokens.map((token, at) => {
    if (/^[{[]$/.test(token)) return /^[}\]]$/.test(tokens[at + 1]) ? token : token + (line += "  ");
    if (/^[}\]]$/.test(token)) return /^[{[]$/.test(tokens[at - 1]) ? token : (line = line.slice(0, -2)) + token;
    return token === "," ? token + line : token === ":" ? ": " : token;
  }).join("");
}
