// What may be done to a run. What cannot be taken back is asked about first.
import { page, post } from "./api.js";
import { h } from "./dom.js";
import { icon } from "./states.js";

const WORDS = {
  pause: ["Pause", "pause", null],
  resume: ["Resume", "play", null],
  retry_failed: ["Retry failed", "again", null],
  retry: ["Run again", "again", "Run all steps again, from the start?"],
  cancel: ["Cancel", "stop", "Cancel this run? Running steps are stopped and nothing more starts."],
};

// Shows a sentence for a while, in a region that screen readers watch.
export function say(text, bad = false) {
  const place = document.getElementById("said");
  place.className = bad ? "said bad" : "said";
  place.textContent = text;
  clearTimeout(say.timer);
  if (!bad) say.timer = setTimeout(() => { place.textContent = ""; }, 6000);
}

// Asks; gives true for yes. The dialog traps the keyboard and Escape means no.
export function confirmed(question, yes) {
  return new Promise((decide) => {
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-text", onclose: () => { dialog.remove(); decide(dialog.returnValue === "yes"); } },
      h("p", { id: "ask-text" }, question),
      h("form", { method: "dialog" }, h("button", { class: "act", value: "no" }, "No, go back"), h("button", { class: "act danger", value: "yes" }, yes)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

// One request, its button disabled meanwhile; says what came of it. Gives true when it was taken.
export async function attempt(button, done, path, body) {
  if (button) button.disabled = true;
  try {
    await post(path, body);
    say(done);
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  } finally {
    if (button) button.disabled = false;
  }
}

function request(action) {
  if (action === "retry_failed") return ["retry", { failed: true }];
  return [action, {}];
}

// The buttons for what the run's document says it takes now.
export function runActions(view, after) {
  if (!page.mayAct) return [];
  const wanted = ["resume", "pause", "retry_failed", "retry", "cancel"].filter((action) => view.actions.includes(action));
  return wanted.map((action) => {
    const [label, sign, question] = WORDS[action];
    const button = h("button", { type: "button", class: `act${action === "cancel" ? " danger" : ""}`, data: { action }, onclick: async () => {
      if (question && !(await confirmed(question, label === "Cancel" ? "Cancel the run" : label))) return;
      const [verb, body] = request(action);
      if (await attempt(button, `${label}: accepted`, `/${view.run_id}/${verb}`, body)) after();
    } }, icon(sign), label);
    return button;
  });
}
