// Every state has a colour, an icon and a word: none of them has to be told apart by its colour alone.
import { h, s } from "./dom.js";

const ICONS = {
  ring: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11z",
  clock: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11zM8 5v3.2l2.2 1.4",
  dot: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11zM8 6.5a1.5 1.5 0 1 0 0 3a1.5 1.5 0 0 0 0-3z",
  play: "M5 3.2v9.6L12.8 8z",
  again: "M12.8 6.2A5.2 5.2 0 1 0 13 9.4M13.2 2.8v3.6H9.6",
  check: "M3 8.6l3.4 3.4L13 4.6",
  cross: "M4 4l8 8M12 4l-8 8",
  glass: "M4.5 2.5h7M4.5 13.5h7M5 2.5c0 3.5 6 3.5 6 5.5M5 13.5c0-3.5 6-3.5 6-5.5M11 2.5c0 3.5-6 3.5-6 5.5M11 13.5c0-3.5-6-3.5-6-5.5",
  skip: "M3.5 4l4 4l-4 4M8.5 4l4 4l-4 4",
  blocked: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11zM4.2 4.2l7.6 7.6",
  stop: "M4 4h8v8H4z",
  bolt: "M9 2L4 9h4l-1 5l5-7H8z",
  person: "M8 2.8a2.4 2.4 0 1 0 0 4.8a2.4 2.4 0 0 0 0-4.8zM3.4 13.4c.4-2.8 2.2-4 4.6-4s4.2 1.2 4.6 4",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  half: "M3 8.6l3.4 3.4L13 4.6M3 4h4",
  gate: "M5 2.5v11M11 2.5v11",
};

// state -> [icon, word, tone]; a tone is a colour of the style sheet.
const STATES = {
  planned: ["ring", "planned", "plan"],
  critical: ["ring", "critical", "critical"],
  pending: ["ring", "pending", "idle"],
  ready: ["dot", "ready", "wait"],
  held: ["pause", "held", "wait"],
  queued: ["clock", "queued", "wait"],
  running: ["play", "running", "run"],
  retrying: ["again", "retrying", "warn"],
  success: ["check", "success", "good"],
  cached: ["bolt", "cached", "good"],
  partial: ["half", "partial", "warn"],
  failed: ["cross", "failed", "bad"],
  timed_out: ["glass", "timed out", "bad"],
  upstream_failed: ["blocked", "upstream failed", "dim-bad"],
  skipped: ["skip", "skipped", "idle"],
  cancelled: ["stop", "cancelled", "dim"],
  cancelling: ["stop", "cancelling", "warn"],
  taken_back: ["again", "taken back", "dim"],
  paused: ["pause", "paused", "hold"],
  awaiting_input: ["person", "awaiting input", "hold"],
  joined: ["gate", "joined", "wait"],
  fallback: ["again", "one by one", "warn"],
  extended: ["clock", "extended", "warn"],
};

export function tone(state) {
  return (STATES[state] ?? STATES.pending)[2];
}

export function word(state) {
  return (STATES[state] ?? ["", String(state).replaceAll("_", " ")])[1];
}

export function icon(name) {
  return s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
}

export function stateIcon(state) {
  return icon((STATES[state] ?? STATES.pending)[0]);
}

// The icon and the word of a state, in its colour.
export function badge(state) {
  return h("span", { class: `badge-state tone-${tone(state)}` }, stateIcon(state), word(state));
}
