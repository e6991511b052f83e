// What registered models and their versions have beside other entities: moves between stages and aliases, what was where at a
// time, and the card of a version.

import { Component, html, useState } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { Markdown } from "./markdown.js";
import { kindOf, pageOf } from "./schema.js";
import { inTurn } from "./timing.js";
import { Ago, Problem, useAnswer } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {{model_version_id: string, number: number | null} | null} Held */
/** @typedef {Record<string, {before: Held, after: Held}>} Places */
/** @typedef {{at: string, actor: string, reason: string, version: Held, from_stage: string, to_stage: string, stages: Places, aliases: Places, erased: boolean}} Move */

/** The stages of models that name none. */
const STAGES = kindOf("model_version")?.columns.find(({ name }) => name === "stage")?.choices ?? [];

/** @param {{held: Held}} props */
const Version = ({ held }) => (held ? html`<a class="link" href=${pageOf("model_version", held.model_version_id)}>${held.number ? `v${held.number}` : held.model_version_id.slice(0, 8)}</a>` : html`<span class="faint">none</span>`);

/** @param {Places} places what changed, without the stage that the move says already */
const Changes = (places) => Object.entries(places).map(([name, { before, after }]) => html`<div key=${name} class="in-text">${name}: <${Version} held=${before} /> → <${Version} held=${after} /></div>`);

/** @extends {Component<{entity: Entity, revision: number}, any>} */
export class Moves extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { moves: /** @type {Move[] | null} */ (null), error: null };
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
      const moves = [];
      let cursor = "";
      do {
        const page = await api.request(`/registered-models/${this.props.entity.entity_id}/history`, { params: { cursor } });
        moves.push(...page.moves);
        cursor = page.cursor;
      } while (cursor);
      this.setState({ moves: moves.reverse(), error: null });
    } catch (error) {
      this.setState({ error });
    }
  });

  /** @param {any} props @param {any} state */
  render({ entity }, { moves, error }) {
    if (error) return html`<div class="tab"><${Problem} error=${error} retry=${this.load} /></div>`;
    if (!moves) return html`<div class="tab"></div>`;
    return html`<div class="tab"><${AsOf} entity=${entity} /><${Promotion} entity=${entity} done=${this.load} />
      <section class="block" aria-label="Moves"><h2>Moves <span class="count">${moves.length || ""}</span></h2>${moves.length ? html`<div class="scroll-x" tabindex="0" role="region" aria-label="All moves"><table class="plain"><thead><tr><th>When</th><th>Who</th><th>Version</th><th>Stage</th><th>Aliases</th><th>Why</th></tr></thead><tbody>
      ${moves.map((/** @type {Move} */ move, /** @type {number} */ at) => html`<tr key=${at}><td class="when tight"><${Ago} time=${move.at} /></td><td class="tight">${move.actor}</td>${move.erased ? html`<td colspan="4" class="special">erased</td>` : html`<td>${move.version ? html`<${Version} held=${move.version} />` : null}</td>
        <td>${move.to_stage ? `${move.from_stage || "none"} → ${move.to_stage}` : null}</td><td>${Changes(move.aliases)}</td><td>${move.reason}</td>`}</tr>`)}</tbody></table></div>` : html`<p class="none">No version has moved yet.</p>`}</section></div>`;
  }
}

/** Moves a version into a stage, gives it an alias, or both. @param {{entity: Entity, done: () => Promise<void>}} props */
function Promotion({ entity, done }) {
  const nothing = { version: "latest", stage: "", alias: "", reason: "" };
  const [asked, setAsked] = useState(nothing);
  const [error, setError] = useState(/** @type {any} */ (null));
  const [busy, setBusy] = useState(false);
  const stages = entity.stage_names?.length ? entity.stage_names : STAGES;
  const { version, stage, alias, reason } = asked;
  const set = (/** @type {string} */ name) => (/** @type {any} */ event) => setAsked({ ...asked, [name]: event.target.value });
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await api.request(`/registered-models/${entity.entity_id}/promote`, { body: { version, reason, ...(stage ? { stage } : {}), ...(alias ? { alias } : {}) } });
      setAsked(nothing);
      setError(null);
      await done();
    } catch (failed) {
      setError(failed);
    } finally {
      setBusy(false);
    }
  };
  return html`<section class="block" aria-label="Promote"><h2>Promote a version</h2><form class="comment-form" onSubmit=${send}>
    <div class="row"><input class="input" aria-label="Version" placeholder="v3, an alias, or latest" value=${version} onInput=${set("version")} />
      <select class="input" aria-label="Stage" value=${stage} onChange=${set("stage")}><option value="">stays in its stage</option>${stages.map((/** @type {string} */ name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>
      <input class="input" aria-label="Alias" placeholder="alias, such as champion" value=${alias} onInput=${set("alias")} /></div>
    <textarea aria-label="Reason" placeholder="Why, for those who read the history" value=${reason} onInput=${set("reason")}></textarea>
    <button class="button primary" disabled=${busy || !version.trim() || !reason.trim() || !(stage || alias.trim())}>Promote</button></form>${error ? html`<${Problem} error=${error} />` : null}</section>`;
}

/** What had which stage and alias at a time. @param {{entity: Entity}} props */
function AsOf({ entity }) {
  const [time, setTime] = useState("");
  const moment = new Date(time);
  const at = time && !Number.isNaN(moment.getTime()) ? moment.toISOString() : undefined;
  const { value, error } = useAnswer(() => api.request("/registry", { params: { model_id: entity.entity_id, at } }), [at, entity.revision]);
  const state = value?.models[0];
  const rows = state ? [...Object.entries(state.stages), ...Object.entries(state.aliases)] : [];
  return html`<section class="block" aria-label="What was where"><h2>What was where <label class="row push">at <input class="input small" type="datetime-local" step="1" value=${time} onInput=${(/** @type {any} */ event) => setTime(event.target.value)} />${time ? html`<button class="button small" onClick=${() => setTime("")}>Now</button>` : html`<span class="faint">now</span>`}</label></h2>
    ${error ? html`<${Problem} error=${error} />` : null}
    ${rows.length ? html`<table class="plain"><tbody>${rows.map(([name, held]) => html`<tr key=${name}><td class="key">${name}</td><td><${Version} held=${held} /></td></tr>`)}</tbody></table>` : !value ? null : html`<p class="none">${state ? "No version had a stage to itself, or an alias." : "The model was not there then."}</p>`}</section>`;
}

/** The card of a version, filled from the record. @param {{entity: Entity, revision: number}} props */
export function Card({ entity, revision }) {
  const { value, error } = useAnswer(() => api.request(`/model-versions/${entity.entity_id}/card`), [revision]);
  if (error) return html`<div class="tab"><${Problem} error=${error} /></div>`;
  return html`<div class="tab">${value ? html`<${Markdown} text=${value.card} />` : null}</div>`;
}
