// Signing in, by a password or through the OpenID provider of the server.

import * as api from "../api.js";
import { html, useState } from "../../vendor/preact-htm.js";
import { showPlace } from "../frame.js";

/** Where to go then: a path below this server's own. */
const next = new URLSearchParams(location.search).get("next") ?? "";

const openid = document.getElementById("openid") !== null;

function SignIn() {
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    setBusy(true);
    setSaid("");
    try {
      await api.request("/session", { body: { user: form.get("user"), password: form.get("password") } });
      location.assign(location.origin + api.BASE + next.replace(/^\//, "")); // whole, so that no path leads to another server
    } catch (error) {
      setSaid(/** @type {Error} */ (error).message);
      setBusy(false);
    }
  };
  return html`<div class="page sign-in"><h1>Sign in</h1>
    <form class="form" onSubmit=${submit}>
      <label>Name or address<input class="input" name="user" autocomplete="username" required autofocus /></label>
      <label>Password<input class="input" name="password" type="password" autocomplete="current-password" required /></label>
      <div class="row"><button class="button" type="submit" disabled=${busy}>Sign in</button>
        ${openid ? html`<a href=${api.address("/session/oidc", { next })}>Sign in through your organization</a>` : null}</div>
      <p class="said" role="alert">${said}</p>
    </form></div>`;
}

document.getElementById("openid")?.remove();
showPlace(html`<${SignIn} />`);
