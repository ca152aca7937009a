// The steps as a table: for reading, sorting by eye, and screen readers.
import { h } from "./dom.js";
import { duration } from "./format.js";
import { badge } from "./states.js";
import { spent } from "./timeline.js";

// stepTable(place, pick) gives {show(view, now), pick(id)}. Only rows that have changed are drawn anew.
export function stepTable(place, pick) {
  const body = h("tbody", {});
  const rows = new Map();
  let picked = null;
  place.replaceChildren(h("div", { class: "scroll steps-scroll", tabindex: 0, role: "region", "aria-label": "Steps" }, h("table", { class: "grid" },
    h("caption", { class: "hidden" }, "Steps in the order of the plan"),
    h("thead", {}, h("tr", {}, ["Step", "State", "Attempts", "Held", "Waited", "Ran", "Planned", "Worker", "Message"].map((name) => h("th", { scope: "col" }, name)))), body)));

  function show(view, now) {
    const until = view.ended ? view.finished_at : now;
    for (const step of view.ordered) {
      const sums = spent(step, until);
      const cells = [step.state, step.attempts.length, ...[sums.held, sums.waited, sums.ran].map((one) => (one ? duration(one) : "–")), step.worker ?? "", step.error ?? step.message];
      const key = cells.join("\u0000");
      const before = rows.get(step.id);
      if (before?.key === key) continue;
      const row = h("tr", { class: `${step.planned?.on_critical_path ? "critical" : ""}${step.id === picked ? " picked" : ""}` },
        h("th", { scope: "row" }, h("button", { type: "button", class: "link", onclick: () => pick(step.id) }, step.id)),
        h("td", {}, badge(step.state)), cells.slice(1, 5).map((cell) => h("td", { class: "number" }, cell)),
        h("td", { class: "number" }, duration(step.planned?.duration_seconds)), h("td", {}, cells[5]), h("td", { class: "wrap" }, cells[6]));
      if (before) before.row.replaceWith(row);
      else body.append(row);
      rows.set(step.id, { key, row });
    }
  }

  return {
    show,
    pick: (id) => {
      rows.get(picked)?.row.classList.remove("picked");
      picked = id;
      rows.get(id)?.row.classList.add("picked");
    },
  };
}
