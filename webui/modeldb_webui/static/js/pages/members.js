// Who has a role on a workspace or project; its admins give and take roles.

import * as api from "../api.js";
import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { pageId, setPlace, showPlace, startFrame } from "../frame.js";

/** @typedef {{holder_kind: string, holder_id: string, name: string, role: string}} Member */

const ROLES = ["reader", "contributor", "admin"];
const kind = location.pathname.split("/").at(-2) === "projects" ? "projects" : "workspaces";
const placeOf = `${api.BASE}${kind === "projects" ? "" : "kinds/"}${kind}/${pageId}`;
const path = `/${kind}/${pageId}/members`;

function Members() {
  const [items, setItems] = useState(/** @type {Member[]} */ ([]));
  const [mayChange, setMayChange] = useState(false);
  const [said, setSaid] = useState("");
  const [name, setName] = useState("");
  const load = async () => {
    try {
      const page = await api.request(path);
      setItems(page.items);
      setMayChange(page.may_change);
    } catch (error) {
      setSaid(/** @type {Error} */ (error).message);
    }
  };
  useEffect(() => {
    void load();
    // Not in an effect of its own: Preact mixes up the state of a component whose effect draws another tree.
    void api.get(kind, pageId).then(({ name }) => {
      setName(name);
      setPlace([{ label: "Account", href: `${api.BASE}account` }, { label: name, href: placeOf }, { label: "Members" }], `Members of ${name}`);
    }, () => undefined); // the list says what is wrong
  }, []);
  /** @param {string} holderKind @param {string} name @param {string} role */
  const give = async (holderKind, name, role) => {
    setSaid("");
    try {
      await api.request(path, { method: "PUT", body: { holder_kind: holderKind, name, role } });
    } catch (error) {
      setSaid(/** @type {Error} */ (error).message);
    }
    await load();
  };
  /** @param {SubmitEvent} event */
  const add = (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    void give(String(form.get("holder")), String(form.get("name")), String(form.get("role")));
  };
  const roles = ROLES.map((role) => html`<option key=${role} value=${role}>${role}</option>`);
  return html`<div class="page"><h1>Members${name ? ` of ${name}` : ""}</h1><p class="said" role="alert">${said}</p>
    <table class="table"><thead><tr><th scope="col">Who</th><th scope="col">Kind</th><th scope="col">Role</th></tr></thead>
      <tbody>${items.map((one) => html`<tr key=${one.holder_id}><td>${one.name}</td><td>${one.holder_kind}</td><td>${
        mayChange
          ? html`<select class="input" aria-label=${`Role of ${one.name}`} value=${one.role} onChange=${(/** @type {Event} */ event) => give(one.holder_kind, one.name, /** @type {HTMLSelectElement} */ (event.target).value)}>${roles}<option value="">none</option></select>`
          : one.role
      }</td></tr>`)}</tbody></table>
    ${mayChange ? html`<form class="row" onSubmit=${add}><select class="input" name="holder" aria-label="A user or a team"><option value="user">user</option><option value="team">team</option></select>
      <input class="input" name="name" aria-label="Name" placeholder="name" required /><select class="input" name="role" aria-label="Role">${roles}</select><button class="button" type="submit">Give</button></form>` : null}</div>`;
}

startFrame();
setPlace([{ label: "Account", href: `${api.BASE}account` }, { label: "Members" }]);
showPlace(html`<${Members} />`);
