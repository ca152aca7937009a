// What is shown of the step, or the barrier, that is chosen.
import { attempt, confirmed } from "./actions.js";
import { get, page } from "./api.js";
import { h, renew } from "./dom.js";
import { duration, moment } from "./format.js";
import { logView } from "./log.js";
import { groupName } from "./model.js";
import { badge, word } from "./states.js";
import { barrierNote, spent } from "./timeline.js";
import { shown } from "./values.js";

// panel(place, {close, pick, after}) gives {show(view, id, now), refresh(view, now), logged(news), clear()}.
export function panel(place, { close, pick, after }) {
  let id = null;
  let version = "";
  const log = logView();
  const output = h("div", {});
  const facts = h("div", {});
  let read = "";

  function head(title, kind) {
    return h("div", { class: "panel-head" }, h("h2", { id: "panel-title", tabindex: -1 }, h("small", {}, kind), title), h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: close }, "×"));
  }

  function show(view, wanted, now) {
    id = wanted;
    version = read = "";
    place.hidden = false;
    const group = view.groups.find((one) => one.node === id);
    if (group) place.replaceChildren(head(groupName(group), "barrier"), facts);
    else {
      output.replaceChildren();
      place.replaceChildren(head(id, "step"), facts, section("Log", log.element), section("Output", output));
    }
    log.show(group ? null : id);
    refresh(view, now);
  }

  function refresh(view, now) {
    if (id === null) return;
    const step = view.byId.get(id);
    const group = view.groups.find((one) => one.node === id);
    if (step) {
      keepFocus(() => renew(facts, stepFacts(view, step, now)));
      readOutput(view, step);
    } else if (group) keepFocus(() => renew(facts, barrierFacts(view, group, now)));
  }

  // What has changed must not take the keyboard away from a button.
  function keepFocus(draw) {
    const key = facts.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    draw();
    if (key) facts.querySelector(`[data-key="${key}"]`)?.focus();
  }

  // Asked for once for each state of the step.
  async function readOutput(view, step) {
    const wanted = `${step.id} ${step.state} ${step.attempts.length}`;
    if (wanted === version) return;
    version = wanted;
    try {
      const { values } = await get(`/${view.run_id}/steps/${step.id}/output`);
      if (version === wanted) showOutput(values);
    } catch (error) {
      if (version === wanted) output.replaceChildren(h("p", { class: "dim" }, `It cannot be read: ${error.message}`));
    }
  }

  function showOutput(values) {
    const text = JSON.stringify(values);
    if (text === read) return;
    read = text;
    const entries = Object.entries(values);
    output.replaceChildren(...(entries.length ? entries.map(([name, one]) => h("details", { class: "named", open: entries.length < 4 }, h("summary", {}, h("code", {}, name)), shown(one))) : [h("p", { class: "dim" }, "nothing written")]));
  }

  function section(title, content) {
    return h("section", {}, h("h3", {}, title), content);
  }

  function rows(entries) {
    return h("dl", { class: "pairs" }, entries.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  function stepFacts(view, step, now) {
    const end = view.ended ? view.finished_at : now;
    const sums = spent(step, end);
    const planned = step.planned;
    const parts = [
      h("p", { class: "panel-state" }, badge(step.state), step.planned?.on_critical_path ? h("span", { class: "chip critical-chip" }, "critical path") : null,
        step.quality_impact ? h("span", { class: "chip warn-chip" }, `quality impact ${step.quality_impact}`) : null),
      step.state === "running" && step.progress !== null && step.progress !== undefined
        ? h("div", { class: "meter" }, h("progress", { max: 1, value: step.progress, "aria-label": "Progress" }), h("span", {}, `${Math.round(step.progress * 100)}% ${step.message}`)) : null,
      step.error ? h("p", { class: "error", role: "note" }, step.error) : null,
      rows([
        ["Agent", step.agent],
        ["Reason", ["error", step.error].includes(step.reason) ? null : step.reason?.replaceAll("_", " ")],
        ["Ran", h("span", {}, duration(sums.ran), planned ? h("span", { class: "dim" }, ` planned ${duration(planned.duration_seconds)}`) : null)],
        ["Waited", sums.waited ? `${duration(sums.waited)} for a worker` : null],
        ["Held", sums.held >= 0.05 ? `${duration(sums.held)} by locks, limits or a pause` : null],
        ["Slack", planned && !planned.on_critical_path ? duration(planned.slack_seconds) : null],
        ["Group", step.group], ["Worker", step.worker], ["Queue", step.queue], ["Priority", step.priority],
        ["Task", h("a", { href: `${page.flower}task/${step.task_id}` }, h("code", {}, step.task_id))],
      ]),
      step.attempts.length ? attempts(step, end) : null,
      neighbours(view, step.id),
    ];
    if (page.mayAct && step.may_retry) parts.push(retryButton(view, step));
    return parts.filter(Boolean);
  }

  function attempts(step, end) {
    return h("table", { class: "grid" }, h("caption", {}, "Attempts"),
      h("thead", {}, h("tr", {}, ["#", "State", "Waited", "Ran", "Worker"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, step.attempts.map((one) => {
        const sums = spent({ attempts: [one] }, end);
        return [h("tr", {}, h("th", { scope: "row" }, one.attempt), h("td", {}, badge(one.state)), h("td", {}, duration(sums.waited)), h("td", {}, one.started_at ? duration(sums.ran) : "–"), h("td", { class: "wrap" }, one.worker ?? "–")),
          one.error && step.attempts.length > 1 ? h("tr", {}, h("td", { colspan: 5, class: "error-line" }, one.error)) : null];
      })));
  }

  function neighbours(view, node) {
    const link = (other) => h("button", { type: "button", class: "link", data: { key: `go-${other}` }, onclick: () => pick(other) }, other.replace("@", "barrier of "));
    const list = (found) => (found.length ? found.slice(0, 30).map(link) : null);
    const before = view.edges.filter((edge) => edge.target === node);
    const after = view.edges.filter((edge) => edge.source === node);
    return rows([
      ["After", list(before.filter((edge) => ["needs", "barrier", "member"].includes(edge.kind)).map((edge) => edge.source))],
      ["Reads", list(before.filter((edge) => edge.kind === "wants").map((edge) => edge.source))],
      ["Validates", list(before.filter((edge) => edge.kind === "validates").map((edge) => edge.source))],
      ["Before", list(after.map((edge) => edge.target))],
    ]);
  }

  function retryButton(view, step) {
    const button = h("button", { type: "button", class: "act", data: { key: "retry", action: "retry-step", after: step.state }, onclick: async () => {
      if (step.state === "success" && !(await confirmed(`${step.id} succeeded. Run it again, and all that comes after it?`, "Run again"))) return;
      if (await attempt(button, `${step.id}: runs again, and what comes after it`, `/${view.run_id}/retry`, { step: step.id })) after();
    } }, "Retry this step");
    return h("p", {}, button);
  }

  function barrierFacts(view, group, now) {
    const counting = group.started_at && !group.decided_at && !view.ended;
    const whole = group.deadline - group.started_at;
    return [
      h("p", { class: "panel-state" }, badge(group.state), h("strong", {}, barrierNote(group, now, view.ended))),
      counting && group.deadline ? h("div", { class: "meter" }, h("progress", { max: whole, value: Math.min(whole, Math.max(0, now - group.started_at)), "aria-label": "Time used until the deadline" }), h("span", {}, `of ${duration(whole)}`)) : null,
      group.reason ? h("p", {}, group.reason) : null,
      rows([
        ["Deadline", group.deadline ? moment(group.deadline) : null], ["Extensions", group.extensions || null], ["Decided", group.decided_at ? moment(group.decided_at) : null],
        ["Quality", group.quality_impact], ["Defaults for", group.filled.join(", ")], ["One by one since", group.fallback_at ? moment(group.fallback_at) : null],
      ]),
      h("table", { class: "grid" }, h("caption", {}, "Members"), h("tbody", {}, group.members.map((member) => h("tr", {}, h("th", { scope: "row" }, h("button", { type: "button", class: "link", data: { key: `go-${member}` }, onclick: () => pick(member) }, member)), h("td", {}, badge(view.byId.get(member)?.state ?? "pending")))))),
      group.decisions.length ? h("table", { class: "grid" }, h("caption", {}, "Decisions"), h("tbody", {}, group.decisions.map((one) => h("tr", {}, h("td", {}, moment(one.at)), h("th", { scope: "row" }, word(one.action)), h("td", { class: "wrap" }, one.seconds ? `by ${duration(one.seconds)}. ` : "", one.reason))))) : null,
      neighbours(view, group.node),
    ].filter(Boolean);
  }

  return { show, refresh, logged: log.told, clear: () => { id = null; place.hidden = true; log.show(null); } };
}
