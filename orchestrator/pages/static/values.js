// JSON values as text that can be read, and copied. They come from agents: text and nothing else.
import { h } from "./dom.js";
import { bytes } from "./format.js";

// A value as the API shows it: {value, bytes, beginning}.
export function shown(one) {
  if (!one) return h("span", { class: "dim" }, "none");
  if (one.beginning !== null && one.beginning !== undefined) {
    return [h("pre", { class: "value", tabindex: 0 }, one.beginning), h("p", { class: "dim" }, `the beginning of ${bytes(one.bytes)}`)];
  }
  return h("pre", { class: "value", tabindex: 0 }, typeof one.value === "string" ? one.value : JSON.stringify(one.value, null, 2));
}

// Named values, each behind its name.
export function named(values, open = false) {
  const entries = Object.entries(values);
  if (!entries.length) return h("p", { class: "dim" }, "none");
  return entries.map(([name, one]) => h("details", { class: "named", open: open || entries.length === 1 }, h("summary", {}, h("code", {}, name), h("span", { class: "dim" }, ` ${bytes(one.bytes)}`)), shown(one)));
}
