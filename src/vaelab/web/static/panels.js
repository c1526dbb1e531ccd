// What stands beside the map: sliders in the order of their KL, training curves, figures.

import { get } from "./api.js";
import { at, drawing, element, short } from "./dom.js";

const REACH = 4;

// Returns a function that sets every slider to a place z.
export function sliders(facts, changed) {
  const kl = facts.kl && facts.kl.length === facts.latent_dim ? facts.kl : null;
  if (!kl) at("slider-title").textContent = facts.rows ? "Dimensions, by the variance of their codes" : "Dimensions";
  const most = kl ? Math.max(...kl, 1e-9) : 1;
  const unused = new Set(facts.unused);
  const inputs = [];
  for (const d of facts.order) {
    const said = kl ? `${kl[d].toFixed(2)} nats` : "";
    const input = element("input", { type: "range", min: -REACH, max: REACH, step: 0.01, value: 0, id: `slider-${d}`,
      "aria-label": `z${d}${said && ", KL " + said}` });
    const output = element("output", { for: `slider-${d}` }, "0");
    const fill = element("i");
    fill.style.width = `${kl ? (100 * Math.max(0, kl[d])) / most : 0}%`;
    const bar = element("span", {}, element("span", { class: "nats" }, said), element("div", { class: "bar-box" }, fill));
    input.addEventListener("input", () => {
      output.value = Number(input.value).toFixed(2);
      changed(d, Number(input.value));
    });
    inputs[d] = [input, output];
    at(unused.has(d) ? "unused" : "sliders").append(
      element("div", { class: "slider" }, element("label", { for: `slider-${d}` }, `z${d}`), bar, input, output));
  }
  at("unused-box").hidden = !unused.size;
  at("unused-said").textContent = `${unused.size} of ${facts.latent_dim} carry nothing`;
  return (z) => inputs.forEach(([input, output], d) => {
    input.max = Math.max(REACH, Math.ceil(Math.abs(z[d])));
    input.min = -input.max;
    input.value = z[d];
    output.value = z[d].toFixed(2);
  });
}

const [W, H, LEFT, BOTTOM] = [480, 170, 54, 22];

function chart(title, records, series) {
  const known = series.map(([name, read, colour]) => [name, records.map((r) => [r.epoch, read(r)])
    .filter(([, y]) => Number.isFinite(y)), colour]).filter(([, points]) => points.length > 1);
  if (!known.length) return null;
  const all = known.flatMap(([, points]) => points);
  const ys = all.map(([, y]) => y).sort((a, b) => a - b);
  const [x0, x1] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
  const [y0, y1] = [ys[Math.floor(0.03 * ys.length)], ys[ys.length - 1]]; // the first steps would flatten the rest
  const x = (value) => LEFT + ((W - LEFT - 6) * (value - x0)) / (x1 - x0 || 1);
  const y = (value) => 8 + (H - BOTTOM - 8) * Math.min(1, (y1 - value) / (y1 - y0 || 1));
  const last = known.map(([name, points]) => `${name} ${short(points.at(-1)[1])}`).join(", ");
  const svg = drawing("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: at the end ${last}` },
    drawing("path", { class: "axis", d: `M${LEFT} 8V${H - BOTTOM}H${W - 6}` }),
    drawing("text", { x: LEFT - 4, y: 16, "text-anchor": "end" }, short(y1)),
    drawing("text", { x: LEFT - 4, y: H - BOTTOM, "text-anchor": "end" }, short(y0)),
    drawing("text", { x: LEFT, y: H - 6 }, `epoch ${x0}`),
    drawing("text", { x: W - 6, y: H - 6, "text-anchor": "end" }, String(x1)));
  for (const [, points, colour] of known) {
    svg.append(drawing("path", { stroke: colour, d: "M" + points.map(([a, b]) => `${x(a)} ${y(b)}`).join("L") }));
  }
  const legend = known.map(([name, , colour]) => {
    const dot = element("i");
    dot.style.background = colour;
    return element("span", {}, dot, name);
  });
  return element("figure", {}, svg, element("figcaption", { class: "legend" }, `${title}: `, ...legend));
}

