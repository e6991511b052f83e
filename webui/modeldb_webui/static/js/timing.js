// When things are done: not for each of many calls, and never two that would overtake one another.

/** Waits until calls stop coming. @template {any[]} A @param {(...values: A) => void} action @param {number} delay ms */
export function debounce(action, delay) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  return /** @param {A} values */ (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), delay);
  };
}

/**
 * One call at a time; those that come meanwhile share one more, which begins when it has ended. So no older answer comes
 * after a newer one, and what is shown in the end is what was asked for last.
 * @param {() => Promise<unknown>} action @returns {() => Promise<unknown>}
 */
export function inTurn(action) {
  /** @type {Promise<unknown> | null} */
  let current = null;
  /** @type {Promise<unknown> | null} */
  let next = null;
  const begin = () => {
    next = null;
    current = action().finally(() => (current = null));
    return current;
  };
  return () => next ?? (current ? (next = current.then(begin, begin)) : begin());
}
