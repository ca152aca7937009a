// What stands below the graph: conflicts to decide, inputs, versions of the context with what changed, locks, quality.
import { attempt } from "./actions.js";
import { get, page } from "./api.js";
import { h } from "./dom.js";
import { bytes, duration, moment } from "./format.js";
import { badge } from "./states.js";
import { named, shown } from "./values.js";

// Draws all sections of a run; `after` is called when something was decided.
export function sections(view, after) {
  fill("conflicts", view.conflicts.length, () => conflicts(view, after));
  fill("quality", view.quality.length + view.alerts.length, () => quality(view));
  fill("locks", view.locks.length + view.lock_waits.length, () => locks(view));
  fill("versions", view.versions.length, () => versions(view), view.versions.length);
  fill("artifacts", view.artifacts.length, () => artifacts(view), view.artifacts.length);
  if (changed("inputs", view.run_id)) fill("inputs", 1, inputs);
}

// A section is drawn anew when what it shows has changed, and not while somebody types in it.
const drawn = new Map();
function fill(name, count, draw, told = "") {
  const place = document.getElementById(name);
  place.hidden = !count;
  if (!count) return;
  place.querySelector(".count").textContent = told;
  const body = place.querySelector(".body");
  const content = draw();
  if (content === null || (body.contains(document.activeElement) && document.activeElement.matches("textarea, input, select"))) return;
  body.replaceChildren(...[content].flat(Infinity).filter(Boolean));
}

function changed(name, value) {
  const text = JSON.stringify(value);
  if (drawn.get(name) === text) return false;
  drawn.set(name, text);
  return true;
}

function conflicts(view, after) {
  const open = view.conflicts.filter((one) => one.state === "open");
  document.getElementById("conflicts").classList.toggle("calls", open.length > 0);
  if (!changed("conflicts", view.conflicts)) return null;
  const done = view.conflicts.filter((one) => one.state !== "open");
  return [
    ...open.map((one) => conflict(view, one, after)),
    done.length ? h("details", { open: !open.length }, h("summary", {}, `${done.length} decided`), table(["Place", "Between", "What stands", "Why"], done.map((one) => [
      h("code", {}, one.place || one.field), sides(one), one.winner || one.action, `${one.reason}${one.by_hand ? " (by hand)" : ""}`,
    ]))) : null,
  ];
}

function sides(one) {
  return [...one.ours_by, one.theirs_by].filter(Boolean).join(" and ");
}

function conflict(view, one, after) {
  const value = h("textarea", { rows: 2, spellcheck: "false", "aria-label": `Another value for ${one.place || one.field}, as JSON`, placeholder: "another value, as JSON" });
  async function decide(button, body) {
    if (await attempt(button, `${one.place || one.field}: decided`, `/${view.run_id}/conflicts/${one.id}/resolve`, body)) after();
  }
  function own(event) {
    const button = event.currentTarget;
    try {
      value.setCustomValidity("");
      decide(button, { value: JSON.parse(value.value) });
    } catch {
      value.setCustomValidity("That is no JSON. A text has to stand in double quotes.");
      value.reportValidity();
    }
  }
  const side = (name, title) => (one[name] ? h("div", { class: "side" }, h("h4", {}, title), shown(one[name]), page.mayAct && one.choices.includes(name)
    ? h("button", { type: "button", class: "act", data: { choice: name }, onclick: (event) => decide(event.currentTarget, { choice: name }) }, `Take ${title.toLowerCase()}`) : null) : null);
  return h("article", { class: "conflict" },
    h("h3", {}, h("code", {}, one.place || one.field), h("span", { class: "chip warn-chip" }, one.kind === "consistency" ? "rule does not hold" : "open"), h("span", { class: "dim" }, `${one.group ? `group ${one.group}, ` : ""}between ${sides(one)}`)),
    one.reason ? h("p", {}, one.reason) : null,
    one.otherwise ? h("p", { class: "dim" }, `If nobody decides, ${one.otherwise === "accept" ? "it is accepted as it is" : `${one.otherwise} stands`}.`) : null,
    h("div", { class: "sides" }, side("base", "Base"), side("ours", one.ours_by.length ? `Ours (${one.ours_by.join(", ")})` : "Ours"), side("theirs", one.theirs_by ? `Theirs (${one.theirs_by})` : "Theirs")),
    page.mayAct ? h("p", { class: "own" }, value, h("button", { type: "button", class: "act", onclick: own }, "Take this value"),
      one.choices.includes("accept") ? h("button", { type: "button", class: "act", data: { choice: "accept" }, onclick: (event) => decide(event.currentTarget, { choice: "accept" }) }, "Accept as it is") : null) : null);
}

