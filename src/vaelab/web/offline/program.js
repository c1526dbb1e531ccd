// Runs a decoder that was written down as steps: each is one operation of PyTorch's on arrays with a shape, in doubles.
// An array is {shape, data}; truths are 0 and 1. Arguments stand in the order in which PyTorch lists them.

const count = (shape) => shape.reduce((a, b) => a * b, 1);
const array = (shape, data = new Float64Array(count(shape))) => ({ shape, data });
const lifted = (value) => (value?.data ? value : array([], [Number(value)]));
const along = (a, dim) => (dim < 0 ? dim + Math.max(1, a.shape.length) : dim);

// [outer, length, inner] around one dimension
function around(shape, dim) {
  return [count(shape.slice(0, dim)), shape[dim] ?? 1, count(shape.slice(dim + 1))];
}

// How far apart neighbours along each dimension of `shape` lie in `a`: 0 where `a` is repeated
function strides(a, shape) {
  const out = new Array(shape.length).fill(0);
  let step = 1;
  for (let i = a.shape.length - 1; i >= 0; i--) {
    if (a.shape[i] !== 1) out[i + shape.length - a.shape.length] = step;
    step *= a.shape[i];
  }
  return out;
}

// Calls visit(i, place in a) for every entry of `shape`, where a place moves by `steps`
function walk(shape, steps, start, visit) {
  const n = count(shape);
  const index = new Array(shape.length).fill(0);
  let place = start;
  for (let i = 0; i < n; i++) {
    visit(i, place);
    for (let d = shape.length - 1; d >= 0; d--) {
      place += steps[d];
      if (++index[d] < shape[d]) break;
      place -= steps[d] * shape[d];
      index[d] = 0;
    }
  }
}

function broadcast(shapes) {
  const out = new Array(Math.max(...shapes.map((s) => s.length))).fill(1);
  for (const s of shapes) {
    s.forEach((n, i) => {
      if (n !== 1) out[i + out.length - s.length] = n;
    });
  }
  return out;
}

function spread(a, shape) {
  if (a.shape.length === shape.length && a.shape.every((n, i) => n === shape[i])) return a;
  const out = array(shape);
  walk(shape, strides(a, shape), 0, (i, place) => { out.data[i] = a.data[place]; });
  return out;
}

function each(f, ...given) {
  const lifts = given.map(lifted);
  const shape = broadcast(lifts.map((a) => a.shape));
  const [a, b, c] = lifts.map((one) => spread(one, shape).data);
  const out = array(shape);
  const n = out.data.length;
  if (c) for (let i = 0; i < n; i++) out.data[i] = f(a[i], b[i], c[i]);
  else if (b) for (let i = 0; i < n; i++) out.data[i] = f(a[i], b[i]);
  else for (let i = 0; i < n; i++) out.data[i] = f(a[i]);
  return out;
}

// f(values along `dim`) -> one number
function reduced(a, dims, keep, f) {
  const listed = (dims?.length ? dims : a.shape.map((_, i) => i)).map((d) => along(a, d)).sort((x, y) => y - x);
  return listed.reduce((made, dim) => {
    const [outer, length, inner] = around(made.shape, dim);
    const shape = made.shape.filter((_, i) => i !== dim || keep);
    if (keep && shape.length) shape[dim] = 1;
    const out = array(shape, new Float64Array(outer * inner));
    const values = new Float64Array(length);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        for (let k = 0; k < length; k++) values[k] = made.data[(o * length + k) * inner + i];
        out.data[o * inner + i] = f(values);
      }
    }
    return out;
  }, a);
}

// f(values along `dim`) -> as many values
function mapped(a, dim, f) {
  const [outer, length, inner] = around(a.shape, along(a, dim));
  const out = array(a.shape);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const values = Float64Array.from({ length }, (_, k) => a.data[(o * length + k) * inner + i]);
      f(values).forEach((value, k) => { out.data[(o * length + k) * inner + i] = value; });
    }
  }
  return out;
}

