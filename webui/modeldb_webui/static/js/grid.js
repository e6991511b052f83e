// A table of any size: only the rows and columns in view are in the page. It knows nothing of runs.

import { Component, html } from "../vendor/preact-htm.js";
import { GridHead } from "./grid_head.js";

/** @typedef {import("./types").Column} Column */
/**
 * @typedef {object} GridProps
 * @property {Column[]} columns pinned ones first
 * @property {number} count of rows
 * @property {(index: number) => any} rowAt `undefined` while it is not loaded
 * @property {(row: any, column: Column) => unknown} cell what a cell shows
 * @property {(row: any, index: number) => string} rowClass
 * @property {(row: any, index: number) => unknown} [pick] what a first, narrow column shows: there is none without it
 * @property {(first: number, last: number, columns: Column[]) => void} onView told what is in view
 * @property {(index: number, event: MouseEvent) => void} onPick
 * @property {(index: number) => void} [onHover]
 * @property {number} rowHeight in CSS pixels
 * @property {number} current the row that the keyboard is on, -1 for none
 * @property {number} revision another one makes all rows draw again
 * @property {unknown} [empty] shown in place of rows
 * @property {string} label
 * @property {import("./grid_head.js").HeadProps} head
 */

export const HEAD = 48;
export const PICK = 36;
const SPARE_ROWS = 10;
const SPARE_PX = 320;

/** @extends {Component<GridProps, any>} */
export class Grid extends Component {
  /** @param {GridProps} props */
  constructor(props) {
    super(props);
    this.state = { top: 0, left: 0, width: 1200, height: 800 };
    /** @type {HTMLElement | null} */
    this.root = null;
    this.waiting = false;
    /** @type {Column[]} */
    this.shown = [];
    this.shownKey = "";
    this.told = "";
  }

  componentDidMount() {
    this.observer = new ResizeObserver(() => this.measure());
    if (this.root) this.observer.observe(this.root);
    this.measure();
  }

  componentWillUnmount() {
    this.observer?.disconnect();
  }

  componentDidUpdate() {
    this.tell();
  }

  measure() {
    this.waiting = false;
    const root = this.root;
    if (!root) return;
    const next = { top: root.scrollTop, left: root.scrollLeft, width: root.clientWidth, height: root.clientHeight };
    const { top, left, width, height } = this.state;
    const { rowHeight } = this.props;
    const rows = Math.floor(next.top / rowHeight) !== Math.floor(top / rowHeight);
    const columns = Math.floor(next.left / 120) !== Math.floor(left / 120);
    if (rows || columns || next.width !== width || next.height !== height) this.setState(next);
    this.tell();
  }

