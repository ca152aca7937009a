// Takes an event of a run into its document, as the server would: what a step does is shown without asking again.

const FINAL = new Set(["success", "failed", "timed_out", "skipped", "upstream_failed", "cancelled", "cached"]);
const BEGIN = new Set(["ready", "queued", "running"]);

// Gives true when the event says less than the page shows: the document has to be read again.
export function fold(view, byId, event) {
  if (event.type === "progress") {
    const step = byId.get(event.step);
    if (step) {
      step.progress = Number(event.state);
      step.message = event.detail.message ?? step.message;
    }
    return false;
  }
  if (event.type === "message") return false;
  if (event.type !== "step") return true;
  const step = byId.get(event.step);
  if (!step) return true;
  const ended = FINAL.has(event.state) - FINAL.has(step.state);
  step.state = event.state;
  attempt(step, event);
  if (event.state === "queued") step.queued_at = event.at;
  if (event.state === "running") Object.assign(step, { started_at: event.at, finished_at: null, worker: event.detail.message ?? step.worker, progress: null, message: "" });
  if (FINAL.has(event.state)) Object.assign(step, { finished_at: event.at, error: event.state === "success" ? null : event.detail.message ?? step.error });
  if (event.state === "retrying") step.error = event.detail.message ?? step.error;
  view.progress += ended / Math.max(1, view.steps.length + view.groups.length); // a barrier is read anew
  return FINAL.has(event.state) || event.state === "pending";
}

function attempt(step, event) {
  let last = step.attempts.at(-1);
  if (!last || last.ended_at) {
    if (!BEGIN.has(event.state)) return;
    last = { attempt: (last?.attempt ?? 0) + 1, state: "held" };
    step.attempts = [...step.attempts, last];
  }
  if (event.state === "ready") Object.assign(last, { state: "held", held_at: last.held_at ?? event.at });
  else if (event.state === "queued") Object.assign(last, { state: "queued", queued_at: last.queued_at ?? event.at });
  else if (event.state === "running") Object.assign(last, { state: "running", attempt: event.attempt ?? last.attempt, started_at: event.at, worker: event.detail.message });
  else Object.assign(last, { state: ending(event.state), ended_at: event.at, error: event.detail.message });
}

function ending(state) {
  if (state === "pending") return "taken_back";
  return ["success", "cached", "timed_out", "cancelled"].includes(state) ? state : "failed";
}
