// Who changed what of an entity: its part of the audit log.

import { Component, html, useState } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { formatTime, fullValue, plural } from "./format.js";
import { kindOf } from "./schema.js";
import { inTurn } from "./timing.js";
import { Ago, Problem } from "./values.js";

const PAGE = 200;

/** @extends {Component<{entity: import("./types").Entity, revision: number}, any>} */
export class History extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { changes: /** @type {any[] | null} */ (null), cursor: 0, more: false, error: null };
  }

  componentDidMount() {
    void this.load();
  }

  /** @param {any} before */
  componentDidUpdate(before) {
    if (before.revision !== this.props.revision && !this.state.more) void this.load();
  }

  load = inTurn(async () => {
    try {
      const found = [];
      let { cursor } = this.state;
      let more = true;
      // A page may be shorter than asked for where payloads are large: only an empty one is the last.
      while (more && found.length < PAGE) {
        const page = await api.request("/changes", { params: { entity_id: this.props.entity.entity_id, after: cursor, limit: PAGE } });
        found.push(...page.changes);
        cursor = page.cursor;
        more = page.changes.length > 0;
      }
      this.setState({ changes: [...(this.state.changes ?? []), ...found], cursor, more, error: null });
    } catch (error) {
      this.setState({ error });
    }
  });

  /** @param {any} _ @param {any} state */
  render({ entity }, { changes, more, error }) {
    return html`<div class="tab"><p class="muted">Every change of this ${kindOf(entity.kind)?.words}, in the order of arrival. Each carries the hash of the one before it in its stream; <code>modeldb audit verify</code> checks them all.</p>
      ${error ? html`<${Problem} error=${error} />` : null}
      <table class="plain listing"><thead><tr><th>When</th><th>Who</th><th>What</th><th class="num">No.</th><th>Stream</th><th>Hash</th></tr></thead><tbody>
      ${(changes ?? []).map((/** @type {any} */ change) => html`<tr key=${change.hash}><td class="when tight"><${Ago} time=${change.recorded_at} /></td><td class="tight">${change.actor}</td><td class="main"><${What} change=${change} /></td><td class="num">${change.seq}</td>
        <td class="tight"><code title=${change.stream_id}>${change.stream_id.slice(0, 8)}</code></td><td class="tight"><code title=${change.hash}>${change.hash.slice(0, 12)}</code></td></tr>`)}</tbody></table>
      ${more ? html`<p><button class="button" onClick=${() => this.load()}>Show more</button></p>` : null}</div>`;
  }
}

/** @param {{change: any}} props */
function What({ change }) {
  const [open, setOpen] = useState(false);
  if (change.erased) return html`<span class="special">${change.action}, payload erased</span>`;
  if (change.action === "append") return html`<span>points of ${change.data?.keys?.length > 6 ? `${change.data.keys.length} keys` : (change.data?.keys ?? []).join(", ")} <span class="faint">${plural(change.data?.points ?? 0, "value")}</span></span>`;
  const text = fullValue(change.data);
  return html`<span>${change.action} <span class="faint">${summary(change)}</span> ${text.length > 2 ? html`<button class="button quiet small" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"}</button>` : null}
    ${open ? html`<pre class="json">${fullValue(change.data, 2)}</pre>` : null}</span>`;
}

/** @param {any} change */
function summary(change) {
  const data = change.data ?? {};
  const parts = change.action === "update" ? Object.values(data).flatMap((part) => (part && typeof part === "object" ? Object.entries(part).map(([name, value]) => (value && typeof value === "object" && !Array.isArray(value) ? `${name}.${Object.keys(value).join(", ")}` : Array.isArray(value) ? `${name} ${value.join(", ")}` : `${name} = ${name.endsWith("_at") && typeof value === "number" ? formatTime(new Date(value / 1000).toISOString()) : fullValue(value)}`)) : [])) : [data.name ?? ""];
  const text = parts.join("; ");
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}
