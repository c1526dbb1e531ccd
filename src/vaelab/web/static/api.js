// What the page asks of the server. The token comes in the address's fragment, which no browser sends or logs; it is
// kept for this tab, and taken out of the address, so that an address that is passed on shows the view alone.

const KEY = "vaelab-token";

export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("token")) {
    sessionStorage.setItem(KEY, given.get("token"));
    given.delete("token");
    const rest = given.toString();
    history.replaceState(null, "", location.pathname + (rest ? "#" + rest : ""));
  }
}

async function ask(path, body) {
  const headers = { "X-Vaelab-Token": sessionStorage.getItem(KEY) ?? "" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const method = body === undefined ? "GET" : "POST";
  let answer;
  try {
    answer = await fetch("/api/" + path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Error("the server has stopped: start it again");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(said.error ?? `status ${answer.status}`), { status: answer.status });
}

export const get = async (path) => (await ask(path)).json();

export const getRun = () => get("run");

// codes (N, D), errors (N), labels (N), draws of p(z) (M, D), one after the other
export const getPoints = async () => new Float32Array(await (await ask("points")).arrayBuffer());

// pictures come as bytes, rows of a table as lists of cells
export async function post(path, body) {
  const answer = await ask(path, body);
  if (answer.headers.get("content-type").startsWith("application/json")) return (await answer.json()).found;
  return new Uint8Array(await answer.arrayBuffer());
}
