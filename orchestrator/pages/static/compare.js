// Two runs beside each other: what took longer, what waited longer, what ended otherwise.
import { get, page } from "./api.js";
import { h } from "./dom.js";
import { duration, moment } from "./format.js";
import { badge } from "./states.js";
import { orderSteps, spent } from "./timeline.js";

const at = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);

function signed(seconds) {
  if (Math.abs(seconds) < 0.005) return "±0";
  return `${seconds > 0 ? "+" : "−"}${duration(Math.abs(seconds))}`;
}

function bars(a, b, longest) {
  const bar = (sums, kind) => h("span", { class: `pair pair-${kind}` },
    h("i", { class: "pair-wait", style: { width: `${(100 * (sums.waited + sums.held)) / longest}%` } }), h("i", { class: "pair-run", style: { width: `${(100 * sums.ran) / longest}%` } }));
  return h("span", { class: "pairs-cell", "aria-hidden": "true" }, a && bar(a, "a"), b && bar(b, "b"));
}

async function draw() {
  at("first").value = query.get("a") ?? "";
  at("second").value = query.get("b") ?? "";
  document.documentElement.dataset.ready = "true";
  if (!query.get("a") || !query.get("b")) return;
  let runs;
  try {
    runs = await Promise.all(["a", "b"].map((name) => get(`/${encodeURIComponent(query.get(name))}`, { values: "false" })));
  } catch (error) {
    at("trouble").textContent = error.message;
    return;
  }
  const ends = runs.map((run) => run.finished_at ?? run.now);
  runs.forEach(orderSteps);
  const sums = runs.map((run, index) => new Map(run.steps.map((step) => [step.id, { step, ...spent(step, ends[index]) }])));
  const names = [...new Set(runs.flatMap((run) => run.ordered.map((step) => step.id)))];
  const longest = Math.max(1e-6, ...sums.flatMap((found) => [...found.values()].map((one) => one.ran + one.waited + one.held)));
  at("heads").replaceChildren(...runs.map((run, index) => h("div", { class: "compared" }, h("h2", {}, h("span", { class: `letter letter-${"ab"[index]}` }, "AB"[index]), h("a", { href: `${page.base}/${run.run_id}` }, run.workflow)), h("code", { class: "id" }, run.run_id),
    h("p", {}, badge(run.state), ` ${duration(ends[index] - (run.started_at ?? run.created_at))}, submitted ${moment(run.created_at)}`))));
  const length = (index) => ends[index] - (runs[index].started_at ?? runs[index].created_at);
  const more = length(1) - length(0);
  at("verdict").textContent = Math.abs(more) < 0.005 ? "Both took the same time." : `B took ${duration(Math.abs(more))} ${more > 0 ? "more" : "less"} than A.`;
  at("rows").replaceChildren(...names.map((name) => {
    const [a, b] = sums.map((found) => found.get(name));
    const delta = a && b ? b.ran - a.ran : null;
    return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, a ? badge(a.step.state) : "not in A"), h("td", {}, b ? badge(b.step.state) : "not in B"),
      h("td", { class: "number" }, duration(a?.ran)), h("td", { class: "number" }, duration(b?.ran)), h("td", { class: `number ${delta > 0.05 ? "slower" : delta < -0.05 ? "faster" : ""}` }, delta === null ? "–" : signed(delta)),
      h("td", { class: "number" }, a && b ? signed(b.waited + b.held - a.waited - a.held) : "–"), h("td", { class: "number" }, `${a?.step.attempts.length ?? 0} / ${b?.step.attempts.length ?? 0}`), h("td", {}, bars(a, b, longest)));
  }));
  at("result").hidden = false;
}

draw();
