// Axes: what range is shown, where ticks are, and what they say. A label says its number exactly enough to be distinguished from its
// neighbours, and nothing is cut: the axis is as wide as its labels.

import { decimal, exponent, formatCount, formatLabel } from "./format.js";

/** @typedef {[number, number]} Range */

const LEAST = 5e-324;
const MOST = Number.MAX_VALUE;
const SECONDS = [1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000];
const UNITS = /** @type {[number, string][]} */ ([[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]);

/** The range of an axis for values from low to high, with some room. @param {number} low @param {number} high @returns {Range} */
export function padded(low, high) {
  if (low === high) {
    const pad = Math.abs(low) * 0.1 || 1;
    return [Math.max(-MOST, low - pad), Math.min(MOST, high + pad)];
  }
  // Halved first: the distance of the largest numbers has no number.
  const pad = (high / 2 - low / 2) * 0.12;
  // A scale that nearly reaches zero begins there.
  const bottom = low >= 0 && low - pad < pad * 0.7 ? 0 : Math.max(-MOST, low - pad);
  return [bottom, high <= 0 && high + pad > 0 ? 0 : Math.min(MOST, high + pad)];
}

/** @param {number} low above zero @param {number} high @returns {Range} */
export function logRange(low, high) {
  if (high / low < 10) return [Math.max(LEAST, low / 1.2), Math.min(MOST, high * 1.2)];
  const bottom = 10 ** Math.floor(Math.log10(low) + 0.02);
  const top = 10 ** Math.ceil(Math.log10(high) - 0.02);
  return [Math.max(LEAST, bottom), Math.min(MOST, top)];
}

/** Where a value lies in a range, from 0 to 1; NaN for what a logarithmic axis cannot show. @param {Range} range @param {boolean} log @returns {(value: number) => number} */
export function placing([low, high], log) {
  if (log) {
    const from = Math.log10(low);
    const size = Math.log10(high) - from || 1;
    return (value) => (value > 0 ? (Math.log10(value) - from) / size : NaN);
  }
  const half = high / 2 - low / 2 || 0.5;
  return (value) => (value / 2 - low / 2) / half;
}

/** The value at a place from 0 to 1. @param {Range} range @param {boolean} log @param {number} place */
export function valueAtPlace([low, high], log, place) {
  if (log) return 10 ** (Math.log10(low) + place * (Math.log10(high) - Math.log10(low)));
  return low * (1 - place) + high * place;
}

/** Round numbers within a range. @param {Range} range @param {number} most how many there is room for @param {"" | "whole" | "seconds"} [kind] @returns {number[]} */
export function linearTicks([low, high], most, kind = "") {
  const rough = (high / most - low / most);
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  let step = SECONDS.find((size) => kind === "seconds" && size >= rough) ?? roundUp(rough);
  if (kind === "whole") step = Math.max(1, step);
  const ticks = [];
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  // Where numbers are too coarse to count on, the same tick would come for ever.
  if (!(last - first < 1000) || Math.abs(first) > 2 ** 53) return [low, high];
  for (let at = first; at <= last; at += 1) ticks.push(exact(at, step));
  return ticks;
}

/** The next of 1, 2, 5, 10, ... @param {number} size */
function roundUp(size) {
  const power = Math.floor(Math.log10(size));
  for (const digit of [1, 2, 5, 10]) {
    const step = Number(`${digit}e${power}`);
    if (step >= size * (1 - 1e-9)) return step;
  }
  return Number(`1e${power + 1}`);
}

/** A multiple of a step without the noise of its digits. @param {number} times @param {number} step */
function exact(times, step) {
  const product = times * step;
  const short = Number(product.toPrecision(15));
  return (Math.abs(short - product) < step * 1e-6 ? short : product) || 0;
}

/** Powers of ten, with 2 and 5 between them where there is room. @param {Range} range @param {number} most @returns {number[]} */
export function logTicks([low, high], most) {
  const from = Math.floor(Math.log10(low));
  const to = Math.ceil(Math.log10(high));
  const decades = Math.log10(high) - Math.log10(low);
  if (decades < 0.6) return linearTicks([low, high], most).filter((tick) => tick > 0);
  const digits = decades * 3 <= most ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(decades / most));
  const ticks = [];
  for (let power = from; power <= to; power += 1) {
    if (digits.length === 1 && (power - from) % stride) continue;
    for (const digit of digits) {
      const tick = Number(`${digit}e${power}`);
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9) && tick > 0 && Number.isFinite(tick)) ticks.push(tick);
    }
  }
  return ticks.length ? ticks : [low, high];
}

