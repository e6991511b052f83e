// The parts of a page, one shown at a time: which one is in the address.

import { html } from "../vendor/preact-htm.js";
import { bind } from "./keyboard.js";
import { parameter, setParameters } from "./storage.js";

const KEYS = 9;

/** The tab in the address, or the first. @param {Record<string, string>} tabs titles by name */
export const currentTab = (tabs) => (Object.hasOwn(tabs, parameter("tab")) ? parameter("tab") : Object.keys(tabs)[0]);

/** Follows the keys of digits, and the Back button. @param {() => Record<string, string>} tabs @param {(tab: string) => void} show told of a tab that is to be shown */
export function followTabs(tabs, show) {
  addEventListener("popstate", () => show(currentTab(tabs())));
  for (let at = 0; at < KEYS; at += 1) {
    bind(String(at + 1), at ? "" : "First tab; 2 to 9 the others", () => {
      const tab = Object.keys(tabs())[at];
      if (tab) openTab(tabs(), tab, show);
    });
  }
}

/** @param {Record<string, string>} tabs @param {string} tab @param {(tab: string) => void} show */
export function openTab(tabs, tab, show) {
  setParameters({ tab: tab === Object.keys(tabs)[0] ? "" : tab, filter: "", order: "" }, true);
  show(tab);
}

/** @typedef {{tabs: Record<string, string>, current: string, label: string, counts?: Record<string, number>, show: (tab: string) => void}} TabsProps */

/** @param {TabsProps} props */
export const Tabs = ({ tabs, current, label, counts = {}, show }) => html`<nav class="tabs" aria-label=${label}>${Object.entries(tabs).map(([name, title], at) => html`<a key=${name} href=${at ? `?tab=${name}` : location.pathname} aria-current=${current === name ? "page" : undefined}
    onClick=${(/** @type {MouseEvent} */ event) => { if (event.ctrlKey || event.metaKey || event.shiftKey) return; event.preventDefault(); openTab(tabs, name, show); }}>${title}${counts[name] ? html`<span class="count">${counts[name].toLocaleString("en-US")}</span>` : null}</a>`)}</nav>`;
