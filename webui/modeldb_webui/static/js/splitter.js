// The line between table and charts, dragged with the pointer or moved with the arrow keys.

import { html } from "../vendor/preact-htm.js";

const LEAST = 20;
const MOST = 85;

/** @param {{value: number, onChange: (percent: number) => void}} props */
export function Splitter({ value, onChange }) {
  /** @param {number} percent */
  const set = (percent) => onChange(Math.round(Math.max(LEAST, Math.min(MOST, percent)) * 10) / 10);
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    set(value + by);
  };
  const start = (/** @type {PointerEvent} */ event) => {
    const handle = /** @type {HTMLElement} */ (event.currentTarget);
    const box = /** @type {HTMLElement} */ (handle.parentElement).getBoundingClientRect();
    handle.setPointerCapture(event.pointerId);
    handle.classList.add("on");
    handle.onpointermove = (move) => set(((move.clientX - box.left) / box.width) * 100);
    handle.onpointerup = () => {
      handle.onpointermove = null;
      handle.classList.remove("on");
    };
  };
  return html`<div class="splitter" role="separator" aria-orientation="vertical" aria-label="Width of the table" aria-valuenow=${Math.round(value)} aria-valuemin=${LEAST} aria-valuemax=${MOST} tabindex="0" onKeyDown=${pressed} onPointerDown=${start}></div>`;
}
