// Charts of the live experiments: lines, dots, bars, and rows of digits.

import { drawing, element, short } from "./dom.js";

const [W, H, LEFT, BOTTOM, TOP] = [480, 220, 58, 36, 8];
export const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#8a63d2", "#cc79a7", "#8b7a00"];

function ends(values, wide) {
  const known = values.filter((v) => Number.isFinite(v));
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const more = (high - low || Math.abs(high) || 1) * wide;
  return [low - more, high + more];
}

export function chart({ kind, title, x, y, series }) {
  const xs = series.flatMap((one) => one.x);
  const ys = series.flatMap((one) => one.y);
  const bars = kind === "bars";
  const [x0, x1] = ends(xs, bars ? 0.5 / Math.max(1, series[0].x.length - 1) : kind === "dots" ? 0.03 : 0);
  let [y0, y1] = ends(ys, 0.06);
  if (bars) [y0, y1] = [Math.min(0, y0), Math.max(0, y1)];
  const across = (v) => LEFT + ((W - LEFT - 8) * (v - x0)) / (x1 - x0);
  const up = (v) => TOP + ((H - TOP - BOTTOM) * (y1 - v)) / (y1 - y0);
  const last = series.map((one) => `${one.name} ends at ${short(one.y.at(-1))}`).join(", ");
  const svg = drawing("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${x} and ${y}; ${last}` },
    drawing("path", { class: "axis", d: `M${LEFT} ${TOP}V${H - BOTTOM}H${W - 8}` }),
    drawing("text", { x: LEFT - 4, y: TOP + 9, "text-anchor": "end" }, short(y1)),
    drawing("text", { x: LEFT - 4, y: H - BOTTOM, "text-anchor": "end" }, short(y0)),
    drawing("text", { x: LEFT, y: H - BOTTOM + 14 }, short(x0)),
    drawing("text", { x: W - 8, y: H - BOTTOM + 14, "text-anchor": "end" }, short(x1)),
    drawing("text", { x: (W + LEFT) / 2, y: H - 5, "text-anchor": "middle" }, x));
  series.forEach((one, k) => {
    const colour = COLOURS[k % COLOURS.length];
    const points = one.x.map((v, i) => [v, one.y[i]]).filter(([a, b]) => a !== null && b !== null);
    if (kind === "line") {
      svg.append(drawing("path", { stroke: colour, d: "M" + points.map(([a, b]) => `${across(a)} ${up(b)}`).join("L") }));
    } else if (bars) {
      const width = (0.8 * (W - LEFT - 8)) / Math.max(1, points.length);
      for (const [a, b] of points) {
        svg.append(drawing("rect", { class: "bars", fill: colour, x: across(a) - width / 2, width, y: Math.min(up(b), up(0)),
          height: Math.abs(up(b) - up(0)) }));
      }
    } else {
      points.forEach(([a, b], i) => svg.append(drawing("circle", { class: "dots", fill: colour, cx: across(a), cy: up(b),
        r: points.length < 20 && i === points.length - 1 ? 5 : 2.5 })));
    }
  });
  const legend = series.map((one, k) => {
    const dot = element("i");
    dot.style.background = COLOURS[k % COLOURS.length];
    return element("span", {}, dot, one.name);
  });
  return element("figure", {}, svg, element("figcaption", { class: "legend" }, `${title} (${y}): `, ...legend));
}

export function digits({ title, rows }) {
  const lines = rows.flatMap(({ name, pixels }) => {
    const n = pixels.length;
    const canvas = element("canvas", { width: 9 * n - 1, height: 8, role: "img", "aria-label": `${n} digits: ${name}` });
    const g = canvas.getContext("2d");
    pixels.forEach((one, k) => {
      const image = g.createImageData(8, 8);
      one.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
      g.putImageData(image, 9 * k, 0);
    });
    return [element("span", {}, name), canvas];
  });
  return element("figure", {}, element("div", { class: "digits" }, ...lines), element("figcaption", {}, title));
}
