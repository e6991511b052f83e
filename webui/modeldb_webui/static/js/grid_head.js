// The head of the table: names in groups, sorting, widths, order.

import { Component, html } from "../vendor/preact-htm.js";
import { icon } from "./icons.js";

/** @typedef {import("./types").Column} Column */
/**
 * @typedef {object} HeadProps
 * @property {(column: Column) => string} groupOf
 * @property {(column: Column) => "" | "asc" | "desc"} sorted
 * @property {(column: Column) => void} onSort
 * @property {(column: Column, anchor: HTMLElement) => void} onMenu
 * @property {(column: Column, width: number) => void} onResize
 * @property {(column: Column, before: string) => void} onMove
 * @property {() => void} [onPickAll]
 * @property {unknown} [pickAll] what heads the marks
 * @property {string} [pickTitle] what a click on that does
 */

const LEAST = 56;

/** @extends {Component<any, {drop: string}>} */
export class GridHead extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { drop: "" };
  }

  /** @param {Column[]} columns @param {number} left where the part that scrolls begins */
  groups(columns, left) {
    /** @type {{name: string, width: number, id: string}[]} */
    const groups = [];
    for (const column of columns) {
      const name = this.props.groupOf(column);
      const last = groups[groups.length - 1];
      if (last && last.name === name) last.width += column.width;
      else groups.push({ name, width: column.width, id: column.id });
    }
    return groups.map((group) => html`<div key=${group.id} class="grid-group begins" style=${{ width: `${group.width}px` }}><span style=${{ left: `${left}px` }}>${group.name}</span></div>`);
  }

  /** @param {Column} column */
  title(column) {
    const sorted = this.props.sorted(column);
    const arrow = sorted ? icon(sorted === "asc" ? "up" : "fall") : null;
    const full = column.section ? `${column.section}.${column.key}` : column.title;
    return html`<div key=${column.id} role="columnheader" data-column=${column.id} aria-sort=${sorted === "asc" ? "ascending" : sorted === "desc" ? "descending" : "none"}
      class=${`grid-title ${column.numeric ? "numeric" : ""} ${this.state.drop === column.id ? "drop-before" : ""}`} style=${{ width: `${column.width}px` }}>
      <button class="name" title=${`${full}${column.agg ? ` (${column.agg})` : ""}: click to sort, drag to move`} onClick=${() => !this.dragged && this.props.onSort(column)}
        onPointerDown=${(/** @type {PointerEvent} */ event) => this.startMove(event, column)}>
        <span>${column.title}${column.agg ? html` <span class="agg">${column.agg}</span>` : null}</span>${arrow}</button>
      <button class="more" aria-haspopup="menu" aria-label=${`Menu of column ${full}`} onClick=${(/** @type {MouseEvent} */ event) => this.props.onMenu(column, event.currentTarget)}>${icon("down")}</button>
      <span class="resize" aria-hidden="true" onPointerDown=${(/** @type {PointerEvent} */ event) => this.startResize(event, column)}></span>
    </div>`;
  }

  /** @param {PointerEvent} event @param {Column} column */
  startResize(event, column) {
    event.preventDefault();
    const handle = /** @type {HTMLElement} */ (event.currentTarget);
    const from = event.clientX;
    const width = column.width;
    handle.setPointerCapture(event.pointerId);
    handle.classList.add("on");
    handle.onpointermove = (move) => this.props.onResize(column, Math.max(LEAST, Math.round(width + move.clientX - from)));
    handle.onpointerup = () => {
      handle.onpointermove = null;
      handle.classList.remove("on");
    };
  }

  /** @param {PointerEvent} event @param {Column} column */
  startMove(event, column) {
    this.dragged = false;
    if (event.button !== 0 || event.pointerType === "touch") return;
    const from = event.clientX;
    const move = (/** @type {PointerEvent} */ now) => {
      if (!this.dragged && Math.abs(now.clientX - from) < 6) return;
      this.dragged = true;
      const over = document.elementsFromPoint(now.clientX, now.clientY).find((element) => element.matches?.("[data-column]"));
      this.setState({ drop: /** @type {HTMLElement | undefined} */ (over)?.dataset.column ?? "" });
    };
    const end = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", end);
      const { drop } = this.state;
      this.setState({ drop: "" });
      if (this.dragged && drop && drop !== column.id) this.props.onMove(column, drop);
      setTimeout(() => (this.dragged = false));
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", end);
  }

  /** @param {any} props */
  render({ pinned, shown, before, width, pick, pickAll, pickTitle, onPickAll }) {
    const held = pinned.reduce((/** @type {number} */ sum, /** @type {Column} */ column) => sum + column.width, 0);
    const style = { width: `${width}px`, minWidth: "100%" };
    return html`<div class="grid-head" role="rowgroup" style=${style}>
      <div class="grid-groups" aria-hidden="true">
        <div class="grid-pinned"><div style=${{ width: `${pick + held}px` }}></div></div>
        <div style=${{ width: `${before}px`, flex: "none" }}></div>${this.groups(shown, pick + 8 + held)}
      </div>
      <div class="grid-titles" role="row" aria-rowindex="1">
        <div class="grid-pinned" role="presentation">
          ${pick ? html`<div class="grid-title pick" role="columnheader"><button title=${pickTitle} aria-label="Change what is selected" onClick=${onPickAll}>${pickAll}</button></div>` : null}
          ${pinned.map((/** @type {Column} */ column) => this.title(column))}
        </div>
        <div role="presentation" style=${{ width: `${before}px`, flex: "none" }}></div>${shown.map((/** @type {Column} */ column) => this.title(column))}
      </div>
    </div>`;
  }
}
