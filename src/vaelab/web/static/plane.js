// The plane of the latent space that the map shows: u along e1, v along e2, both of unit length.

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

export class Plane {
  // axes: "kl", "pca" or "i,j"; base: the place z (D) through which the plane goes
  constructor(facts, axes, base) {
    const d = facts.latent_dim;
    this.base = base;
    const unit = (i) => Array.from({ length: d }, (_, k) => (k === i ? 1 : 0));
    if (axes === "pca" && facts.principal) {
      [this.e1, this.e2] = facts.principal;
      this.names = ["PC 1", "PC 2"];
      this.dimensions = null;
    } else {
      const [i, j] = axes.includes(",") ? axes.split(",").map(Number) : facts.order;
      this.e1 = unit(i);
      this.e2 = d > 1 ? unit(j) : unit(-1);
      this.names = [`z${i}`, d > 1 ? `z${j}` : ""];
      this.dimensions = d > 1 ? [i, j] : [i];
    }
    this.at = this.project(base);
  }

  project(z) {
    return [dot(z, this.e1), dot(z, this.e2)];
  }

  // z(u, v) = base + (u - u of base) e1 + (v - v of base) e2
  place(u, v) {
    const [du, dv] = [u - this.at[0], v - this.at[1]];
    return this.base.map((value, i) => Math.max(-100, Math.min(100, value + du * this.e1[i] + dv * this.e2[i])));
  }

  // codes (n, D), one after the other -> (n, 2)
  projectAll(codes, n) {
    const d = this.base.length;
    const out = new Float32Array(2 * n);
    for (let row = 0; row < n; row++) {
      let [u, v] = [0, 0];
      for (let k = 0; k < d; k++) {
        const value = codes[row * d + k];
        u += value * this.e1[k];
        v += value * this.e2[k];
      }
      out[2 * row] = u;
      out[2 * row + 1] = v;
    }
    return out;
  }

  // The lines around which a normal p(z) has its 1, 2, 3 deviations on this plane: lists of points [u, v].
  ellipses({ mean, deviation }) {
    const [mu, mv] = this.project(mean);
    const part = (a, b) => a.reduce((sum, value, k) => sum + value * b[k] * deviation[k] ** 2, 0);
    const [a, b, c] = [part(this.e1, this.e1), part(this.e1, this.e2), part(this.e2, this.e2)];
    const l11 = Math.sqrt(a); // the covariance [[a, b], [b, c]] is L L'
    const l21 = b / l11;
    const l22 = Math.sqrt(Math.max(0, c - l21 * l21));
    return [1, 2, 3].map((k) =>
      Array.from({ length: 97 }, (_, i) => {
        const [x, y] = [k * Math.cos((i * Math.PI) / 48), k * Math.sin((i * Math.PI) / 48)];
        return [mu + l11 * x, mv + l21 * x + l22 * y];
      }));
  }
}

// A map of rows without axes, such as t-SNE: a place on it is the code of the row that is nearest there.
export class Embedding {
  // points (m, 2) of the first m rows; codes (n, D) of all
  constructor(points, codes, dimensions) {
    Object.assign(this, { points, codes, d: dimensions, names: ["t-SNE 1", "t-SNE 2"], dimensions: null });
  }

  closest(distance) {
    let [best, least] = [0, Infinity];
    for (let i = 0; i < this.points.length / 2; i++) {
      const far = distance(i);
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  project(z) {
    const row = this.closest((i) => z.reduce((sum, value, k) => sum + (value - this.codes[i * this.d + k]) ** 2, 0));
    return [this.points[2 * row], this.points[2 * row + 1]];
  }

  place(u, v) {
    const row = this.closest((i) => (this.points[2 * i] - u) ** 2 + (this.points[2 * i + 1] - v) ** 2);
    return Array.from(this.codes.subarray(row * this.d, (row + 1) * this.d));
  }

  projectAll(codes, n) {
    const out = new Float32Array(2 * n).fill(NaN);
    out.set(this.points.subarray(0, 2 * n));
    return out;
  }
}

// The place at t in [0, 1] on the way from a to b, as vaelab.use.path_through has it.
export function between(a, b, t, way) {
  const [la, lb] = [Math.sqrt(dot(a, a)), Math.sqrt(dot(b, b))];
  const angle = la && lb ? Math.acos(Math.max(-1, Math.min(1, dot(a, b) / (la * lb)))) : 0;
  if (way !== "straight" && Math.PI - angle < 1e-6) throw new Error("between opposite directions no spherical way is shortest");
  if (way === "straight" || angle < 1e-6) return a.map((value, i) => (1 - t) * value + t * b[i]);
  const [wa, wb] = [Math.sin((1 - t) * angle) / la, Math.sin(t * angle) / lb];
  const radius = ((1 - t) * la + t * lb) / Math.sin(angle);
  return a.map((value, i) => radius * (wa * value + wb * b[i]));
}
