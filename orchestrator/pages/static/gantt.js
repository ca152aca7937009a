// Rows of bars over time. Only the rows in view are in the document; bars are placed in per cent of the time shown.
import { h, onceAFrame } from "./dom.js";
import { duration, ticks } from "./format.js";
import { icon, stateIcon, tone, word } from "./states.js";

const ROW = 28;
const EXTRA = 12;

// gantt(place, {onpick}) gives {show(chart), pick(id)}.
// chart: {rows, total, now, plannedEnd}; times are seconds after the start of the run. A row: {id, label, kind, state,
// critical, says, bars: [{from, to, kind: run|wait|hold|slack|barrier|planned, state, title}], marks: [{at, kind, title}], note}.
export function gantt(place, { onpick }) {
  const axis = h("div", { class: "gantt-axis" });
  const body = h("div", { class: "gantt-body", role: "list", "aria-label": "Timeline of the steps" });
  const grid = h("div", { class: "gantt-grid" });
  body.append(grid);
  const inner = h("div", { class: "gantt-inner" }, axis, body);
  const view = h("div", { class: "gantt-view", onscroll: onceAFrame(draw) }, inner);
  const zoom = h("div", { class: "zoom" },
    button("−", "Show more time", () => zoomTo(factor / 1.5)),
    button("+", "Show less time", () => zoomTo(factor * 1.5)),
    button("fit", "fit: show all of it", () => zoomTo(1)));
  const corner = h("div", { class: "gantt-corner" }, zoom);
  place.replaceChildren(view);
  let chart = { rows: [], total: 1, now: null };
  let factor = 1;
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
    factor = Math.min(50, Math.max(1, wanted));
    drawAll();
  }

  function drawAll() {
    inner.style.setProperty("--zoom", factor);
    drawAxis();
    for (const [index, element] of shown) {
      if (index < chart.rows.length) dress(element, chart.rows[index]);
      else { element.remove(); shown.delete(index); }
    }
    draw();
  }

  function share(seconds) {
    return `${Math.round((seconds / chart.total) * 1e5) / 1e3}%`;
  }

  function drawAxis() {
    const track = axis.clientWidth - labelWidth();
    if (track <= 0) return;
    const at = ticks(chart.total, track / 90);
    grid.style.backgroundSize = `${share(at[1] ?? chart.total)} 100%`;
    const marks = at.map((at) => h("span", { class: "gantt-tick", style: { left: share(at) } }, h("i", {}, at === 0 ? "0" : duration(at))));
    const now = chart.now === null ? null : h("span", { class: "gantt-now", style: { left: share(chart.now) } });
    const end = chart.plannedEnd > 0 && chart.plannedEnd <= chart.total
      ? h("span", { class: "gantt-planned-end", style: { left: share(chart.plannedEnd) }, title: `planned end: ${duration(chart.plannedEnd)}` }) : null;
    axis.replaceChildren(corner, h("div", { class: "gantt-scale", "aria-hidden": "true" }, marks, end, now));
    axis.style.setProperty("--rows", `${chart.rows.length * ROW}px`);
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
      title: `${row.label}: ${word(row.state)}`, onclick: () => onpick(row.id),
    }, row.kind === "barrier" ? icon("gate") : stateIcon(row.state), h("span", {}, row.label));
    const end = Math.max(0, ...row.bars.filter((bar) => bar.kind !== "slack" && bar.kind !== "planned").map((bar) => bar.to));
    const late = end / chart.total > 0.86;
    element.replaceChildren(label, h("div", { class: "gantt-track", onclick: () => onpick(row.id) },
      row.bars.map((bar) => h("span", {
        class: `bar bar-${bar.kind} tone-${tone(bar.state)}`, title: bar.title,
        style: { left: share(bar.from), width: share(Math.max(0, bar.to - bar.from)) },
      })),
      (row.marks ?? []).map((mark) => h("span", { class: `tick-mark tick-${mark.kind}`, title: mark.title, style: { left: share(mark.at) } })),
      row.note && h("span", { class: `gantt-note${late ? " before" : ""}`, style: late ? { right: `calc(100% - ${share(Math.min(...row.bars.map((bar) => bar.from)))})` } : { left: share(end) } }, row.note)));
    if (focused) label.focus({ preventScroll: true });
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
