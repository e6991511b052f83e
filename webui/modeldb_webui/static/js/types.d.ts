// What the JSON API sends. Values may be tagged: {"$float": "NaN"}, {"$int": "..."}, {"$blob": "..."}.
export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };
export interface SeriesSummary {
  count: number; nan_count: number; first: Value; last: Value; minimum: Value; maximum: Value; mean: Value;
  first_step: number; last_step: number; min_step: number; max_step: number; first_at: string | null; last_at: string | null;
}
export interface Entity {
  kind: string; entity_id: string; name: string; description?: string; owner?: string; tags?: string[];
  attributes?: Record<string, Value>; created_at?: string | null; updated_at?: string | null; deleted_at?: string | null;
  [field: string]: any;
}
export interface Run extends Entity {
  project_id?: string; experiment_id?: string; parent_id?: string | null; status?: string; started_at?: string | null;
  finished_at?: string | null; reported_times?: string[]; hyperparameters?: Record<string, Value>; metrics?: Record<string, Value>;
  series?: Record<string, SeriesSummary>; artifacts?: Record<string, any>; datasets?: Record<string, any>;
  code?: Record<string, any>; environment?: Record<string, any>; context?: Record<string, any>; notes?: string[];
}
/** What has changed of an entity: `keys` of its maps, and its other fields; all of it where there are no keys. */
export interface Changed { cursor: number | null; entity: Entity; keys: Record<string, string[]> | null }
export interface Page { items: Entity[]; cursor: string | null; total: number | null }
export interface Spread { count: number; mean: number; deviation: number; minimum: number; maximum: number }
export interface StoredGroup { value: any; value_type: string; count: number; spreads: (Spread | null)[] }
export interface GroupPage { groups: StoredGroup[]; total: number }
export interface KeyInfo { section: string; key: string; count: number; value_types: string[];
  /** among how many entities, the newest, the count is; 0: among all */
  sample?: number;
  /** the texts that a column may hold, where they are known */
  choices?: string[] }
/** A kind of entities, as GET /kinds describes it. */
export interface Kind {
  kind: string; path: string; words: string; summary: string; version: number; is_own: boolean; has_points: boolean;
  shown: string[]; compared: string[]; maps: string[]; sections: string[]; listed: string[]; offered: string[];
  columns: KindColumn[]; fields: KindField[];
}
/** `fields`: what the column is worked out from; itself for a field. */
export interface KindColumn { name: string; type: string; title: string; choices: string[]; fields: string[] }
export interface KindField {
  name: string; type: string; title: string; description: string; searchable: boolean; refers_to: string;
  names_blobs: boolean; names_trees: boolean; common: boolean; computed: boolean; container: boolean; lineage: string;
  /** of a map: the kinds that its entries name, by the key within an entry */
  entries: Record<string, string>;
}
export interface SeriesData {
  run_id: string; key: string; total: number; nan_count: number; infinite_count: number; nonpositive_count: number; hidden_count: number;
  points?: { x: Value[]; steps: Value[]; values: Value[] };
  columns?: { x: Value[]; first_x: Value[]; last_x: Value[]; first_step: Value[]; last_step: Value[]; count: number[]; nan_count: number[];
    infinite_count: number[]; mean: Value[]; minimum: Value[]; maximum: Value[]; last: Value[] };
  error?: { code: string; message: string };
}
export interface ChangeNotice { kind: string; entity_id: string; action: string }
/** One column of a table of entities. */
export interface Column {
  id: string; section: string; key: string; title: string; width: number; numeric: boolean; pinned: boolean; agg?: string;
  /** what must be asked for so that its cells can be shown, where it is not the column itself */
  fields?: string[];
}
/** A run as charts draw it. */
export interface Drawn { id: string; name: string; slot: number; series: Record<string, SeriesSummary>;
  /** seconds: what relative time counts from */
  origin: number;
  /** where runs are drawn together: whose mean this run is part of */
  group?: { key: string; name: string; slot: number; size: number } }
/** One run in one panel, ordered by x: a place for every point, or for every pixel column. */
export interface Line {
  id: string; name: string; slot: number; xs: Float64Array;
  /** the x of the first and last point of each place */
  from: Float64Array; to: Float64Array;
  /** values, or the means of columns */
  ys: Float64Array;
  /** the least and greatest of each place */
  low: Float64Array; high: Float64Array;
  /** finite points of each place, and the others */
  counts: Float64Array; gaps: Float64Array;
  firstSteps: Value[]; lastSteps: Value[]; smooth: Float64Array | null;
  /** what the store counted in the range */
  total: number; nans: number; infinities: number; nonpositive: number; hidden: number;
  /** whether every point is here as it was logged */
  isWhole: boolean;
  /** of a mean of runs: how many */
  runs?: number;
}
