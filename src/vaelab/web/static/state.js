// The view: what is chosen, kept in the address, so that a reload or a bookmark shows the same.

export const state = {
  axes: "kl", // "kl", "pca", "tsne", or two dimensions "3,7"
  colour: "label",
  held: "0", // where the dimensions beside the axes stand: at 0, or at the chosen row's code
  row: null,
  z: null, // the pinned place
  from: null, // ends of the path
  to: null,
  way: "straight",
  zoom: null, // middle and half the width of what is seen: u, v, r
};

const LISTS = ["z", "from", "to", "zoom"];
const WORDS = { axes: /^(kl|pca|tsne|\d+,\d+)$/, colour: /^(label|error|density|none)$/, held: /^(0|row)$/,
  way: /^(straight|spherical)$/ };

// Takes from the address what can be used; anything else is left as it stands.
export function readAddress(dimensions, rows) {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, form] of Object.entries(WORDS)) {
    if (form.test(given.get(name) ?? "")) state[name] = given.get(name);
  }
  const axes = state.axes.split(",");
  if (axes.length === 2 && !(Math.max(...axes) < dimensions && axes[0] !== axes[1])) state.axes = "kl";
  for (const name of LISTS) {
    const list = (given.get(name) ?? "").split(",").map(Number);
    const length = name === "zoom" ? 3 : dimensions;
    if (given.get(name) && list.length === length && list.every((v) => Number.isFinite(v) && Math.abs(v) <= 100)) {
      state[name] = list;
    }
  }
  const row = Number(given.get("row") ?? NaN);
  if (Number.isInteger(row) && row >= 1 && row <= rows) state.row = row - 1;
  if (state.zoom && !(state.zoom[2] > 0)) state.zoom = null;
}

let timer = null;

export function writeAddress() {
  clearTimeout(timer);
  timer = setTimeout(() => { // browsers refuse many changes of the address in a short time
    const out = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) {
      if (value === null) continue;
      if (LISTS.includes(name)) out.set(name, value.map((v) => +v.toFixed(3)).join(","));
      else out.set(name, name === "row" ? value + 1 : value);
    }
    history.replaceState(null, "", "#" + out.toString().replaceAll("%2C", ","));
  }, 150);
}
