// What the page asks, answered from within the file: the decoder runs here, and nothing is fetched.

import { between } from "./plane.js";
import { runner, unpacked } from "./program.js";

const file = JSON.parse(document.getElementById("file").textContent);
let ready = null; // a promise of the decoder and the numbers of the map

export function takeToken() {}

export const get = async () => ({ going: false });

export const getRun = async () => file.facts;

async function opened() {
  const constants = await unpacked(file.kept, file.block);
  const [codes, error, labels, draws] = constants.slice(file.constants);
  const d = file.facts.latent_dim;
  const rows = file.facts.rows;
  const numbers = new Float32Array(rows * (d + 2) + draws.data.length);
  for (let k = 0; k < d; k++) for (let i = 0; i < rows; i++) numbers[i * d + k] = codes.data[k * rows + i];
  numbers.set(error.data, rows * d);
  numbers.set(labels.data, rows * (d + 1));
  const many = draws.data.length / d;
  for (let k = 0; k < d; k++) for (let i = 0; i < many; i++) numbers[rows * (d + 2) + i * d + k] = draws.data[k * many + i];
  return { decode: runner(file.steps, constants), numbers };
}

export const getPoints = async () => (await (ready ??= opened())).numbers;

// What an expectation in the user's units is shown as: grey or colour in bytes, or the cells of a row.
function shown(x) {
  if (!x.every(Number.isFinite)) throw new Error("the decoder gives no finite numbers here");
  if (!file.facts.image) return Array.from(x, (value, i) => cell(value, file.cells?.[i]));
  const [low, high] = file.scale;
  return Uint8Array.from(x, (v) => Math.round(255 * Math.max(0, Math.min(1, (v - low) / Math.max(high - low, 1e-12)))));
}

function cell(value, kind) {
  if (kind?.words) return kind.words[Math.round(value)];
  if (!kind?.date) return value;
  const moment = new Date(Math.round(value) * 1000).toISOString(); // 2024-05-01T12:00:00.000Z
  const parts = { "%Y": moment.slice(0, 4), "%m": moment.slice(5, 7), "%d": moment.slice(8, 10), "%H": moment.slice(11, 13),
    "%M": moment.slice(14, 16), "%S": moment.slice(17, 19) };
  return kind.date.replace(/%[YmdHMS]/g, (part) => parts[part]);
}

// The places that a question is about, as vaelab.web.explored has them.
const places = {
  decode: ({ z }) => [z],
  path: ({ start, end, steps, way }) => Array.from({ length: steps + 1 }, (_, i) => between(start, end, i / steps, way)),
  grid: ({ corner, right, up, side }) => Array.from({ length: side * side }, (_, i) =>
    corner.map((value, k) => value + (i % side) * right[k] + (side - 1 - Math.floor(i / side)) * up[k])),
};

export async function post(kind, body) {
  const { decode } = await (ready ??= opened());
  const made = [];
  for (const z of places[kind](body)) {
    made.push(shown(decode(z)));
    await new Promise((go) => setTimeout(go)); // the page stays alive meanwhile
  }
  if (!file.facts.image) return made;
  const out = new Uint8Array(made.length * made[0].length);
  made.forEach((picture, i) => out.set(picture, i * picture.length));
  return out;
}
