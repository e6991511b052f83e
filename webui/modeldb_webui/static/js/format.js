// How numbers, times, sizes and values are written. Everything is short; callers show the full form on hover.

/** @typedef {import("./types").Value} Value */

const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** The number that a JSON value stands for; NaN where it is none. @param {unknown} value @returns {number} */
export function toNumber(value) {
  if (typeof value === "number") return value;
  if (value && typeof value === "object") {
    const tagged = /** @type {Record<string, unknown>} */ (value);
    if (typeof tagged.$float === "string") return tagged.$float === "NaN" ? NaN : tagged.$float === "Infinity" ? Infinity : -Infinity;
    if (typeof tagged.$int === "string") return Number(tagged.$int);
  }
  return NaN;
}

/** @param {unknown} value */
export function isNumeric(value) {
  return typeof value === "number" || (value !== null && typeof value === "object" && ("$float" in value || "$int" in value));
}

/** A measured number with five significant digits, at most four behind the point, so that a column lines up. @param {number} value */
export function formatMetric(value) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e12) return sign(GROUPED.format(value));
  if (size >= 1e7 || size < 1e-3) return exponent(value, 3);
  if (size < 0.1) return sign(value.toPrecision(3));
  const places = size < 10 ? 4 : size < 100 ? 3 : size < 1000 ? 2 : size < 10000 ? 1 : 0;
  return places ? sign(value.toFixed(places)) : sign(GROUPED.format(value));
}

/** A chosen number, such as a hyperparameter: as it was written where that is short. @param {number} value */
export function formatExact(value) {
  if (Number.isNaN(value) || !Number.isFinite(value)) return formatMetric(value);
  const text = String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return sign(Math.abs(value) >= 10000 ? GROUPED.format(value) : text);
  if (text.length <= 8) return sign(text);
  const size = Math.abs(value);
  return size >= 1e7 || size < 1e-4 ? exponent(value, 3) : sign(String(Number(value.toPrecision(5))));
}

/** @param {number} value @param {number} digits behind the point @param {boolean} [all] whether zeros at the end stay */
export function exponent(value, digits, all = false) {
  const [mantissa, power] = value.toExponential(digits).split("e");
  return sign(`${all || !mantissa.includes(".") ? mantissa : mantissa.replace(/\.?0+$/, "")}e${Number(power)}`);
}

/** With so many digits behind the point, thousands apart. @param {number} value @param {number} places */
export const decimal = (value, places) => sign(value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places }));

/** @param {string} text */
const sign = (text) => (text.startsWith("-") ? `−${text.slice(1)}` : text);

/** One line for any value. @param {unknown} value @param {boolean} [measured] */
export function formatValue(value, measured = false) {
  if (value === undefined) return "";
  if (value === null) return "null";
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number") return measured ? formatMetric(value) : formatExact(value);
  if (typeof value === "object") {
    const tagged = /** @type {Record<string, unknown>} */ (value);
    if (typeof tagged.$float === "string") return formatMetric(toNumber(value));
    if (typeof tagged.$int === "string") return tagged.$int;
    if (typeof tagged.$blob === "string") return `${formatSize(Number(tagged.size))} kept as a file`;
  }
  return fullValue(value);
}

/** The whole value, on one line unless it is a map or list of some size. @param {unknown} value @param {number} [indent] */
export function fullValue(value, indent = 0) {
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  return written(value, indent);
}

/** A value as JSON is written, but for numbers that JSON has not: they stand without quotes, which texts have. @param {unknown} value @param {number} indent @param {string} [before] the indent of its line @returns {string} */
function written(value, indent, before = "") {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const own = tagged(value);
  if (own !== undefined) return own;
  const line = indent ? `\n${before}${" ".repeat(indent)}` : "";
  const inner = line.slice(1);
  const isList = Array.isArray(value);
  const items = isList ? value.map((item) => written(item, indent, inner)) : Object.entries(value).map(([key, item]) => `${JSON.stringify(untagged(key))}:${indent ? " " : ""}${written(item, indent, inner)}`);
  const body = items.length ? `${line}${items.join(`,${line}`)}${indent ? `\n${before}` : ""}` : "";
  return isList ? `[${body}]` : `{${body}}`;
}

