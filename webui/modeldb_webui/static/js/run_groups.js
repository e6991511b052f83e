// Runs in groups by the value of a hyperparameter: how many, and mean and spread of what was measured.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { colorClass } from "./colors.js";
import { fieldName, fieldsOf, orderName, valueAt, lookUp } from "./columns.js";
import { formatMetric, formatValue, fullValue, isNumeric, plural, toNumber } from "./format.js";
import { METRICS } from "./schema.js";
import { Problem } from "./values.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {import("./types").Column} Column */
/** @typedef {{key: string, value: any, ids: string[], runs: Run[]}} Group */

const PAGE = 1000;
/** More runs than this are not fetched to be grouped; the page says so. */
export const MOST_GROUPED = 10_000;
/** More columns than this are not summed up. */
const MOST_MEASURED = 60;

/** @param {Run[]} runs @param {string} by a hyperparameter @returns {Group[]} the largest groups first, those without a value last */
export function groupRuns(runs, by) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const run of runs) {
    const value = lookUp(run.hyperparameters, by);
    const key = value === undefined ? "" : JSON.stringify(value);
    const group = groups.get(key) ?? { key, value, ids: [], runs: [] };
    group.ids.push(run.entity_id);
    group.runs.push(run);
    groups.set(key, group);
  }
  const numeric = [...groups.values()].every(({ value }) => value === undefined || isNumeric(value));
  /** @param {Group} group runs without a value come last, NaN before them */
  const rank = (group) => (group.key === "" ? 2 : numeric && Number.isNaN(toNumber(group.value)) ? 1 : 0);
  return [...groups.values()].sort((a, b) => rank(a) - rank(b) || (numeric ? toNumber(a.value) - toNumber(b.value) || 0 : b.ids.length - a.ids.length || a.key.localeCompare(b.key)));
}

/** Mean, standard deviation (n - 1) and number of the finite values. @param {number[]} values */
export function spread(values) {
  const finite = values.filter(Number.isFinite);
  const count = finite.length;
  const mean = finite.reduce((sum, value) => sum + value, 0) / count;
  const deviation = count > 1 ? Math.sqrt(finite.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1)) : 0;
  return { count, mean, deviation, low: Math.min(...finite), high: Math.max(...finite) };
}

/** The condition that a run is in a group; empty where a filter cannot say it. @param {string} by @param {any} value */
export function groupFilter(by, value) {
  const name = fieldName("hyperparameters", by);
  if (value === undefined) return `${name} not exists`;
  if (value === null) return `${name} is null`;
  if (typeof value === "string") return `${name} = "${value.replaceAll('"', '""')}"`;
  if (typeof value === "boolean" || typeof value === "number") return `${name} = ${value}`;
  return value.$int ? `${name} = ${value.$int}` : "";
}

/** @typedef {{within: string, filter: string, by: string, columns: Column[], revision: unknown, version: number, slots: Map<string, number>, onGroups: (groups: Group[]) => void, onOpen: (filter: string) => void}} Props */

/** @extends {Component<Props, any>} */
export class RunGroups extends Component {
  /** @param {Props} props */
  constructor(props) {
    super(props);
    this.state = { groups: /** @type {Group[] | null} */ (null), error: null, total: 0, sort: "", down: false };
    this.asked = "";
  }

  componentDidMount() {
    void this.load();
  }

  componentDidUpdate() {
    void this.load();
  }

  componentWillUnmount() {
    this.asked = "gone";
  }

  /** The columns that a group can sum up. */
  measured() {
    return this.measurable().slice(0, MOST_MEASURED);
  }

  measurable() {
    return this.props.columns.filter(({ section, numeric, key }) => (section === METRICS || (section === "hyperparameters" && numeric)) && key !== this.props.by);
  }

