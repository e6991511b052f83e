// One entity of any kind but those with a page of their own: what is recorded of it, what it contains, what names it, where it
// came from, and who changed it. What a kind has beside that is in a module of its own.

import { Component, html } from "../../vendor/preact-htm.js";
import * as api from "../api.js";
import { CompareTable } from "../compare_table.js";
import { EntityHead } from "../entity_head.js";
import { EntityOverview } from "../entity_overview.js";
import { EntityTable } from "../entity_table.js";
import { follow } from "../events.js";
import { Followed } from "../followed.js";
import { Folders } from "../folders.js";
import { pageId, setPlace, showPlace, startFrame } from "../frame.js";
import { History } from "../history.js";
import { partsOf } from "../kind_parts.js";
import { Lineage } from "../lineage.js";
import { Names } from "../names.js";
import { heading, KINDS, kindOf, pageKind as kind, pageOf, titleOf } from "../schema.js";
import { parameter } from "../storage.js";
import { currentTab, followTabs, Tabs } from "../tabs.js";
import { debounce } from "../timing.js";
import { countUses, UsedBy } from "../used_by.js";
import { Ago, Problem } from "../values.js";

/** @typedef {import("../types").Entity} Entity */
/** @typedef {import("../types").Kind} Kind */

/** The kinds whose entities are parts of those of this one. */
const INNER = KINDS.filter((each) => each.fields.some(({ container, computed, refers_to: target }) => container && !computed && target === kind.kind));
/** The fields that say what the entity is part of, the nearest last. */
const OUTER = kind.fields.filter(({ container, refers_to: target }) => container && kindOf(target) && target !== "workspace");
const PARTS = partsOf(kind);
/** The field that names what it consists of. */
const TREE = kind.fields.find(({ names_trees: isTree }) => isTree)?.name;

/** What the parts are called: versions of a data set are "Versions" there. @param {Kind} inner */
const innerTitle = ({ words, path }) => heading(path.replaceAll("-", " ").replace(words.startsWith(`${kind.words} `) ? `${kind.words} ` : "", ""));

/** @extends {Component<{}, any>} */
class EntityPlace extends Component {
  constructor() {
    super({});
    this.names = new Names(() => this.forceUpdate());
    this.followed = new Followed(kind.path, pageId);
    this.tabs = {
      overview: "Overview", ...Object.fromEntries(INNER.map((inner) => [inner.path, innerTitle(inner)])), ...(TREE ? { contents: "Contents" } : {}), ...PARTS.tabs,
      ...(this.isCompared() ? { compare: "Comparison" } : {}), uses: "Used by", ...(kind.fields.some(({ lineage }) => lineage) || INNER.length ? { lineage: "Lineage" } : {}), history: "History",
    };
    this.state = { entity: /** @type {Entity | null} */ (null), error: null, tab: currentTab(this.tabs), counts: {}, revision: 0 };
    this.loadSoon = debounce(() => this.load(), 200);
  }

  isCompared = () => Boolean(parameter("other"));

  componentDidMount() {
    void this.load();
    followTabs(() => this.tabs, this.show);
    follow((changed, all) => {
      if (all || changed.some(({ entity_id: id, kind: of }) => id === pageId || of === "comment" || INNER.some((inner) => inner.kind === of))) this.loadSoon();
    });
  }

  componentDidUpdate() {
    if (this.state.entity) setPlace(this.placeOf(this.state.entity));
  }

  show = (/** @type {string} */ tab) => this.setState({ tab });

  load = async () => {
    try {
      const entity = await this.followed.load();
      this.setState((/** @type {any} */ state) => ({ entity, error: null, revision: state.revision + 1 }));
      void this.count(entity);
    } catch (error) {
      this.setState({ error });
    }
  };

  /** How much there is of its parts, and of what names it. @param {Entity} entity */
  async count(entity) {
    try {
      const counts = await Promise.all(INNER.map((inner) => api.find(inner.path, { within: pageId, limit: 1, count: 1, fields: "name" })));
      const uses = await countUses(entity);
      if (entity !== this.state.entity) return; // later counts are on their way
      this.setState({ counts: { ...Object.fromEntries(INNER.map((inner, at) => [inner.path, counts[at].total ?? 0])), uses: uses.reduce((sum, { count }) => sum + count, 0) } });
    } catch (error) {
      this.setState({ error });
    }
  }

