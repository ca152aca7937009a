// Elements are built from text and attributes only: nothing that a workflow says is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") Object.entries(value).forEach(([key, to]) => element.style.setProperty(key, to));
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// h("button", {class: "x", onclick: act}, "text", child): an HTML element.
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

// The same for an SVG element.
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

// Makes the children of `place` these. What looks as before stays: nothing is taken away from under somebody who points
// at it, has chosen it or has put the keyboard there.
export function renew(place, ...children) {
  const fresh = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(child)));
  fresh.forEach((node, index) => {
    const old = place.childNodes[index];
    if (!old) place.append(node);
    else if (old.isEqualNode(node)) return;
    else if (old.nodeType === 1 && old.firstElementChild && !old.matches("button") && old.cloneNode().isEqualNode(node.cloneNode?.())) renew(old, [...node.childNodes]);
    else old.replaceWith(node);
  });
  while (place.childNodes.length > fresh.length) place.lastChild.remove();
}

// Calls `work` at most once a frame, however often it is asked to.
export function onceAFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
