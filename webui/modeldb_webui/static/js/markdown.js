// Markdown as nodes: headings, paragraphs, lists, tables, code, emphasis and links. Everything else stays the text that it is;
// HTML is never made of it, and only links to the web lead anywhere.

import { html } from "../vendor/preact-htm.js";

/** An escaped sign, code, a link, strong, emphasis. */
const INLINE = /\\([\\`*_{}[\]()#+\-.!|<>~&$@:="',/;?^%])|`([^`]+)`|\[([^\]]*)\]\((https?:\/\/[^\s)]+)\)|\*\*(.+?)\*\*|\*([^*\s](?:.*?[^*\s])?)\*/g;
const BLOCKS = /^(#{1,6} |[-*] |\||```)/;

/** @param {string} text @returns {unknown[]} */
function inline(text) {
  /** @type {unknown[]} */
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(at, found.index));
    at = found.index + found[0].length;
    const [, sign, code, label, target, strong, emphasis] = found;
    if (sign !== undefined) parts.push(sign);
    else if (code !== undefined) parts.push(html`<code>${code}</code>`);
    else if (target !== undefined) parts.push(html`<a class="link" rel="noreferrer noopener" href=${target}>${inline(label)}</a>`);
    else if (strong !== undefined) parts.push(html`<strong>${inline(strong)}</strong>`);
    else parts.push(html`<em>${inline(emphasis)}</em>`);
  }
  return [...parts, text.slice(at)];
}

/** The cells of a line of a table; an escaped bar is part of its cell. @param {string} line */
const cells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim());

/** @param {string[]} lines of a table */
function table(lines) {
  const [head, ...rows] = lines.filter((line) => !/^\|[\s|:-]+\|?$/.test(line) || !line.includes("-")).map(cells);
  const isNamed = head.some(Boolean);
  return html`<table class="plain">${isNamed ? html`<thead><tr>${head.map((cell) => html`<th>${inline(cell)}</th>`)}</tr></thead>` : null}
    <tbody>${rows.map((row) => html`<tr>${row.map((cell, at) => html`<td class=${at || isNamed ? "" : "key"}>${inline(cell)}</td>`)}</tr>`)}</tbody></table>`;
}

/** @param {{text: string, level?: number}} props `level` of the headings that have one sign */
export function Markdown({ text, level = 2 }) {
  const lines = text.split("\n");
  /** @type {unknown[]} */
  const blocks = [];
  /** Takes lines as long as they match. @param {(line: string) => boolean} fits */
  const take = (fits) => {
    let count = 0;
    while (count < lines.length && fits(lines[count])) count += 1;
    return lines.splice(0, count);
  };
  while (lines.length) {
    const line = lines[0];
    const heading = /^(#{1,6}) (.*)$/.exec(line);
    if (heading) {
      lines.shift();
      const tag = `h${Math.min(6, level + heading[1].length - 1)}`;
      blocks.push(html`<${tag}>${inline(heading[2])}<//>`);
    } else if (line.startsWith("```")) {
      lines.shift();
      blocks.push(html`<div class="code" tabindex="0" role="group" aria-label="Code"><span>${take((each) => !each.startsWith("```")).join("\n")}</span></div>`);
      lines.shift();
    } else if (line.startsWith("|")) blocks.push(table(take((each) => each.startsWith("|"))));
    else if (/^[-*] /.test(line)) blocks.push(html`<ul class="bullets">${take((each) => /^[-*] /.test(each)).map((item) => html`<li>${inline(item.slice(2))}</li>`)}</ul>`);
    else if (line.trim()) blocks.push(html`<p>${inline(take((each) => Boolean(each.trim()) && (each === line || !BLOCKS.test(each))).join(" "))}</p>`);
    else lines.shift();
  }
  return html`<div class="prose">${blocks}</div>`;
}
