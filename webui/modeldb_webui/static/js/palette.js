// The palette: type a few letters, go anywhere.

import { html, useEffect, useMemo, useState } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { LINKS } from "./navigation.js";
import { close, openDialog } from "./overlays.js";
import { debounce } from "./timing.js";

/** @typedef {{label: string, kind: string, href: string}} Target */

const MOST = 8;
const MOST_OF_A_KIND = 4;
/** Where the lists of kinds lie: what the navigation leads to is searched. */
const LISTS = "kinds/";

export function openPalette() {
  openDialog("Go to", html`<${Palette} />`, "palette");
}

/** @param {string} text @returns {Promise<Target[]>} */
async function search(text) {
  const like = text ? `name contains "${text.replaceAll('"', '""')}"` : "";
  const lists = text ? LINKS.filter(({ path }) => path.startsWith(LISTS)) : [];
  const [projects, runs, ...others] = await Promise.all([
    api.find("projects", { filter: like, fields: "name", limit: MOST, order_by: text ? "name" : "updated_at desc" }),
    api.find("runs", { filter: like, fields: "name", limit: MOST }),
    ...lists.map(({ path }) => api.find(path.slice(LISTS.length), { filter: like, fields: "name", limit: MOST_OF_A_KIND })),
  ]);
  const places = LINKS.filter((link) => text && link.title.toLowerCase().includes(text.toLowerCase()));
  const found = [
    ...places.map((link) => ({ label: link.title, kind: "page", href: api.BASE + link.path })),
    ...projects.items.map((item) => ({ label: item.name, kind: "project", href: `${api.BASE}projects/${item.entity_id}` })),
    ...runs.items.map((item) => ({ label: item.name || item.entity_id, kind: "run", href: `${api.BASE}runs/${item.entity_id}` })),
    ...lists.flatMap(({ title, path }, at) => others[at].items.map((item) => ({ label: item.name || item.entity_id, kind: title, href: `${api.BASE}${path}/${item.entity_id}` }))),
  ];
  if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text)) found.unshift({ label: text, kind: "run by its id", href: `${api.BASE}runs/${text}` });
  return found;
}

/** @param {Target} target */
function go({ href }) {
  location.href = href;
  close();
}

function Palette() {
  const [text, setText] = useState("");
  const [{ targets, of }, setFound] = useState({ targets: /** @type {Target[]} */ ([]), of: /** @type {string | null} */ (null) });
  /** Whether the reader waits to be taken to the first that is found. */
  const [goes, setGoes] = useState(false);
  const [chosen, setChosen] = useState(0);
  const look = useMemo(() => {
    let last = 0;
    return debounce((/** @type {string} */ wanted) => {
      const mine = (last += 1);
      search(wanted).catch(() => []).then((targets) => {
        if (mine !== last) return;
        setFound({ targets, of: wanted });
        setChosen(0);
      });
    }, 120);
  }, []);
  useEffect(() => look(text), [text]);
  const isFound = of === text;
  useEffect(() => {
    if (!goes || !isFound) return;
    setGoes(false);
    if (targets[chosen]) go(targets[chosen]);
  }, [goes, isFound]);
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setChosen((chosen + (event.key === "ArrowDown" ? 1 : -1) + targets.length) % Math.max(1, targets.length));
    } else if (event.key === "Enter") {
      setGoes(true);
    }
  };
  return html`<input type="text" role="combobox" aria-expanded="true" aria-controls="targets" aria-activedescendant=${targets.length ? `target-${chosen}` : undefined} aria-label="Go to a project or a run" placeholder="Go to a project or a run" value=${text}
      onInput=${(/** @type {any} */ event) => { setText(event.target.value); setGoes(false); }} onKeyDown=${pressed} />
    <ul id="targets" role="listbox" aria-label="Found">${targets.map((target, index) => html`<li key=${target.href} id=${`target-${index}`} role="option" aria-selected=${index === chosen}>
      <a href=${target.href} tabindex="-1"><span class="cut">${target.label}</span><span class="kind">${target.kind}</span></a></li>`)}</ul>
    ${text && isFound && !targets.length ? html`<p class="body muted">Nothing has this in its name.</p>` : null}`;
}
