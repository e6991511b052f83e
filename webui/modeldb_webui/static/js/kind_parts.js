// What the pages of some kinds have beside what those of all have.

import { html } from "../vendor/preact-htm.js";
import { Later } from "./values.js";

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./cells.js").NameOf} NameOf */
/** @typedef {{entity: Entity, revision: number, nameOf: NameOf}} Shown */
/**
 * @typedef {object} Parts
 * @property {Record<string, string>} tabs titles by name
 * @property {string[]} without fields that the overview leaves out, as they are shown elsewhere
 * @property {(entity: Entity, nameOf: NameOf) => [string, unknown][]} facts in the head
 * @property {(shown: Shown) => unknown} overview beside the fields
 * @property {(tab: string, shown: Shown) => unknown} draw a tab
 * @property {string} start code that makes the first one
 * @property {(location: string, entity: Entity) => unknown} [view] what lies at a location of its content tree
 * @property {(first: Entity, second: Entity) => unknown} difference above the comparison of two
 */

/** @type {Parts} */
const NONE = { start: "", tabs: {}, without: [], facts: () => [], overview: () => null, draw: () => null, difference: () => null };

/** A part from a module that is loaded when it is shown. @param {Promise<any>} module @param {string} part @returns {Promise<any>} */
const from = (module, part) => module.then((exported) => exported[part]);
const ofModels = (/** @type {string} */ part) => () => from(import("./models.js"), part);
const ofDatasets = (/** @type {string} */ part) => () => from(import("./datasets.js"), part);
const ofRepositories = (/** @type {string} */ part) => () => from(import("./repositories.js"), part);

/** @type {Record<string, Partial<Parts>>} */
const PARTS = {
  dataset: { start: `import modeldb_core as modeldb\n\nmodeldb.log_dataset_version("churn/train", modeldb.path("data/train"))` },
  dataset_version: {
    difference: (first, second) => html`<${Later} load=${ofDatasets("Difference")} dataset=${first.dataset_id} before=${first.entity_id} after=${second.entity_id} />`,
  },
  registered_model: {
    start: `import modeldb_core as modeldb\n\nwith modeldb.start_run("churn") as run:\n    run.log_model(classifier)\nmodeldb.register_model("churn", run=run)`,
    tabs: { moves: "Moves" },
    without: ["last_move"],
    draw: (tab, shown) => (tab === "moves" ? html`<${Later} key=${tab} load=${ofModels("Moves")} ...${shown} />` : null),
  },
  model_version: {
    tabs: { card: "Card" },
    facts: ({ stage, approval }) => [["Stage", stage], ["Approval", approval]],
    draw: (tab, shown) => (tab === "card" ? html`<${Later} key=${tab} load=${ofModels("Card")} ...${shown} />` : null),
  },
  repository: {
    start: `import modeldb_core as modeldb\n\nwith modeldb.repository("churn").commit("first settings") as commit:\n    commit["config/training"] = {"lr": 0.01}`,
    tabs: { log: "Log" },
    draw: (tab, shown) => (tab === "log" ? html`<${Later} key=${tab} load=${ofRepositories("Log")} ...${shown} />` : null),
  },
  commit: {
    tabs: { changes: "Changes" },
    view: (location, entity) => html`<${Later} load=${ofRepositories("BlobView")} entity=${entity} location=${location} />`,
    draw: (tab, { entity }) => (tab === "changes" ? html`<div class="tab"><${Later} key=${tab} load=${ofRepositories("Differences")} repository=${entity.repository_id} after=${entity.entity_id} /></div>` : null),
    difference: (first, second) => html`<${Later} load=${ofRepositories("Differences")} repository=${first.repository_id} before=${first.entity_id} after=${second.entity_id} />`,
  },
};

/** @param {import("./types").Kind} kind @returns {Parts} */
export const partsOf = ({ kind }) => ({ ...NONE, ...PARTS[kind] });
