// What people said of an entity.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { inTurn } from "./timing.js";
import { Ago, Problem } from "./values.js";

/** @extends {Component<{entity: import("./types").Entity, revision: number}, any>} */
export class Comments extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { items: null, error: null, text: "", sending: false };
  }

  componentDidMount() {
    void this.load();
  }

  /** @param {any} before */
  componentDidUpdate(before) {
    if (before.revision !== this.props.revision) void this.load();
  }

  load = inTurn(async () => {
    try {
      const page = await api.find("comments", { within: this.props.entity.entity_id, limit: 200, order_by: "created_at" });
      this.setState({ items: page.items, error: null });
    } catch (error) {
      this.setState({ error });
    }
  });

  send = async () => {
    const { text: sent } = this.state;
    this.setState({ sending: true, failed: null });
    try {
      await api.addComment(this.props.entity.kind, this.props.entity.entity_id, sent);
      this.setState((/** @type {any} */ { text }) => ({ text: text === sent ? "" : text })); // what was typed meanwhile stays
      await this.load();
    } catch (error) {
      this.setState({ failed: error });
    } finally {
      this.setState({ sending: false });
    }
  };

  /** @param {any} _ @param {any} state */
  render(_, { items, error, text, sending, failed }) {
    return html`<section class="block" aria-label="Comments"><h2>Comments <span class="count">${items?.length || ""}</span></h2>
      ${error ? html`<${Problem} error=${error} />` : null}
      ${(items ?? []).map((/** @type {any} */ item) => html`<article class="comment" key=${item.entity_id}><header>${item.author || item.owner} <${Ago} time=${item.created_at} /></header><p>${item.message}</p></article>`)}
      <div class="comment-form"><textarea aria-label="Comment" placeholder="Say what you found" value=${text} onInput=${(/** @type {any} */ event) => this.setState({ text: event.target.value })}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => (event.ctrlKey || event.metaKey) && event.key === "Enter" && text.trim() && !sending && this.send()}></textarea>
        <button class="button primary" disabled=${!text.trim() || sending} onClick=${this.send}>Comment</button></div>${failed ? html`<${Problem} error=${failed} />` : null}</section>`;
  }
}