const total = (values) => values.reduce((a, b) => a + b, 0);
const largest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const logSumExp = (values) => {
  const most = largest(values);
  return Number.isFinite(most) ? most + Math.log(total(values.map((v) => Math.exp(v - most)))) : most;
};
const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
// as PyTorch rounds: halves go to the even number
const rounded = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

// (2 / sqrt pi) times the integral of exp(-t²) from 0 to x: a series near 0, a continued fraction beyond
function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let [sum, term] = [x, x];
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 40; n > 0; n--) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / (size + fraction));
}

function view(a, shape) {
  const free = shape.indexOf(-1);
  const known = shape.map((n) => (n === -1 ? 1 : n));
  if (free >= 0) known[free] = a.data.length / count(known);
  return array(known, a.data);
}

function permute(a, dims) {
  const from = dims.map((d) => along(a, d));
  const shape = from.map((d) => a.shape[d]);
  const own = a.shape.map((_, d) => count(a.shape.slice(d + 1)));
  const out = array(shape);
  walk(shape, from.map((d) => own[d]), 0, (i, place) => { out.data[i] = a.data[place]; });
  return out;
}

function slice(a, dim, start, end, step) {
  const d = along(a, dim);
  const n = a.shape[d];
  const bound = (value, other) => Math.max(0, Math.min(n, value === null ? other : value < 0 ? value + n : value));
  const [first, last] = [bound(start, 0), bound(end, n)];
  const shape = [...a.shape];
  shape[d] = Math.max(0, Math.ceil((last - first) / step));
  const own = a.shape.map((_, k) => count(a.shape.slice(k + 1)));
  const out = array(shape);
  walk(shape, own.map((s, k) => (k === d ? s * step : s)), first * own[d], (i, place) => { out.data[i] = a.data[place]; });
  return out;
}

const squeeze = (a, dims) => {
  const gone = dims.map((d) => along(a, d));
  return array(a.shape.filter((n, i) => n !== 1 || !gone.includes(i)), a.data);
};

const select = (a, dim, index) => {
  const at = index < 0 ? index + a.shape[along(a, dim)] : index;
  const one = slice(a, dim, at, at + 1, 1);
  return array(one.shape.filter((_, i) => i !== along(a, dim)), one.data);
};

function cat(given, dim) {
  const arrays = given.filter((a) => a.data.length);
  const d = along(arrays[0], dim);
  const shape = [...arrays[0].shape];
  shape[d] = arrays.reduce((sum, a) => sum + a.shape[d], 0);
  const out = array(shape);
  const [outer, length, inner] = around(shape, d);
  let before = 0;
  for (const a of arrays) {
    const size = a.shape[d] * inner;
    for (let o = 0; o < outer; o++) out.data.set(a.data.slice(o * size, (o + 1) * size), o * length * inner + before);
    before += size;
  }
  return out;
}

const unsqueeze = (a, dim) => {
  const shape = [...a.shape];
  shape.splice(dim < 0 ? dim + shape.length + 1 : dim, 0, 1);
  return array(shape, a.data);
};

function split(a, sizes, dim) {
  let start = 0;
  return sizes.map((size) => slice(a, dim, start, (start += size), 1));
}

function mm(a, b) {
  const [n, k] = a.shape;
  const m = b.shape[1];
  const out = array([n, m]);
  for (let i = 0; i < n; i++) {
    const row = out.data.subarray(i * m, (i + 1) * m);
    for (let j = 0; j < k; j++) {
      const x = a.data[i * k + j];
      if (x === 0) continue;
      const start = j * m;
      for (let l = 0; l < m; l++) row[l] += x * b.data[start + l];
    }
  }
  return out;
}

