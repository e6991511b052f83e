// Talks to the JSON API; the only module that knows its addresses.

/** @typedef {import("./types").Entity} Entity */
/** @typedef {import("./types").Page} Page */
/** @typedef {import("./types").KeyInfo} KeyInfo */
/** @typedef {import("./types").SeriesData} SeriesData */
/** @typedef {import("./types").ChangeNotice} ChangeNotice */
/** @typedef {Record<string, string | number | boolean | null | undefined>} Params */

const ROOT = "/api/v2";
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
 * @param {{params?: Params, signal?: AbortSignal, body?: unknown}} [options] a body makes it a POST
 * @returns {Promise<any>}
 */
export async function request(path, { params, signal, body } = {}) {
  let response;
  try {
    response = await fetch(address(path, params), {
      method: body === undefined ? "GET" : "POST",
      // A page of another origin cannot send X-ModelDB: the server takes changes only with it.
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json", "X-ModelDB": "1" }) },
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
    throw new ApiError(said.message ?? `The server answered ${response.status} ${response.statusText}.`, said.code ?? "error", response.status, said.column);
  }
  return data;
}

/**
 * @param {string} kinds the plural, as in the address
 * @param {Params} params
 * @param {AbortSignal} [signal]
 * @returns {Promise<Page>}
 */
export const find = (kinds, params, signal) => request(`/${kinds}`, { params, signal });

/** @param {string} kinds @param {string} id @param {AbortSignal} [signal] @returns {Promise<Entity>} */
export const get = (kinds, id, signal) => request(`/${kinds}/${encodeURIComponent(id)}`, { signal });

/** @param {Params} params @param {AbortSignal} [signal] @returns {Promise<KeyInfo[]>} */
export const findKeys = async (params, signal) => (await request("/keys", { params, signal })).keys;

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

/** @param {string} runId @param {{add?: string[], remove?: string[]}} change */
export const changeTags = (runId, change) => request(`/runs/${encodeURIComponent(runId)}/tags`, { body: change });

/** The values behind an id: a condition that matches exactly these. @param {string[]} ids */
export const idFilter = (ids) => `run_id in (${ids.map((id) => JSON.stringify(id)).join(", ")})`;

/**
 * Follows the changes of the store. A browser opens few connections to one server, so a page that nobody looks at lets
 * go of its own, and takes up where it left off.
 */
class Events {
  constructor() {
    /** @type {Set<(changed: ChangeNotice[], all: boolean) => void>} */
    this.listeners = new Set();
    /** @type {Set<(on: boolean) => void>} */
    this.watchers = new Set();
    /** @type {EventSource | null} */
    this.source = null;
    /** @type {number | null} */
    this.cursor = null;
    this.wait = 1000;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    window.addEventListener("pagehide", () => this.close());
  }

  open() {
    if (this.source || document.hidden || !this.listeners.size) return;
    const source = new EventSource(address("/events", { after: this.cursor }));
    this.source = source;
    source.addEventListener("open", () => {
      this.wait = 1000;
      this.say(true);
    });
    source.addEventListener("changes", (event) => {
      const data = JSON.parse(/** @type {MessageEvent} */ (event).data);
      this.cursor = data.cursor;
      for (const listener of this.listeners) listener(data.entities ?? [], data.truncated === true);
    });
    source.addEventListener("ready", (event) => {
      this.cursor ??= JSON.parse(/** @type {MessageEvent} */ (event).data).cursor;
    });
    source.addEventListener("error", () => {
      this.close();
      setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(this.wait * 2, 30_000);
    });
  }

  close() {
    this.source?.close();
    this.source = null;
    this.say(false);
  }

  /** @param {boolean} on */
  say(on) {
    for (const watcher of this.watchers) watcher(on);
  }
}

const events = new Events();

/**
 * Calls `listener` about once a second with what has changed; `all` says that there was too much to list.
 * @param {(changed: ChangeNotice[], all: boolean) => void} listener @returns {() => void} the end of it
 */
export function follow(listener) {
  events.listeners.add(listener);
  // After the page's own requests: live news must not delay what is there already.
  setTimeout(() => events.open(), 300);
  return () => {
    events.listeners.delete(listener);
    if (!events.listeners.size) events.close();
  };
}

/** @param {(on: boolean) => void} watcher told whether the page is live */
export function watchConnection(watcher) {
  events.watchers.add(watcher);
  return () => events.watchers.delete(watcher);
}
