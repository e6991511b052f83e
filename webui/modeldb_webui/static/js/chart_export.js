// A chart as a picture or a table, to take along.

import * as api from "./api.js";
import { COLORS, dashOf } from "./colors.js";
import { plain } from "./format.js";
import { toast } from "./overlays.js";
import { paint } from "./chart_paint.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./types").Drawn} Drawn */

/** Of the title, of the names, of a row of the legend, and of the piece of a line that stands before a name. */
const [TITLE, TEXT, ROW, MARK] = [13, 11, 16, 24];
const FONT = "sans-serif";

/** How wide a picture must be for all that is written on it. @param {Chart} chart @param {string} name @param {number} left of the legend */
function widthOf(chart, name, left) {
  const context = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  context.font = `600 ${TITLE}px ${FONT}`;
  const title = 16 + context.measureText(name).width;
  context.font = `${TEXT}px ${FONT}`;
  const names = chart.state.lines.map((line) => left + MARK + 16 + context.measureText(line.name).width);
  return Math.ceil(names.reduce((most, width) => Math.max(most, width), Math.max(chart.plot?.width ?? 0, title)));
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\p{L}\p{N}_.-]+/gu, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {Chart} chart @param {string} name */
export function downloadPng(chart, name) {
  const source = chart.plot?.ctx.canvas;
  if (!source) return;
  const ratio = devicePixelRatio || 1;
  const { lines } = chart.state;
  const row = ROW * ratio;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(source.width, widthOf(chart, name, 8) * ratio);
  canvas.height = source.height + row * (lines.length + 2);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = chart.colors.background;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.font = `600 ${TITLE * ratio}px ${FONT}`;
  context.fillStyle = chart.colors.text;
  context.fillText(name, 8 * ratio, row);
  context.drawImage(source, 0, row * 1.5);
  context.font = `${TEXT * ratio}px ${FONT}`;
  context.lineWidth = 2 * ratio;
  lines.forEach((line, index) => {
    const y = source.height + row * (index + 2);
    context.strokeStyle = chart.colors.runs[line.slot % COLORS];
    context.setLineDash(dashOf(line.slot).map((length) => length * ratio));
    context.beginPath();
    context.moveTo(8 * ratio, y - 4 * ratio);
    context.lineTo((8 + MARK) * ratio, y - 4 * ratio);
    context.stroke();
    context.fillStyle = chart.colors.text2;
    context.fillText(line.name, (16 + MARK) * ratio, y);
  });
  canvas.toBlob((blob) => (blob ? save(blob, `${name}.png`) : toast("This picture is too large for the browser; save it as SVG", true)));
}

