// Colours of the points: Okabe and Ito's for few labels, evenly spaced hues for many, viridis for numbers.

const FEW = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8b7a00", "#8a63d2"];
const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
export const STEPS = 32;

export function ofLabel(index, count) {
  if (count <= FEW.length) return FEW[index];
  return `hsl(${(360 * index) / count} ${index % 2 ? 55 : 75}% ${index % 2 ? 62 : 45}%)`;
}

export function ofShare(share) {
  const at = Math.max(0, Math.min(0.9999, share)) * (RAMP.length - 1);
  const [a, b, t] = [RAMP[Math.floor(at)], RAMP[Math.floor(at) + 1], at % 1];
  return `rgb(${a.map((value, i) => Math.round(value + t * (b[i] - value))).join(" ")})`;
}

// Values -> step of the ramp for each (or -1), with the values at its ends: the 1 % and 99 % quantiles.
export function steps(values) {
  const sorted = Float32Array.from(values.filter((v) => Number.isFinite(v))).sort();
  if (!sorted.length) return { bins: values.map(() => -1), low: 0, high: 0 };
  const quantile = (q) => sorted[Math.round(q * (sorted.length - 1))];
  const [low, high] = [quantile(0.01), quantile(0.99)];
  const bins = Int16Array.from(values, (v) =>
    Number.isFinite(v) ? Math.max(0, Math.min(STEPS - 1, Math.floor(((v - low) / (high - low || 1)) * STEPS))) : -1);
  return { bins, low, high };
}