  async load() {
    const { within, filter, by, version } = this.props;
    const fields = [...new Set([fieldName("hyperparameters", by), ...this.measured().flatMap(fieldsOf)])].join(",");
    const asked = JSON.stringify([within, filter, by, fields, version]);
    if (asked === this.asked) return;
    this.asked = asked;
    try {
      /** @type {Run[]} */
      const runs = [];
      let cursor = null;
      let total = 0;
      do {
        const page = await api.find("runs", { within, filter, fields, limit: PAGE, cursor, count: cursor ? 0 : 1 });
        runs.push(...page.items);
        total = page.total ?? total;
        cursor = page.cursor;
        if (this.asked !== asked) return;
      } while (cursor && runs.length < MOST_GROUPED);
      const groups = groupRuns(runs, by);
      this.setState({ groups, total, error: null });
      this.props.onGroups(groups);
    } catch (error) {
      this.setState({ error });
    }
  }

  /** @param {string} id */
  sortBy(id) {
    const { sort, down } = this.state;
    this.setState(sort !== id ? { sort: id, down: true } : down ? { down: false } : { sort: "" });
  }

  /** @param {Props} props @param {any} state */
  render({ by, onOpen, slots }, { groups, error, total, sort, down }) {
    if (error) return html`<div class="page"><${Problem} error=${error} /></div>`;
    if (!groups) return html`<div class="page muted">Grouping</div>`;
    const columns = this.measured();
    const rows = groups.map((/** @type {Group} */ group) => ({ group, cells: columns.map((column) => spread(group.runs.map((run) => toNumber(valueAt(run, column))))) }));
    const at = columns.findIndex(({ id }) => id === sort);
    if (sort) rows.sort((/** @type {any} */ a, /** @type {any} */ b) => (down ? -1 : 1) * (at < 0 ? a.group.ids.length - b.group.ids.length : (a.cells[at].mean || 0) - (b.cells[at].mean || 0)));
    /** @param {string} id */
    const order = (id) => (sort === id ? (down ? "descending" : "ascending") : "none");
    const grouped = groups.reduce((/** @type {number} */ sum, /** @type {Group} */ group) => sum + group.ids.length, 0);
    const left = this.measurable().length - columns.length;
    return html`<div class="groups" tabindex="0" role="region" aria-label="Groups">${left > 0 ? html`<p class="notice">The first ${columns.length} columns are summed up; ${left} are left out.</p>` : null}${grouped < total ? html`<p class="notice">The newest ${plural(grouped, "run")} of ${total.toLocaleString("en-US")} are grouped: narrow the filter for the rest.</p>` : null}
      <table class="plain"><thead><tr><th>${by}</th><th class="num" aria-sort=${order("runs")}><button class="button quiet small" onClick=${() => this.sortBy("runs")}>Runs</button></th>
        ${columns.map((column) => html`<th key=${column.id} class="num" aria-sort=${order(column.id)}><button class="button quiet small" title=${orderName(column)} onClick=${() => this.sortBy(column.id)}>${column.title}${column.agg ? ` ${column.agg}` : ""}${sort === column.id ? (down ? " ↓" : " ↑") : ""}</button></th>`)}</tr></thead>
      <tbody>${rows.map((/** @type {any} */ { group, cells }) => {
        const filter = groupFilter(by, group.value);
        const slot = slots.get(group.key);
        return html`<tr key=${group.key}><td class="tight"><span class="row"><span class=${`swatch ${slot === undefined ? "" : `drawn ${colorClass(slot)}`}`}></span>${filter ? html`<button class="button quiet small" title="Show these runs" onClick=${() => onOpen(filter)}>${group.value === undefined ? "not set" : formatValue(group.value)}</button>` : html`<span title=${fullValue(group.value)}>${formatValue(group.value)}</span>`}</span></td>
          <td class="num">${group.ids.length.toLocaleString("en-US")}</td>
          ${cells.map((/** @type {any} */ cell, /** @type {number} */ index) => html`<td key=${columns[index].id} class="num" title=${cell.count ? `mean of ${cell.count}; from ${cell.low} to ${cell.high}; standard deviation ${cell.deviation}` : ""}>${cell.count ? html`${formatMetric(cell.mean)} ${cell.count > 1 ? html`<span class="faint">± ${formatMetric(cell.deviation)}</span>` : null}` : null}</td>`)}</tr>`;
      })}</tbody></table></div>`;
  }
}
