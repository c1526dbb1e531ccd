// The explorer: what is pointed at is decoded, what is pinned stays, what is dragged is a path.

import { getPoints, getRun, takeToken } from "./api.js";
import { ofLabel, ofShare, STEPS, steps } from "./colours.js";
import { Density } from "./density.js";
import { at, element, short } from "./dom.js";
import { lastWins } from "./latest.js";
import { LatentMap } from "./map.js";
import { curves, sliders } from "./panels.js";
import { beside } from "./beside.js";
import { between, Embedding, Plane } from "./plane.js";
import { cells, difference, picture, sizeOf } from "./shown.js";
import { readAddress, state, writeAddress } from "./state.js";

const PATH_STEPS = 10;
let facts, codes, error, labels, priorDraws, plane, map, setSliders, others;
let only = null; // the label that is picked out in the legend

function say(problem) {
  at("alert").hidden = problem === null;
  if (problem !== null) at("alert").textContent = problem.message;
}

const code = (row) => Array.from(codes.subarray(row * facts.latent_dim, (row + 1) * facts.latent_dim));
const zero = () => new Array(facts.latent_dim).fill(0);
const rowName = (row) => (facts.names ? `${facts.called} ${facts.names[row]}` : `row ${row + 1}`);
const can = (kind) => facts.can.includes(kind);
const labelOf = (row) => !Number.isFinite(labels[row]) ? null
  : facts.labels ? facts.labels[labels[row]] : short(labels[row]);

// ---- what comes back -------------------------------------------------------------------------------------------

function decoded(shown, alt) {
  if (!facts.image) return cells(facts.columns, ["E[x | z]"], [shown[0]], alt);
  return picture(shown, facts.image, alt);
}

const ask = lastWins("decode", (shown, purpose, body) => {
  const alt = `decode ${purpose === "hover" ? "at the pointer" : "of the pinned place"}`;
  at(purpose).replaceChildren(decoded(shown, alt));
  if (purpose === "pinned") others.decoded(body.z);
  if (purpose === "hover") performance.mark("hover-shown", { detail: body.z });
}, say);

const askPath = lastWins("path", (shown) => {
  const count = PATH_STEPS + 1;
  const size = facts.image && sizeOf(facts.image);
  at("strip").replaceChildren(...(facts.image
    ? Array.from({ length: count }, (_, i) => picture(shown.subarray(i * size, (i + 1) * size), facts.image,
      `step ${i} of ${PATH_STEPS}`))
    : [cells(facts.columns, shown.map((_, i) => (i === 0 ? "A" : i === PATH_STEPS ? "B" : String(i))), shown, "path")]));
  at("path-said").textContent = `From A to B, ${PATH_STEPS} steps, ${state.way}.`;
}, say);

const askRow = lastWins("row", (shown, purpose, { number }) => {
  const box = at("row-shown");
  box.classList.toggle("table", !facts.image);
  if (facts.image) {
    const size = sizeOf(facts.image);
    const [x, r] = [shown.subarray(0, size), shown.subarray(size)];
    const figure = (made, caption) => element("figure", {}, element("figcaption", {}, caption), made);
    box.replaceChildren(figure(picture(x, facts.image, "input"), "input"),
      figure(picture(r, facts.image, "reconstruction"), "reconstruction"),
      figure(difference(x, r, facts.image, "difference: orange where the reconstruction is brighter"), "difference"));
  } else {
    const [x, r] = shown;
    const gap = x.map((v, i) => (typeof v === "number" && typeof r[i] === "number" ? r[i] - v : v === r[i] ? "" : "≠"));
    box.replaceChildren(cells(facts.columns, ["input", "reconstruction", "difference"], [x, r, gap], "chosen row"));
  }
  at("row-said").textContent = told(number);
}, say);

function told(row) {
  const label = labelOf(row);
  return `Map row ${row + 1} is ${rowName(row)}${label === null ? "" : `, label ${label}`}: ` +
    `-log p(x | z) ${error[row].toFixed(2)} nats, ${rank(row)} of ${facts.rows} from the worst.`;
}

const askGrid = lastWins("grid", (shown, purpose, { side }) => {
  const size = sizeOf(facts.image);
  at("grid").style.gridTemplateColumns = `repeat(${side}, 1fr)`;
  at("grid").replaceChildren(...Array.from({ length: side * side }, (_, i) => picture(
    shown.subarray(i * size, (i + 1) * size), facts.image, `row ${Math.floor(i / side) + 1}, column ${(i % side) + 1}`)));
  at("grid-said").textContent = `${side} times ${side} decodes over ${plane.names.filter(Boolean).join(" and ")}.`;
}, say);