function quality(view) {
  if (!changed("quality", [view.quality, view.alerts])) return null;
  return h("ul", { class: "plain-list" },
    view.quality.map((mark) => h("li", {}, h("span", { class: "chip warn-chip" }, mark.level), " ", h("strong", {}, mark.group || mark.step), ` ${mark.kind}: ${mark.message}`)),
    view.alerts.map((alert) => h("li", {}, h("span", { class: `chip ${alert.severity === "error" ? "bad-chip" : "warn-chip"}` }, alert.severity), " ", h("strong", {}, alert.kind), ` ${alert.message} `, h("span", { class: "dim" }, moment(alert.at)))));
}

function locks(view) {
  if (!changed("locks", [view.locks, view.lock_waits])) return null;
  const names = (found) => found.map((one) => `${one.node} (${one.mode}${one.declared ? ", declared" : ""})`).join(", ") || "–";
  return [
    view.locks.length ? table(["Section", "Held by", "Waiting", "Granted", "Waited in all"], view.locks.map((one) => [h("code", {}, one.section), names(one.holders), names(one.queue), one.grants, duration(one.total_wait_seconds)])) : null,
    view.lock_waits.length ? h("details", { open: view.lock_waits.length <= 8 }, h("summary", {}, view.lock_waits.length === 1 ? "1 wait" : `${view.lock_waits.length} waits`), table(["Step", "Section", "For", "Waited", "Until", "Outcome"], view.lock_waits.slice(-200).map((one) => [
      one.step, h("code", {}, one.section), one.mode, duration(one.seconds), moment(one.at), one.granted ? "granted" : badge("timed_out"),
    ]))) : null,
  ];
}

function versions(view) {
  if (!changed("versions", [view.run_id, view.versions.map((one) => one.version)])) return null;
  const numbers = view.versions.map((one) => one.version);
  const choose = (label, value) => h("label", {}, label, h("select", { "aria-label": `Compare ${label}` }, [...numbers, 0].map((number) => h("option", { value: number, selected: number === value }, number ? `version ${number}` : "the start"))));
  const [from, to] = [choose("from", Math.max(0, numbers[0] - 1)), choose("to", numbers[0])];
  const place = h("div", { class: "difference", "aria-live": "polite" });
  const compare = () => difference(view, from.querySelector("select").value, to.querySelector("select").value, place);
  return [
    h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Versions of the context" }, table(["Version", "By", "When", "Changed", ""], view.versions.map((one) => [
      one.version, h("span", { class: "by" }, one.author.replace(/^@/, "barrier of "), one.names.map((name) => h("span", { class: "chip name", title: `its name in commands: ${name}` }, name))), moment(one.at),
      h("span", { class: "wrap" }, one.changed.slice(0, 6).map((field) => [h("code", {}, field.field, field.mark === "filled" ? " (default)" : ""), " "]), one.changed.length > 6 ? ` and ${one.changed.length - 6} more` : ""),
      h("button", { type: "button", class: "link whole", "aria-label": `diff of version ${one.version}`, onclick: () => {
        from.querySelector("select").value = one.parent;
        to.querySelector("select").value = one.version;
        compare();
      } }, "diff"),
    ]))),
    h("p", { class: "line-up" }, "Compare", from, to, h("button", { type: "button", class: "act", onclick: compare }, "Show difference")),
    place,
  ];
}

async function difference(view, a, b, place) {
  try {
    const { differences } = await get(`/${view.run_id}/diff`, { a, b });
    place.replaceChildren(h("h3", {}, `From ${a === "0" ? "the start" : `version ${a}`} to version ${b}`), differences.length
      ? table(["Field", "Change", "Before", "After"], differences.map((one) => [h("code", {}, one.field), h("span", { class: `change change-${one.kind}` }, one.kind), one.before ? shown(one.before) : "–", one.after ? shown(one.after) : "–"]))
      : h("p", { class: "dim" }, "nothing differs"));
  } catch (error) {
    place.replaceChildren(h("p", { class: "error" }, error.message));
  }
}

function artifacts(view) {
  if (!changed("artifacts", view.artifacts)) return null;
  return h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Artifacts" }, table(["File", "Step", "Size"], view.artifacts.map((one) => [
    h("a", { href: `${page.api}/${view.run_id}/steps/${one.step}/artifact?${new URLSearchParams({ name: one.name })}`, download: "" }, one.name), one.step, bytes(one.bytes),
  ])));
}

function inputs() {
  const place = h("div", {}, h("p", { class: "dim" }, "…"));
  get(`/${page.run}/inputs`).then(({ values }) => {
    document.getElementById("inputs").hidden = !Object.keys(values).length;
    place.replaceChildren(...[named(values)].flat());
  }, (error) => place.replaceChildren(h("p", { class: "error" }, error.message)));
  return place;
}

export function table(columns, rows) {
  return h("table", { class: "grid" }, h("thead", {}, h("tr", {}, columns.map((name) => h(name ? "th" : "td", name ? { scope: "col" } : {}, name)))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))));
}
