// All entities of one kind, whichever it is: the columns are those that the server says the kind has.

import { html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { EntityTable } from "../entity_table.js";
import { setPlace, showPlace, startFrame } from "../frame.js";
import { partsOf } from "../kind_parts.js";
import { heading, pageKind as kind } from "../schema.js";
import { Snippet } from "../values.js";

const title = heading(kind.path.replaceAll("-", " "));
const { start } = partsOf(kind);
const empty = start ? html`<p>There are none yet. Make one:</p><${Snippet} code=${start} />` : undefined;

startFrame();
setPlace([{ label: "Projects", href: api.BASE }, { label: title }]);
showPlace(html`<h1 class="visually-hidden">${title}</h1><p class="summary muted">${kind.summary}</p><${EntityTable} kind=${kind} place=${kind.path} empty=${empty} />`);
