// The filter: a line of the query language, with completions, and errors shown at the place that the server names.

import { Component, html } from "../vendor/preact-htm.js";
import { complete, filterOf, isComplete } from "./completion.js";
import { icon } from "./icons.js";
import { debounce } from "./timing.js";

/** @typedef {import("./types").KeyInfo} KeyInfo */
/**
 * @typedef {object} FilterProps
 * @property {string} text
 * @property {(text: string, firm: boolean) => void} onChange `firm` where the reader pressed Enter
 * @property {() => Promise<KeyInfo[]>} keys
 * @property {Record<string, string[]>} names
 * @property {boolean} bad
 * @property {string} [what] is filtered, in words
 */

const PAUSE_MS = 350;

/** @extends {Component<FilterProps, any>} */
export class FilterBox extends Component {
  /** @param {FilterProps} props */
  constructor(props) {
    super(props);
    this.state = { text: props.text, offers: /** @type {any[]} */ ([]), start: 0, chosen: -1, open: false, keys: /** @type {KeyInfo[]} */ ([]) };
    this.later = debounce((/** @type {string} */ text) => text === this.state.text && isComplete(text) && this.props.onChange(text, false), PAUSE_MS);
    /** @type {HTMLInputElement | null} */
    this.input = null;
  }

  /** @param {FilterProps} before */
  componentDidUpdate(before) {
    if (before.text !== this.props.text && this.props.text !== this.state.text && document.activeElement !== this.input) this.setState({ text: this.props.text });
  }

  focus() {
    this.input?.focus();
    this.input?.select();
  }

  async offer() {
    const input = this.input;
    if (!input) return;
    if (!this.state.keys.length) this.props.keys().then((keys) => keys.length && this.setState({ keys }, () => document.activeElement === input && this.offer()), () => undefined);
    const { start, offers } = complete(input.value, input.selectionStart ?? input.value.length, this.state.keys, this.props.names);
    this.setState({ offers, start, chosen: -1, open: offers.length > 0 });
  }

  typed = () => {
    const text = this.input?.value ?? "";
    this.setState({ text });
    this.later(text);
    void this.offer();
  };

  /** @param {number} index */
  choose(index) {
    /** @type {{text: string, note: string} | undefined} */
    const offer = this.state.offers[index];
    const input = this.input;
    if (!offer || !input) return;
    const caret = input.selectionStart ?? input.value.length;
    const after = offer.text.endsWith("(") ? "" : " ";
    const text = input.value.slice(0, this.state.start) + offer.text + after + input.value.slice(caret).replace(/^\s/, "");
    const at = this.state.start + offer.text.length + after.length;
    this.setState({ text, open: false }, () => {
      input.setSelectionRange(at, at);
      this.later(text);
      void this.offer();
    });
  }

  pressed = (/** @type {KeyboardEvent} */ event) => {
    const { open, offers, chosen } = this.state;
    if (event.key === "Escape") {
      if (open) this.setState({ open: false });
      else this.input?.blur();
    } else if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const next = chosen + (event.key === "ArrowDown" ? 1 : -1);
      this.setState({ chosen: (next + offers.length) % offers.length }, () => document.getElementById(`offer-${this.state.chosen}`)?.scrollIntoView({ block: "nearest" }));
    } else if (open && event.key === "Tab" && !event.shiftKey) {
      this.choose(Math.max(0, chosen));
    } else if (event.key === "Enter") {
      if (open && chosen >= 0) this.choose(chosen);
      else {
        this.setState({ open: false });
        this.props.onChange(this.state.text, true);
      }
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  clear = () => {
    this.setState({ text: "", open: false });
    this.props.onChange("", true);
    this.input?.focus();
  };

  /** @param {FilterProps} props @param {any} state */
  render(props, { text, offers, chosen, open }) {
    return html`<div class="filter">${icon("search")}
      <input class=${`input ${props.bad ? "bad" : ""}`} type="text" spellcheck=${false} autocomplete="off" autocapitalize="off" placeholder=${props.what ? `Filter: name contains "…" and tags contains "…"` : 'Filter runs: metrics.auc > 0.9 and tags contains "best"'}
        aria-label=${props.what ? `Filter by what a ${props.what} holds` : "Filter runs"} role="combobox" aria-expanded=${open} aria-controls="filter-offers" aria-autocomplete="list" aria-invalid=${props.bad}
        aria-activedescendant=${open && chosen >= 0 ? `offer-${chosen}` : undefined} value=${text} ref=${(/** @type {HTMLInputElement} */ input) => (this.input = input)}
        onInput=${this.typed} onKeyDown=${this.pressed} onFocus=${() => text === "" && this.offer()} onBlur=${() => setTimeout(() => this.setState({ open: false }), 120)} />
      <span class="hint">${text ? html`<button class="clear" aria-label="Clear the filter" onClick=${this.clear}>${icon("close")}</button>` : html`<kbd>/</kbd>`}</span>
      <ul id="filter-offers" class="completions" role="listbox" aria-label="Completions" hidden=${!open}>
        ${open ? offers.map((/** @type {any} */ offer, /** @type {number} */ index) => html`<li key=${offer.text} id=${`offer-${index}`} role="option" aria-selected=${index === chosen}
          onMouseDown=${(/** @type {Event} */ event) => { event.preventDefault(); this.choose(index); }}><span>${offer.text}</span><span>${offer.note}</span></li>`) : null}
      </ul>
    </div>`;
  }
}

/** Says what is wrong with a filter, with its place marked. @param {{error: any, text: string}} props */
export function FilterError({ error, text }) {
  const sent = filterOf(text);
  const at = error.column ? Math.min(error.column - 1, sent.length) : -1;
  return html`<div class="filter-error" role="alert">
    ${at >= 0 && sent ? html`<code>${at > 40 ? "…" : ""}${sent.slice(Math.max(0, at - 40), at)}<mark>${sent.slice(at, at + 12) || "␣"}</mark>${sent.slice(at + 12, at + 40)}</code>` : null}
    <span>${error.message.split("\n")[0].replace(/^filter, column \d+: /, "")}</span></div>`;
}
