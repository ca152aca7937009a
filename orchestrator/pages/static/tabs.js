// Tabs as the ARIA pattern has them: arrow keys, Home and End. The buttons name their panels in aria-controls.

// `chosen` is told the id of the panel that is shown from now on.
export function tabs(list, chosen = () => {}) {
  const buttons = [...list.querySelectorAll("[role=tab]")];
  function open(button, focus) {
    for (const each of buttons) {
      const on = each === button;
      each.setAttribute("aria-selected", String(on));
      each.tabIndex = on ? 0 : -1;
      document.getElementById(each.getAttribute("aria-controls")).hidden = !on;
    }
    if (focus) button.focus();
    chosen(button.getAttribute("aria-controls"));
  }
  list.addEventListener("click", (event) => {
    const button = event.target.closest("[role=tab]");
    if (button) open(button);
  });
  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    open(buttons[(to + buttons.length) % buttons.length], true);
  });
  return (panel) => open(buttons.find((button) => button.getAttribute("aria-controls") === panel) ?? buttons[0]);
}