// a b' + bias, for b (outputs, inputs): vaelab's own operator for large layers
function product(a, b, bias) {
  const [m, k] = b.shape;
  const n = a.data.length / k;
  const out = array([...a.shape.slice(0, -1), m]);
  for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) {
    let sum = bias ? bias.data[j] : 0;
    for (let l = 0; l < k; l++) sum += a.data[i * k + l] * b.data[j * k + l];
    out.data[i * m + j] = sum;
  }
  return out;
}

// Convolution of (N, C, H, W), or its transpose; a weight at a time over whole rows of the image
function convolution(x, weight, bias, stride, padding, dilation, transposed) {
  const [n, c, h, w] = x.shape;
  const [first, second, kh, kw] = weight.shape;
  const made = transposed ? second : first;
  const size = (length, k, d) => (transposed ? (length - 1) * stride[d] - 2 * padding[d] + k
    : Math.floor((length + 2 * padding[d] - k) / stride[d]) + 1);
  const [oh, ow] = [size(h, kh, 0), size(w, kw, 1)];
  const out = array([n, made, oh, ow]);
  if (bias) out.data.forEach((_, i) => { out.data[i] = bias.data[Math.floor(i / (oh * ow)) % made]; });
  // small side -> large side: y = y' * stride - padding + k, of the transposed one from x to out, else from out to x
  const [sh, sw, lh, lw] = transposed ? [h, w, oh, ow] : [oh, ow, h, w];
  for (let b = 0; b < n; b++) for (let o = 0; o < made; o++) for (let i = 0; i < c; i++) {
    const [from, to] = [(b * c + i) * h * w, (b * made + o) * oh * ow];
    for (let p = 0; p < kh; p++) for (let q = 0; q < kw; q++) {
      const value = weight.data[((transposed ? i * second + o : o * second + i) * kh + p) * kw + q];
      if (value === 0) continue;
      const left = Math.max(0, Math.ceil((padding[1] - q) / stride[1]));
      const right = Math.min(sw - 1, Math.floor((lw - 1 + padding[1] - q) / stride[1]));
      for (let y = 0; y < sh; y++) {
        const large = y * stride[0] - padding[0] + p;
        if (large < 0 || large >= lh) continue;
        const [s, l] = [y * sw, large * lw - padding[1] + q];
        if (transposed) for (let k = left; k <= right; k++) out.data[to + l + k * stride[1]] += value * x.data[from + s + k];
        else for (let k = left; k <= right; k++) out.data[to + s + k] += value * x.data[from + l + k * stride[1]];
      }
    }
  }
  return out;
}

function groupNorm(x, weight, bias, n, c, hw, groups, eps) {
  const out = array(x.shape);
  const size = (c / groups) * hw;
  for (let g = 0; g < n * groups; g++) {
    const part = x.data.subarray(g * size, (g + 1) * size);
    const mean = total(part) / size;
    const variance = part.reduce((sum, v) => sum + (v - mean) ** 2, 0) / size;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < size; i++) {
      const channel = (g % groups) * (c / groups) + Math.floor(i / hw);
      out.data[g * size + i] = (part[i] - mean) * scale * (weight ? weight.data[channel] : 1) + (bias ? bias.data[channel] : 0);
    }
  }
  return out;
}

// each pixel of (.., h, w) is f(values of x under it): from(i, size before, size after), up to(i, ...), both ends
function resized(x, [oh, ow], from, to) {
  const [h, w] = x.shape.slice(-2);
  const out = array([...x.shape.slice(0, -2), oh, ow]);
  for (let i = 0; i < out.data.length; i++) {
    const [plane, y, z] = [Math.floor(i / (oh * ow)), Math.floor(i / ow) % oh, i % ow];
    const [y0, y1, z0, z1] = [from(y, h, oh), to(y, h, oh), from(z, w, ow), to(z, w, ow)];
    let sum = 0;
    for (let p = y0; p < y1; p++) for (let q = z0; q < z1; q++) sum += x.data[(plane * h + p) * w + q];
    out.data[i] = sum / ((y1 - y0) * (z1 - z0));
  }
  return out;
}

