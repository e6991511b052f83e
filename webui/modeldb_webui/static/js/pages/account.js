// Who is signed in: their workspaces, tokens and password, and signing out.

import * as api from "../api.js";
import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { setPlace, showPlace, startFrame } from "../frame.js";

/** @typedef {{token_id: string, name: string, allows: string, created_at: string, expires_at: string | null, last_used_at: string | null, revoked_at: string | null}} Token */

/** @param {unknown} error */
const words = (error) => /** @type {Error} */ (error).message;
/** @param {SubmitEvent} event */
const fields = (event) => {
  event.preventDefault();
  return new FormData(/** @type {HTMLFormElement} */ (event.target));
};
/** @param {string | null} time */
const day = (time) => (time ? time.slice(0, 10) : "");

function Tokens() {
  const [items, setItems] = useState(/** @type {Token[]} */ ([]));
  const [made, setMade] = useState("");
  const [said, setSaid] = useState("");
  const load = () => api.request("/session/tokens").then((page) => setItems(page.items), (error) => setSaid(words(error)));
  useEffect(() => void load(), []);
  /** @param {SubmitEvent} event */
  const create = async (event) => {
    const form = fields(event);
    const days = Number(form.get("days"));
    try {
      const token = await api.request("/session/tokens", { body: { name: form.get("name"), allows: form.get("allows"), ...(days ? { days } : {}) } });
      setMade(token.token);
      setSaid("");
      await load();
    } catch (error) {
      setSaid(words(error));
    }
  };
  /** @param {Token} token */
  const revoke = async (token) => {
    try {
      await api.request(`/session/tokens/${token.token_id}`, { method: "DELETE" });
      await load();
    } catch (error) {
      setSaid(words(error));
    }
  };
  return html`<section><h2>Tokens</h2><p>Programs show a token in place of a password. It is shown once, when it is made.</p>
    <form class="row" onSubmit=${create}>
      <input class="input" name="name" aria-label="What the token is for" placeholder="what it is for" required maxlength="256" />
      <select class="input" name="allows" aria-label="What it allows"><option value="write">read and write</option><option value="read">read</option></select>
      <input class="input" name="days" type="number" min="1" max="3660" aria-label="Days until it expires" placeholder="days" />
      <button class="button" type="submit">Make a token</button></form>
    ${made ? html`<p role="status">Copy it now: <code>${made}</code></p>` : null}
    <p class="said" role="alert">${said}</p>
    <table class="table"><thead><tr><th scope="col">Name</th><th scope="col">Allows</th><th scope="col">Made</th><th scope="col">Expires</th><th scope="col">Last used</th><th scope="col">State</th></tr></thead>
      <tbody>${items.map((token) => html`<tr key=${token.token_id}><td>${token.name}</td><td>${token.allows}</td><td>${day(token.created_at)}</td><td>${day(token.expires_at)}</td><td>${day(token.last_used_at)}</td>
        <td>${token.revoked_at ? "revoked" : html`<button class="button" aria-label=${`Revoke ${token.name}`} onClick=${() => revoke(token)}>Revoke</button>`}</td></tr>`)}</tbody></table></section>`;
}

/** At most so many workspaces are listed; the rest is in the list of all. */
const LISTED = 100;

function Workspaces() {
  const [items, setItems] = useState(/** @type {{entity_id: string, name: string}[]} */ ([]));
  const [said, setSaid] = useState("");
  useEffect(() => void api.find("workspaces", { order_by: "name", limit: LISTED, fields: "name" }).then((page) => setItems(page.items), (error) => setSaid(words(error))), []);
  return html`<section><h2>Workspaces</h2><p class="said" role="alert">${said}</p>
    <table class="table"><thead><tr><th scope="col">Name</th><th scope="col">Members</th></tr></thead>
      <tbody>${items.map((one) => html`<tr key=${one.entity_id}><td><a href=${`${api.BASE}kinds/workspaces/${one.entity_id}`}>${one.name}</a></td>
        <td><a href=${`${api.BASE}members/workspaces/${one.entity_id}`} aria-label=${`Members of ${one.name}`}>Members</a></td></tr>`)}</tbody></table>
    ${items.length === LISTED ? html`<p><a href=${`${api.BASE}kinds/workspaces`}>All workspaces</a></p>` : null}</section>`;
}

/** @param {{user: string}} props */
function Password({ user }) {
  const [said, setSaid] = useState("");
  /** @param {SubmitEvent} event */
  const change = async (event) => {
    const form = fields(event);
    try {
      await api.request("/session/password", { method: "PUT", body: { password: form.get("password"), new_password: form.get("new_password") } });
      setSaid("The password is changed. You are signed out everywhere else.");
    } catch (error) {
      setSaid(words(error));
    }
  };
  return html`<section><h2>Password</h2><form class="row" onSubmit=${change}>
    <input type="hidden" name="user" autocomplete="username" value=${user} />
    <input class="input" name="password" type="password" aria-label="Password so far" placeholder="so far" autocomplete="current-password" required />
    <input class="input" name="new_password" type="password" aria-label="New password, at least 12 characters" placeholder="new, at least 12 characters" minlength="12" autocomplete="new-password" required />
    <button class="button" type="submit">Change</button></form><p role="status">${said}</p></section>`;
}

function Account() {
  const [visitor, setVisitor] = useState({ user: "", is_admin: false });
  useEffect(() => void api.request("/session").then(setVisitor, () => undefined), []);
  const who = visitor.user + (visitor.is_admin ? ", who administers the server" : "");
  const signOut = () => api.request("/session", { method: "DELETE" }).finally(() => location.assign(`${api.BASE}sign-in`));
  return html`<div class="page"><h1>Account</h1><div class="row"><span>${who ? `Signed in as ${who}` : ""}</span><button class="button" onClick=${signOut}>Sign out</button></div>
    <${Workspaces} /><${Tokens} /><${Password} user=${visitor.user} /></div>`;
}

startFrame();
setPlace([{ label: "Projects", href: api.BASE }, { label: "Account" }]);
showPlace(html`<${Account} />`);
