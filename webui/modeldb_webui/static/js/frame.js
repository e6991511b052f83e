// What all places share: the rail with the projects, the bar on top, the palette, the theme, the help.

import { html, render, useEffect, useState } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { watchConnection } from "./events.js";
import { icon } from "./icons.js";
import { bind, boundKeys } from "./keyboard.js";
import { LINKS } from "./navigation.js";
import { openDialog } from "./overlays.js";
import { openPalette } from "./palette.js";
import { recall, remember } from "./storage.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {{label: string, href?: string}} Crumb */

const RAIL_PROJECTS = 50;
const frame = /** @type {HTMLElement} */ (document.querySelector(".frame"));
export const main = /** @type {HTMLElement} */ (document.getElementById("main"));
/** The id in the address of the page. */
export const pageId = document.body.dataset.id ?? "";

/** @type {Promise<Entity[]> | null} */
let projects = null;
export const recentProjects = () => (projects ??= api.find("projects", { limit: RAIL_PROJECTS, fields: "name", order_by: "updated_at desc" }).then((page) => page.items));

/** @param {{current: string}} props */
function Rail({ current }) {
  const [items, setItems] = useState(/** @type {Entity[]} */ ([]));
  useEffect(() => {
    recentProjects().then(setItems, () => setItems([]));
  }, []);
  return html`<a class="brand" href=${api.BASE}><svg width="20" height="20" viewBox="0 0 16 16" aria-hidden="true"><rect width="16" height="16" rx="3.5" fill="#3b5bdb" />
    <path d="M3 11.5 6 6.5l2.6 3.2L13 4.2" fill="none" stroke="#fff" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" /><circle cx="13" cy="4.2" r="1.4" fill="#ffd43b" /></svg>ModelDB</a>
    <div class="rail-head">Projects</div>
    <ul>${items.map((project) => html`<li key=${project.entity_id}><a href=${`${api.BASE}projects/${project.entity_id}`} aria-current=${project.entity_id === current ? "page" : undefined} title=${project.name}>
      <span class="cut">${project.name}</span></a></li>`)}
      ${items.length === RAIL_PROJECTS ? html`<li><a href=${api.BASE}>All projects</a></li>` : null}</ul>
    ${[...new Set(LINKS.map((link) => link.group))].map((group) => html`<div class="rail-head" key=${group}>${group}</div><ul>${LINKS.filter((link) => link.group === group).map(({ title, path }) => html`<li key=${path}>
      <a href=${api.BASE + path} aria-current=${location.pathname === api.BASE + path ? "page" : undefined} title=${title}><span class="cut">${title}</span></a></li>`)}</ul>`)}`;
}

/** @param {{crumbs: Crumb[], children?: unknown}} props */
function Topbar({ crumbs, children }) {
  const [live, setLive] = useState(false);
  useEffect(() => {
    const end = watchConnection(setLive);
    return () => void end();
  }, []);
  return html`<button class="button quiet icon menu-button" aria-label="Projects" onClick=${toggleRail}>${icon("menu")}</button>
    <nav class="crumbs" aria-label="Breadcrumb"><ol>${crumbs.map((crumb, index) => html`<li key=${index}>${crumb.href ? html`<a href=${crumb.href}>${crumb.label}</a>` : html`<span>${crumb.label}</span>`}</li>`)}</ol></nav>
    ${children}
    <span class="row faint wide" title=${live ? "Changes appear as they are made" : "Not following changes"}><span class=${`live-dot ${live ? "on" : ""}`}></span>${live ? "Live" : "Paused"}</span>
    <button class="button quiet" onClick=${() => openPalette()} aria-label="Go to anything">${icon("search")}<span class="wide">Go to</span><kbd class="wide">Ctrl K</kbd></button>
    <button class="button quiet icon" onClick=${toggleTheme} title="Dark or light" aria-label="Switch between dark and light">${icon("theme")}</button>
    <button class="button quiet icon wide" onClick=${openHelp} title="Keys (?)" aria-label="Keys">${icon("help")}</button>`;
}

function toggleRail() {
  frame.classList.toggle("drawer");
}

export function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("modeldb.theme", root.dataset.theme);
  } catch {
    // Storage may be forbidden: the choice holds for this page.
  }
  dispatchEvent(new Event("themechange"));
}

export function openHelp() {
  openDialog("Keys", html`<div class="body"><dl class="keys">${boundKeys().map(({ key, says }) => html`<dt><kbd>${key}</kbd></dt><dd>${says}</dd>`)}</dl></div>`);
}

/** @param {Crumb[]} crumbs the last one is where the reader is @param {string} [title] */
export function setPlace(crumbs, title = crumbs[crumbs.length - 1]?.label ?? "") {
  document.title = title ? `${title} · ModelDB` : "ModelDB";
  render(html`<${Topbar} crumbs=${crumbs} />`, /** @type {HTMLElement} */ (document.getElementById("topbar")));
}

/** Draws the frame. @param {string} project the id of the project that the page belongs to */
export function startFrame(project = "") {
  render(html`<${Rail} current=${project} />`, /** @type {HTMLElement} */ (document.getElementById("rail")));
}

/** Shows a place in the page. @param {unknown} content */
export const showPlace = (content) => {
  main.querySelector("noscript")?.remove();
  render(content, main);
};

bind("Ctrl K", "Go to anything", () => openPalette());
bind("?", "This help", openHelp);
bind("t", "Dark or light", toggleTheme);
bind("[", "Show or hide the list of projects", () => {
  frame.classList.toggle("norail");
  remember("norail", frame.classList.contains("norail"));
});
frame.classList.toggle("norail", recall("norail", false));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));
main.addEventListener("pointerdown", () => frame.classList.remove("drawer"));
