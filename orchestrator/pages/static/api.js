// The JSON API of the page's own Flower. The element #workflows says where it is and whether it takes requests that
// change something.

const root = document.getElementById("workflows");

export const page = { root, api: root.dataset.api, run: root.dataset.run, base: root.dataset.base, flower: root.dataset.flower, mayAct: root.dataset.mayAct === "true" };

async function answer(response) {
  const told = response.headers.get("Content-Type")?.includes("json") ? await response.json() : null;
  if (!response.ok) throw new Error([told?.detail || told?.title || `status ${response.status}`, ...(told?.errors ?? []).map((one) => `${one.path} ${one.message}`)].join("; "));
  return told;
}

export async function get(path = "", query = {}) {
  const search = new URLSearchParams(query).toString();
  return answer(await fetch(`${page.api}${path}${search && `?${search}`}`));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-XSRFToken": root.dataset.xsrf };
  return answer(await fetch(`${page.api}${path}`, { method: "POST", headers, body: JSON.stringify(body ?? {}) }));
}

// Follows Server-Sent Events; `told` gets each one parsed, with its id, functions of `named` those of that name, `linked`
// whether the connection stands. Gives a function that ends it.
export function follow(path, query, { told, linked, named = {} }) {
  const search = new URLSearchParams(query).toString();
  const source = new EventSource(`${page.api}${path}${search && `?${search}`}`);
  const left = new AbortController();
  source.onmessage = (message) => told(JSON.parse(message.data));
  for (const [name, heard] of Object.entries(named)) source.addEventListener(name, (message) => heard(JSON.parse(message.data)));
  source.onopen = () => linked(true);
  source.onerror = () => linked(false);
  addEventListener("pagehide", () => source.close(), left);
  return () => {
    left.abort();
    source.close();
  };
}
