// The timeline of a run: waiting apart from running, each attempt its own bar, planned beneath actual, barriers with
// their deadlines.
import { duration } from "./format.js";
import { foreseen, groupName } from "./model.js";
import { word } from "./states.js";

// `now` is the time in the store, seconds since the epoch.
export function runChart(view, now) {
  const origin = view.created_at;
  const offset = (view.started_at ?? view.created_at) - origin;
  const until = view.ended ? view.finished_at ?? now : now;
  const elapsed = Math.max(0.05, until - origin);
  const plan = offset + view.plan_seconds;
  const barriers = new Map();
  for (const group of view.groups) {
    const last = Math.max(...group.members.map((id) => view.places.get(id) ?? 0));
    barriers.set(last, [...(barriers.get(last) ?? []), group]);
  }
  const rows = view.ordered.flatMap((step, index) => [
    stepRow(step, origin, offset, until),
    ...(barriers.get(index) ?? []).map((group) => barrierRow(group, origin, until, view)),
  ]);
  return { rows, total: elapsed * 1.07, now: view.ended ? null : until - origin, plan: view.plan_seconds ? plan : 0 };
}

// Steps in the order in which the plan starts them, kept in `view` until it is read anew. What a barrier has put in comes
// before what waits for it.
export function orderSteps(view) {
  const of = foreseen(view);
  view.ordered = [...view.steps].sort((a, b) => of(a.id).start - of(b.id).start || Boolean(a.planned) - Boolean(b.planned) || a.place - b.place);
  view.places = new Map(view.ordered.map((step, index) => [step.id, index]));
}

// Seconds that a step has waited for a worker, has been held, and has run, all attempts together.
export function spent(step, now) {
  const sums = { held: 0, waited: 0, ran: 0 };
  for (const one of step.attempts) {
    const end = one.ended_at ?? now;
    if (one.held_at) sums.held += Math.max(0, (one.queued_at ?? one.started_at ?? end) - one.held_at);
    if (one.queued_at) sums.waited += Math.max(0, (one.started_at ?? end) - one.queued_at);
    if (one.started_at) sums.ran += Math.max(0, end - one.started_at);
  }
  return sums;
}

// `offset` is where the plan begins.
function stepRow(step, origin, offset, until) {
  const bars = [];
  const bar = (kind, state, from, to, title) => { if (to > from) bars.push({ kind, state, from: from - origin, to: to - origin, title: `${title} ${duration(to - from)}` }); };
  if (step.planned) {
    const { start_seconds: start, finish_seconds: finish } = step.planned;
    bars.push({ kind: "planned", state: "pending", from: offset + start, to: offset + finish, title: `planned: ${duration(start)} to ${duration(finish)}` });
  }
  for (const one of step.attempts) {
    const end = one.ended_at ?? until;
    const which = step.attempts.length > 1 ? `attempt ${one.attempt}: ` : "";
    if (one.held_at) bar("hold", "held", one.held_at, one.queued_at ?? one.started_at ?? end, `${which}held`);
    if (one.queued_at) bar("wait", "queued", one.queued_at, one.started_at ?? end, `${which}waited for a worker`);
    if (one.started_at) bar("run", one.state, one.started_at, Math.max(end, one.started_at + 1e-4), `${which}${word(one.state)} after`);
  }
  const sums = spent(step, until);
  const critical = Boolean(step.planned?.on_critical_path);
  const parts = [`ran ${duration(sums.ran)}`];
  if (step.planned) parts.push(`planned ${duration(step.planned.duration_seconds)}`);
  if (sums.waited >= 0.1) parts.push(`waited ${duration(sums.waited)}`);
  if (step.attempts.length > 1) parts.push(`${step.attempts.length} attempts`);
  return {
    id: step.id, label: step.id, kind: "step", state: step.state, critical, bars, planned: step.planned ? `planned ${duration(step.planned.duration_seconds)}` : "",
    note: step.attempts.some((one) => one.started_at) ? `${duration(sums.ran)}${step.attempts.length > 1 ? ` · ${step.attempts.length} attempts` : ""}` : "",
    says: `${step.id}: ${word(step.state)}, ${parts.join(", ")}${critical ? ", on the critical path" : ""}`,
  };
}

function barrierRow(group, origin, until, view) {
  const bars = [];
  const marks = [];
  if (group.started_at) {
    const end = group.decided_at ?? (view.ended ? view.finished_at : until);
    bars.push({ kind: "barrier", state: group.state, from: group.started_at - origin, to: end - origin, title: `barrier of ${groupName(group)}: ${duration(end - group.started_at)}` });
    for (const one of group.decisions.filter((each) => each.state === "extended")) marks.push({ at: one.at - origin, kind: "extended", title: `extended: ${one.reason}` });
    const counts = group.deadline && !group.decided_at && !view.ended;
    if (counts && group.deadline > until) bars.push({ kind: "left", state: group.state, from: until - origin, to: group.deadline - origin, title: `${duration(Math.ceil(group.deadline - until))} left until the deadline` });
    if (group.deadline && group.deadline <= until) marks.push({ at: group.deadline - origin, kind: "deadline", title: "deadline" });
  }
  const note = barrierNote(group, until, view.ended);
  return { id: group.node, label: groupName(group), kind: "barrier", state: group.state, critical: false, bars, marks, note: note.split(" · ")[0], says: `barrier of ${groupName(group)}: ${word(group.state)}, ${note}` };
}

// What a barrier is about to do, or has done, in a few words.
export function barrierNote(group, now, ended) {
  const more = group.extensions ? ` · extended ${group.extensions === 1 ? "once" : `${group.extensions} times`}` : "";
  if (group.decided_at) return `${word(group.action || group.state)}${more}`;
  if (!group.started_at || ended) return "";
  return group.deadline ? `${group.deadline > now ? `${duration(Math.ceil(group.deadline - now))} left` : "deadline reached"}${more}` : `no deadline${more}`;
}
