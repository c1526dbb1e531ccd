// The study page: a question, time to think, the answer, a rating; beside it the live experiment.

import { get, post, takeToken } from "./api.js";
import { chart, digits } from "./charts.js";
import { at, element, short } from "./dom.js";
import { formula } from "./formulas.js";
import { lastWins } from "./latest.js";

let desk, place, card;
const tried = new Map(); // charts of single points: what was tried before stays beside what is new

function say(problem) {
  at("alert").hidden = problem === null;
  if (problem !== null) at("alert").textContent = problem.message;
}

// ---- the answer ------------------------------------------------------------------------------------------------

function blocks(text) {
  return text.split("\n\n").flatMap((block) => {
    const lines = block.split("\n");
    if (lines.every((line) => line.startsWith("    "))) {
      return [element("div", { class: "formula", tabindex: "0" }, ...lines.map((line) => element("div", { class: "line" },
        ...line.trim().split(/ {3,}/).map(formula))))]; // wide gaps part statements, which may stand below one another
    }
    if (lines.every((line, i) => /^\d+\. /.test(line) || (i && line.startsWith(" ")))) {
      const items = block.split(/\n(?=\d+\. )/).map((item) => element("li", {}, item.replace(/^\d+\. /, "").replaceAll("\n", " ")));
      return [element("ol", {}, ...items)];
    }
    return [element("p", {}, lines.join(" "))];
  });
}

function reveal() {
  at("answer").textContent = card.answer;
  at("full").replaceChildren(...blocks(card.full));
  const known = [["paper", card.paper], ["file", card.file]].filter(([, value]) => value);
  at("where").replaceChildren(...known.flatMap(([name, value]) => [element("dt", {}, name),
    element("dd", {}, name === "file" ? element("code", {}, value) : value)]));
  at("answer-box").hidden = false;
  at("think").hidden = true;
  at("reveal").parentElement.hidden = true;
}

async function rate(value) {
  for (const button of at("rating").children) {
    button.disabled = true;
    button.setAttribute("aria-pressed", String(button.textContent.startsWith(String(value))));
  }
  try {
    const { in: when } = await post("rate", { place, rating: value });
    at("rated").textContent = `Saved: ${value}. Again in ${when}.`;
    await tell();
    at("next").hidden = desk.next === null;
    if (desk.next === null) at("rated").textContent += " Nothing more is due.";
    else at("next").focus();
    say(null);
  } catch (problem) {
    for (const button of at("rating").children) button.disabled = false;
    say(problem);
  }
}

// ---- the live experiment ---------------------------------------------------------------------------------------

const askLive = lastWins("live", (found, purpose, body) => {
  if (body.place !== place) return;
  at("live-section").removeAttribute("aria-busy");
  at("live-said").textContent = found.text;
  at("charts").replaceChildren(...found.charts.map((one) => (one.kind === "pictures" ? digits(one) : chart(remembered(one)))));
  at("live-figures").tBodies[0].replaceChildren(...Object.entries(found.figures).map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, short(value)))));
  performance.mark("live-shown");
}, (problem) => { say(problem); });

// A chart with one point for each series, or with one series of a name of its own, keeps those of other choices.
function remembered(one) {
  const single = one.series.every(({ x }) => x.length === 1);
  if (!single && !card.live.controls.some(({ values }) => values.includes(one.series[0].name))) return one;
  const key = `${place} ${one.title}`;
  const before = tried.get(key) ?? [];
  let kept;
  if (single) {
    const [{ name, x, y }] = one.series;
    const old = before[0] ?? { x: [], y: [] };
    kept = [{ name, x: [...old.x, ...x], y: [...old.y, ...y] }];
  } else kept = [...before.filter(({ name }) => !one.series.some((s) => s.name === name)), ...one.series];
  tried.set(key, kept);
  return { ...one, series: kept };
}

