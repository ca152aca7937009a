// Where the nodes of a graph go. dagre up to FEW nodes, groups kept together; beyond them it takes seconds to minutes,
// so the nodes are put into ranks of our own, wide ranks wrapped into blocks.

const FEW = 150;
const GAP = { rank: 44, node: 14 };

// nodes: [{id, width, height, group}], edges: [{source, target}], groups: [{id, members}].
// Gives {at: id -> {x, y, width, height}, routes: [[{x, y}, …] per edge], boxes: [{id, x, y, width, height}], width, height}.
export function layout(nodes, edges, groups, downwards) {
  if (nodes.length > FEW) return ranked(nodes, edges, downwards);
  try {
    return byDagre(nodes, edges, groups, downwards);
  } catch {
    return groups.length ? layout(nodes, edges, [], downwards) : ranked(nodes, edges, downwards);
  }
}

function byDagre(nodes, edges, groups, downwards) {
  const graph = new dagre.graphlib.Graph({ compound: true, multigraph: true });
  graph.setGraph({ rankdir: downwards ? "TB" : "LR", nodesep: GAP.node, ranksep: GAP.rank, edgesep: 10, marginx: 16, marginy: 16,
    ranker: nodes.length > 60 ? "tight-tree" : "network-simplex" });
  nodes.forEach((node) => graph.setNode(node.id, { width: node.width, height: node.height }));
  for (const group of groups) {
    graph.setNode(`box ${group.id}`, {});
    group.members.forEach((member) => graph.setParent(member, `box ${group.id}`));
  }
  edges.forEach((edge, index) => graph.setEdge(edge.source, edge.target, {}, String(index)));
  dagre.layout(graph);
  const at = new Map(nodes.map((node) => [node.id, corner(graph.node(node.id))]));
  const boxes = groups.map((group) => ({ id: group.id, ...grown(corner(graph.node(`box ${group.id}`)), 0, 14) }));
  const routes = edges.map((edge, index) => {
    const between = graph.edge(edge.source, edge.target, String(index)).points.slice(1, -1);
    const [first, last] = ends(at.get(edge.source), at.get(edge.target), downwards);
    return [first, ...between, last];
  });
  return moved({ at, boxes, routes, width: graph.graph().width, height: graph.graph().height });
}

function corner({ x, y, width, height }) {
  return { x: x - width / 2, y: y - height / 2, width, height };
}

function grown(box, side, top) {
  return { x: box.x - side, y: box.y - top, width: box.width + 2 * side, height: box.height + top };
}

// Titles of boxes may stick out at the top: everything moves down by that much.
function moved(drawing) {
  const top = Math.min(0, ...drawing.boxes.map((box) => box.y - 8));
  if (top === 0) return drawing;
  drawing.at.forEach((box) => { box.y -= top; });
  drawing.boxes.forEach((box) => { box.y -= top; });
  drawing.routes.forEach((points) => points.forEach((point) => { point.y -= top; }));
  return { ...drawing, height: drawing.height - top };
}

function ranked(nodes, edges, downwards) {
  const ranks = ranksOf(nodes, edges);
  sortRanks(ranks, edges);
  const along = downwards ? "y" : "x";
  const across = downwards ? "x" : "y";
  const [length, breadth] = downwards ? ["height", "width"] : ["width", "height"];
  const most = Math.max(12, Math.ceil(Math.sqrt(nodes.length) * (downwards ? 0.4 : 1.1)));
  const rowsOf = (rank) => Math.ceil(rank.length / Math.ceil(rank.length / most));
  const tallest = Math.max(...ranks.map(rowsOf));
  const at = new Map();
  let begin = 16;
  let widest = 0;
  for (const rank of ranks) {
    const lanes = Math.ceil(rank.length / most);
    const rows = rowsOf(rank);
    rank.forEach((node, index) => {
      const lane = Math.floor(index / rows);
      const place = 16 + (index % rows) * (node[breadth] + 8) + ((tallest - rows) * (node[breadth] + 8)) / 2;
      at.set(node.id, { [along]: begin + lane * (node[length] + 12), [across]: place, width: node.width, height: node.height });
      widest = Math.max(widest, place + node[breadth]);
    });
    begin += lanes * (rank[0][length] + 12) + GAP.rank;
  }
  const routes = edges.map((edge) => ends(at.get(edge.source), at.get(edge.target), downwards));
  const size = { [length]: begin, [breadth]: widest + 16 };
  return { at, boxes: [], routes, ...size };
}

function ends(from, to, downwards) {
  return downwards
    ? [{ x: from.x + from.width / 2, y: from.y + from.height }, { x: to.x + to.width / 2, y: to.y }]
    : [{ x: from.x + from.width, y: from.y + from.height / 2 }, { x: to.x, y: to.y + to.height / 2 }];
}

// Each node behind all that come before it, as early as that allows.
function ranksOf(nodes, edges) {
  const rank = new Map(nodes.map((node) => [node.id, 0]));
  const after = new Map(nodes.map((node) => [node.id, []]));
  const left = new Map(nodes.map((node) => [node.id, 0]));
  for (const { source, target } of edges) {
    after.get(source).push(target);
    left.set(target, left.get(target) + 1);
  }
  const ahead = nodes.filter((node) => left.get(node.id) === 0).map((node) => node.id);
  for (const id of ahead) {
    for (const next of after.get(id)) {
      rank.set(next, Math.max(rank.get(next), rank.get(id) + 1));
      left.set(next, left.get(next) - 1);
      if (left.get(next) === 0) ahead.push(next);
    }
  }
  const ranks = Array.from({ length: Math.max(...rank.values(), 0) + 1 }, () => []);
  nodes.forEach((node) => ranks[rank.get(node.id)].push(node));
  return ranks.filter((row) => row.length);
}

// Two sweeps by the mean place of the neighbours: enough to untangle most of it.
function sortRanks(ranks, edges) {
  const before = new Map();
  for (const { source, target } of edges) before.set(target, [...(before.get(target) ?? []), source]);
  const place = new Map();
  const note = (rank) => rank.forEach((node, index) => place.set(node.id, index / rank.length));
  ranks.forEach(note);
  for (const rank of ranks.slice(1)) {
    const weight = new Map(rank.map((node) => [node.id, mean((before.get(node.id) ?? []).map((id) => place.get(id)), place.get(node.id))]));
    rank.sort((a, b) => weight.get(a.id) - weight.get(b.id));
    note(rank);
  }
}

function mean(values, otherwise) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : otherwise;
}
