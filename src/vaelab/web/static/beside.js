// Beside the decode: nearest training rows, draws from a posterior, intervals of a row of a table, gaps to fill.

import { at, element, short } from "./dom.js";
import { lastWins } from "./latest.js";
import { cells, picture, sizeOf } from "./shown.js";

// mark: shows places on the map. Returns what is to be told: chosen(row), pinned(z).
export function beside(facts, say, mark) {
  const can = (kind) => facts.can.includes(kind);
  const size = facts.image && sizeOf(facts.image);
  let [row, z, again] = [null, null, 0];
  let hidden = new Set();

  // ---- draws from the posterior of the chosen row
  const askDraws = lastWins("places", (shown) => {
    at("draws").replaceChildren(...(facts.image
      ? Array.from({ length: shown.length / size }, (_, i) => picture(shown.subarray(i * size, (i + 1) * size), facts.image,
        `draw ${i + 1}`))
      : [cells(facts.columns, shown.map((_, i) => String(i + 1)), shown, "draws")]));
  }, say);
  const askPosterior = lastWins("posterior", (found, purpose, { number }) => {
    if (number !== row) return;
    const widest = facts.order.slice(0, 3).map((d) => `z${d} ${found.mean[d].toFixed(2)} ± ${found.deviation[d].toFixed(2)}`);
    at("posterior-said").textContent = `${widest.join(", ")}${facts.latent_dim > 3 ? ", ..." : ""}`;
    mark(found.draws);
    askDraws({ places: found.draws });
  }, say);
  at("posterior-box").hidden = !can("posterior");
  at("draw-again").addEventListener("click", () => {
    again += 1;
    if (row !== null) askPosterior({ number: row, again });
  });

  // ---- training rows nearest to the pinned decode
  const askNearest = lastWins("nearest", ({ names, distances, shown }) => {
    const heads = names.map((name, i) => `${facts.called} ${name}, ${short(distances[i])} away`);
    at("nearest").replaceChildren(...(facts.image
      ? names.map((_, i) => element("figure", {}, picture(shown.slice(i * size, (i + 1) * size), facts.image, heads[i]),
        element("figcaption", {}, short(distances[i]))))
      : [cells(facts.columns, heads, shown, "nearest training rows")]));
  }, say);
  at("nearest-box").hidden = !can("nearest");
  at("nearest-find").addEventListener("click", () => { if (z) askNearest({ z }); });

  // ---- where 90 % of a column lie, given the pinned place
  const askInterval = lastWins("interval", ([low, high], purpose, body) => {
    const table = at("pinned").querySelector("table");
    if (!table || String(body.z) !== String(z) || table.tHead.rows[0].cells.length > 2) return;
    table.tHead.rows[0].append(element("th", { scope: "col" }, "90 %"));
    Array.from(table.tBodies[0].rows).forEach((line, i) => line.append(element("td", {},
      low[i] === null ? "" : `${short(low[i])} to ${short(high[i])}`)));
  }, say);

  // ---- gaps of the chosen row
  const askImpute = lastWins("impute", (found, purpose, { number, hidden: asked }) => {
    if (number !== row) return;
    for (const i of asked) {
      const line = at(`cell-${i}`);
      if (!line || !hidden.has(i)) continue;
      const sure = found.sure[i] === null ? "" : ` (${Math.round(100 * found.sure[i])} %)`;
      const range = found.low[i] === null ? "" : `, ${short(found.low[i])} to ${short(found.high[i])}`;
      line.textContent = `${short(found.values[i])}${sure}${range}`;
    }
    at("impute-said").textContent = `${asked.length} hidden; filled by ${short(found.effective)} effective draws of 500, ` +
      "intervals hold 90 %.";
  }, say);
  at("impute-section").hidden = !can("impute");

  function gaps() {
    hidden = new Set();
    at("impute-said").textContent = "";
    const rows = facts.columns.map((name, i) => {
      const box = element("input", { type: "checkbox", id: `hide-${i}` });
      const cell = element("td", { id: `cell-${i}` });
      box.addEventListener("change", () => {
        if (box.checked) hidden.add(i);
        else hidden.delete(i);
        cell.textContent = "";
        if (hidden.size) askImpute({ number: row, hidden: [...hidden] });
        else at("impute-said").textContent = "";
      });
      return element("tr", {}, element("th", { scope: "row" }, name),
        element("td", {}, box, element("label", { for: `hide-${i}` }, " hide")), cell);
    });
    const head = element("tr", {}, ...["column", "", "filled"].map((text) => element("th", { scope: "col" }, text)));
    at("impute").replaceChildren(element("table", { "aria-label": "cells to hide" }, element("thead", {}, head),
      element("tbody", {}, ...rows)));
  }

  return {
    chosen(number) {
      row = number;
      if (can("posterior")) askPosterior({ number, again });
      if (can("impute")) gaps();
    },
    pinned(place) {
      z = place;
      at("nearest").replaceChildren();
    },
    decoded(place) { // its table is there: it gets another column
      if (can("interval")) askInterval({ z: place });
    },
  };
}
