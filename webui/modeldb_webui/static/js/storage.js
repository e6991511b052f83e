// What the page remembers: its state in the address, so that a link shows a colleague the same thing, and the reader's
// own habits in the browser's storage.

/** @param {string} name @param {any} fallback */
export function recall(name, fallback) {
  try {
    const text = localStorage.getItem(`modeldb.${name}`);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** @param {string} name @param {unknown} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`modeldb.${name}`, JSON.stringify(value));
  } catch {
    // Forbidden or full: the page works without.
  }
}

/** @param {string} name */
export const parameter = (name) => new URLSearchParams(location.search).get(name) ?? "";

/**
 * Puts parameters into the address; empty ones are taken out.
 * @param {Record<string, string | null | undefined>} changes
 * @param {boolean} [push] whether the Back button should come back to what was before
 */
export function setParameters(changes, push = false) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = readable(query);
  const next = location.pathname + (text ? `?${text}` : "") + location.hash;
  if (next === location.pathname + location.search + location.hash) return;
  if (push) history.pushState(null, "", next);
  else history.replaceState(null, "", next);
}

/** Addresses are read by people: commas and colons need no escape there. @param {URLSearchParams} query */
function readable(query) {
  return query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/");
}