/** A key as it was logged: one that begins with $ travels with another. @param {string} key */
export const untagged = (key) => (key.startsWith("$") ? key.slice(1) : key);

/** What ModelDB measures itself comes after what users logged. */
export const OWN_PREFIX = "modeldb/";

/** @param {string} key */
export const isOwnMeasure = (key) => key.startsWith(OWN_PREFIX);

/** The order of keys in lists: those of users first, numbers by their size. @param {string} a @param {string} b */
export const byKey = (a, b) => Number(isOwnMeasure(a)) - Number(isOwnMeasure(b)) || a.localeCompare(b, "en", { numeric: true });

/** What a tag stands for, in words; `undefined` for what has none. @param {object} value */
function tagged(value) {
  const { $float: float, $int: int, $blob: blob, size } = /** @type {Record<string, unknown>} */ (value);
  return typeof float === "string" ? float : typeof int === "string" ? int : typeof blob === "string" ? `blob ${blob} of ${size} bytes` : undefined;
}

/** A number without its tag. @param {unknown} value */
export const plain = (value) => (value !== null && typeof value === "object" ? tagged(value) : value);

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"];

/** @param {number} bytes */
export function formatSize(bytes) {
  if (!Number.isFinite(bytes)) return "";
  let unit = 0;
  let size = bytes;
  // Rounded before it is compared: 999,950 bytes are 1.0 MB and not 1000.0 KB.
  while (Number(size.toPrecision(3)) >= 1000 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit && Number(size.toFixed(1)) < 100 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}

/** @param {number} seconds @returns {string} */
export function formatDuration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 0) return `−${formatDuration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 0.000_999_5) return `${Number((seconds * 1e6).toPrecision(3))} µs`;
  if (seconds < 0.9995) return `${Number((seconds * 1000).toPrecision(3))} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const days = Math.floor(whole / 86400);
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return `${minutes} min ${whole % 60} s`;
}

/** Seconds since 1970 of an ISO time; NaN for none. @param {string | null | undefined} text */
export const seconds = (text) => (text ? Date.parse(text) / 1000 : NaN);

/** @param {string | null | undefined} text @param {number} [now] seconds */
export function formatAgo(text, now = Date.now() / 1000) {
  const time = seconds(text);
  if (Number.isNaN(time)) return "";
  const ago = now - time;
  if (ago < -60) return formatTime(text);
  if (ago < 10) return "just now";
  if (ago < 60) return `${Math.floor(ago)} s ago`;
  if (ago < 3600) return `${Math.floor(ago / 60)} min ago`;
  if (ago < 86400) return `${Math.floor(ago / 3600)} h ago`;
  if (ago < 30 * 86400) return `${Math.floor(ago / 86400)} d ago`;
  return formatTime(text).slice(0, 10);
}

/** In the reader's own time zone, which is said, to the second. @param {string | null | undefined} text */
export function formatTime(text) {
  if (!text) return "";
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text);
  /** @param {number} n */
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  const east = -date.getTimezoneOffset();
  const zone = `${east < 0 ? "−" : "+"}${two(Math.abs(east) / 60)}:${two(Math.abs(east) % 60)}`;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone}`;
}

/** The exact time for a hover: as stored, with the reader's zone beside it. @param {string | null | undefined} text */
export const exactTime = (text) => (text ? `${formatTime(text)} (${text})` : "");

/** Seconds from start to end, to now while it runs. @param {import("./types").Run} run @param {number} [now] */
export function runDuration(run, now = Date.now() / 1000) {
  const start = seconds(run.started_at);
  if (Number.isNaN(start)) return NaN;
  if (run.finished_at) return seconds(run.finished_at) - start;
  return run.status === "running" ? now - start : NaN;
}

/** @param {number} count @param {string} one @param {string} [many] */
export const plural = (count, one, many = `${one}s`) => `${GROUPED.format(count)} ${count === 1 ? one : many}`;

/** A whole number that names something, such as a step: every digit of it. @param {unknown} value */
export function formatLabel(value) {
  const tagged = value !== null && typeof value === "object" ? /** @type {{$int?: string}} */ (value).$int : undefined;
  return tagged === undefined ? GROUPED.format(toNumber(value)) : sign(GROUPED.format(BigInt(tagged)));
}

/** @param {number} count */
export const formatCount = (count) => GROUPED.format(count);
