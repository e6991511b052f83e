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
  finished_at?: string | null; hyperparameters?: Record<string, Value>; metrics?: Record<string, Value>;
  series?: Record<string, SeriesSummary>; artifacts?: Record<string, any>; datasets?: Record<string, any>;
  code?: Record<string, any>; environment?: Record<string, any>; context?: Record<string, any>; notes?: string[];
}
export interface Page { items: Entity[]; cursor: string | null; total: number | null }
export interface KeyInfo { section: string; key: string; count: number; value_types: string[] }
export interface SeriesData {
  run_id: string; key: string; steps: Value[]; times: number[]; values: Value[]; total: number; shown: number;
  error?: { code: string; message: string };
}
export interface ChangeNotice { kind: string; entity_id: string; action: string }
/** One column of the table of runs. */
export interface Column {
  id: string; section: string; key: string; title: string; width: number; numeric: boolean; pinned: boolean; agg?: string;
}
/** A run as charts draw it. */
export interface Drawn { id: string; name: string; slot: number; series: Record<string, SeriesSummary>;
  /** seconds: what relative time counts from */
  origin: number;
  /** where runs are drawn together: whose mean this run is part of */
  group?: { key: string; name: string; slot: number } }
/** The points of one run in one panel, ordered by x. */
export interface Line {
  id: string; name: string; slot: number; xs: Float64Array; ys: Float64Array; steps: Float64Array; smooth: Float64Array | null;
  total: number; shown: number; nans: number;
  /** the least and greatest around a mean */
  low?: Float64Array; high?: Float64Array;
}
