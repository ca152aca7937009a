// The log of the step that is looked at. Nothing is asked for unless it is told that there are more lines.
import { get, page } from "./api.js";
import { h } from "./dom.js";
import { moment } from "./format.js";

const LINES = 500;

// logView() gives {element, show(step), told(event)}: the events say which step has logged, or that some were missed.
export function logView() {
  const element = h("ol", { class: "log", tabindex: 0, "aria-label": "Log lines" });
  const lines = [];
  let shown = null;
  let cursor = 0;
  let asking = false;
  let again = false;

  function show(step) {
    shown = step;
    cursor = 0;
    lines.length = 0;
    element.replaceChildren();
    if (step) more();
  }

  function told(event) {
    if (shown && (event.type === "missed" || (event.step === shown && Number(event.state) > cursor))) more();
  }

  async function more() {
    again = asking;
    if (asking) return;
    asking = true;
    const step = shown;
    try {
      const tail = await get(`/${page.run}/steps/${step}/log`, { after: cursor });
      if (step === shown) add(tail);
    } catch (error) {
      element.replaceChildren(h("li", { class: "dim" }, `The log cannot be read: ${error.message}`));
      lines.length = cursor = 0;
    }
    asking = false;
    if (again && shown) more();
  }

  function add(tail) {
    const down = element.scrollTop + element.clientHeight >= element.scrollHeight - 4;
    cursor = tail.cursor;
    lines.push(...tail.lines.map(row));
    lines.splice(0, Math.max(0, lines.length - LINES));
    const earlier = cursor - lines.length;
    const note = !lines.length ? "nothing logged" : earlier > 0 ? `${earlier} earlier lines: orchestrator logs ${page.run} ${shown}` : null;
    element.replaceChildren(...(note ? [h("li", { class: "dim" }, note)] : []), ...lines);
    if (down) element.scrollTop = element.scrollHeight;
  }

  return { element, show, told };
}

function row(line) {
  return h("li", { class: `level-${line.level.toLowerCase()}` }, h("time", {}, moment(line.at)), h("b", {}, line.level), h("span", {}, line.text));
}
