// What an entity was made from, and what was made from it: drawn in layers, and the same as a table.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { plural } from "./format.js";
import { layOut } from "./layers.js";
import { kindOf, pageOf } from "./schema.js";
import { inTurn } from "./timing.js";
import { Problem } from "./values.js";

/** @typedef {{kind: string, entity_id: string}} Name */
/** @typedef {Name & {state: string, title: string, name: string, container: string, version: number | null}} Node */
/** @typedef {{input: Name, output: Name, field: string, key: string, label: string}} Edge */
/** @typedef {{nodes: Node[], edges: Edge[], notes: string[], complete: boolean}} Graph */

/** More entities than this are not drawn: the table has them. */
const MOST_DRAWN = 300;
const LIMIT = 1000;
const WIDTH = 176, HEIGHT = 40, GAP_X = 64, GAP_Y = 14, LETTERS = 23;
const DIRECTIONS = { both: "Both", upstream: "What made it", downstream: "What it made" };
const DEPTHS = [1, 2, 3, 5, 10];

/** @param {Name} name */
const keyOf = ({ kind, entity_id: id }) => `${kind}:${id}`;

/** @param {string} text */
const cut = (text) => (text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text);

/** @extends {Component<{entity: import("./types").Entity, revision: number}, any>} */
export class Lineage extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { graph: /** @type {Graph | null} */ (null), error: null, direction: "both", depth: 3 };
  }

  componentDidMount() {
    void this.load();
  }

  /** @param {any} before */
  componentDidUpdate(before) {
    if (before.revision !== this.props.revision) void this.load();
  }

  load = inTurn(async () => {
    const { direction, depth } = this.state;
    try {
      const graph = await api.request("/lineage", { params: { entity: keyOf(this.props.entity), direction, depth, limit: LIMIT } });
      if (direction === this.state.direction && depth === this.state.depth) this.setState({ graph, error: null });
    } catch (error) {
      this.setState({ error });
    }
  });

  /** @param {{direction?: string, depth?: number}} asked */
  ask(asked) {
    this.setState(asked, () => this.load());
  }

  /** @param {any} props @param {any} state */
  render({ entity }, { graph, error, direction, depth }) {
    return html`<div class="tab"><div class="row wrap"><span class="segments" role="group" aria-label="Which way">${Object.entries(DIRECTIONS).map(([name, label]) => html`<button key=${name} class="button" aria-pressed=${direction === name} onClick=${() => this.ask({ direction: name })}>${label}</button>`)}</span>
        <select class="input" aria-label="Through how many links" value=${depth} onChange=${(/** @type {any} */ event) => this.ask({ depth: Number(event.target.value) })}>${DEPTHS.map((each) => html`<option key=${each} value=${each}>${plural(each, "link")}</option>`)}</select>
        <span class="muted" aria-live="polite">${graph ? `${plural(graph.nodes.length, "entity", "entities")}, ${plural(graph.edges.length, "edge")}` : ""}</span></div>
      ${error ? html`<${Problem} error=${error} retry=${() => this.load()} />` : null}
      ${(graph?.notes ?? []).map((/** @type {string} */ note) => html`<p class="notice" role="note" key=${note}>${note}</p>`)}
      ${!graph ? null : graph.edges.length ? html`${graph.nodes.length <= MOST_DRAWN ? html`<${Drawing} graph=${graph} root=${keyOf(entity)} />` : html`<p class="muted">Too much to be drawn: take fewer links. The table has all of it.</p>`}<${EdgeTable} graph=${graph} />`
        : html`<p class="muted">Nothing is recorded of what it was made from, nor of what was made from it.</p>`}</div>`;
  }
}

