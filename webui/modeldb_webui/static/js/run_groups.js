// Runs in groups by the value of a hyperparameter: how many, and mean and spread of what was measured.

import { Component, html } from "../vendor/preact-htm.js";
import * as api from "./api.js";
import { colorClass } from "./colors.js";
import { fieldName, lookUp, orderName } from "./columns.js";
import { formatMetric, formatValue, fullValue, isNumeric, plural, toNumber } from "./format.js";
import { METRICS } from "./schema.js";
import { drawnOf } from "./selection.js";
import { Problem } from "./values.js";

/** @typedef {import("./types").Run} Run */
/** @typedef {import("./types").Column} Column */
/** @typedef {import("./types").Spread} Spread */
/** @typedef {{key: string, value: any, count: number, ids: string[], spreads: (Spread | null | undefined)[]}} Group with the identifiers of some of its runs, the newest */

/** Groups that are shown, the largest; the page says how many there are. */
const MOST_GROUPS = 1000;
/** So many of the newest runs are looked at for those that charts draw. */
const PAGE = 1000;
/** More columns than this are not summed up. */
const MOST_MEASURED = 60;
/** As many columns are asked for at once. */
const MEASURES = 10;
/** What stands for all maps, long lists and long texts. */
export const OTHER = "other";

/** The group of a value, as the store tells them apart. @param {any} value `undefined` where there is none */
export function keyOf(value) {
  if (value === undefined) return "";
  const text = JSON.stringify(value);
  const isTagged = value !== null && typeof value === "object" && ("$int" in value || "$float" in value);
  const isPlain = value === null || typeof value !== "object" || isTagged;
  if (isPlain) return typeof value === "string" && value.length > 10_000 ? OTHER : text;
  return Array.isArray(value) && text.length <= 1000 ? text : OTHER;
}

/** @param {import("./types").StoredGroup[]} groups @returns {Group[]} */
export function shownGroups(groups) {
  /** @type {Set<string>} */
  const keys = new Set();
  return groups.map(({ value, value_type: type, count, spreads }, index) => {
    const isOther = type === "json" && value === null;
    let key = isOther ? OTHER : type ? JSON.stringify(value) : "";
    if (keys.has(key)) key += ` ${index}`; // [1] and [1.0] read the same here
    keys.add(key);
    return { key, value: isOther ? OTHER : type ? value : undefined, count, ids: [], spreads };
  });
}

