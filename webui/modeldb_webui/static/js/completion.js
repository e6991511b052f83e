// What may come next in a filter: fields, operators, values, connectives.

import { fieldName } from "./columns.js";

/** @typedef {import("./types").KeyInfo} KeyInfo */
/** @typedef {{text: string, note: string}} Offer what is put in, and what is said beside it */

const TOKEN = /"(?:[^"]|"")*"?|'(?:[^']|'')*'?|[\p{L}_][\p{L}\p{N}_]*(?:\.(?:[\p{L}\p{N}_/-]+|"(?:[^"]|"")*"?|`(?:[^`]|``)*`?)?)*|[-+]?[\d.]+(?:e[-+]?\d+)?|[<>=!]+|[(),]|\S/giu;
const WORDS = new Set(["and", "or", "not", "in", "contains", "startswith", "endswith", "like", "exists", "is", "null", "true", "false"]);
const STATUSES = ["running", "finished", "failed", "killed", "pruned", "lost"];
const MOST = 60;

/**
 * @param {string} text @param {number} caret
 * @returns {{start: number, part: string, expects: "field" | "operator" | "value" | "connective", field: string, stray: boolean}} `stray`: there is a word where none can be
 */
export function contextAt(text, caret) {
  const before = text.slice(0, caret);
  const tokens = [...before.matchAll(TOKEN)].map((match) => ({ text: match[0], at: match.index }));
  let start = caret;
  let part = "";
  const last = tokens[tokens.length - 1];
  if (last && last.at + last.text.length === caret && /[\p{L}\p{N}_."'`/-]$/u.test(last.text)) {
    start = last.at;
    part = last.text;
    tokens.pop();
  }
  /** @type {"field" | "operator" | "value" | "connective"} */
  let expects = "field";
  let field = "";
  let inList = false;
  let stray = false;
  for (const token of tokens) {
    const word = token.text.toLowerCase();
    if (expects === "field") {
      if (word === "not" || word === "(") continue;
      field = token.text;
      expects = "operator";
    } else if (expects === "operator") {
      if (word === "not" || word === "is") continue;
      if (word === "exists" || word === "null") expects = "connective";
      else expects = "value";
    } else if (expects === "value") {
      if (word === "(") inList = true;
      else if (word === ")") { inList = false; expects = "connective"; }
      else if (word !== "," && !inList) expects = "connective";
    } else if (word === "and" || word === "or") expects = "field";
    else if (word !== ")") stray = true;
  }
  return { start, part, expects, field, stray };
}

/** @param {string} text */
const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

/** @param {KeyInfo[]} keys */
function fields(keys) {
  /** @type {Offer[]} */
  const offers = keys.length ? [{ text: "tags", note: "" }] : [];
  for (const { section, key, value_types: types } of keys) {
    if (section === "tags") continue;
    offers.push({ text: fieldName(section, key), note: section ? types.join(", ") : "" });
    if (section === "metrics" && types.includes("series")) offers.push({ text: fieldName(section, key, "max"), note: "largest point" }, { text: fieldName(section, key, "min"), note: "smallest point" });
  }
  return offers;
}

/** @param {string} field @param {KeyInfo[]} keys */
const isTime = (field, keys) => keys.some(({ section, key, value_types: types }) => !section && key === field && types.includes("time"));

/** @param {string} field @param {KeyInfo[]} keys @returns {Offer[]} */
function operators(field, keys) {
  if (field === "tags") return [{ text: "contains", note: "has the tag" }, { text: "not in (", note: "" }];
  if (isTime(field, keys)) return [">", "<", ">=", "<="].map((text) => ({ text, note: "" }));
  const info = keys.find(({ section, key }) => fieldName(section, key) === field);
  const number = ["=", "!=", ">", ">=", "<", "<="].map((text) => ({ text, note: "" }));
  const text = ["=", "!=", "contains", "startswith", "endswith", "like", "in (", "not in ("].map((name) => ({ text: name, note: "" }));
  const either = [{ text: "exists", note: "has a value" }, { text: "not exists", note: "has none" }];
  if (field.startsWith("metrics.") || (info && info.value_types.every((type) => type === "number"))) return [...number, ...either];
  return field.includes(".") ? [...text.slice(0, 3), ...number.slice(2), ...text.slice(3), ...either] : text;
}

/** @param {string} field @param {KeyInfo[]} keys @param {Record<string, string[]>} names @returns {Offer[]} */
function values(field, keys, names) {
  if (field === "status") return STATUSES.map((text) => ({ text: quoted(text), note: "" }));
  if (field === "tags") return keys.filter(({ section }) => section === "tags").map(({ key, count }) => ({ text: quoted(key), note: `${count} runs` }));
  if (isTime(field, keys)) return ["now - 1h", "now - 1d", "now - 7d", "now - 30d"].map((text) => ({ text, note: "" }));
  return (Object.hasOwn(names, field) ? names[field] : []).map((text) => ({ text: quoted(text), note: "" }));
}

/**
 * @param {string} text @param {number} caret @param {KeyInfo[]} keys @param {Record<string, string[]>} names known values by field
 * @returns {{start: number, offers: Offer[]}}
 */
export function complete(text, caret, keys, names) {
  const { start, part, expects, field } = contextAt(text, caret);
  const all =
    expects === "field" ? fields(keys)
    : expects === "operator" ? operators(field, keys)
    : expects === "value" ? values(field, keys, names)
    : [{ text: "and", note: "" }, { text: "or", note: "" }];
  const wanted = part.toLowerCase().replace(/^["'`]/, "");
  const found = all
    .map((offer) => ({ offer, at: offer.text.toLowerCase().indexOf(wanted) }))
    .filter(({ at, offer }) => at >= 0 && offer.text !== part)
    .sort((a, b) => rank(a) - rank(b));
  return { start, offers: found.slice(0, MOST).map(({ offer }) => offer) };
}

/** Beginnings of names and of keys come before middles. @param {{offer: Offer, at: number}} entry */
const rank = ({ offer, at }) => (at === 0 ? 0 : /[./_]/.test(offer.text[at - 1]) ? 1 : 2);

/**
 * What is sent for what was typed: words that are no condition look for runs of that name.
 * @param {string} text
 */
export function filterOf(text) {
  const plain = text.trim();
  if (!plain || /[=<>!()"'`]/.test(plain)) return plain;
  const words = plain.split(/\s+/);
  if (words.length > 1 && words.some((word) => WORDS.has(word.toLowerCase()))) return plain;
  if (words.some((word) => /^(metrics|hyperparameters|attributes|code|datasets|artifacts|failure)\./.test(word))) return plain;
  return words.map((word) => `name contains ${quoted(word)}`).join(" and ");
}

/** Whether a text can be asked for while the reader may go on typing: it does not end within a condition. @param {string} text */
export function isComplete(text) {
  const filter = filterOf(text);
  if (!filter) return true;
  const quotes = filter.replaceAll(/"[^"]*"|'[^']*'|`[^`]*`/g, "");
  if (/["'`]/.test(quotes) || (quotes.match(/\(/g) ?? []).length !== (quotes.match(/\)/g) ?? []).length) return false;
  const { expects, stray } = contextAt(`${filter} `, filter.length + 1);
  return expects === "connective" && !stray && !/[-+.<>=!]$/.test(filter);
}
