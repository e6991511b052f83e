// Changing what is stored, in place: names, descriptions, tags; deleting and restoring. An error keeps what was typed.

import { Component, html, useState } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { plural } from "./format.js";
import { icon } from "./icons.js";
import { close, openDialog, toast } from "./overlays.js";
import { kindOf, titleOf } from "./schema.js";
import { Problem } from "./values.js";

/** @typedef {import("./types").Entity} Entity */

/**
 * A text that is edited where it stands.
 * @typedef {{label: string, value: string, long?: boolean, empty?: string, shown: unknown, save: (text: string) => Promise<unknown>}} TextProps
 */

/** @extends {Component<TextProps, {text: string | null, error: any, busy: boolean}>} */
export class EditableText extends Component {
  /** @param {TextProps} props */
  constructor(props) {
    super(props);
    this.state = { text: null, error: null, busy: false };
  }

  open = () => this.setState({ text: this.props.value, error: null }, () => /** @type {HTMLElement | null} */ (this.base?.querySelector?.("input, textarea"))?.focus());

  shut = () => this.setState({ text: null, error: null }, () => /** @type {HTMLElement | null} */ (this.base?.querySelector?.("button"))?.focus());

  save = async () => {
    const { text, busy } = this.state;
    if (text === null || busy) return;
    this.setState({ busy: true, error: null });
    try {
      await this.props.save(text);
      this.shut();
    } catch (error) {
      this.setState({ error });
    } finally {
      this.setState({ busy: false });
    }
  };

  pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") this.shut();
    else if (event.key === "Enter" && (!this.props.long || event.ctrlKey || event.metaKey)) void this.save();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  /** @param {TextProps} props @param {{text: string | null, error: any, busy: boolean}} state */
  render({ label, long, empty, value, shown }, { text, error, busy }) {
    if (text === null) return html`<div class="editable">${value ? shown : html`<span class="faint">${empty}</span>`}<button class="button quiet small icon" title=${label} aria-label=${label} onClick=${this.open}>${icon("edit")}</button></div>`;
    const typed = (/** @type {any} */ event) => this.setState({ text: event.target.value });
    return html`<div class="editor">${long ? html`<textarea aria-label=${label} rows="4" value=${text} onInput=${typed} onKeyDown=${this.pressed}></textarea>` : html`<input class="input" aria-label=${label} value=${text} onInput=${typed} onKeyDown=${this.pressed} />`}
      <div class="row"><button class="button small primary" disabled=${busy} onClick=${this.save}>Save</button><button class="button small" onClick=${this.shut}>Cancel</button></div>
      ${error ? html`<${Problem} error=${error} />` : null}</div>`;
  }
}

/** @param {string} text tags between commas */
const tagsOf = (text) => text.split(",").map((tag) => tag.trim()).filter(Boolean);