/**
 * What ticks say: the shortest way of writing in which each label is its number, and no two are the same.
 * @param {number[]} ticks ascending @returns {string[]}
 */
export function tickTexts(ticks) {
  const most = Math.max(...ticks.map(Math.abs));
  const gaps = ticks.slice(1).map((tick, at) => Math.abs(tick / 2 - ticks[at] / 2) * 2).filter((gap) => gap > 0);
  const gap = Math.min(...gaps, most || 1);
  /** @param {(tick: number) => [string, number]} write @returns {string[] | null} */
  const written = (write) => {
    const parts = ticks.map(write);
    const good = parts.every(([, value], at) => Math.abs(value - ticks[at]) <= gap * 1e-3) && new Set(parts.map(([text]) => text)).size === ticks.length;
    return good ? parts.map(([text], at) => (ticks[at] === 0 ? "0" : text)) : null;
  };
  for (const [unit, name] of UNITS) {
    if (most < unit || most < 10_000 || most >= unit * 1000) continue;
    for (let places = 0; places < 3; places += 1) {
      const found = written((tick) => [`${decimal(tick / unit, places)}${name}`, Number((tick / unit).toFixed(places)) * unit]);
      if (found) return found;
    }
  }
  if (most < 1e15 && most >= 1e-3) {
    for (let places = 0; places < 8; places += 1) {
      const found = written((tick) => [decimal(tick, places), Number(tick.toFixed(places))]);
      if (found) return found;
    }
  }
  for (let digits = 0; digits < 17; digits += 1) {
    const found = written((tick) => [exponent(tick, digits, true), Number(tick.toExponential(digits))]);
    if (found) return found.every((text) => /\.0+e/.test(text) || !text.includes(".")) ? found.map((text) => text.replace(/\.0+e/, "e")) : found;
  }
  return ticks.map((tick) => (Number.isInteger(tick) && Math.abs(tick) < 1e21 ? formatLabel({ $int: BigInt(tick).toString() }) : exponent(tick, 16)));
}

/** What ticks of a logarithmic axis say, each for itself. @param {number[]} ticks @returns {string[]} */
export function logTexts(ticks) {
  const texts = ticks.map((tick) => (tick >= 1e-3 && tick < 1e5 ? decimalOf(tick) : exponent(tick, 6)));
  return new Set(texts).size === texts.length ? texts : tickTexts(ticks);
}

/** @param {number} tick */
const decimalOf = (tick) => (Number.isInteger(tick) ? formatCount(tick) : String(Number(tick.toPrecision(6))));

/** Ticks of a time since the start. @param {number[]} ticks seconds, ascending @returns {string[]} */
export function durationTexts(ticks) {
  const most = Math.max(...ticks.map(Math.abs));
  const [unit, name] = most >= 172_800 ? [86_400, "d"] : most >= 7200 ? [3600, "h"] : most >= 120 ? [60, "m"] : most >= 1 || most === 0 ? [1, "s"] : most >= 1e-3 ? [1e-3, "ms"] : [1e-6, "µs"];
  return tickTexts(ticks.map((tick) => tick / unit)).map((text, at) => (ticks[at] === 0 ? "0" : `${text}${name}`));
}

/** The room that labels need. @param {string[]} texts @param {(text: string) => number} measure pixels of a text */
export const roomFor = (texts, measure) => Math.max(36, Math.ceil(Math.max(0, ...texts.map(measure))) + 12);