function drawGrid() {
  const side = Number(at("side").value);
  const { u, v, r } = map.view;
  const step = (2 * r) / (side - 1);
  const corner = plane.place(u - r, v - r);
  askGrid({ side, corner, right: plane.e1.map((x) => x * step), up: plane.e2.map((x) => x * step) });
}

let tsne = null; // places of the first rows, two by two
const askTsne = lastWins("tsne", (bytes) => {
  tsne = new Float32Array(bytes.slice().buffer);
  newPlane();
  whole();
}, say);

let order = null; // rows from the worst to the best
const ranked = () => (order ??= Array.from(error.keys()).sort((a, b) => error[b] - error[a]));
const rank = (row) => ranked().indexOf(row) + 1;

// ---- the view --------------------------------------------------------------------------------------------------

function newPlane() {
  if (state.axes === "tsne" && tsne === null) {
    at("legend").replaceChildren("t-SNE: some seconds");
    askTsne({});
    if (plane) return;
  }
  plane = state.axes === "tsne" && tsne ? new Embedding(tsne, codes, facts.latent_dim) : new Plane(facts, state.axes, state.held === "row" && state.row !== null ? code(state.row) : zero());
  const straight = plane instanceof Plane;
  at("grid-draw").disabled = !straight;
  map.names = plane.names;
  map.points = plane.projectAll(codes, facts.rows);
  map.lines = !straight ? [] : facts.prior && facts.latent_dim > 1 ? plane.ellipses(facts.prior).map((points) => ({ points }))
    : facts.prior_draws ? new Density(plane.projectAll(priorDraws, facts.prior_draws)).contours()
      .map((points) => ({ points, pairs: true })) : [];
  const held = plane.dimensions === null || facts.latent_dim > plane.dimensions.length;
  at("map").setAttribute("aria-label", `map of ${straight ? facts.rows : tsne.length / 2} rows over ${plane.names.join(" and ")}` +
    (held && straight ? `, what lies beside this plane at ${state.held === "row" ? "the chosen row" : "0"}` : ""));
  paint();
  marks();
}

function paint() {
  const rows = Array.from({ length: facts.rows }, (_, i) => i);
  const groups = new Map();
  const put = (colour, row) => (groups.has(colour) ? groups.get(colour) : groups.set(colour, []).get(colour)).push(row);
  const grey = "#8a929b";
  const legend = [];
  if (state.colour === "label" && facts.labels) {
    const count = facts.labels.length;
    for (const row of rows) {
      if (only === null || labels[row] === only) put(ofLabel(labels[row], count), row);
    }
    facts.labels.forEach((name, i) => legend.push(legendButton(name, i, ofLabel(i, count))));
  } else if (["label", "error", "density"].includes(state.colour) && facts.rows) {
    let values = state.colour === "error" ? error : labels;
    if (state.colour === "density") {
      const density = new Density(map.points);
      values = Float32Array.from(rows, (row) => density.at(map.points[2 * row], map.points[2 * row + 1]));
    }
    const { bins, low, high } = steps(values);
    const shades = Array.from({ length: STEPS }, (_, i) => ofShare((i + 0.5) / STEPS));
    for (const row of rows) put(bins[row] < 0 ? grey : shades[bins[row]], row);
    const what = { error: "-log p(x | z), nats", density: "rows nearby", label: "label" }[state.colour];
    for (const [share, value] of [[0, low], [0.5, (low + high) / 2], [1, high]]) {
      legend.push(element("span", {}, dot(ofShare(share)), short(value)));
    }
    legend.push(what);
  } else for (const row of rows) put(grey, row);
  map.groups = [...groups];
  if (map.lines.length) {
    legend.push(facts.prior ? "lines: p(z), 1, 2, 3 deviations" : "lines: around 39, 87 and 99 % of p(z)");
  }
  if (facts.total > facts.rows) legend.push(`${facts.rows} of ${facts.total} rows, at random`);
  at("legend").replaceChildren(...legend.map((one) => (typeof one === "string" ? element("span", {}, one) : one)));
  map.redraw();
}

function dot(colour) {
  const made = element("i");
  made.style.background = colour;
  return made;
}

