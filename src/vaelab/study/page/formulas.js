// A formula as a line of text, as the deck has it, set in MathML: sub- and superscripts, upright names, words between.

const SPACE = "http://www.w3.org/1998/Math/MathML";
const GREEK = { theta: "θ", phi: "ϕ", beta: "β", eps: "ε", epsilon: "ε", lambda: "λ", mu: "μ", sigma: "σ" };
const UPRIGHT = new Set(["log", "exp", "min", "max", "KL", "ELBO", "Var", "Cov", "diag", "tanh"]);
const RAISED = { "²": "2", "ᵀ": "⊤" };
const TOKEN = /( {2,})|( )|(\d+(?:\.\d+)?)|(\.\.\.)|([A-Za-zα-ωϕ]+~?)|(_\{[^}]*\}|_[A-Za-z0-9]+)|([²ᵀ])|(\*(?=\())|(.)/gu;

function made(name, text, attributes = {}) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
}

function word(text) {
  const bare = text.replace("~", "");
  const letter = GREEK[bare] ?? bare;
  let out;
  if (UPRIGHT.has(bare)) out = made("mi", bare, { mathvariant: "normal" });
  else if (bare === "E") out = made("mi", "𝔼");
  else if ([...letter].length === 1) out = made("mi", letter);
  else return made("mtext", text);
  if (!text.endsWith("~")) return out;
  const over = made("mover", null, { accent: "true" });
  over.append(out, made("mo", "~"));
  return over;
}

function row(nodes) {
  if (nodes.length === 1) return nodes[0];
  const out = made("mrow", null);
  out.append(...nodes);
  return out;
}

// Puts a sub- or superscript on what stands last; one that has the other gets both.
function script(nodes, name, content) {
  const base = nodes.pop() ?? made("mrow", null);
  const other = name === "msub" ? "msup" : "msub";
  if (base.localName === other) {
    const both = made("msubsup", null);
    const [inner, there] = base.children;
    both.append(inner, ...(name === "msub" ? [content, there] : [there, content]));
    nodes.push(both);
    return;
  }
  const out = made(name === "msub" && base.textContent === "∑" ? "munder" : name, null);
  out.append(base, content);
  nodes.push(out);
}

function parse(text) {
  const nodes = [];
  for (const [, gap, space, number, dots, name, below, above, star, other] of text.matchAll(TOKEN)) {
    if (gap) nodes.push(made("mspace", null, { width: `${Math.min(2, gap.length / 2)}em` }));
    else if (space) { if (nodes.at(-1)?.localName === "mtext") nodes.push(made("mspace", null, { width: "0.25em" })); }
    else if (number) nodes.push(made("mn", number));
    else if (dots) nodes.push(made("mo", "…"));
    else if (name) {
      const next = word(name);
      if (next.localName === "mtext" && nodes.length) nodes.push(made("mspace", null, { width: "0.25em" }));
      nodes.push(next);
      if (next.getAttribute("mathvariant")) nodes.push(made("mspace", null, { width: "0.12em" }));
    } else if (below) script(nodes, "msub", row(parse(below.replace(/^_\{?|\}$/g, ""))));
    else if (above) script(nodes, "msup", made("mo", RAISED[above]));
    else if (star) script(nodes, "msup", made("mo", "∗"));
    else if (other === "Σ" && text.includes("Σ_")) nodes.push(made("mo", "∑"));
    else if (other === "|" || other === "‖") nodes.push(made("mo", other, { lspace: "0.2em", rspace: "0.2em", stretchy: "false" }));
    else if ("()[]".includes(other)) nodes.push(made("mo", other, { stretchy: "false" }));
    else if (other === "-") nodes.push(made("mo", "−"));
    else nodes.push(made(/[½∞]/u.test(other) ? "mn" : /[A-Za-zΣ]/u.test(other) ? "mi" : "mo", other));
  }
  return nodes;
}

export function formula(text) {
  const math = made("math", null, { "aria-label": text.trim(), display: "inline" });
  math.append(row(parse(text.trim())));
  return math;
}
