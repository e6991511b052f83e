// What may come next in a filter: fields, operators, values, connectives.

import { AGGREGATES, fieldName } from "./columns.js";
import { KINDS } from "./schema.js";

/** @typedef {import("./types").KeyInfo} KeyInfo */
/** @typedef {{text: string, note: string}} Offer what is put in, and what is said beside it */

const TOKEN = /"(?:[^"]|"")*"?|'(?:[^']|'')*'?|[\p{L}_][\p{L}\p{N}_]*(?:\.(?:[\p{L}\p{N}_/-]+|"(?:[^"]|"")*"?|`(?:[^`]|``)*`?)?)*|[-+]?[\d.]+(?:e[-+]?\d+)?|[<>=!]+|[(),]|\S/giu;
const WORDS = new Set(["and", "or", "not", "in", "contains", "startswith", "endswith", "like", "exists", "is", "null", "true", "false"]);
const SECTIONS = new Set(KINDS.flatMap(({ sections }) => sections));
const AGGREGATE = new RegExp(`\\.(${AGGREGATES.join("|")})$`);
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
    if (types.includes("series")) offers.push({ text: fieldName(section, key, "max"), note: "largest point" }, { text: fieldName(section, key, "min"), note: "smallest point" });
  }
  return offers;
}

/** The types of the values of a field. @param {KeyInfo | undefined} info */
const typesOf = (info) => info?.value_types ?? [];

/** What is known of a field; of an aggregate of a series that of the series. @param {string} field @param {KeyInfo[]} keys */
function infoOf(field, keys) {
  /** @param {string} wanted */
  const named = (wanted) => keys.find(({ section, key }) => fieldName(section, key) === wanted);
  return named(field) ?? (AGGREGATE.test(field) ? named(field.replace(AGGREGATE, "")) : undefined);
}

/** @param {string[]} texts @param {string} [note] @returns {Offer[]} */
const offersOf = (texts, note = "") => texts.map((text) => ({ text, note }));

/** @param {string} field @param {KeyInfo[]} keys @returns {Offer[]} */
function operators(field, keys) {
  if (field === "tags") return [{ text: "contains", note: "has the tag" }, { text: "not in (", note: "" }];
  const types = typesOf(infoOf(field, keys));
  if (types.includes("time")) return offersOf([">", "<", ">=", "<="]);
  if (types.includes("boolean")) return offersOf(["=", "!="]);
  const number = offersOf(["=", "!=", ">", ">=", "<", "<="]);
  const text = offersOf(["=", "!=", "contains", "startswith", "endswith", "like", "in (", "not in ("]);
  const either = [{ text: "exists", note: "has a value" }, { text: "not exists", note: "has none" }];
  if (types.length && types.every((type) => type === "number" || type === "series")) return [...number, ...either];
  return field.includes(".") ? [...text.slice(0, 3), ...number.slice(2), ...text.slice(3), ...either] : text;
}

/** @param {string} field @param {KeyInfo[]} keys @param {Record<string, string[]>} names @returns {Offer[]} */
function values(field, keys, names) {
  if (field === "tags") return keys.filter(({ section }) => section === "tags").map(({ key, count }) => ({ text: quoted(key), note: `${count} runs` }));
  const info = infoOf(field, keys);
  const types = typesOf(info);
  if (types.includes("time")) return offersOf(["now - 1h", "now - 1d", "now - 7d", "now - 30d"]);
  if (types.includes("boolean") || types.includes("bool")) return offersOf(["true", "false"]);
  return offersOf([...(info?.choices ?? []), ...(Object.hasOwn(names, field) ? names[field] : [])].map(quoted));
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
 * What is sent for what was typed: words that are not a condition look for runs of that name.
 * @param {string} text
 */
export function filterOf(text) {
  const plain = text.trim();
  if (!plain || /[=<>!()"'`]/.test(plain)) return plain;
  const words = plain.split(/\s+/);
  if (words.length > 1 && words.some((word) => WORDS.has(word.toLowerCase()))) return plain;
  if (words.some((word) => word.includes(".") && SECTIONS.has(word.slice(0, word.indexOf("."))))) return plain;
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