function legendButton(name, index, colour) {
  const made = element("button", { type: "button", "aria-pressed": String(only === index) }, dot(colour), name);
  made.addEventListener("click", () => {
    only = only === index ? null : index;
    paint();
    at("legend").querySelectorAll("button")[index].focus();
  });
  return made;
}

function marks() {
  const project = (z) => (z ? plane.project(z) : undefined);
  const way = state.from && state.to && Array.from({ length: 33 }, (_, i) =>
    plane.project(between(state.from, state.to, i / 32, state.way)));
  map.marks = { draws: map.marks.draws, pinned: project(state.z), from: project(state.from), to: project(state.to), way,
    row: state.row === null ? undefined : project(code(state.row)) };
  map.draw();
}

function nearest(u, v) {
  let [best, least] = [null, Infinity];
  for (let i = 0; i < facts.rows; i++) {
    const d = (map.points[2 * i] - u) ** 2 + (map.points[2 * i + 1] - v) ** 2;
    if (d < least) [best, least] = [i, d];
  }
  return [best, Math.sqrt(least)];
}

function where(z) {
  const told = facts.order.slice(0, 4).map((d) => `z${d} ${z[d].toFixed(2)}`).join(", ");
  let said = `Pinned: ${told}${facts.latent_dim > 4 ? ", ..." : ""}.`;
  if (facts.prior) {
    const log = z.reduce((sum, value, d) => sum - Math.log(facts.prior.deviation[d]) - 0.5 * Math.log(2 * Math.PI) -
      0.5 * ((value - facts.prior.mean[d]) / facts.prior.deviation[d]) ** 2, 0);
    said += ` log p(z) ${log.toFixed(2)} nats.`;
  }
  const [row] = nearest(...plane.project(z));
  if (row !== null) said += ` Nearest on the map: ${rowName(row)}${labelOf(row) === null ? "" : `, label ${labelOf(row)}`}.`;
  return said;
}

function pin(z) {
  state.z = z;
  setSliders(z);
  at("where").textContent = where(z);
  ask({ z }, "pinned");
  others.pinned(z);
  marks();
  writeAddress();
}

function drawPath() {
  marks();
  if (state.from && state.to) askPath({ start: state.from, end: state.to, steps: PATH_STEPS, way: state.way });
  writeAddress();
}

function choose(row) {
  state.row = row;
  at("row").value = row + 1;
  if (can("row")) askRow({ number: row });
  else at("row-said").textContent = told(row);
  others.chosen(row);
  if (state.held === "row") newPlane();
  else marks();
  writeAddress();
}

function whole() {
  let r = 3.3;
  const [u0, v0] = facts.prior ? plane.project(facts.prior.mean) : [0, 0];
  for (const value of map.points.keys()) if (Number.isFinite(map.points[value])) r = Math.max(r, Math.abs(map.points[value] - (value % 2 ? v0 : u0)) * 1.03);
  state.zoom = null;
  map.view = { u: u0, v: v0, r: Math.min(r, 300) };
  map.redraw();
  writeAddress();
}

// ---- the page --------------------------------------------------------------------------------------------------

const onMap = {
  hover: (u, v) => ask({ z: plane.place(u, v) }, "hover"),
  pin(u, v) {
    pin(plane.place(u, v));
    const [row, distance] = nearest(u, v);
    if (row !== null && distance * map.frame().s < 8) choose(row);
  },
  path(from, to) {
    [state.from, state.to] = [plane.place(...from), plane.place(...to)];
    drawPath();
  },
  key(name, u, v) {
    if (name === "0") whole();
    else if (name === "n") { if (facts.rows) choose(nearest(u, v)[0]); }
    else {
      state[name === "a" ? "from" : "to"] = plane.place(u, v);
      at("path-said").textContent = `${name.toUpperCase()} is set.`;
      drawPath();
    }
  },
  seen(zoom) {
    state.zoom = zoom;
    writeAddress();
  },
};

function options(select, known, value) {
  select.replaceChildren(...known.map(([key, name]) => element("option", { value: key }, name)));
  select.value = known.some(([key]) => key === value) ? value : known[0][0];
  return select.value;
}

