// Talks to the JSON API; the only module that knows its addresses.

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Page} Page */
/** @typedef {import("./types").KeyInfo} KeyInfo */
/** @typedef {import("./types").SeriesData} SeriesData */
/** @typedef {Record<string, string | number | boolean | null | undefined>} Params */

/** The path that everything lies below: a proxy may have put it there, and nobody need tell. */
export const BASE = new URL("../../../", import.meta.url).pathname;
const ROOT = `${BASE}api/v2`;
const SERIES_PER_REQUEST = 100;
const COLUMNS_PER_REQUEST = 250_000;

/** What the server refused, or why it could not be reached. `column` is 1-based, in the filter that was sent. */
export class ApiError extends Error {
  /** @param {string} message @param {string} code @param {number} status @param {number} [column] */
  constructor(message, code, status, column) {
    super(message);
    this.code = code;
    this.status = status;
    this.column = column ?? 0;
  }
}

/** @param {string} path @param {Params} [params] */
export function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return ROOT + path + (text ? `?${text}` : "");
}

/**
 * @param {string} path
 * @param {{params?: Params, signal?: AbortSignal, body?: unknown, method?: string}} [options] a body makes it a POST
 * @returns {Promise<any>}
 */
export async function request(path, { params, signal, body, method = body === undefined ? "GET" : "POST" } = {}) {
  let response;
  try {
    response = await fetch(address(path, params), {
      method,
      // A page of another origin cannot send X-ModelDB: the server takes changes only with it.
      headers: { Accept: "application/json", ...(method === "GET" ? {} : { "Content-Type": "application/json", "X-ModelDB": "1" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(`The server at ${location.host} does not answer. Is it still running?`, "unreachable", 0);
  }
  const text = await response.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    if (response.ok) throw new ApiError("The server answered with something that is not JSON.", "bad_answer", response.status);
  }
  if (!response.ok) {
    const said = data?.error ?? {};
    if (response.status === 401) throw new ApiError(path === "/session" && method === "POST" ? "The name or the password is wrong." : "The server asks who you are: load this page again.", "unauthorized", 401);
    throw new ApiError(said.message ?? `The server answered ${response.status} ${response.statusText}.`, said.code ?? "error", response.status, said.column);
  }
  return data;
}

/** Whether a filter asks for what is deleted: it names the time of that outside of a text. @param {string} filter */
export const asksForDeleted = (filter) => /\bdeleted_at\b/.test(filter.replace(/"[^"]*"|'[^']*'/g, ""));

/**
 * @param {string} kinds the plural, as in the address
 * @param {Params} params
 * @param {AbortSignal} [signal]
 * @returns {Promise<Page>}
 */
export const find = (kinds, params, signal) =>
  request(`/${kinds}`, { params: { include_deleted: asksForDeleted(String(params.filter ?? "")) ? 1 : undefined, ...params }, signal });

/** @param {string} kinds @param {string} id */
const pathOf = (kinds, id) => `/${kinds}/${encodeURIComponent(id)}`;

/** @param {string} kinds @param {string} id @param {AbortSignal} [signal] @returns {Promise<Entity>} */
export const get = (kinds, id, signal) => request(pathOf(kinds, id), { signal });

/**
 * What has changed of an entity since an answer; all of it without one, or where that was long ago.
 * @param {string} kinds @param {string} id @param {number | null} after @returns {Promise<import("./types").Changed>}
 */
export const getChanged = (kinds, id, after) => request(`${pathOf(kinds, id)}/changed`, { params: { after } });

/** @param {Params} params @param {AbortSignal} [signal] @returns {Promise<KeyInfo[]>} */
export const findKeys = async (params, signal) => (await request("/keys", { params, signal })).keys;

/** @param {Params} params @param {AbortSignal} [signal] @returns {Promise<import("./types").GroupPage>} */
export const findGroups = (params, signal) =>
  request("/groups", { params: { include_deleted: asksForDeleted(String(params.filter ?? "")) ? 1 : undefined, ...params }, signal });

/**
 * Many series for drawing: their points, or a summary of each pixel column.
 * @param {{run_id: string, key: string, first?: number, last?: number, origin?: number}[]} series
 * @param {{columns: number, axis: string, scale: string}} canvas
 * @param {AbortSignal} [signal]
 * @returns {Promise<SeriesData[]>}
 */
export async function readSeries(series, canvas, signal) {
  const size = Math.max(1, Math.min(SERIES_PER_REQUEST, Math.floor(COLUMNS_PER_REQUEST / canvas.columns)));
  const parts = [];
  for (let at = 0; at < series.length; at += size) {
    parts.push(request("/series", { body: { series: series.slice(at, at + size), ...canvas }, signal }));
  }
  return (await Promise.all(parts)).flatMap((part) => part.series);
}

/** @param {string} runId @param {string} path @param {boolean} [download] */
export const artifactAddress = (runId, path, download = false) =>
  address(`/runs/${encodeURIComponent(runId)}/artifacts`, { path, download: download ? 1 : undefined });

/**
 * A value of a run that was too large for its record.
 * @param {string} runId @param {string} section @param {string} key @returns {Promise<any>}
 */
export const readValue = (runId, section, key) => request(`/runs/${encodeURIComponent(runId)}/values`, { params: { section, key } });

/** The beginning of an artifact as data. @param {string} runId @param {string} path @param {number} bytes */
export const previewArtifact = (runId, path, bytes) => request(`/runs/${encodeURIComponent(runId)}/artifacts/preview`, { params: { path, max_bytes: bytes, max_rows: 200 } });

/** @param {string} kind @param {string} id @param {string} message */
export const addComment = (kind, id, message) => request("/comments", { body: { parent_kind: kind, parent_id: id, message } });

/** @param {string} kinds @param {string} id @param {{name?: string, description?: string}} change @returns {Promise<Entity>} */
export const edit = (kinds, id, change) => request(pathOf(kinds, id), { method: "PATCH", body: change });

/** @param {string} kinds @param {string} id @param {{add?: string[], remove?: string[]}} change @returns {Promise<Entity>} */
export const changeTags = (kinds, id, change) => request(`${pathOf(kinds, id)}/tags`, { body: change });

/** @param {string} kinds @param {string} id @param {boolean} recursive @returns {Promise<{changed: number}>} */
export const remove = (kinds, id, recursive) => request(pathOf(kinds, id), { method: "DELETE", params: { recursive: recursive ? 1 : undefined } });

/** @param {string} kinds @param {string} id @returns {Promise<{changed: number}>} */
export const restore = (kinds, id) => request(`${pathOf(kinds, id)}/restore`, { method: "POST" });

/** Changes many runs, all or none. @param {Record<string, unknown>} change @returns {Promise<{run_ids: string[], changed: number}>} */
export const editRuns = (change) => request("/runs/edit", { body: change });

/** A condition that matches exactly these. @param {string[]} ids */
export const idFilter = (ids) => `entity_id in (${ids.map((id) => JSON.stringify(id)).join(", ")})`;
