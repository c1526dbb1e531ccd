// What a decode is shown as: pixels on a canvas, or the cells of a row.

import { element, short } from "./dom.js";

// How many bytes a picture of this shape has; of a table there are lists.
export const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

export function picture(bytes, shape, alt) {
  const [h, w, c = 1] = shape;
  const canvas = element("canvas", { width: w, height: h, role: "img", "aria-label": alt });
  const g = canvas.getContext("2d", { willReadFrequently: true }); // kept in memory: it is only written to
  const pixels = g.createImageData(w, h);
  for (let i = 0; i < w * h; i++) {
    for (let k = 0; k < 3; k++) pixels.data[4 * i + k] = bytes[i * c + (c === 3 ? k : 0)];
    pixels.data[4 * i + 3] = 255;
  }
  g.putImageData(pixels, 0, 0);
  return canvas;
}

// Where the second is brighter, orange; where it is darker, blue; grey where they are equal.
export function difference(first, second, shape, alt) {
  const [h, w, c = 1] = shape;
  const out = new Uint8Array(w * h * 3);
  for (let i = 0; i < w * h; i++) {
    let d = 0;
    for (let k = 0; k < c; k++) d += (second[i * c + k] - first[i * c + k]) / c / 255;
    const towards = d > 0 ? [230, 120, 0] : [0, 100, 200];
    for (let k = 0; k < 3; k++) out[3 * i + k] = 128 + Math.abs(d) * (towards[k] - 128);
  }
  return picture(out, [h, w, 3], alt);
}

// columns: names; rows: lists of cells, one table column for each, under these heads
export function cells(columns, heads, rows, caption) {
  const head = element("tr", {}, ...["", ...heads].map((text) => element("th", { scope: "col" }, text)));
  const body = columns.map((name, i) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...rows.map((row) => element("td", {}, short(row[i])))));
  const table = element("table", { "aria-label": caption }, element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "cells", tabindex: "0" }, table);
}
