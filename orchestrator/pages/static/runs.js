// The list of runs. What is wanted stands in the address, so that it can be sent to somebody, and going back works.
import { follow, get, page } from "./api.js";
import { h, renew } from "./dom.js";
import { ago, duration, moment } from "./format.js";
import { badge, stateIcon, tone, word } from "./states.js";

const STATES = ["running", "pending", "paused", "awaiting_input", "cancelling", "success", "partial", "failed", "timed_out", "cancelled"];
const AT_ONCE = 50;
const FOLLOWED = 200; // so many runs may be followed at a time
const AGAIN_MS = 250; // so long after the news that something has changed, the list is read anew
const OTHERS_MS = 1000; // at most so often other runs are followed

const at = (id) => document.getElementById(id);
let rows = [];
let cursor = null;
let chosen = new Set();
let asked = 0;
let loading = 0;
let followed = null;
let leave = () => {};
let newest = "";
let waiting = null;
let resting = null;

function wanted() {
  return new URLSearchParams(location.search);
}

function go(change, replace) {
  const query = wanted();
  change(query);
  history[replace ? "replaceState" : "pushState"](null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
  drawFilters();
  load();
}

function drawFilters() {
  const query = wanted();
  const on = query.getAll("state");
  const focus = document.activeElement?.dataset?.state;
  at("chips").replaceChildren(...STATES.map((state) => h("button", {
    type: "button", class: `filter tone-${tone(state)}`, "aria-pressed": String(on.includes(state)), data: { state },
    onclick: () => go((next) => {
      const states = next.getAll("state");
      next.delete("state");
      (states.includes(state) ? states.filter((one) => one !== state) : [...states, state]).forEach((one) => next.append("state", one));
    }),
  }, stateIcon(state), word(state))));
  if (focus) at("chips").querySelector(`[data-state="${focus}"]`)?.focus();
  const workflow = query.get("workflow");
  at("of-workflow").replaceChildren(...(workflow ? [h("button", { type: "button", class: "filter", "aria-pressed": "true", onclick: () => go((next) => next.delete("workflow")) }, `workflow ${workflow} ×`)] : []));
  if (document.activeElement !== at("search")) at("search").value = query.get("search") ?? "";
}

async function load(more = false) {
  const ticket = ++asked;
  const query = wanted();
  query.set("limit", String(more ? AT_ONCE : Math.min(200, Math.max(AT_ONCE, rows.length))));
  if (more) query.set("cursor", cursor);
  loading += 1;
  try {
    const found = await get("", query);
    if (ticket !== asked) return;
    rows = more ? [...rows, ...found.runs] : found.runs;
    cursor = found.next_cursor;
    at("trouble").textContent = "";
  } catch (error) {
    at("trouble").textContent = error.message;
  } finally {
    loading -= 1;
  }
  draw();
  followShown();
}

function draw() {
  const now = Date.now() / 1000;
  const focus = document.activeElement?.closest?.("tr[data-run]")?.dataset.run;
  const kind = document.activeElement?.matches?.("input") ? "input" : "a";
  renew(at("rows"), rows.map((run) => row(run, now)));
  if (focus) at("rows").querySelector(`tr[data-run="${focus}"] ${kind}`)?.focus();
  at("none").hidden = rows.length > 0;
  at("none").textContent = location.search ? "No run fits. Take a filter away." : "No run yet. Start one with: orchestrator submit FILE";
  at("more").hidden = !cursor;
  at("compare").disabled = chosen.size !== 2;
  at("compare").textContent = chosen.size === 2 ? "Compare the two" : `Compare (choose ${2 - chosen.size})`;
  document.documentElement.dataset.ready = "true";
}

function row(run, now) {
  const box = h("input", { type: "checkbox", "aria-label": `Choose ${run.run_id} to compare`, checked: chosen.has(run.run_id), onchange: () => {
    if (box.checked) chosen = new Set([...chosen, run.run_id].slice(-2));
    else chosen.delete(run.run_id);
    draw();
  } });
  const end = run.finished_at ?? now;
  return h("tr", { data: { run: run.run_id } },
    h("td", {}, box),
    h("td", {}, badge(run.state)),
    h("th", { scope: "row" }, h("a", { class: "run-link", href: `${page.base}/${run.run_id}` }, run.workflow), h("code", { class: "id" }, run.run_id)),
    h("td", {}, h("progress", { class: `tone-${tone(run.state)}`, max: 1, value: run.progress, "aria-label": `${Math.round(run.progress * 100)}% of steps and barriers have ended` }), h("span", { class: "dim percent" }, `${Math.round(run.progress * 100)}%`)),
    h("td", { class: "number" }, run.started_at ? duration(Math.max(0, end - run.started_at)) : "–"),
    h("td", { title: moment(run.created_at, 0) }, ago(run.created_at, now)),
    h("td", { class: "wrap dim" }, run.reason ?? "", run.quality_impact ? h("span", { class: "chip warn-chip" }, `quality ${run.quality_impact}`) : null),
    h("td", {}, h("button", { type: "button", class: "link", onclick: () => go((next) => next.set("workflow", run.workflow)) }, "only this workflow")));
}

at("search").addEventListener("input", () => {
  clearTimeout(load.timer);
  load.timer = setTimeout(() => go((next) => (at("search").value ? next.set("search", at("search").value) : next.delete("search")), true), 200);
});
at("more").addEventListener("click", () => load(true));
at("compare").addEventListener("click", () => {
  const [a, b] = rows.filter((run) => chosen.has(run.run_id)).map((run) => run.run_id);
  location.href = `${page.base}/compare?${new URLSearchParams({ a: b, b: a })}`;
});
addEventListener("popstate", () => { drawFilters(); load(); });

// News of all runs, and how far those are that the list shows. Others are followed from where these were left.
function followShown() {
  const going = rows.filter((run) => !run.finished_at).slice(0, FOLLOWED).map((run) => run.run_id);
  if (resting || (followed && going.every((id) => followed.has(id)))) return;
  followed = new Set(going);
  leave();
  leave = follow("/events", [["after", newest], ...going.map((id) => ["run", id])], { told, linked, named: { progress } });
  resting = setTimeout(() => { resting = null; followShown(); }, OTHERS_MS);
}

function told(event) {
  newest = event.id;
  soon();
}

function soon() {
  waiting ??= setTimeout(() => { waiting = null; load(); }, AGAIN_MS);
}

function progress(run) {
  rows = rows.map((one) => (one.run_id === run.run_id ? run : one));
  draw();
  if (loading) soon(); // what is on its way may be older
}

function linked(yes) {
  at("link").className = yes ? "link-state on" : "link-state";
  at("link").textContent = yes ? "live" : "reconnecting…";
}

drawFilters();
load();
setInterval(() => { if (!document.hidden && rows.some((run) => !run.finished_at)) draw(); }, 1000);
