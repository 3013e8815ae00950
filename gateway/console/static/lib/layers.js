// Placing a directed graph in layers, left to right: pure, no DOM.

/**
 * Columns of ids from nodes ({id, kind}) and edges ({from, to}): adapters first, uplinks last, pipelines between them by
 * how many lie before them. Inside a column nodes stand near those that they are linked with. An edge over several
 * columns gets a place in each between, so that it passes no box: {columns, ways}, where `ways` has for each edge the
 * ids of those places.
 */
export function layered(nodes, edges) {
  const layer = layers(nodes, edges);
  const columns = Array.from({ length: Math.max(0, ...layer.values()) + 1 }, () => []);
  for (const node of nodes) columns[layer.get(node.id)].push(node.id);
  const parts = [];
  const ways = edges.map((edge, index) => {
    const way = [];
    for (let at = layer.get(edge.from) + 1; at < layer.get(edge.to); at += 1) way.push(`~${index}.${at}`);
    way.forEach((id, step) => columns[layer.get(edge.from) + 1 + step].push(id));
    const stops = [edge.from, ...way, edge.to];
    for (let at = 1; at < stops.length; at += 1) parts.push({ from: stops[at - 1], to: stops[at] });
    return way;
  });
  const filled = columns.filter((column) => column.length);
  for (let round = 0; round < 6; round += 1) {
    sweep(filled, parts, "to", "from");
    sweep([...filled].reverse(), parts, "from", "to");
  }
  sweep(filled, parts, "to", "from");
  return { columns: filled, ways };
}

function layers(nodes, edges) {
  const layer = new Map(nodes.map((node) => [node.id, node.kind === "adapter" ? 0 : 1]));
  for (let round = 0; round < nodes.length; round += 1) {
    let moved = false;
    for (const { from, to } of edges) {
      if (!layer.has(from) || !layer.has(to) || layer.get(to) > layer.get(from) || layer.get(from) >= nodes.length)
        continue;
      layer.set(to, layer.get(from) + 1);
      moved = true;
    }
    if (!moved) break;
  }
  const last = Math.max(1, ...nodes.filter((node) => node.kind !== "uplink").map((node) => layer.get(node.id))) + 1;
  for (const node of nodes) if (node.kind === "uplink") layer.set(node.id, last);
  return layer;
}

/** Order each column by the mean place of its neighbours in the columns before it. */
function sweep(ordered, parts, here, there) {
  const place = new Map();
  ordered.forEach((column, index) => {
    if (index) {
      const weight = new Map(
        column.map((id, at) => [
          id,
          mean(
            parts.filter((part) => part[here] === id && place.has(part[there])).map((part) => place.get(part[there])),
            at / column.length,
          ),
        ]),
      );
      column.sort((one, other) => weight.get(one) - weight.get(other));
    }
    column.forEach((id, at) => place.set(id, (at + 0.5) / column.length));
  });
}

const mean = (numbers, otherwise) =>
  numbers.length ? numbers.reduce((sum, one) => sum + one, 0) / numbers.length : otherwise;

/**
 * Places: {boxes: Map id -> {x, y}, width, height}, each column centred; `y` is the top of a box, of a place that an edge
 * passes its middle. Boxes of one column are apart by `gap`, columns by `between`; an edge that passes takes `lane`.
 */
export function place(columns, { boxWidth, boxHeight, gap, between, lane }) {
  const size = (id) => (id.startsWith("~") ? lane : boxHeight);
  const tall = (column) => column.reduce((sum, id) => sum + size(id) + gap, -gap);
  const height = Math.max(boxHeight, ...columns.map(tall));
  const boxes = new Map();
  columns.forEach((column, index) => {
    const room = height - tall(column);
    const spread = column.length > 1 ? Math.min(room / (column.length - 1), boxHeight * 0.9) : 0;
    let y = (room - spread * (column.length - 1)) / 2;
    for (const id of column) {
      boxes.set(id, { x: index * (boxWidth + between), y: id.startsWith("~") ? y + lane / 2 : y });
      y += size(id) + gap + spread;
    }
  });
  return { boxes, width: columns.length * (boxWidth + between) - between, height };
}
