// The first tab of a run: what was set, what came out, what people and ModelDB say about it.

import { html, useState } from "../vendor/preact-htm.js";
import { seriesOf } from "./columns.js";
import { Comments } from "./comments.js";
import { entriesOf, Facts, FILTER_FROM, SHOWN_AT_FIRST } from "./facts.js";
import { formatCount, formatLabel, formatMetric, fullValue, isOwnMeasure, toNumber } from "./format.js";
import { icon } from "./icons.js";
import { Figures } from "./run_artifacts.js";
import { fieldOf, METRICS, RUN } from "./schema.js";
import { Short } from "./values.js";

/** @typedef {import("./types").Run} Run */

/** The maps that have another place than the right column: one of their own here, or a tab. */
const ELSEWHERE = new Set([METRICS, "failure", "artifacts", "code", "environment", "context", "datasets"]);
const HERE = RUN.maps.filter((name) => !ELSEWHERE.has(name));
/** @param {{run: Run}} props */
function Metrics({ run }) {
  const [search, setSearch] = useState("");
  const all = { ...Object.fromEntries(Object.entries(run.series ?? {}).map(([key, summary]) => [key, summary.last])), ...run.metrics };
  const count = Object.keys(all).length;
  const entries = entriesOf(all, search);
  const users = entries.filter(([key]) => !isOwnMeasure(key));
  const own = entries.filter(([key]) => isOwnMeasure(key));
  return html`<section class="block" aria-label="Metrics"><h2>Metrics <span class="count">${count ? formatCount(count) : ""}</span>
      ${count > FILTER_FROM ? html`<input class="input small" type="search" placeholder="Find" aria-label="Find in Metrics" value=${search} onInput=${(/** @type {any} */ event) => setSearch(event.target.value)} />` : null}</h2>
    ${users.length ? html`<${MetricTable} run=${run} entries=${users} />` : html`<p class="none">${search ? "Nothing found." : "Nothing was measured."}</p>`}
    ${own.length ? html`<details class="own" open=${search !== ""}><summary>Measured by ModelDB <span class="count">${own.length}</span></summary><${MetricTable} run=${run} entries=${own} /></details>` : null}</section>`;
}

/** @param {{run: Run, entries: [string, unknown][]}} props */
function MetricTable({ run, entries }) {
  const [most, setMost] = useState(SHOWN_AT_FIRST);
  /** @param {unknown} value @param {import("./types").Value} step */
  const point = (value, step) => html`<td class="num wide" title=${`${fullValue(value)} at step ${formatLabel(step)}`}>${formatMetric(toNumber(value))}</td>`;
  return html`<table class="plain"><thead><tr><th>Key</th><th class="num">Value</th><th class="num wide">Min</th><th class="num wide">Max</th><th class="num">Points</th></tr></thead><tbody>${entries.slice(0, most).map(([key, value]) => {
      const summary = seriesOf(run, key);
      return html`<tr key=${key}><td>${summary ? html`<a class="link" href=${`?tab=charts&panel=${encodeURIComponent(key)}`}>${key}</a>` : key}</td><td class="num"><${Short} value=${value} measured=${true} /></td>
        ${summary ? html`${point(summary.minimum, summary.min_step)}${point(summary.maximum, summary.max_step)}<td class="num" title=${summary.nan_count ? `${formatCount(summary.nan_count)} of them NaN` : ""}>${formatCount(summary.count)}</td>` : html`<td class="wide"></td><td class="wide"></td><td class="num faint">once</td>`}</tr>`;
    })}</tbody></table>${entries.length > most ? html`<button class="button small" onClick=${() => setMost(most + 1000)}>Show ${formatCount(entries.length - most)} more</button>` : null}`;
}

/** Why a run failed: what was raised, and where. @param {{failure: any}} props */
function Failure({ failure }) {
  return html`<section class="block failure" aria-label="Failure"><h2>${icon("failed")}Failed with ${String(failure.type ?? "an error")}</h2>
    ${failure.message ? html`<p class="said">${String(failure.message)}</p>` : null}
    ${failure.traceback ? html`<div class="code" tabindex="0" role="region" aria-label="Traceback"><span>${String(failure.traceback)}</span></div>` : null}</section>`;
}

/** @param {{run: Run, remarks: number}} props `remarks`: how often somebody has said something since the page was opened */
export const Overview = ({ run, remarks }) => html`<div class="tab">${run.failure && Object.keys(run.failure).length ? html`<${Failure} failure=${run.failure} />` : null}<div class="columns">
  <div><${Metrics} run=${run} /><${Figures} run=${run} /></div>
  <div>${HERE.map((name) => html`<${Facts} key=${name} title=${fieldOf(RUN, name)?.title} map=${run[name]} />`)}<${Comments} entity=${run} revision=${remarks} /></div></div></div>`;
