// From the document of a plan or a run to what the graph and the timeline show.
import { duration } from "./format.js";
import { word } from "./states.js";

const BLOCKING = new Set(["needs", "member", "barrier"]);

// The graph of a document {steps, edges, groups}: what `dag` shows. `note` says a step's second line.
export function graphOf(view, note) {
  const of = foreseen(view);
  const edges = view.edges.map((edge) => {
    const [from, to] = [of(edge.source), of(edge.target)];
    return { ...edge, critical: BLOCKING.has(edge.kind) && from.critical && to.critical && near(from.finish, to.start) };
  });
  return {
    nodes: nodesOf(view, note),
    edges,
    groups: view.groups.filter((group) => group.members.length > 1)
      .map((group) => ({ id: group.id, title: groupName(group), members: group.node ? [...group.members, group.node] : [...group.members] })),
  };
}

// What was planned of a node: a function that gives {start, finish, critical} for its id. Barriers, and what barriers put
// in, take no time of their own: they are where the last one before them ends, and critical if that one is.
export function foreseen(view) {
  const found = new Map(view.steps.filter((step) => step.planned).map(({ id, planned }) =>
    [id, { start: planned.start_seconds, finish: planned.finish_seconds, critical: planned.on_critical_path }]));
  const before = new Map();
  for (const { source, target, kind } of view.edges) if (BLOCKING.has(kind)) before.set(target, [...(before.get(target) ?? []), source]);
  const of = (id) => {
    if (!found.has(id)) {
      const ahead = (before.get(id) ?? []).map(of);
      const finish = Math.max(0, ...ahead.map((one) => one.finish));
      found.set(id, { start: finish, finish, critical: ahead.some((one) => one.critical && near(one.finish, finish)) });
    }
    return found.get(id);
  };
  return of;
}

function near(a, b) {
  return Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a));
}

// The members' own barrier is named by their group; the one behind those who validate says so.
export function groupName(group) {
  const of = group.id.replace(/\.validation$/, "");
  return of === group.id ? of : `validation of ${of}`;
}

export function nodesOf(view, note) {
  const needs = new Map();
  for (const edge of view.edges) {
    if (edge.kind === "needs" || edge.kind === "barrier") needs.set(edge.target, [...(needs.get(edge.target) ?? []), edge.source.replace("@", "barrier of ")]);
  }
  const steps = view.steps.map((step) => {
    const critical = Boolean(step.planned?.on_critical_path);
    const line = note(step);
    const before = needs.get(step.id);
    return {
      id: step.id, kind: "step", label: step.id, note: line, state: step.state ?? (critical ? "critical" : "planned"), critical, progress: step.progress,
      says: `${step.id} ${line}: ${word(step.state ?? "planned")}${critical ? ", on the critical path" : ""}${before ? `, after ${listed(before)}` : ""}`,
    };
  });
  const barriers = view.groups.filter((group) => group.node).map((group) => ({
    id: group.node, kind: "barrier", label: `barrier of ${groupName(group)}`, note: group.action ? word(group.action) : "", state: group.state ?? "planned",
    critical: false, says: `barrier of ${groupName(group)}: ${word(group.state ?? "planned")}`,
  }));
  return [...steps, ...barriers];
}

function listed(names) {
  return names.length > 6 ? `${names.slice(0, 5).join(", ")} and ${names.length - 5} more` : names.join(", ");
}

// The timeline of a plan with so many workers: what `gantt` shows. `starts` maps steps to seconds; without it every step
// starts as soon as what it needs is done.
export function planChart(plan, starts) {
  const of = (step) => starts?.[step.id] ?? step.planned.start_seconds;
  const steps = [...plan.steps].sort((a, b) => of(a) - of(b) || a.place - b.place);
  const ends = new Map(plan.steps.map((step) => [step.id, of(step) + step.planned.duration_seconds]));
  const ready = readiness(plan, ends);
  const total = Math.max(1e-6, ...ends.values());
  const rows = steps.map((step) => {
    const [from, to] = [of(step), ends.get(step.id)];
    const { slack_seconds: slack, on_critical_path: critical } = step.planned;
    const waits = from - (ready.get(step.id) ?? 0);
    const bars = [{ kind: "run", state: critical ? "critical" : "planned", from, to, title: `${step.id}: ${duration(from)} to ${duration(to)}` }];
    if (waits > 1e-6) bars.unshift({ kind: "wait", state: "queued", from: from - waits, to: from, title: `waits ${duration(waits)} for a worker` });
    if (!starts && slack > 0) bars.push({ kind: "slack", state: "planned", from: to, to: to + slack, title: `slack: ${duration(slack)}` });
    return {
      id: step.id, label: step.id, kind: "step", state: critical ? "critical" : "planned", critical, bars, note: duration(to - from),
      says: `${step.id}: starts after ${duration(from)}, takes ${duration(to - from)}${critical ? ", on the critical path" : `, slack ${duration(slack)}`}`,
    };
  });
  return { rows, total: total * 1.04, now: null, plan: 0 };
}

function readiness(plan, ends) {
  const members = new Map(plan.groups.filter((group) => group.node).map((group) => [group.node, group.members]));
  const ready = new Map();
  for (const { source, target, kind } of plan.edges) {
    if (kind !== "needs" && kind !== "barrier") continue;
    const end = Math.max(...(members.get(source) ?? [source]).map((id) => ends.get(id) ?? 0));
    ready.set(target, Math.max(ready.get(target) ?? 0, end));
  }
  return ready;
}