/** A text as XML, which has no control characters, not even escaped. @param {string} text */
const escaped = (text) => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd").replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Takes what `paint` draws, as paths of an SVG. */
class SvgContext {
  constructor() {
    /** @type {string[]} */
    this.parts = [];
    this.path = "";
    this.strokeStyle = this.fillStyle = "";
    this.globalAlpha = this.lineWidth = 1;
    this.lineJoin = "round";
    this.dash = "";
  }
  save() {}
  restore() {}
  clip() {}
  /** @param {number} x @param {number} y @param {number} width @param {number} height */
  rect(x, y, width, height) {
    this.path += `M${x} ${y}h${width}v${height}h${-width}z`;
  }
  beginPath() {
    this.path = "";
  }
  /** @param {number} x @param {number} y */
  moveTo(x, y) {
    this.path += `M${x.toFixed(2)} ${y.toFixed(2)}`;
  }
  /** @param {number} x @param {number} y */
  lineTo(x, y) {
    this.path += `L${x.toFixed(2)} ${y.toFixed(2)}`;
  }
  /** @param {number} x @param {number} y @param {number} r */
  arc(x, y, r) {
    this.path += `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
  }
  /** @param {number[]} dash */
  setLineDash(dash) {
    this.dash = dash.join(" ");
  }
  stroke() {
    if (this.path) this.parts.push(`<path d="${this.path}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}" stroke-opacity="${this.globalAlpha}" stroke-linejoin="round" stroke-dasharray="${this.dash}"/>`);
  }
  fill() {
    this.parts.push(`<path d="${this.path}" fill="${this.fillStyle}" fill-opacity="${this.globalAlpha}"/>`);
  }
  /** @param {number} x @param {number} y @param {number} width @param {number} height */
  fillRect(x, y, width, height) {
    this.parts.push(`<path d="M${x} ${y}h${width}v${height}h${-width}z" fill="${this.fillStyle}"/>`);
  }
}

/** @param {Chart} chart @param {string} name */
export function downloadSvg(chart, name) {
  const { plot, colors, state } = chart;
  if (!plot) return;
  const ratio = devicePixelRatio || 1;
  const box = { left: plot.bbox.left / ratio, top: plot.bbox.top / ratio, width: plot.bbox.width / ratio, height: plot.bbox.height / ratio };
  const ink = new SvgContext();
  paint(/** @type {any} */ (ink), box, state, /** @type {[number, number]} */ (chart.xRange), /** @type {[number, number]} */ (chart.yRange), colors, 1);
  const top = 24;
  const bottom = box.top + box.height;
  /** @type {string[]} */
  const marks = [];
  plot.axes.forEach((axis, side) => (axis._splits ?? []).forEach((value, index) => {
    const text = axis._values?.[index];
    const at = plot.valToPos(/** @type {number} */ (value), side ? "y" : "x");
    if (!text || !Number.isFinite(at)) return;
    marks.push(side
      ? `<path d="M${box.left} ${box.top + at}h${box.width}" stroke="${colors.grid}"/><text x="${box.left - 6}" y="${box.top + at + 4}" text-anchor="end">${escaped(text)}</text>`
      : `<path d="M${box.left + at} ${box.top}v${box.height}" stroke="${colors.grid}"/><text x="${box.left + at}" y="${bottom + 16}" text-anchor="middle">${escaped(text)}</text>`);
  }));
  const legend = state.lines.map((line, index) => `<path class="mark" d="M${box.left} ${plot.height + 12 + index * ROW}h${MARK}" stroke="${colors.runs[line.slot % COLORS]}" stroke-width="2" stroke-dasharray="${dashOf(line.slot).join(" ")}"/><text x="${box.left + MARK + 8}" y="${plot.height + 16 + index * ROW}">${escaped(line.name)}</text>`);
  const height = plot.height + top + ROW * (state.lines.length + 1);
  const width = widthOf(chart, name, box.left);
  const text = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${FONT}" font-size="${TEXT}" fill="${colors.text2}"><rect width="100%" height="100%" fill="${colors.background}"/><text x="8" y="16" font-size="${TITLE}" font-weight="600">${escaped(name)}</text><g transform="translate(0 ${top})">${marks.join("")}<svg x="${box.left}" y="${box.top}" width="${box.width}" height="${box.height}" viewBox="${box.left} ${box.top} ${box.width} ${box.height}">${ink.parts.join("")}</svg>${legend.join("")}</g></svg>`;
  save(new Blob([text], { type: "image/svg+xml" }), `${name}.svg`);
}

/**
 * A text as a cell of CSV. Quotes do not keep a spreadsheet from running a formula: an apostrophe before it does.
 * @param {string} text
 */
export function csvCell(text) {
  const shown = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  const isFormula = /^[=+@\-\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) && Number.isNaN(Number(text));
  const safe = isFormula ? `'${shown}` : shown;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A number with its sign, which zero has too. @param {unknown} value */
const csvNumber = (value) => (Object.is(value, -0) ? "-0.0" : plain(value));

/** A time, to the microsecond. @param {number} time */
const csvTime = (time) => new Date(Math.floor(time / 1000)).toISOString().replace("Z", `${String(time - 1000 * Math.floor(time / 1000)).padStart(3, "0")}Z`);

/** Every point of a key. @param {Drawn[]} runs @param {string} key */
export async function downloadCsv(runs, key) {
  const parts = ["run_id,run,key,step,time,value\n"];
  try {
    for (const run of runs) {
      const data = await api.request(`/runs/${encodeURIComponent(run.id)}/series`, { params: { key } });
      const head = `${run.id},${csvCell(run.name)},${csvCell(key)}`;
      for (let at = 0; at < data.steps.length; at += 1) {
        parts.push(`${head},${plain(data.steps[at])},${csvTime(data.times[at])},${csvNumber(data.values[at])}\n`);
      }
    }
    save(new Blob(parts, { type: "text/csv" }), `${key}.csv`);
  } catch (error) {
    toast(/** @type {Error} */ (error).message, true);
  }
}