export function curves(facts) {
  drawCurves(facts.history);
  figures(facts);
  runs(facts.runs ?? []);
  if (facts.can.includes("history")) follow();
}

// A run that goes on is looked at again and again, and once more when it has ended.
async function follow(before = false) {
  const { records, going } = await get("history").catch(() => ({ going: false }));
  if (going || before) {
    drawCurves(records);
    at("curves").append(element("p", { class: "soft" }, going
      ? "In training: these curves go on. Map and decodes are of the best weights when this page was opened."
      : "Training has ended. Run the command again to see the last model."));
  }
  if (going) setTimeout(follow, 2000, true);
}

function drawCurves(history) {
  const made = [
    chart("nats per row", history,
      [["training objective", (r) => -r.loss, "#8a63d2"], ["validation ELBO", (r) => r.elbo ?? NaN, "#0072b2"]]),
    chart("KL, validation, nats per row", history, [["KL", (r) => r.kl ?? NaN, "#d55e00"]]),
  ].filter((one) => one);
  at("curves").replaceChildren(...(made.length ? made : [element("p", { class: "soft" }, "No record of the training is here.")]));
}

function runs(known) {
  const points = known.filter(({ rate, distortion }) => Number.isFinite(rate) && Number.isFinite(distortion));
  if (points.length < 2) return;
  const of = (key) => points.map((one) => one[key]);
  const [x0, x1, y0, y1] = [Math.min(...of("rate")), Math.max(...of("rate")), Math.min(...of("distortion")), Math.max(...of("distortion"))];
  const x = (value) => LEFT + 10 + ((W - LEFT - 110) * (value - x0)) / (x1 - x0 || 1);
  const y = (value) => 16 + ((H - BOTTOM - 32) * (y1 - value)) / (y1 - y0 || 1);
  const said = points.map((one) => `${one.name}: rate ${short(one.rate)}, distortion ${short(one.distortion)}`).join("; ");
  const svg = drawing("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": said },
    drawing("path", { class: "axis", d: `M${LEFT} 8V${H - BOTTOM}H${W - 6}` }),
    drawing("text", { x: LEFT - 4, y: 20, "text-anchor": "end" }, short(y1)),
    drawing("text", { x: LEFT - 4, y: H - BOTTOM - 10, "text-anchor": "end" }, short(y0)),
    drawing("text", { x: LEFT, y: H - 6 }, `rate ${short(x0)}`),
    drawing("text", { x: W - 6, y: H - 6, "text-anchor": "end" }, short(x1)));
  points.forEach((one, i) => {
    svg.append(drawing("circle", { cx: x(one.rate), cy: y(one.distortion), r: i ? 4 : 6, fill: i ? "#0072b2" : "#d55e00" }),
      drawing("text", { x: x(one.rate) + 9, y: y(one.distortion) + 4 }, one.name));
  });
  at("runs").append(element("figure", {}, svg, element("figcaption", { class: "legend" },
    "Rate (KL) and distortion (-log p(x | z)), nats per row: this run in orange, others in blue")));
}

function figures(facts) {
  if (!facts.figures) return;
  const named = { elbo: "ELBO", reconstruction: "reconstruction", kl: "KL", log_evidence: "log evidence" };
  const rows = Object.entries(named).filter(([key]) => facts.figures[key]?.value !== undefined).map(([key, name]) => {
    const { value, se } = facts.figures[key];
    return element("tr", {}, element("th", { scope: "row" }, name),
      element("td", {}, value === null ? "–" : `${value.toFixed(2)}${se ? " ± " + se.toFixed(2) : ""}`));
  });
  at("figures").append(element("table", { "aria-label": "figures, nats per row" }, element("tbody", {}, ...rows)),
    element("p", { class: "soft" }, `${facts.figures.rows} rows (${facts.split}), nats per row`));
}
