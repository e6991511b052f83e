// Small pictures, 14 px, drawn with the colour of the text beside them.

import { html } from "../vendor/preact-htm.js";

/** @type {Record<string, string>} */
const PATHS = {
  search: "M6.2 2.2a4 4 0 1 1 0 8 4 4 0 0 1 0-8M9.2 9.2 12 12",
  columns: "M2 2.5h10v9H2zM5.3 2.5v9M8.7 2.5v9",
  chart: "M2 2v10h10M4.5 9 6.5 6l2 1.5L11.5 4",
  table: "M2 2.5h10v9H2zM2 5.5h10M2 8.5h10",
  both: "M2 2.5h10v9H2zM7 2.5v9",
  theme: "M7 2.2a4.8 4.8 0 1 0 0 9.6zM7 2.2a4.8 4.8 0 0 1 0 9.6",
  help: "M5 5.2a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.4M7 10.6v.1",
  menu: "M2 4h10M2 7h10M2 10h10",
  more: "M3 7h.1M7 7h.1M11 7h.1",
  close: "M3.5 3.5l7 7M10.5 3.5l-7 7",
  down: "M4 5.5 7 8.5l3-3",
  right: "M5.5 4 8.5 7l-3 3",
  up: "M7 11V3M4 6l3-3 3 3",
  fall: "M7 3v8M4 8l3 3 3-3",
  download: "M7 2v6.5M4.2 6 7 8.7 9.8 6M2.5 11.5h9",
  expand: "M8.5 2.5h3v3M11.5 2.5 8 6M5.5 11.5h-3v-3M2.5 11.5 6 8",
  copy: "M5 5h6.5v6.5H5zM3 9V2.5h6",
  edit: "M2.5 11.5v-2l6.5-6.5 2 2-6.5 6.5zM7.8 4.2l2 2",
  remove: "M2.5 4h9M5.5 4V2.5h3V4M3.8 4l.6 7.5h5.2l.6-7.5",
  pin: "M5 2.5h4M6 2.5v4L4 8.5h6l-2-2v-4M7 8.5V12",
  warning: "M7 2 12.5 11.5h-11zM7 5.8v2.6M7 10v.1",
  running: "M7 2.5a4.5 4.5 0 1 1-4.5 4.5M7 4.5V7l1.8 1.2",
  finished: "M3 7.4 5.8 10 11 4.3",
  failed: "M3.8 3.8l6.4 6.4M10.2 3.8l-6.4 6.4",
  killed: "M4 4h6v6H4z",
  pruned: "M3 7h8",
  lost: "M5 5.2a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.4M7 10.6v.1",
};

/** @param {string} name */
export const icon = (name) => html`<svg width="14" height="14" viewBox="0 0 14 14" fill="none" stroke="currentColor" stroke-width="1.5"
  stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${Object.hasOwn(PATHS, name) ? PATHS[name] : ""} /></svg>`;

/** @param {{status?: string}} props */
export const Status = ({ status }) =>
  status ? html`<span class=${`badge ${Object.hasOwn(MEANINGS, status) ? status : ""}`} title=${Object.hasOwn(MEANINGS, status) ? MEANINGS[status] : status}>${icon(status)}${status}</span>` : null;

/** @type {Record<string, string>} */
const MEANINGS = {
  running: "The writer of this run is alive",
  finished: "Ended by itself",
  failed: "Ended by an error",
  killed: "Ended from outside",
  pruned: "Given up on purpose: it did not promise enough",
  lost: "The writer vanished: it has not renewed its lease. Its journal is recovered when ModelDB next runs on that machine, or by `modeldb sync`",
};