function controls() {
  const [a, b] = facts.order;
  const axes = [["kl", facts.latent_dim > 1 ? `most KL: z${a}, z${b}` : "z0"]];
  if (facts.principal) axes.push(["pca", "PCA of the codes"]);
  if (can("tsne")) axes.push(["tsne", "t-SNE of the codes"]);
  for (let i = 0; i < Math.min(facts.latent_dim, 8); i++) {
    for (let j = i + 1; j < Math.min(facts.latent_dim, 8); j++) {
      axes.push([`${facts.order[i]},${facts.order[j]}`, `z${facts.order[i]}, z${facts.order[j]}`]);
    }
  }
  if (state.axes.includes(",") && !axes.some(([key]) => key === state.axes)) {
    axes.push([state.axes, state.axes.split(",").map((d) => `z${d}`).join(", ")]);
  }
  state.axes = options(at("axes"), axes, state.axes);
  const colours = [["error", "error"], ["density", "density"], ["none", "none"]];
  if (facts.labels || facts.numbered) colours.unshift(["label", "label"]);
  state.colour = options(at("colour"), colours, state.colour);
  at("held").value = state.held;
  at("way").value = state.way;
  at("row").max = facts.rows;
  const rowless = ["row", "row-worst", "row-best", "row-random", "row-pin", "held"];
  for (const id of rowless) at(id).disabled = !facts.rows;
  at("axes").addEventListener("change", (e) => { state.axes = e.target.value; newPlane(); whole(); });
  at("colour").addEventListener("change", (e) => { state.colour = e.target.value; only = null; paint(); writeAddress(); });
  at("held").addEventListener("change", (e) => {
    state.held = e.target.value;
    if (state.held === "row" && state.row === null) choose(0);
    else newPlane();
    writeAddress();
  });
  at("way").addEventListener("change", (e) => { state.way = e.target.value; drawPath(); });
  at("row").addEventListener("change", (e) => {
    const row = Math.round(Number(e.target.value));
    if (row >= 1 && row <= facts.rows) choose(row - 1);
    else e.target.value = (state.row ?? 0) + 1;
  });
  const next = (step) => {
    const from = state.row === null ? (step > 0 ? -1 : facts.rows) : ranked().indexOf(state.row);
    choose(ranked()[(from + step + facts.rows) % facts.rows]);
  };
  at("row-worst").addEventListener("click", () => next(1));
  at("row-best").addEventListener("click", () => next(-1));
  at("row-random").addEventListener("click", () => choose(Math.floor(Math.random() * facts.rows)));
  at("row-pin").addEventListener("click", () => pin(code(state.row ?? 0)));
  at("to-zero").addEventListener("click", () => pin(zero()));
  at("grid-section").hidden = !(facts.image && can("grid"));
  at("grid-draw").addEventListener("click", drawGrid);
  at("nearer").addEventListener("click", () => map.zoom(0.7));
  at("farther").addEventListener("click", () => map.zoom(1 / 0.7));
  at("whole").addEventListener("click", whole);
}

async function begin() {
  takeToken();
  facts = await getRun();
  const numbers = await getPoints();
  const [n, d] = [facts.rows, facts.latent_dim];
  codes = numbers.subarray(0, n * d);
  error = numbers.subarray(n * d, n * (d + 1));
  labels = numbers.subarray(n * (d + 1), n * (d + 2));
  priorDraws = numbers.subarray(n * (d + 2));
  readAddress(d, n);
  document.title = `${facts.name}: explorer`;
  at("title").textContent = `${facts.name}: ${facts.recipe}`;
  const used = n ? `, ${d - facts.unused.length} of them used` : "";
  at("lead").textContent = `${d} latent dimensions${used}. ` + (n ? `${n} rows (${facts.split}).` : `No rows: ${facts.reason}`);
  at("page").hidden = false;
  map = new LatentMap(at("map"), onMap);
  setSliders = sliders(facts, (dimension, value) => {
    const z = [...(state.z ?? zero())];
    z[dimension] = value;
    pin(z);
  });
  others = beside(facts, say, (draws) => {
    map.marks.draws = draws.map((z) => plane.project(z));
    map.draw();
  });
  controls();
  curves(facts);
  newPlane();
  if (state.zoom) {
    const [u, v, r] = state.zoom;
    map.view = { u, v, r };
  } else whole();
  const start = state.z ?? zero();
  ask({ z: start }, "hover");
  pin(start);
  if (state.row !== null) choose(state.row);
  else if (n) choose(0);
  if (state.from && state.to) drawPath();
  document.documentElement.dataset.ready = "yes";
}

begin().catch(say);