  scrolled = () => {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => this.measure());
  };

  rows() {
    const { top, height } = this.state;
    const { rowHeight, count } = this.props;
    const first = Math.max(0, Math.floor(top / rowHeight) - SPARE_ROWS);
    const last = Math.min(count - 1, Math.ceil((top + height) / rowHeight) + SPARE_ROWS);
    return { first, last };
  }

  /** The columns that scroll and are in view, and the room that those to the left of them take. */
  columns() {
    const { left, width } = this.state;
    const moving = this.props.columns.filter((column) => !column.pinned);
    let at = 0;
    let before = 0;
    /** @type {Column[]} */
    const shown = [];
    for (const column of moving) {
      if (at + column.width < left - SPARE_PX) before = at + column.width;
      else if (at < left + width + SPARE_PX) shown.push(column);
      at += column.width;
    }
    const key = shown.map((column) => `${column.id}:${column.width}:${column.agg ?? ""}`).join("\n");
    if (key !== this.shownKey) {
      this.shownKey = key;
      this.shown = shown;
    }
    return { shown: this.shown, before, total: at };
  }

  tell() {
    const { first, last } = this.rows();
    const pinned = this.props.columns.filter((column) => column.pinned);
    const key = `${first} ${last} ${this.shownKey} ${pinned.length} ${this.props.revision}`;
    if (key === this.told) return;
    this.told = key;
    this.props.onView(first, last, [...pinned, ...this.shown]);
  }

  /** Brings a row into view. @param {number} index */
  reveal(index) {
    const root = this.root;
    if (!root) return;
    const top = index * this.props.rowHeight;
    const room = root.clientHeight - HEAD - this.props.rowHeight;
    if (top < root.scrollTop) root.scrollTop = top;
    else if (top > root.scrollTop + room) root.scrollTop = top - room;
  }

  /** @param {GridProps} props */
  render(props) {
    const { first, last } = this.rows();
    const { shown, before, total } = this.columns();
    const pinned = props.columns.filter((column) => column.pinned);
    const width = (props.pick ? PICK : 0) + pinned.reduce((sum, column) => sum + column.width, 0) + total;
    // The elements stay where they are in the page and take on another row: moving them would lay all of them out again.
    const slots = Math.ceil(this.state.height / props.rowHeight) + 2 * SPARE_ROWS + 2;
    const rows = new Array(Math.min(slots, props.count)).fill(null);
    for (let index = first; index <= last; index += 1) {
      const row = props.rowAt(index);
      rows[index % slots] = html`<${GridRow} key=${index % slots} row=${row} index=${index} pinned=${pinned} shown=${shown} before=${before}
        width=${width} height=${props.rowHeight} cell=${props.cell} pick=${props.pick} className=${row ? props.rowClass(row, index) : ""} current=${index === props.current}
        revision=${props.revision} />`;
    }
    return html`<div class=${props.rowHeight > 28 ? "grid tall" : "grid"} role="grid" aria-multiselectable=${Boolean(props.pick)} tabindex="0" aria-label=${props.label} aria-rowcount=${props.count + 1} aria-colcount=${props.columns.length + (props.pick ? 1 : 0)}
      ref=${(/** @type {HTMLElement} */ element) => (this.root = element)} onScroll=${this.scrolled} onClick=${this.clicked} onMouseOver=${this.hovered} onMouseLeave=${() => props.onHover?.(-1)}>
      <div class="grid-canvas" role="presentation" style=${{ width: `${width}px`, height: `${HEAD + props.count * props.rowHeight}px`, minWidth: "100%" }}>
        <${GridHead} ...${props.head} pick=${props.pick ? PICK : 0} pinned=${pinned} shown=${shown} before=${before} width=${width} />
        <div role="rowgroup">${rows}</div>
      </div>
      ${props.count === 0 && props.empty ? html`<div class="grid-empty">${props.empty}</div>` : null}
    </div>`;
  }

  /** @param {Event} event */
  indexOf(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest?.("[data-index]");
    return row ? Number(/** @type {HTMLElement} */ (row).dataset.index) : -1;
  }

  clicked = (/** @type {MouseEvent} */ event) => {
    if (/** @type {HTMLElement} */ (event.target).closest("a, button")) return;
    const index = this.indexOf(event);
    if (index >= 0) this.props.onPick(index, event);
  };

  hovered = (/** @type {MouseEvent} */ event) => this.props.onHover?.(this.indexOf(event));
}

/** @extends {Component<any, {}>} */
class GridRow extends Component {
  /** @param {any} next */
  shouldComponentUpdate(next) {
    const now = this.props;
    for (const name of ["row", "index", "pinned", "shown", "before", "width", "className", "current", "revision", "height"]) {
      if (name === "pinned" ? now.pinned.length !== next.pinned.length || now.pinned.some((/** @type {Column} */ c, /** @type {number} */ i) => c !== next.pinned[i]) : now[name] !== next[name]) return true;
    }
    return false;
  }

  /** @param {any} props */
  render({ row, index, pinned, shown, before, width, height, cell, pick, className, current }) {
    /** @param {Column} column */
    const draw = (column) => html`<div key=${column.id} role="gridcell" class=${column.numeric ? "grid-cell numeric" : "grid-cell"} style=${{ width: `${column.width}px` }}>
      ${row ? cell(row, column) : html`<span class="skeleton"></span>`}</div>`;
    return html`<div role="row" aria-rowindex=${index + 2} aria-selected=${pick ? className.includes("selected") : undefined} data-index=${index} class=${`grid-row ${className} ${current ? "current" : ""}`}
      style=${{ top: `${HEAD + index * height}px`, height: `${height}px`, width: `${width}px`, minWidth: "100%" }}>
      <div class="grid-pinned" role="presentation">
        ${pick ? html`<div role="gridcell" class="grid-cell pick">${row ? pick(row, index) : null}</div>` : null}
        ${pinned.map(draw)}
      </div>
      <div role="presentation" style=${{ width: `${before}px`, flex: "none" }}></div>
      ${shown.map(draw)}
    </div>`;
  }
}