/** In the order of their values where all are numbers, else the largest first; those without a value last, NaN before them. @param {Group[]} groups */
export function inOrder(groups) {
  const numeric = groups.every(({ value }) => value === undefined || isNumeric(value));
  /** @param {Group} group */
  const rank = (group) => (group.key === "" ? 2 : numeric && Number.isNaN(toNumber(group.value)) ? 1 : 0);
  return [...groups].sort((a, b) => rank(a) - rank(b) || (numeric ? toNumber(a.value) - toNumber(b.value) || 0 : b.count - a.count || a.key.localeCompare(b.key)));
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

/** Adds to groups the spreads of further columns. @param {Group[]} groups @param {Group[]} found @param {number} at of how many they have those */
function join(groups, found, at) {
  const byKey = new Map(found.map((group) => [group.key, group]));
  for (const group of groups) (byKey.get(group.key)?.spreads ?? []).forEach((spread, index) => { group.spreads[at + index] = spread; });
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
    const measures = this.measured().map((column) => fieldName(column.section, column.key, column.agg));
    const asked = JSON.stringify([within, filter, by, measures, version]);
    if (asked === this.asked) return;
    this.asked = asked;
    try {
      const field = fieldName("hyperparameters", by);
      /** @type {Group[]} */
      let groups = [];
      for (let at = 0; at === 0 || at < measures.length; at += MEASURES) {
        const page = await api.findGroups({ within, filter, by: field, measures: measures.slice(at, at + MEASURES).join(",") || undefined, limit: MOST_GROUPS });
        if (this.asked !== asked) return;
        const found = shownGroups(page.groups);
        if (at) join(groups, found, at);
        else groups = inOrder(found);
        this.setState({ groups: [...groups], total: page.total, error: null });
        if (!at) void this.find(groups, asked);
      }
    } catch (error) {
      if (this.asked === asked) this.setState({ error });
    }
  }

  /** Finds the newest runs of groups, for charts. @param {Group[]} groups @param {string} asked */
  async find(groups, asked) {
    const { within, filter, by } = this.props;
    const fields = fieldName("hyperparameters", by);
    try {
      const newest = await api.find("runs", { within, filter, fields, limit: PAGE });
      const byKey = new Map(groups.map((group) => [group.key, group]));
      for (const run of newest.items) byKey.get(keyOf(lookUp(run.hyperparameters, by)))?.ids.push(run.entity_id);
      const [most, each] = drawnOf(groups.length);
      await Promise.all(groups.slice(0, most).map(async (group) => {
        const own = group.key === OTHER ? "" : groupFilter(by, group.value);
        if (!own || group.ids.length >= Math.min(each, group.count)) return;
        const page = await api.find("runs", { within, filter: filter ? `(${filter}) and ${own}` : own, fields, limit: each });
        group.ids = page.items.map((/** @type {Run} */ run) => run.entity_id);
      }));
      if (this.asked === asked) this.props.onGroups(groups);
    } catch (error) {
      if (this.asked === asked) this.setState({ error });
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
    const rows = groups.map((/** @type {Group} */ group) => ({ group, cells: group.spreads }));
    const at = columns.findIndex(({ id }) => id === sort);
    if (sort) rows.sort((/** @type {any} */ a, /** @type {any} */ b) => (down ? -1 : 1) * (at < 0 ? a.group.count - b.group.count : (a.cells[at]?.mean ?? 0) - (b.cells[at]?.mean ?? 0)));
    /** @param {string} id */
    const order = (id) => (sort === id ? (down ? "descending" : "ascending") : "none");
    const left = this.measurable().length - columns.length;
    return html`<div class="groups" tabindex="0" role="region" aria-label="Groups">${left > 0 ? html`<p class="notice">The first ${columns.length} columns are summed up; ${left} are left out.</p>` : null}${groups.length < total ? html`<p class="notice">The largest ${plural(groups.length, "group")} of ${total.toLocaleString("en-US")} are shown: narrow the filter for the rest.</p>` : null}
      <table class="plain"><thead><tr><th>${by}</th><th class="num" aria-sort=${order("runs")}><button class="button quiet small" onClick=${() => this.sortBy("runs")}>Runs</button></th>
        ${columns.map((column) => html`<th key=${column.id} class="num" aria-sort=${order(column.id)}><button class="button quiet small" title=${orderName(column)} onClick=${() => this.sortBy(column.id)}>${column.title}${column.agg ? ` ${column.agg}` : ""}${sort === column.id ? (down ? " ↓" : " ↑") : ""}</button></th>`)}</tr></thead>
      <tbody>${rows.map((/** @type {any} */ { group, cells }) => {
        const filter = group.key === OTHER ? "" : groupFilter(by, group.value);
        const slot = slots.get(group.key);
        return html`<tr key=${group.key}><td class="tight"><span class="row"><span class=${`swatch ${slot === undefined ? "" : `drawn ${colorClass(slot)}`}`}></span>${filter ? html`<button class="button quiet small" title="Show these runs" onClick=${() => onOpen(filter)}>${group.value === undefined ? "not set" : formatValue(group.value)}</button>` : group.key === OTHER ? html`<span class="muted">maps, long lists and long texts</span>` : html`<span title=${fullValue(group.value)}>${formatValue(group.value)}</span>`}</span></td>
          <td class="num">${group.count.toLocaleString("en-US")}</td>
          ${columns.map((column, index) => ({ column, cell: /** @type {Spread | null | undefined} */ (cells[index]) })).map(({ column, cell }) => html`<td key=${column.id} class="num" title=${cell ? `mean of ${cell.count}; from ${cell.minimum} to ${cell.maximum}; standard deviation ${cell.deviation}` : ""}>${cell ? html`${formatMetric(cell.mean)} ${cell.count > 1 ? html`<span class="faint">± ${formatMetric(cell.deviation)}</span>` : null}` : null}</td>`)}</tr>`;
      })}</tbody></table></div>`;
  }
}
