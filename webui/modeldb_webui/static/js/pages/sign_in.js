// Signing in, by a password or through the OpenID provider of the server.

import * as api from "../api.js";
import { html, useState } from "../../vendor/preact-htm.js";
import { showPlace } from "../frame.js";

/** Where to go then: a path of this server, whatever the address says. */
const target = () => {
  const next = new URL(new URLSearchParams(location.search).get("next") || api.BASE, location.origin);
  return next.origin === location.origin ? next.pathname + next.search : api.BASE;
};

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
      location.assign(target());
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
        ${openid ? html`<a href=${api.address("/session/oidc", { next: target() })}>Sign in through your organization</a>` : null}</div>
      <p class="said" role="alert">${said}</p>
    </form></div>`;
}

document.getElementById("openid")?.remove();
showPlace(html`<${SignIn} />`);