const nearestOf = (x, size) => {
  const from = (i, before, after) => Math.min(before - 1, Math.floor((i * before) / after));
  return resized(x, size, from, (i, before, after) => from(i, before, after) + 1);
};

// a[:, i, j] for places i, j of neighbouring dimensions, which are broadcast to one shape
function indexed(a, places) {
  const first = places.findIndex((p) => p);
  const listed = places.slice(first);
  const shape = broadcast(listed.map((p) => p.shape));
  const at = new Float64Array(count(shape));
  listed.forEach((p, d) => {
    const size = a.shape[first + d];
    spread(p, shape).data.forEach((place, k) => { at[k] = at[k] * size + (place < 0 ? place + size : place); });
  });
  const behind = a.shape.slice(first + listed.length);
  const [outer, inner] = [count(a.shape.slice(0, first)), count(behind)];
  const out = array([...a.shape.slice(0, first), ...shape, ...behind]);
  const length = a.data.length / (outer * inner);
  for (let o = 0; o < outer; o++) for (let k = 0; k < at.length; k++) for (let i = 0; i < inner; i++) {
    out.data[(o * at.length + k) * inner + i] = a.data[(o * length + at[k]) * inner + i];
  }
  return out;
}

function padded(a, pad, value) {
  const before = a.shape.map((_, i) => pad[2 * (a.shape.length - 1 - i)] ?? 0);
  const shape = a.shape.map((n, i) => n + before[i] + (pad[2 * (a.shape.length - 1 - i) + 1] ?? 0));
  const out = array(shape);
  out.data.fill(value);
  const own = shape.map((_, k) => count(shape.slice(k + 1)));
  const start = before.reduce((sum, n, i) => sum + n * own[i], 0);
  walk(a.shape, own, start, (i, place) => { out.data[place] = a.data[i]; });
  return out;
}

const filled = (shape, value) => array(shape, new Float64Array(count(shape)).fill(value));
const unary = (f) => (a) => each(f, a);
const binary = (f) => (a, b) => each(f, a, b);
const truth = (f) => (a, b) => each((x, y) => Number(f(x, y)), a, b);

