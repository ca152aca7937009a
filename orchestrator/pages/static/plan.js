// The page of a plan, as one file: the graph and the timeline of what is embedded in it as JSON.
import { dag } from "./dag.js";
import { duration } from "./format.js";
import { gantt } from "./gantt.js";
import { graphOf, planChart } from "./model.js";
import { tabs } from "./tabs.js";

const plan = JSON.parse(document.getElementById("document").textContent);
const chosen = document.getElementById("workers");
const verdict = document.getElementById("makespan");

function pick(id) {
  graph.pick(id);
  timeline.pick(id);
  document.querySelectorAll("tr.picked").forEach((row) => row.classList.remove("picked"));
  document.getElementById(`step-${id}`)?.classList.add("picked");
}

const graph = dag(document.getElementById("graph"), { tools: document.getElementById("graph-tools"), onpick: pick });
const timeline = gantt(document.getElementById("timeline"), { onpick: pick });
graph.show(graphOf(plan, (step) => `${step.agent === step.id ? "" : `${step.agent} · `}${duration(step.planned.duration_seconds)}`));

function draw() {
  const workers = chosen.value;
  timeline.show(planChart(plan, plan.schedules[workers]));
  verdict.textContent = duration(workers ? plan.makespan_seconds[workers] : plan.critical_path_seconds);
}

chosen.addEventListener("change", draw);
draw();
tabs(document.getElementById("views"));
