// Single keys that do things, and the list of them that `?` shows.

/** @type {Map<string, {says: string, action: (event: KeyboardEvent) => void}>} */
const bound = new Map();

/** @param {string} key as in `KeyboardEvent.key` @param {string} says what it does; empty keeps it out of the help @param {(event: KeyboardEvent) => void} action @returns {() => void} the end of it */
export function bind(key, says, action) {
  bound.set(key, { says, action });
  return () => bound.delete(key);
}

export const boundKeys = () => [...bound].filter(([, { says }]) => says).map(([key, { says }]) => ({ key, says }));

/** @param {EventTarget | null} target */
function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) && /** @type {HTMLInputElement} */ (target).type !== "checkbox" && /** @type {HTMLInputElement} */ (target).type !== "range";
}

document.addEventListener("keydown", (event) => {
  const held = event.ctrlKey || event.metaKey;
  if (held && event.key.toLowerCase() === "k") {
    event.preventDefault();
    bound.get("Ctrl K")?.action(event);
    return;
  }
  if (held || event.altKey || typing(event.target) || document.querySelector(".veil")) return;
  const entry = bound.get(event.key);
  if (!entry) return;
  // Enter and space belong to the control that has the focus.
  if (["Enter", " "].includes(event.key) && event.target instanceof HTMLElement && event.target.closest("a, button, summary")) return;
  event.preventDefault();
  entry.action(event);
});