const operations = {
  item: (whole, place) => whole[place],
  clone: (a) => a,
  alias: (a) => a,
  detach: (a) => a,
  _to_copy: (a, type) => (type === "whole" ? each(Math.trunc, a) : type === "truth" ? each((x) => Number(x !== 0), a) : a),
  view: (a, shape) => view(a, shape),
  _unsafe_view: (a, shape) => view(a, shape),
  reshape: (a, shape) => view(a, shape),
  t: (a) => (a.shape.length < 2 ? a : permute(a, [1, 0])),
  permute,
  transpose(a, i, j) {
    const dims = a.shape.map((_, k) => k);
    [dims[along(a, i)], dims[along(a, j)]] = [along(a, j), along(a, i)];
    return permute(a, dims);
  },
  expand(a, shape) {
    const ahead = shape.length - a.shape.length;
    return spread(a, shape.map((n, i) => (n === -1 ? a.shape[i - ahead] : n)));
  },
  unsqueeze,
  squeeze: (a) => squeeze(a, a.shape.map((_, i) => i)),
  squeeze_dim: (a, dim) => squeeze(a, [dim]),
  squeeze_dims: (a, dims) => squeeze(a, dims),
  select,
  slice,
  cat,
  stack: (arrays, dim) => cat(arrays.map((a) => unsqueeze(a, dim)), dim < 0 ? dim + arrays[0].shape.length + 1 : dim),
  split_with_sizes: split,
  split(a, size, dim) {
    const n = a.shape[along(a, dim)];
    return split(a, Array.from({ length: Math.ceil(n / size) }, (_, i) => Math.min(size, n - i * size)), dim);
  },
  unbind: (a, dim) => Array.from({ length: a.shape[along(a, dim)] }, (_, i) => select(a, dim, i)),
  index: indexed,
  _unsafe_index: indexed,
  constant_pad_nd: (a, pad, value) => padded(a, pad, value),
  full: (shape, value) => filled(shape, value),
  full_like: (a, value) => filled(a.shape, value),
  zeros_like: (a) => filled(a.shape, 0),
  ones_like: (a) => filled(a.shape, 1),
  new_zeros: (a, shape) => filled(shape, 0),
  new_ones: (a, shape) => filled(shape, 1),
  new_full: (a, shape, value) => filled(shape, value),
  scalar_tensor: (value) => lifted(value),
  add: (a, b, alpha) => each((x, y) => x + alpha * y, a, b),
  sub: (a, b, alpha) => each((x, y) => x - alpha * y, a, b),
  rsub: (a, b, alpha) => each((x, y) => y - alpha * x, a, b),
  mul: binary((x, y) => x * y),
  div: binary((x, y) => x / y),
  pow: binary((x, y) => x ** y),
  minimum: binary(Math.min),
  maximum: binary(Math.max),
  neg: unary((x) => -x),
  abs: unary(Math.abs),
  sign: unary(Math.sign),
  sgn: unary(Math.sign),
  exp: unary(Math.exp),
  expm1: unary(Math.expm1),
  log: unary(Math.log),
  log1p: unary(Math.log1p),
  sqrt: unary(Math.sqrt),
  rsqrt: unary((x) => 1 / Math.sqrt(x)),
  square: unary((x) => x * x),
  reciprocal: unary((x) => 1 / x),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tanh: unary(Math.tanh),
  atan: unary(Math.atan),
  erf: unary(erf),
  sigmoid: unary(sigmoid),
  relu: unary((x) => Math.max(0, x)),
  silu: unary((x) => x * sigmoid(x)),
  gelu: unary((x) => 0.5 * x * (1 + erf(x / Math.SQRT2))),
  elu: (a, alpha, scale, inner) => each((x) => scale * (x > 0 ? x : alpha * Math.expm1(inner * x)), a),
  softplus: (a, beta, threshold) => each((x) => (beta * x > threshold ? x : Math.log1p(Math.exp(beta * x)) / beta), a),
  log_sigmoid_forward: (a) => [each((x) => Math.min(0, x) - Math.log1p(Math.exp(-Math.abs(x))), a)],
  round: unary(rounded),
  floor: unary(Math.floor),
  clamp: (a, low, high) => each((x, l, h) => Math.min(Math.max(x, l), h), a, low ?? -Infinity, high ?? Infinity),
  clamp_min: (a, low) => each(Math.max, a, low),
  clamp_max: (a, high) => each(Math.min, a, high),
  isnan: unary((x) => Number(Number.isNaN(x))),
  where: (test, a, b) => each((t, x, y) => (t ? x : y), test, a, b),
  index_put: (a, [mask], value) => each((x, m, v) => (m ? v : x), a, mask, value),
  masked_fill: (a, mask, value) => each((x, m, v) => (m ? v : x), a, mask, value),
  gt: truth((x, y) => x > y),
  lt: truth((x, y) => x < y),
  ge: truth((x, y) => x >= y),
  le: truth((x, y) => x <= y),
  eq: truth((x, y) => x === y),
  ne: truth((x, y) => x !== y),
  logical_not: unary((x) => Number(!x)),
  bitwise_not: unary((x) => Number(!x)),
  logical_and: truth((x, y) => x && y),
  bitwise_and: truth((x, y) => x && y),
  logical_or: truth((x, y) => x || y),
  bitwise_or: truth((x, y) => x || y),
  sum: (a) => reduced(a, null, false, total),
  sum_dim_IntList: (a, dims, keep) => reduced(a, dims, keep, total),
  mean: (a) => reduced(a, null, false, (v) => total(v) / v.length),
  mean_dim: (a, dims, keep) => reduced(a, dims, keep, (v) => total(v) / v.length),
  amax: (a, dims, keep) => reduced(a, dims, keep, largest),
  argmax: (a, dim, keep) => reduced(a, [dim], keep, (v) => v.indexOf(largest(v))),
  logsumexp: (a, dims, keep) => reduced(a, dims, keep, logSumExp),
  _softmax: (a, dim) => mapped(a, dim, (v) => v.map((x) => Math.exp(x - logSumExp(v)))),
  _log_softmax: (a, dim) => mapped(a, dim, (v) => v.map((x) => x - logSumExp(v))),
  cumsum: (a, dim) => mapped(a, dim, (v) => { let sum = 0; return v.map((x) => (sum += x)); }),
  mm,
  product,
  bmm: (a, b) => cat(a.shape[0] ? Array.from({ length: a.shape[0] }, (_, i) =>
    unsqueeze(mm(select(a, 0, i), select(b, 0, i)), 0)) : [], 0),
  mv: (a, b) => view(mm(a, array([b.data.length, 1], b.data)), [-1]),
  addmm: (bias, a, b, beta, alpha) => each((x, y) => beta * x + alpha * y, bias, mm(a, b)),
  convolution,
  native_group_norm: (...given) => [groupNorm(...given)],
  upsample_nearest2d: (x, size) => nearestOf(x, size),
  upsample_nearest2d_vec: (x, size) => nearestOf(x, size),
  _adaptive_avg_pool2d: (x, size) => resized(x, size, (i, before, after) => Math.floor((i * before) / after),
    (i, before, after) => Math.ceil(((i + 1) * before) / after)),
};