/** Tags that can be taken off and added. @param {{kinds: string, entity: Entity, onChange: () => void}} props */
export function EditableTags({ kinds, entity, onChange }) {
  const [text, setText] = useState(/** @type {string | null} */ (null));
  const [error, setError] = useState(/** @type {any} */ (null));
  /** @param {{add?: string[], remove?: string[]}} change */
  const send = async (change) => {
    try {
      await api.changeTags(kinds, entity.entity_id, change);
      setError(null);
      setText(null);
      onChange();
    } catch (problem) {
      setError(problem);
    }
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") setText(null);
    else if (event.key === "Enter" && tagsOf(text ?? "").length) void send({ add: tagsOf(text ?? "") });
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<span class="tags editable">${(entity.tags ?? []).map((tag) => html`<span class="tag" key=${tag} title=${tag}>${tag}<button class="untag" aria-label=${`Untag ${tag}`} title="Untag" onClick=${() => send({ remove: [tag] })}>×</button></span>`)}
    ${text === null ? html`<button class="button quiet small" onClick=${() => setText("")}>+ tag</button>` : html`<input class="input small" aria-label="Tags to add, between commas" placeholder="tag, tag" value=${text} ref=${(/** @type {HTMLElement | null} */ input) => input && input !== document.activeElement && text === "" && input.focus()} onInput=${(/** @type {any} */ event) => setText(event.target.value)} onKeyDown=${pressed} />`}
    ${error ? html`<${Problem} error=${error} />` : null}</span>`;
}

/** Says what was deleted, with the way back. @param {string} what @param {() => Promise<unknown>} restore */
export function deleted(what, restore) {
  toast(`${what} deleted.`, false, { label: "Undo", action: () => restore().then(() => toast(`${what} restored.`), (error) => toast(error.message, true)) });
}

/** Asks, deletes, and offers the way back. @param {string} kinds @param {Entity} entity @param {() => void} done */
export function askToDelete(kinds, entity, done) {
  const name = titleOf(entity);
  openDialog(`Delete ${kindOf(entity.kind)?.words}`, html`<${ConfirmDelete} text=${`Delete ${name}? It goes out of sight, with its comments, and can be restored until it is collected as garbage (30 days unless set otherwise).`} inner=${kinds === "runs" ? "Its child runs go too" : "All that it contains goes too"}
    act=${async (/** @type {boolean} */ recursive) => {
      await api.remove(kinds, entity.entity_id, recursive);
      deleted(name, () => api.restore(kinds, entity.entity_id).then(done));
      done();
    }} />`);
}

/** @param {{text: string, inner: string, act: (recursive: boolean) => Promise<void>}} props */
function ConfirmDelete({ text, inner, act }) {
  const [recursive, setRecursive] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const sure = () => act(recursive).then(close, setError);
  return html`<div class="body form"><p>${text}</p><label class="row"><input type="checkbox" checked=${recursive} onChange=${(/** @type {any} */ event) => setRecursive(event.target.checked)} />${inner}</label>
    ${error ? html`<${Problem} error=${error} />` : null}
    <div class="row"><span class="grow"></span><button class="button" onClick=${close}>Cancel</button><button class="button danger" onClick=${sure}>Delete</button></div></div>`;
}

/** @typedef {{ids: string[], filter: string, within: string, total: number | null, done: () => void}} Choice */

/** A dialog that changes the selected runs, or all that match. @param {Choice} choice */
export function openRunEditor(choice) {
  openDialog("Edit runs", html`<${RunEditor} ...${choice} />`);
}

const ACTIONS = /** @type {[string, string][]} */ ([["tag", "Tag"], ["untag", "Untag"], ["describe", "Describe"], ["delete", "Delete"]]);
const OF_DELETED = /** @type {[string, string][]} */ ([["restore", "Restore"]]);

/** @extends {Component<Choice, any>} */
class RunEditor extends Component {
  /** @param {Choice} props */
  constructor(props) {
    super(props);
    this.actions = api.asksForDeleted(props.filter) ? OF_DELETED : ACTIONS;
    this.state = { all: !props.ids.length, action: this.actions[0][0], text: "", recursive: false, error: null, busy: false };
  }

  act = async () => {
    const { ids, filter, within, total, done } = this.props;
    const { all, action, text, recursive } = this.state;
    const which = all ? { filter, within, expect: total } : { run_ids: ids };
    this.setState({ busy: true, error: null });
    try {
      const { run_ids: changed } = await api.editRuns({ action, ...which, ...(action === "describe" ? { description: text } : action === "delete" ? { recursive } : action === "restore" ? {} : { tags: tagsOf(text) }) });
      close();
      if (action === "delete") deleted(plural(changed.length, "run"), () => api.editRuns({ action: "restore", run_ids: changed }).then(done));
      else toast(`${plural(changed.length, "run")} changed.`);
      done();
    } catch (error) {
      this.setState({ error, busy: false });
    }
  };

  /** @param {Choice} props @param {any} state */
  render({ ids, total }, { all, action, text, recursive, error, busy }) {
    const count = all ? total ?? 0 : ids.length;
    const typed = (/** @type {any} */ event) => this.setState({ text: event.target.value });
    /** @param {boolean} value @param {string} label @param {boolean} off */
    const scope = (value, label, off) => html`<label class="row"><input type="radio" name="scope" checked=${all === value} disabled=${off} onChange=${() => this.setState({ all: value })} />${label}</label>`;
    return html`<div class="body form">
      <div role="radiogroup" aria-label="Which runs">${scope(false, `The ${plural(ids.length, "selected run")}`, !ids.length)}${scope(true, total === null ? "All that match (still counting)" : `All ${plural(total, "run")} that match`, total === null)}</div>
      <span class="segments" role="group" aria-label="What to do">${this.actions.map(([name, label]) => html`<button key=${name} class="button" aria-pressed=${action === name} onClick=${() => this.setState({ action: name, error: null })}>${label}</button>`)}</span>
      ${action === "delete" ? html`<p>${plural(count, "run")} will go out of sight, and can be restored until garbage is collected.</p><label class="row"><input type="checkbox" checked=${recursive} onChange=${(/** @type {any} */ event) => this.setState({ recursive: event.target.checked })} />Child runs go too</label>`
        : action === "restore" ? html`<p>${plural(count, "run")} will be back, with what was deleted with them.</p>`
        : action === "describe" ? html`<textarea aria-label="Description" rows="3" placeholder="Description; empty takes it away" value=${text} onInput=${typed}></textarea>`
        : html`<input class="input" aria-label="Tags, between commas" placeholder="tag, tag" value=${text} onInput=${typed} />`}
      ${error ? html`<${Problem} error=${error} />` : null}
      <div class="row"><span class="grow"></span><button class="button" onClick=${close}>Cancel</button><button class=${`button ${action === "delete" ? "danger" : "primary"}`} disabled=${busy || !count || (action.endsWith("tag") && !tagsOf(text).length)} onClick=${this.act}>${this.actions.find(([name]) => name === action)?.[1]} ${plural(count, "run")}</button></div></div>`;
  }
}

/** What can be done with a project, beside its name. @param {Entity} project @param {() => void} done */
export function openProjectEditor(project, done) {
  openDialog("Project", html`<${ProjectEditor} project=${project} done=${done} />`);
}

/** @param {{project: Entity, done: () => void}} props */
function ProjectEditor({ project, done }) {
  const [now, setNow] = useState(project);
  const again = async () => {
    setNow(await api.get("projects", project.entity_id));
    done();
  };
  return html`<div class="body form">
    <h3>Name</h3><${EditableText} label="Rename the project" value=${now.name} shown=${now.name} save=${(/** @type {string} */ name) => api.edit("projects", now.entity_id, { name }).then(again)} />
    <h3>Description</h3><${EditableText} label="Describe the project" long=${true} value=${now.description ?? ""} empty="None" shown=${now.description} save=${(/** @type {string} */ description) => api.edit("projects", now.entity_id, { description }).then(again)} />
    <h3>Tags</h3><${EditableTags} kinds="projects" entity=${now} onChange=${again} />
    <div class="row"><span class="grow"></span><button class="button danger" onClick=${() => askToDelete("projects", now, done)}>Delete the project</button></div></div>`;
}
