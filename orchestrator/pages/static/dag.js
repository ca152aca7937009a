// The graph of a workflow: steps as buttons over one drawing of the edges. Only what is in view is in the document.
import { h, s, onceAFrame } from "./dom.js";
import { layout } from "./layout.js";
import { icon, stateIcon, tone, word } from "./states.js";

const SIZE = { step: [192, 50], narrow: [152, 50], small: [132, 30], barrier: [26, 50] };
const MARGIN = 100;
const SMALLEST = 0.12;
const READABLE = 0.62;
const LOWEST = 132;

// dag(place, {onpick, tools}), with the place for the buttons of the zoom, gives {show(graph), update(nodes), pick(id), fit()}.
// graph: {nodes: [{id, kind, label, note, state, critical, progress, says}], edges: [{source, target, kind, critical}],
// groups: [{id, title, members}]}; `says` is what a screen reader hears, `update` takes nodes of the same ids.
export function dag(place, { onpick, tools }) {
  const edgeLayer = s("svg", { class: "dag-edges", "aria-hidden": "true" });
  const boxLayer = h("div", { class: "dag-boxes" });
  const nodeLayer = h("div", { class: "dag-nodes" });
  const sheet = h("div", { class: "dag-sheet" }, boxLayer, edgeLayer, nodeLayer);
  const frame = h("div", { class: "dag-frame" }, sheet);
  const view = h("div", { class: "dag-view", role: "group", "aria-label": "Graph of the steps; arrow keys go from step to step", onscroll: onceAFrame(draw) }, frame);
  const zoom = h("div", { class: "zoom" },
    zoomButton("−", "Zoom out", () => zoomTo(scale / 1.3)),
    zoomButton("+", "Zoom in", () => zoomTo(scale * 1.3)),
    zoomButton("fit", "fit the graph into view", () => fit(SMALLEST)));
  place.replaceChildren(view);
  tools.replaceChildren(zoom);

  let graph = { nodes: [], edges: [], groups: [] };
  let drawing = null;
  let wide = 0;
  let downwards = false;
  let small = false;
  let scale = 1;
  let picked = null;
  let focus = null;
  let zoomed = false;
  const shown = new Map();
  const byId = new Map();

  new ResizeObserver(onceAFrame(() => {
    if (drawing && (view.clientWidth < 560) !== downwards && view.clientWidth) show(graph);
    else if (drawing && !zoomed && view.clientWidth !== wide) fitted();
    else draw();
    wide = view.clientWidth;
  })).observe(view);
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomTo(scale * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
  }, { passive: false });
  nodeLayer.addEventListener("keydown", move);
  nodeLayer.addEventListener("focusin", (event) => light(event.target.dataset.id));
  nodeLayer.addEventListener("pointerover", (event) => light(event.target.closest("[data-id]")?.dataset.id));
  nodeLayer.addEventListener("pointerleave", () => light(picked));

  function zoomButton(text, label, act) {
    return h("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
  }

  function show(next) {
    graph = next;
    downwards = view.clientWidth > 0 && view.clientWidth < 560;
    small = graph.nodes.length > 150;
    byId.clear();
    graph.nodes.forEach((node) => byId.set(node.id, node));
    const sized = graph.nodes.map((node) => {
      const [width, height] = node.kind === "barrier" ? SIZE.barrier : small ? SIZE.small : downwards ? SIZE.narrow : SIZE.step;
      return node.kind === "barrier" && downwards ? { id: node.id, width: height, height: width } : { id: node.id, width, height };
    });
    drawing = layout(sized, graph.edges, graph.groups, downwards);
    focus = byId.has(focus) ? focus : graph.nodes[0]?.id;
    drawBoxes();
    drawEdges();
    forget();
    zoomed = false;
    fitted();
  }

  function fitted() {
    fit(READABLE);
  }

  // What somebody has zoomed stays so, whatever becomes wider or narrower.
  function zoomTo(wanted) {
    zoomed = true;
    scaleTo(wanted);
  }

  function forget() {
    shown.clear();
    nodeLayer.replaceChildren();
  }

  function update(nodes) {
    for (const node of nodes) {
      const before = byId.get(node.id);
      byId.set(node.id, node);
      const element = shown.get(node.id);
      if (element && !same(before, node)) dress(element, node);
    }
    graph.nodes = graph.nodes.map((node) => byId.get(node.id));
  }

  function same(a, b) {
    return a.state === b.state && a.note === b.note && a.progress === b.progress && a.label === b.label && a.says === b.says;
  }

  function fit(smallest) {
    if (!drawing) return;
    const most = parseFloat(getComputedStyle(view).maxHeight) || 600;
    scaleTo(Math.max(smallest, Math.min(1, view.clientWidth / drawing.width, downwards ? 1 : most / drawing.height)));
  }

  function scaleTo(wanted) {
    const middle = [(view.scrollLeft + view.clientWidth / 2) / scale, (view.scrollTop + view.clientHeight / 2) / scale];
    scale = Math.min(2, Math.max(SMALLEST, wanted));
    frame.style.width = `${drawing.width * scale}px`;
    frame.style.height = `${drawing.height * scale}px`;
    view.style.height = `${Math.max(LOWEST, drawing.height * scale)}px`;
    sheet.style.width = `${drawing.width}px`;
    sheet.style.height = `${drawing.height}px`;
    sheet.style.transform = `scale(${scale})`;
    view.scrollTo(middle[0] * scale - view.clientWidth / 2, middle[1] * scale - view.clientHeight / 2);
    draw();
  }

  function drawBoxes() {
    const titles = new Map(graph.groups.map((group) => [group.id, group.title]));
    boxLayer.replaceChildren(...drawing.boxes.map((box) => h("div", { class: "dag-box", style: rectangle(box) }, h("span", {}, titles.get(box.id)))));
  }

  function drawEdges() {
    edgeLayer.setAttribute("viewBox", `0 0 ${drawing.width} ${drawing.height}`);
    const strokes = new Map();
    graph.edges.forEach((edge, index) => {
      const look = edge.critical ? "critical" : edge.kind;
      const paths = strokes.get(look) ?? ["", ""];
      const [line, head] = curve(drawing.routes[index], downwards);
      strokes.set(look, [paths[0] + line, paths[1] + (edge.kind === "member" ? "" : head)]);
    });
    const order = [...strokes].sort(([a], [b]) => (a === "critical") - (b === "critical"));
    edgeLayer.replaceChildren(
      ...order.flatMap(([look, [line, head]]) => [s("path", { class: `edge edge-${look}`, d: line }), s("path", { class: `head head-${look}`, d: head })]),
      s("path", { class: "edge edge-lit" }));
  }

  // The edges of one node, in front of the others.
  function light(id) {
    const lines = id ? graph.edges.flatMap((edge, index) => (edge.source === id || edge.target === id ? [curve(drawing.routes[index], downwards)[0]] : [])) : [];
    edgeLayer.lastChild?.setAttribute("d", lines.join(""));
  }

  function draw() {
    if (!drawing) return;
    const all = graph.nodes.length <= 150;
    const left = (view.scrollLeft - MARGIN) / scale;
    const top = (view.scrollTop - MARGIN) / scale;
    const right = (view.scrollLeft + view.clientWidth + MARGIN) / scale;
    const bottom = (view.scrollTop + view.clientHeight + MARGIN) / scale;
    sheet.classList.toggle("dag-far", scale < 0.4);
    const fresh = [];
    for (const node of graph.nodes) {
      const box = drawing.at.get(node.id);
      const inView = all || (box.x < right && box.x + box.width > left && box.y < bottom && box.y + box.height > top);
      const element = shown.get(node.id);
      if (inView && !element) fresh.push(build(node, box));
      else if (!inView && element && element !== document.activeElement) {
        element.remove();
        shown.delete(node.id);
      }
    }
    nodeLayer.append(...fresh);
  }

  function build(node, box) {
    const element = h("button", { type: "button", style: rectangle(box), data: { id: node.id }, onclick: () => onpick(node.id) });
    dress(element, node);
    shown.set(node.id, element);
    return element;
  }

  function dress(element, node) {
    element.className = `node node-${node.kind} tone-${tone(node.state)}${node.critical ? " critical" : ""}${node.id === picked ? " picked" : ""}${small ? " compact" : ""}`;
    element.tabIndex = node.id === focus ? 0 : -1;
    element.title = node.kind === "barrier" || small ? `${node.label}: ${node.note || word(node.state)}` : node.label;
    element.setAttribute("aria-label", node.says);
    element.setAttribute("aria-pressed", String(node.id === picked));
    if (node.kind === "barrier") return element.replaceChildren(icon("gate"));
    const parts = [stateIcon(node.state), h("span", { class: "node-name" }, node.label)];
    if (!small) parts.push(" ", h("span", { class: "node-note" }, node.note));
    if (node.progress > 0 && node.progress < 1 && node.state === "running") parts.push(h("span", { class: "node-progress", style: { width: `${node.progress * 100}%` } }));
    element.replaceChildren(...parts);
  }

  function pick(id) {
    const before = picked;
    picked = id;
    if (byId.has(id)) focus = id;
    for (const each of [before, id]) {
      const element = shown.get(each);
      if (element) dress(element, byId.get(each));
    }
    nodeLayer.querySelectorAll("[tabindex='0']").forEach((element) => { element.tabIndex = element.dataset.id === focus ? 0 : -1; });
    if (drawing) light(id);
  }

  // The nearest node in the direction of an arrow key.
  function move(event) {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const from = drawing.at.get(focus);
    let best = null;
    for (const node of graph.nodes) {
      const to = drawing.at.get(node.id);
      const dx = to.x + to.width / 2 - from.x - from.width / 2;
      const dy = to.y + to.height / 2 - from.y - from.height / 2;
      const ahead = dx * way[0] + dy * way[1];
      const aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      if (ahead > 1 && (best === null || ahead + 3 * aside < best.cost)) best = { id: node.id, cost: ahead + 3 * aside };
    }
    if (best) reach(best.id);
  }

  function reach(id) {
    const before = shown.get(focus);
    focus = id;
    if (before) before.tabIndex = -1;
    const box = drawing.at.get(id);
    const [x, y] = [box.x * scale, box.y * scale];
    if (x < view.scrollLeft + 20 || x + box.width * scale > view.scrollLeft + view.clientWidth - 20) view.scrollLeft = x - view.clientWidth / 2;
    if (y < view.scrollTop + 20 || y + box.height * scale > view.scrollTop + view.clientHeight - 20) view.scrollTop = y - view.clientHeight / 2;
    draw();
    const element = shown.get(id);
    element.tabIndex = 0;
    element.focus({ preventScroll: true });
  }

  return { show, update, pick, fit };
}

function rectangle(box) {
  return { left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` };
}

// A smooth line through the points and the head of its arrow, as SVG paths.
function curve(points, downwards) {
  const round = (value) => Math.round(value * 10) / 10;
  let line = `M${round(points[0].x)} ${round(points[0].y)}`;
  for (let index = 1; index < points.length; index += 1) {
    const [from, to] = [points[index - 1], points[index]];
    const middle = downwards ? (from.y + to.y) / 2 : (from.x + to.x) / 2;
    const [x1, y1, x2, y2] = downwards ? [from.x, middle, to.x, middle] : [middle, from.y, middle, to.y];
    line += `C${round(x1)} ${round(y1)} ${round(x2)} ${round(y2)} ${round(to.x)} ${round(to.y)}`;
  }
  const end = points[points.length - 1];
  const head = downwards
    ? `M${round(end.x)} ${round(end.y)}l-3.5-6h7z`
    : `M${round(end.x)} ${round(end.y)}l-6-3.5v7z`;
  return [line, head];
}
