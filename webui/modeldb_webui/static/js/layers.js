// Where the nodes of a graph stand when it is drawn in layers: every edge leads to the right, and few of them cross.

/** @typedef {{layer: number, row: number}} Spot */

const SWEEPS = 6;

/** The place on the way of an edge where it crosses a layer. @param {string} from @param {string} to @param {number} layer */
const crossing = (from, to, layer) => `${from}\n${to}\n${layer}`;

/**
 * @param {string[]} nodes @param {[string, string][]} edges from and to, of these nodes
 * @returns {{spots: Map<string, Spot>, ways: Spot[][]}} where each node stands, its layer counted from the left; and for each edge
 *   the spots that it leads through, from its beginning to its end
 */
export function layOut(nodes, edges) {
  const forward = withoutCircles(nodes, edges);
  const layers = inLayers(nodes, forward);
  /** @param {string} node */
  const layerOf = (node) => /** @type {number} */ (layers.get(node));
  /** @type {string[][]} */
  const columns = [];
  for (const node of nodes) (columns[layerOf(node)] ??= []).push(node);
  const ways = forward.map(([from, to]) => {
    const way = [from];
    // An edge has a place of its own in each layer that it crosses, so that it runs between the nodes and not behind them.
    for (let layer = layerOf(from) + 1; layer < layerOf(to); layer += 1) way.push(crossing(from, to, layer));
    return [...way, to];
  });
  for (const way of new Map(ways.map((each) => [each.join("\t"), each])).values()) way.slice(1, -1).forEach((spot, at) => columns[layerOf(way[0]) + at + 1].push(spot));
  const steps = ways.flatMap((way) => way.slice(1).map((to, at) => /** @type {[string, string]} */ ([way[at], to])));
  const before = neighbours(steps, 1, 0);
  const after = neighbours(steps, 0, 1);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const rightwards = sweep % 2 === 0;
    const order = rightwards ? columns : [...columns].reverse();
    for (const column of order) straighten(column, rightwards ? before : after, rowsOf(columns));
  }
  const spots = new Map(columns.flatMap((column, layer) => column.map((node, row) => /** @type {[string, Spot]} */ ([node, { layer, row: row - (column.length - 1) / 2 }]))));
  return { spots, ways: ways.map((way) => way.map((node) => /** @type {Spot} */ (spots.get(node)))) };
}

/** Turns round the edges that close a circle. @param {string[]} nodes @param {[string, string][]} edges @returns {[string, string][]} */
function withoutCircles(nodes, edges) {
  const next = neighbours(edges, 0, 1);
  /** @type {Map<string, "open" | "done">} */
  const seen = new Map();
  /** @type {Set<string>} */
  const closing = new Set();
  for (const root of nodes) {
    if (seen.has(root)) continue;
    /** @type {[string, number][]} */
    const path = [[root, 0]];
    seen.set(root, "open");
    while (path.length) {
      const top = path[path.length - 1];
      const target = (next.get(top[0]) ?? [])[top[1]];
      top[1] += 1;
      if (target === undefined) {
        seen.set(top[0], "done");
        path.pop();
      } else if (target === top[0]) continue;
      else if (seen.get(target) === "open") closing.add(`${top[0]}\n${target}`);
      else if (!seen.has(target)) {
        seen.set(target, "open");
        path.push([target, 0]);
      }
    }
  }
  return edges.map(([from, to]) => (closing.has(`${from}\n${to}`) ? [to, from] : [from, to]));
}

/** The longest way to each node from the left. @param {string[]} nodes @param {[string, string][]} edges without circles */
function inLayers(nodes, edges) {
  const after = neighbours(edges, 0, 1);
  const waiting = new Map(nodes.map((node) => [node, 0]));
  for (const [, to] of edges) waiting.set(to, (waiting.get(to) ?? 0) + 1);
  const layers = new Map(nodes.map((node) => [node, 0]));
  const ready = nodes.filter((node) => !waiting.get(node));
  for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
    for (const target of after.get(node) ?? []) {
      layers.set(target, Math.max(layers.get(target) ?? 0, (layers.get(node) ?? 0) + 1));
      waiting.set(target, (waiting.get(target) ?? 0) - 1);
      if (!waiting.get(target)) ready.push(target);
    }
  }
  return layers;
}

/** @param {[string, string][]} edges @param {0 | 1} of @param {0 | 1} other @returns {Map<string, string[]>} */
function neighbours(edges, of, other) {
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const edge of edges) found.set(edge[of], [...(found.get(edge[of]) ?? []), edge[other]]);
  return found;
}

/** @param {string[][]} columns */
const rowsOf = (columns) => new Map(columns.flatMap((column) => column.map((node, row) => /** @type {[string, number]} */ ([node, row - column.length / 2]))));

/** Orders a column by where the neighbours of its nodes stand. @param {string[]} column @param {Map<string, string[]>} near @param {Map<string, number>} rows */
function straighten(column, near, rows) {
  const wish = new Map(column.map((node, row) => {
    const others = near.get(node) ?? [];
    const mean = others.reduce((sum, other) => sum + (rows.get(other) ?? 0), 0) / others.length;
    return [node, others.length ? mean : row - column.length / 2];
  }));
  column.sort((a, b) => /** @type {number} */ (wish.get(a)) - /** @type {number} */ (wish.get(b)));
}