// Returns z -> numbers, for steps and constants as vaelab.web.program writes them.
export function runner(steps, constants) {
  return (z) => {
    const found = [];
    const input = array([1, z.length], Float64Array.from(z));
    const read = (value) => {
      if (Array.isArray(value)) return value.map(read);
      if (value === "nan" || value === "inf" || value === "-inf") return Number(value.replace("inf", "Infinity"));
      if (value === null || typeof value !== "object") return value;
      if ("c" in value) return constants[value.c];
      return value.$ === -1 ? input : found[value.$];
    };
    for (const [name, given] of steps) found.push(operations[name](...given.map(read)));
    return found.at(-1).data;
  };
}

// Bytes from text: how many zero bytes were added, then five letters for each four bytes.
function bytes(text) {
  const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_.{|}~";
  const digit = new Uint8Array(128);
  for (let i = 0; i < 85; i++) digit[letters.charCodeAt(i)] = i;
  const out = new DataView(new ArrayBuffer(((text.length - 1) / 5) * 4));
  for (let i = 1, at = 0; i < text.length; at += 4) {
    let word = 0;
    for (let j = 0; j < 5; j++) word = 85 * word + digit[text.charCodeAt(i++)];
    out.setUint32(at, word);
  }
  return new Uint8Array(out.buffer, 0, out.byteLength - Number(text[0]));
}

// Returns arrays from the text that vaelab.web.packing made, a promise.
export async function unpacked(kept, block) {
  const inflated = new Blob([bytes(block)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const data = new DataView(await new Response(inflated).arrayBuffer());
  let at = 0;
  return kept.map(({ shape, form, all, step, least }) => {
    if (all !== undefined) return filled(shape, Number(String(all).replace("inf", "Infinity")));
    const out = array(shape);
    const n = out.data.length;
    const width = { double: 8, single: 4, steps: 1 }[form];
    for (let i = 0; i < n; i++, at += width) {
      if (form === "steps") out.data[i] = step * (data.getUint8(at) + 256 * data.getUint8(at + n) + least);
      else out.data[i] = form === "double" ? data.getFloat64(at, true) : data.getFloat32(at, true);
    }
    if (form === "steps") at += n;
    return out;
  });
}
