// What lies above the page: one menu or dialog at a time, and short messages. Focus goes in, stays in, and comes back: in at
// once, not after the next painting, since a key may come before that.

import { html, render, useLayoutEffect, useRef } from "../vendor/preact-htm.js";
import { icon } from "./icons.js";

const root = /** @type {HTMLElement} */ (document.getElementById("overlays"));
/** @type {HTMLElement | null} */
let before = null;

/** @param {unknown} content */
function show(content) {
  before ??= /** @type {HTMLElement | null} */ (document.activeElement);
  render(content, root);
}

export function close() {
  render(null, root);
  const back = before;
  before = null;
  if (back?.isConnected) back.focus({ preventScroll: true });
}

/** @typedef {{label?: string, action?: () => void, href?: string, checked?: boolean, line?: boolean, head?: string}} Item */

/** @param {HTMLElement} anchor @param {Item[]} items */
export function openMenu(anchor, items) {
  show(html`<${Menu} anchor=${anchor} items=${items} />`);
}

/** @param {{anchor: HTMLElement, items: Item[]}} props */
function Menu({ anchor, items }) {
  const root = useRef(/** @type {any} */ (null));
  useLayoutEffect(() => {
    const menu = root.current;
    const at = anchor.getBoundingClientRect();
    menu.style.left = `${Math.max(4, Math.min(at.left, innerWidth - menu.offsetWidth - 4))}px`;
    menu.style.top = `${at.bottom + menu.offsetHeight + 4 > innerHeight ? Math.max(4, at.top - menu.offsetHeight - 2) : at.bottom + 2}px`;
    menu.querySelector("button, a")?.focus();
    const away = (/** @type {Event} */ event) => !menu.contains(event.target) && close();
    addEventListener("pointerdown", away);
    return () => removeEventListener("pointerdown", away);
  }, [anchor]);
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const all = /** @type {HTMLElement[]} */ ([...root.current.querySelectorAll("button, a")]);
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (event.key === "Escape" || event.key === "Tab") close();
    else if (event.key === "ArrowDown") all[(at + 1) % all.length]?.focus();
    else if (event.key === "ArrowUp") all[(at + all.length - 1) % all.length]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<div class="menu" role="menu" ref=${root} onKeyDown=${pressed}>${items.map((item) => {
    if (item.line) return html`<hr />`;
    if (item.head) return html`<div class="label" role="presentation">${item.head}</div>`;
    if (item.href) return html`<a role="menuitem" href=${item.href}>${item.label}</a>`;
    const role = item.checked === undefined ? "menuitem" : "menuitemcheckbox";
    return html`<button role=${role} aria-checked=${item.checked} onClick=${() => { close(); item.action?.(); }}>${item.label}</button>`;
  })}</div>`;
}

/** @param {string} title @param {unknown} body @param {string} [kind] a class for its shape */
export function openDialog(title, body, kind = "") {
  show(html`<${Dialog} title=${title} kind=${kind}>${body}<//>`);
}

/** @param {{title: string, kind: string, children: unknown}} props */
function Dialog({ title, kind, children }) {
  const root = useRef(/** @type {any} */ (null));
  useLayoutEffect(() => {
    (root.current.querySelector("input, textarea") ?? root.current.querySelector("button"))?.focus();
  }, []);
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    event.stopPropagation();
    if (event.key === "Escape") close();
    if (event.key !== "Tab") return;
    const all = /** @type {HTMLElement[]} */ ([...root.current.querySelectorAll("button, a[href], input, textarea, select, [tabindex='0']")]);
    const edge = event.shiftKey ? all[0] : all[all.length - 1];
    if (document.activeElement === edge) {
      event.preventDefault();
      (event.shiftKey ? all[all.length - 1] : all[0])?.focus();
    }
  };
  return html`<div class="veil" onClick=${(/** @type {Event} */ event) => event.target === event.currentTarget && close()} onKeyDown=${pressed}>
    <div class=${`dialog ${kind}`} role="dialog" aria-modal="true" aria-label=${title} ref=${root}>
      ${kind.includes("palette") ? null : html`<header><h2 class="grow">${title}</h2><button class="button quiet small icon" aria-label="Close" onClick=${close}>${icon("close")}</button></header>`}
      ${children}
    </div></div>`;
}

/** A message that goes away by itself, with something to do about it. @param {string} message @param {boolean} [bad] @param {{label: string, action: () => void}} [offer] */
export function toast(message, bad = false, offer = undefined) {
  let list = document.querySelector(".toasts");
  if (!list) {
    list = document.createElement("div");
    list.className = "toasts";
    list.setAttribute("role", "status");
    document.body.append(list);
  }
  const item = document.createElement("div");
  item.className = bad ? "notice bad" : "notice";
  item.textContent = message;
  if (offer) {
    const button = document.createElement("button");
    button.className = "button small";
    button.textContent = offer.label;
    button.addEventListener("click", () => {
      item.remove();
      offer.action();
    });
    item.append(button);
  }
  list.append(item);
  setTimeout(() => item.remove(), offer ? 30_000 : bad ? 10_000 : 3000);
}

/** Uses a module that is loaded now that it is asked for. @template M @param {Promise<M>} loading @param {(module: M) => void} use */
export const lazily = (loading, use) => loading.then(use, (error) => toast(error.message, true));