function controls() {
  const { live } = card;
  at("live-section").hidden = card.experiment === null;
  for (const id of ["charts", "picture", "controls"]) at(id).replaceChildren();
  at("live-figures").tBodies[0].replaceChildren();
  at("live-said").textContent = "";
  at("command").textContent = `vaelab experiment ${card.experiment}`;
  if (!live) return;
  at("live-what").textContent = live.what;
  const choices = live.controls.map(({ start }) => start);
  const ask = () => {
    at("live-section").setAttribute("aria-busy", "true");
    askLive({ place, choices: [...choices] });
  };
  live.controls.forEach(({ name, label, values, start }, k) => {
    const id = `control-${name}`;
    const words = values.some((value) => typeof value === "string");
    const made = words ? element("select", { id }, ...values.map((value, i) => element("option", { value: i }, value)))
      : element("input", { id, type: "range", min: 0, max: values.length - 1, step: 1, "aria-valuetext": values[start] });
    made.value = start;
    const output = element("output", { for: id }, words ? "" : String(values[start]));
    made.addEventListener("input", () => {
      choices[k] = Number(made.value);
      if (!words) {
        output.value = String(values[choices[k]]);
        made.setAttribute("aria-valuetext", values[choices[k]]);
      }
      ask();
    });
    at("controls").append(element("div", { class: "control" }, element("label", { for: id }, label), made, ...(words ? [] : [output])));
  });
  ask();
}

async function drawPicture() {
  at("picture-draw").disabled = true;
  at("picture-draw").textContent = "running …";
  try {
    const shown = place;
    const url = URL.createObjectURL(new Blob([await post("picture", { place })], { type: "image/png" }));
    if (shown === place) at("picture").replaceChildren(element("img", { src: url, alt: `picture of experiment ${card.experiment}` }));
    say(null);
  } catch (problem) {
    say(problem);
  }
  at("picture-draw").disabled = false;
  at("picture-draw").textContent = "run it, some seconds";
}

// ---- the cards -------------------------------------------------------------------------------------------------

async function open(number, focus = true) {
  card = await post("card", { place: number });
  place = number;
  const { deck, card: own, question, state } = desk.cards[place];
  history.replaceState(null, "", `#card=${place + 1}`);
  at("which").textContent = `${deck} ${own}, ${state}`;
  at("question").replaceChildren(question);
  at("answer-box").hidden = true;
  at("think").hidden = false;
  at("reveal").parentElement.hidden = false;
  at("rated").textContent = "";
  at("next").hidden = true;
  at("rating-question").textContent = desk.rating.question;
  at("rating").replaceChildren(...Object.entries(desk.rating.scale).map(([value, meaning]) => {
    const button = element("button", { type: "button", "aria-pressed": "false" }, meaning ? `${value} ${meaning}` : value);
    button.addEventListener("click", () => rate(Number(value)));
    return button;
  }));
  controls();
  list();
  if (focus) at("question").focus();
}

function list() {
  at("all").replaceChildren(...desk.cards.map(({ question, state, in: when }, i) => {
    const button = element("button", { type: "button" }, question);
    if (i === place) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => open(i));
    return element("li", {}, button, element("span", { class: "soft" }, ` ${state}${when === null ? "" : `, in ${when}`}`));
  }));
}

async function tell() {
  desk = await get("desk");
  const { due, new: fresh } = desk.waiting;
  at("lead").textContent = `${due} due, ${fresh} new today.`;
  const s = desk.statistics;
  const recalled = s.recalled === null ? "" : ` Recalled ${Math.round(100 * s.recalled)} % of ${s.reviews} reviews (expected ${Math.round(100 * s.expected)} %).`;
  const ratings = Object.entries(s.ratings).map(([rating, n]) => `${rating}: ${n}`).join(", ");
  at("statistics").textContent = `${s.answers} answers, ${s.today} today; on ${s.days} days, ${s.streak} running. ` +
    `Ratings ${ratings}.${recalled}`;
  if (place !== undefined) list();
}

async function begin() {
  takeToken();
  await tell();
  at("page").hidden = false;
  const asked = Number(new URLSearchParams(location.hash.slice(1)).get("card"));
  const count = desk.cards.length;
  at("reveal").addEventListener("click", () => { reveal(); at("answer").focus(); });
  at("next").addEventListener("click", () => open(desk.next));
  at("before").addEventListener("click", () => open((place + count - 1) % count));
  at("after").addEventListener("click", () => open((place + 1) % count));
  at("picture-draw").addEventListener("click", drawPicture);
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, button, summary")) return;
    if ((e.key === "Enter" || e.key === " ") && at("answer-box").hidden) reveal();
    else if (/^[1-5]$/.test(e.key) && !at("answer-box").hidden && !at("rating").children[0].disabled) rate(Number(e.key));
    else return;
    e.preventDefault();
  });
  await open(Number.isInteger(asked) && asked >= 1 && asked <= count ? asked - 1 : desk.next ?? 0, false);
  document.documentElement.dataset.ready = "yes";
}

begin().catch(say);