  /** The address and the names of what leads here. @param {Entity} entity */
  placeOf(entity) {
    const outer = OUTER.filter(({ name, refers_to: target }) => entity[name] && target !== kind.kind);
    const top = kindOf(outer[0]?.refers_to) ?? kind;
    return [
      { label: heading(top.path.replaceAll("-", " ")), href: top.kind === "project" ? api.BASE : `${api.BASE}kinds/${top.path}` },
      ...outer.map(({ name, refers_to: target }) => ({ label: this.names.of(target, entity[name]) || "…", href: pageOf(target, entity[name]) })),
      { label: titleOf(entity) },
    ];
  }

  /** @param {string[]} ids */
  compare = ([first, second]) => (location.href = `${pageOf(this.inner()?.kind, first)}?tab=compare&other=${second}`);

  inner = () => INNER.find(({ path }) => path === this.state.tab);

  /** @param {{}} _ @param {any} state */
  render(_, { entity, error, tab, counts, revision }) {
    if (error && !entity) return html`<div class="page"><${Problem} error=${error} retry=${error.status === 404 ? undefined : this.load} /></div>`;
    if (!entity) return html`<div class="page"></div>`;
    const facts = [...PARTS.facts(entity, this.names.of), ["Author", entity.owner], ["Created", html`<${Ago} time=${entity.created_at} />`]];
    return html`<${EntityHead} entity=${entity} facts=${facts} load=${this.load} />
      ${error ? html`<${Problem} error=${error} retry=${this.load} />` : null}
      <${Tabs} tabs=${this.tabs} current=${tab} label=${`Parts of the ${kind.words}`} counts=${counts} show=${this.show} />${this.part(entity, tab, revision)}`;
  }

  /** @param {Entity} entity @param {string} tab @param {number} revision */
  part(entity, tab, revision) {
    const inner = this.inner();
    if (inner) {
      const said = inner.fields.filter(({ container, refers_to: target }) => container && target === kind.kind).map(({ name }) => name);
      const order = inner.columns.some(({ name }) => name === "version") ? "version desc" : "";
      return html`<${EntityTable} key=${tab} kind=${inner} place=${`inner.${inner.kind}`} among=${{ within: pageId }} order=${order} without=${[...said, ...said.map((name) => name.replace(/_id$/, ""))]} two=${{ label: "Compare", act: this.compare }} />`;
    }
    const own = PARTS.draw(tab, { entity, revision, nameOf: this.names.of });
    if (own) return own;
    if (tab === "contents" && TREE) return html`<${Folders} entity=${entity} field=${TREE} view=${PARTS.view} />`;
    if (tab === "compare") return html`<${Comparison} entity=${entity} other=${parameter("other")} nameOf=${this.names.of} />`;
    if (tab === "uses") return html`<${UsedBy} entity=${entity} revision=${revision} />`;
    if (tab === "lineage") return html`<${Lineage} entity=${entity} revision=${revision} />`;
    if (tab === "history") return html`<${History} entity=${entity} revision=${revision} />`;
    return html`<${EntityOverview} entity=${entity} revision=${revision} nameOf=${this.names.of} without=${PARTS.without}>${PARTS.overview({ entity, revision, nameOf: this.names.of })}<//>`;
  }
}

/** What comes before what: versions are numbered, commits counted. @param {Entity} entity */
const placeInLine = ({ version, generation }) => version ?? generation ?? 0;

/** Two entities of a kind, side by side. @extends {Component<{entity: Entity, other: string, nameOf: import("../cells.js").NameOf}, any>} */
class Comparison extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { other: null, error: null };
  }

  componentDidMount() {
    void this.load();
  }

  load = () => api.get(kind.path, this.props.other).then((other) => this.setState({ other, error: null }), (error) => this.setState({ error }));

  /** @param {any} props @param {any} state */
  render({ entity, nameOf }, { other, error }) {
    if (error) return html`<div class="tab"><${Problem} error=${error} retry=${this.load} /></div>`;
    if (!other) return html`<div class="tab"></div>`;
    const [first, second] = placeInLine(entity) <= placeInLine(other) ? [entity, other] : [other, entity];
    return html`<div class="tab">${PARTS.difference(first, second)}<div class="scroll-x" tabindex="0" role="region" aria-label="What is recorded of both"><${CompareTable} entities=${[first, second]} nameOf=${nameOf} /></div></div>`;
  }
}

startFrame();
setPlace([{ label: heading(kind.path.replaceAll("-", " ")), href: `${api.BASE}kinds/${kind.path}` }, { label: "…" }], heading(kind.words));
showPlace(html`<${EntityPlace} />`);
