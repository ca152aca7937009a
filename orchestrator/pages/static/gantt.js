// Rows of bars over time. Only the rows in view are in the document; bars are placed in per cent of the time shown.
import { h, onceAFrame, renew } from "./dom.js";
import { duration, ticks } from "./format.js";
import { icon, stateIcon, tone, word } from "./states.js";

const ROW = 28;
const EXTRA = 12;
const NEAR = 3; // a plan that is at most so many times as long as what is shown is shown with it
const SPACE = 1.07;
const LETTER = 6.9;

// gantt(place, {onpick}) gives {show(chart), pick(id)}.
// chart: {rows, total, now, plan}; times are seconds after the start of the run, `plan` is the planned end, 0 for none. A
// row: {id, label, kind, state, critical, says, bars: [{from, to, kind: run|wait|hold|slack|barrier|left|planned, state, title}],
// marks: [{at, kind, title}], note, planned}; `planned` is said where the bar of that kind cannot be seen.
export function gantt(place, { onpick }) {
  const axis = h("div", { class: "gantt-axis" });
  const body = h("div", { class: "gantt-body", role: "list", "aria-label": "Timeline of the steps" });
  const grid = h("div", { class: "gantt-grid" });
  body.append(grid);
  const inner = h("div", { class: "gantt-inner" }, axis, body);
  const view = h("div", { class: "gantt-view", onscroll: onceAFrame(draw) }, inner);
  const wholePlan = button("plan", "plan: show all of the plan", () => zoomTo(0));
  const zoom = h("div", { class: "zoom" },
    button("−", "Show more time", () => zoomTo(factor / 1.5)),
    button("+", "Show less time", () => zoomTo(factor * 1.5)),
    button("fit", "fit: show all that has happened", () => zoomTo(1)), wholePlan);
  const corner = h("div", { class: "gantt-corner" }, zoom);
  place.replaceChildren(view);
  let chart = { rows: [], total: 1, now: null, plan: 0 };
  let factor = 1;
  let all = false;
  let span = 1; // seconds from the left to the right
  let track = 0; // the same in pixels
  let picked = null;
  let focus = 0;
  const shown = new Map();
  new ResizeObserver(onceAFrame(drawAll)).observe(view);
  body.addEventListener("keydown", move);

  function button(text, label, act) {
    return h("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
  }

  function show(next) {
    chart = next;
    body.style.height = `${chart.rows.length * ROW}px`;
    drawAll();
  }

  function zoomTo(wanted) {
    const least = Math.min(1, usual() / (chart.plan * SPACE));
    all = wanted <= least && least < 1;
    factor = Math.min(50, Math.max(least, wanted));
    drawAll();
  }

  // What is shown without zoom: what has happened, and the plan where it is not out of all proportion to that.
  function usual() {
    return chart.plan <= (chart.total / SPACE) * NEAR ? Math.max(chart.total, chart.plan * SPACE) : chart.total;
  }

  function drawAll() {
    const least = Math.min(1, usual() / (chart.plan * SPACE));
    if (all || factor < least) factor = least;
    span = usual() / Math.min(1, factor);
    wholePlan.hidden = least === 1;
    inner.style.setProperty("--zoom", Math.max(1, factor));
    track = axis.clientWidth - labelWidth();
    drawAxis();
    for (const [index, element] of shown) {
      if (index < chart.rows.length) dress(element, chart.rows[index]);
      else { element.remove(); shown.delete(index); }
    }
    draw();
  }

  function share(seconds) {
    return `${Math.round((seconds / span) * 1e5) / 1e3}%`;
  }

  function drawAxis() {
    if (track <= 0) return;
    const at = ticks(span, track / 90);
    grid.style.backgroundSize = `${share(at[1] ?? span)} 100%`;
    const fits = (at, text) => track - (at / span) * track > text.length * LETTER + 8;
    const label = (at, text) => (fits(at, text) ? h("i", {}, text) : null);
    const marks = at.map((at) => h("span", { class: "gantt-tick", style: { left: share(at) } }, label(at, at === 0 ? "0" : duration(at))));
    const line = (kind, at, title) => h("span", { class: `gantt-${kind}`, style: { left: share(at) }, title });
    const lines = [planShown() ? line("planned-end", chart.plan, `planned end: ${duration(chart.plan)}`) : null, chart.now === null ? null : line("now", chart.now, "now")];
    renew(axis, corner, h("div", { class: "gantt-scale", "aria-hidden": "true" }, marks, lines));
    renew(grid, ...lines.map((one) => one?.cloneNode()));
  }

  function planShown() {
    return chart.plan > 0 && chart.plan <= span;
  }

  function labelWidth() {
    return parseFloat(getComputedStyle(inner).getPropertyValue("--label")) || 0;
  }

  function draw() {
    const first = Math.max(0, Math.floor(view.scrollTop / ROW) - EXTRA);
    const last = Math.min(chart.rows.length, Math.ceil((view.scrollTop + view.clientHeight) / ROW) + EXTRA);
    for (const [index, element] of shown) {
      if ((index < first || index >= last) && !element.contains(document.activeElement)) {
        element.remove();
        shown.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      if (shown.has(index)) continue;
      const element = h("div", { class: "gantt-row", role: "listitem", style: { top: `${index * ROW}px` }, data: { index } });
      dress(element, chart.rows[index]);
      shown.set(index, element);
      body.append(element);
    }
  }

  function dress(element, row) {
    const focused = element.contains(document.activeElement);
    const index = Number(element.dataset.index);
    element.classList.toggle("picked", row.id === picked);
    element.classList.toggle("critical", Boolean(row.critical));
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", chart.rows.length);
    const label = h("button", {
      type: "button", class: `gantt-label tone-${tone(row.state)}`, tabindex: index === focus ? 0 : -1, "aria-label": row.says,
      title: `${row.label}: ${word(row.state)}`, onclick: () => onpick(chart.rows[index].id),
    }, row.kind === "barrier" ? icon("gate") : stateIcon(row.state), h("span", {}, row.label));
    const bars = row.bars.filter((bar) => bar.kind !== "planned" || planShown());
    renew(element, label, h("div", { class: "gantt-track", onclick: () => onpick(chart.rows[index].id) },
      bars.map((bar) => h("span", {
        class: `bar bar-${bar.kind} tone-${tone(bar.state)}`, title: bar.title,
        style: { left: share(bar.from), width: share(Math.max(0, bar.to - bar.from)) },
      })),
      (row.marks ?? []).map((mark) => h("span", { class: `tick-mark tick-${mark.kind}`, title: mark.title, style: { left: share(mark.at) } })),
      note(row)));
    if (focused) element.firstChild.focus({ preventScroll: true });
  }

  // Behind the bars; where there is no room, before them, without the plan, or on them.
  function note(row) {
    if (!row.note) return null;
    const real = row.bars.filter((bar) => !["slack", "planned", "left"].includes(bar.kind));
    const [from, to] = [Math.min(span, ...real.map((bar) => bar.from)), Math.max(0, ...real.map((bar) => bar.to))];
    const before = (end, kind, text) => h("span", { class: `gantt-note ${kind}`, style: { right: `calc(100% - ${share(end)})` } }, text);
    for (const text of [row.planned && !planShown() ? `${row.note}, ${row.planned}` : row.note, row.note]) {
      const room = text.length * LETTER + 14;
      if (track - (to / span) * track > room) return h("span", { class: "gantt-note", style: { left: share(to) } }, text);
      if ((from / span) * track > room) return before(from, "", text);
    }
    return before(to, "upon", row.note);
  }

  function pick(id) {
    picked = id;
    for (const [index, element] of shown) element.classList.toggle("picked", chart.rows[index]?.id === id);
  }

  function move(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -chart.rows.length, End: chart.rows.length }[event.key];
    if (!by) return;
    event.preventDefault();
    const before = shown.get(focus)?.firstChild;
    focus = Math.min(chart.rows.length - 1, Math.max(0, focus + by));
    const top = focus * ROW;
    if (top < view.scrollTop) view.scrollTop = top;
    if (top + 2 * ROW > view.scrollTop + view.clientHeight) view.scrollTop = top + 3 * ROW - view.clientHeight;
    draw();
    if (before) before.tabIndex = -1;
    const label = shown.get(focus).firstChild;
    label.tabIndex = 0;
    label.focus({ preventScroll: true });
  }

  return { show, pick };
}