/** @param {{graph: Graph, root: string}} props */
function Drawing({ graph, root }) {
  const edges = graph.edges.filter(({ input, output }) => keyOf(input) !== keyOf(output));
  const { spots, ways } = layOut(graph.nodes.map(keyOf), edges.map(({ input, output }) => [keyOf(input), keyOf(output)]));
  const rows = [...spots.values()].map(({ row }) => row);
  const top = Math.min(...rows);
  /** @param {import("./layers.js").Spot} spot */
  const place = ({ layer, row }) => ({ x: layer * (WIDTH + GAP_X) + 2, y: (row - top) * (HEIGHT + GAP_Y) + 2 });
  const width = Math.max(...[...spots.values()].map(({ layer }) => layer)) * (WIDTH + GAP_X) + WIDTH + 4;
  const height = (Math.max(...rows) - top) * (HEIGHT + GAP_Y) + HEIGHT + 4;
  return html`<div class="lineage" tabindex="0" role="region" aria-label="Drawing: inputs on the left"><svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label="Lineage">
    ${edges.map((edge, at) => html`<path key=${at} class="edge" d=${curve(ways[at].map(place))}><title>${edge.label}</title></path>`)}
    ${graph.nodes.map((node) => html`<${Box} key=${keyOf(node)} node=${node} at=${place(/** @type {import("./layers.js").Spot} */ (spots.get(keyOf(node))))} isRoot=${keyOf(node) === root} />`)}</svg></div>`;
}

/** A line from box to box; it runs straight through the layers between. @param {{x: number, y: number}[]} way */
function curve(way) {
  const middle = HEIGHT / 2;
  const bend = GAP_X / 2;
  return way.map(({ x, y }, at) => {
    if (!at) return `M${x + WIDTH} ${y + middle}`;
    const from = way[at - 1];
    const step = `C${from.x + WIDTH + bend} ${from.y + middle} ${x - bend} ${y + middle} ${x} ${y + middle}`;
    return at < way.length - 1 ? `${step}H${x + WIDTH}` : step;
  }).join("");
}

/** @param {Node} node */
const wordsOf = (node) => `${kindOf(node.kind)?.words ?? (node.kind || "entity")}${node.state === "present" ? "" : `, ${node.state}`}`;

/** @param {{node: Node, at: {x: number, y: number}, isRoot: boolean}} props */
function Box({ node, at, isRoot }) {
  const page = node.state === "present" || node.state === "deleted" ? pageOf(node.kind, node.entity_id) : "";
  const box = html`<rect x=${at.x} y=${at.y} width=${WIDTH} height=${HEIGHT} rx="4" /><text x=${at.x + 10} y=${at.y + 17}>${cut(node.title)}</text><text class="kind" x=${at.x + 10} y=${at.y + 32}>${wordsOf(node)}</text><title>${`${node.title} (${wordsOf(node)})`}</title>`;
  const name = `node ${isRoot ? "root" : ""} ${node.state}`;
  return page ? html`<a class=${name} href=${page}>${box}</a>` : html`<g class=${name}>${box}</g>`;
}

/** @param {{graph: Graph}} props */
function EdgeTable({ graph }) {
  const nodes = new Map(graph.nodes.map((node) => [keyOf(node), node]));
  /** @param {Name} name */
  const cell = (name) => {
    const node = nodes.get(keyOf(name)) ?? { ...name, state: "unknown", title: name.entity_id, name: "", container: "", version: null };
    const page = node.state === "present" || node.state === "deleted" ? pageOf(node.kind, node.entity_id) : "";
    return html`<td>${page ? html`<a class="link" href=${page}>${node.title}</a>` : node.title}<div class="faint">${wordsOf(node)}</div></td>`;
  };
  return html`<table class="plain even"><caption class="visually-hidden">What was made from what</caption><thead><tr><th>Input</th><th>Output</th><th>As</th></tr></thead><tbody>
    ${graph.edges.map((edge, at) => html`<tr key=${at}>${cell(edge.input)}${cell(edge.output)}<td class="muted">${edge.label}</td></tr>`)}</tbody></table>`;
}
