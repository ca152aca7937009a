// The page of one run. Its document is read once; what happens from then on comes as events, and is taken into it.
import { runActions, say } from "./actions.js";
import { follow, get, page } from "./api.js";
import { dag } from "./dag.js";
import { h, onceAFrame, renew } from "./dom.js";
import { fold } from "./fold.js";
import { duration, moment } from "./format.js";
import { gantt } from "./gantt.js";
import { graphOf, nodesOf } from "./model.js";
import { panel } from "./panel.js";
import { sections } from "./sections.js";
import { badge, tone, word } from "./states.js";
import { stepTable } from "./steptable.js";
import { tabs } from "./tabs.js";
import { orderSteps, runChart, spent } from "./timeline.js";

const AGAIN_MS = 250; // so long after an event that says less than the page shows, the document is read anew

let view = null;
let skew = 0;
let picked = null;
let shownView = "graph";
let shape = "";
let drawnShape = null;
let asking = null;
let askAgain = false;

const at = (id) => document.getElementById(id);
const now = () => Date.now() / 1000 + skew;
const graph = dag(at("graph"), { onpick: pick, tools: at("graph-tools") });
const timeline = gantt(at("timeline"), { onpick: pick });
const list = stepTable(at("steps"), pick);
const details = panel(at("details"), { close: () => pick(null), pick, after: soon });
const draw = onceAFrame(drawNow);

function note(step) {
  const parts = step.agent === step.id ? [] : [step.agent];
  if (step.state === "cached") parts.push(word(step.state));
  if (step.state === "running") parts.push(step.message || duration(now() - step.started_at));
  else if (step.attempts.some((one) => one.started_at)) parts.push(duration(spent(step, now()).ran));
  else if (step.planned) parts.push(`~${duration(step.planned.duration_seconds)}`);
  if (step.attempts.length > 1) parts.push(`attempt ${step.attempts.length}`);
  return parts.join(" · ");
}

async function read() {
  view = await get(`/${page.run}`, { values: "false" });
  skew = view.now - Date.now() / 1000;
  view.byId = new Map(view.steps.map((step) => [step.id, step]));
  orderSteps(view);
  shape = JSON.stringify([view.edges, view.groups.map((group) => [group.id, group.members])]);
  // The sides of conflicts are values: they are asked for only where somebody has to decide.
  if (view.conflicts.some((one) => one.state === "open")) view.conflicts = (await get(`/${page.run}`)).conflicts;
  drawNow();
  sections(view, soon);
}

function soon() {
  if (asking) {
    askAgain = true;
    return;
  }
  asking = setTimeout(async () => {
    try {
      await read();
    } catch (error) {
      say(error.message, true);
    }
    asking = null;
    if (askAgain) {
      askAgain = false;
      soon();
    }
  }, AGAIN_MS);
}

function drawNow() {
  if (drawnShape !== shape) {
    drawnShape = shape;
    graph.show(graphOf(view, note));
  } else if (shownView === "graph") graph.update(nodesOf(view, note));
  if (shownView === "timeline-panel") timeline.show(runChart(view, now()));
  if (shownView === "steps") list.show(view, now());
  drawHead();
  details.refresh(view, now());
  document.documentElement.dataset.drawn = view.state;
}

function drawHead() {
  at("workflow-name").textContent = view.workflow;
  document.title = `${view.state.replaceAll("_", " ")} · ${view.workflow} · Workflows`;
  renew(at("state"), badge(view.state));
  const wanted = view.actions.join();
  if (at("actions").dataset.shown !== wanted) {
    at("actions").dataset.shown = wanted;
    at("actions").replaceChildren(...runActions(view, soon));
  }
  const ended = view.steps.filter((step) => step.finished_at && !["running", "queued", "ready", "pending", "retrying"].includes(step.state)).length;
  const until = view.ended ? view.finished_at : now();
  const sums = view.steps.reduce((sum, step) => {
    const one = spent(step, until);
    return { ran: sum.ran + one.ran, waited: sum.waited + one.waited + one.held };
  }, { ran: 0, waited: 0 });
  const cached = view.steps.filter((step) => step.state === "cached").length;
  const facts = [
    ["Progress", `${ended} of ${view.steps.length} steps`, [h("progress", { class: `tone-${tone(view.state)}`, max: 1, value: view.progress, "aria-label": "Share of steps and barriers that have ended" }), cached ? `${cached} from the cache` : ""]],
    ["Elapsed", duration(until - (view.started_at ?? view.created_at)), `planned ${duration(view.plan_seconds)}`],
    ["Running", duration(sums.ran), "all steps together"],
    ["Waiting", duration(sums.waited), "for workers, locks, limits"],
    ["Submitted", moment(view.created_at, now()), view.started_at ? `started after ${duration(view.started_at - view.created_at)}` : "not started"],
  ];
  if (view.quality_impact) facts.push(["Quality impact", view.quality_impact, ""]);
  renew(at("facts"), facts.map(([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, h("small", {}, more)))));
  at("reason").hidden = !view.reason;
  at("reason").textContent = view.reason ?? "";
  const open = view.conflicts.filter((one) => one.state === "open").length;
  at("open-conflicts").hidden = !open;
  at("open-conflicts").textContent = `${open} conflict${open === 1 ? "" : "s"} to decide ↓`;
}

function pick(id) {
  picked = picked === id ? null : id;
  graph.pick(picked);
  timeline.pick(picked);
  list.pick(picked);
  if (picked === null) details.clear();
  else details.show(view, picked, now());
  document.querySelector(".split").classList.toggle("with-panel", picked !== null);
  remember();
}

function remember() {
  const hash = new URLSearchParams();
  if (shownView !== "graph") hash.set("view", shownView === "steps" ? "steps" : "timeline");
  if (picked) hash.set("step", picked);
  history.replaceState(null, "", hash.size ? `#${hash}` : location.pathname + location.search);
}

function linked(yes) {
  at("link").className = yes ? "link-state on" : "link-state";
  at("link").textContent = yes ? "live" : "reconnecting…";
}

async function start() {
  try {
    await read();
  } catch (error) {
    say(error.message, true);
    return;
  }
  const hash = new URLSearchParams(location.hash.slice(1));
  const open = tabs(at("views"), (panelId) => {
    shownView = panelId;
    if (view) drawNow();
    remember();
  });
  const wanted = hash.get("step");
  if (hash.has("view")) open(hash.get("view") === "steps" ? "steps" : "timeline-panel");
  if (wanted && (view.byId.has(wanted) || wanted.startsWith("@"))) pick(wanted);
  follow(`/${page.run}/events`, { after: view.cursor, logs: "true" }, { linked, named: { log: details.logged }, told: (event) => {
    if (fold(view, view.byId, event)) soon();
    draw();
  } });
  setInterval(() => { if (!view.ended && !document.hidden) draw(); }, 1000);
  document.documentElement.dataset.ready = "true";
}

start();
