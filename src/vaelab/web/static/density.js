// Density of points on the map: a histogram, smoothed; and the lines that hold given shares of it.

const SIZE = 96;
const WIDTH = 1.6; // of the smoothing, in cells
export const SHARES = [0.393, 0.865, 0.989]; // of a normal within 1, 2 and 3 deviations in the plane

export class Density {
  constructor(points) {
    const n = points.length / 2;
    let [u0, u1, v0, v1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      u0 = Math.min(u0, points[2 * i]);
      u1 = Math.max(u1, points[2 * i]);
      v0 = Math.min(v0, points[2 * i + 1]);
      v1 = Math.max(v1, points[2 * i + 1]);
    }
    const [wide, high] = [(u1 - u0 || 1) * 0.1, (v1 - v0 || 1) * 0.1];
    [this.u0, this.v0] = [u0 - wide, v0 - high];
    [this.du, this.dv] = [(u1 - u0 + 2 * wide) / SIZE, (v1 - v0 + 2 * high) / SIZE];
    const grid = new Float32Array(SIZE * SIZE);
    for (let i = 0; i < n; i++) grid[this.cell(points[2 * i], points[2 * i + 1])] += 1;
    this.grid = blurred(blurred(grid, 1), SIZE);
  }

  cell(u, v) {
    const within = (value) => Math.max(0, Math.min(SIZE - 1, Math.floor(value)));
    return within((v - this.v0) / this.dv) * SIZE + within((u - this.u0) / this.du);
  }

  at(u, v) {
    return this.grid[this.cell(u, v)];
  }

  // Lists of points [u, v], two by two, around the densest cells that hold each share of the mass.
  contours() {
    const sorted = Float32Array.from(this.grid).sort().reverse();
    const total = sorted.reduce((a, b) => a + b, 0);
    return SHARES.map((share) => {
      let [sum, i] = [0, 0];
      while (i < sorted.length - 1 && sum < share * total) sum += sorted[i++];
      return this.line(sorted[i]);
    });
  }

  line(level) {
    const out = [];
    const g = this.grid;
    const point = (x, y) => [this.u0 + (x + 0.5) * this.du, this.v0 + (y + 0.5) * this.dv];
    for (let y = 0; y + 1 < SIZE; y++) {
      for (let x = 0; x + 1 < SIZE; x++) {
        const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
        const crossings = [];
        for (let k = 0; k < 4; k++) {
          const [[ax, ay], [bx, by]] = [corners[k], corners[(k + 1) % 4]];
          const [a, b] = [g[ay * SIZE + ax], g[by * SIZE + bx]];
          if (a >= level === b >= level) continue;
          const t = (level - a) / (b - a);
          crossings.push(point(ax + t * (bx - ax), ay + t * (by - ay)));
        }
        out.push(...crossings);
      }
    }
    return out;
  }
}

function blurred(grid, step) {
  const reach = Math.ceil(3 * WIDTH);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-0.5 * ((k - reach) / WIDTH) ** 2));
  const out = new Float32Array(grid.length);
  for (let i = 0; i < grid.length; i++) {
    const place = step === 1 ? i % SIZE : Math.floor(i / SIZE);
    for (let k = -reach; k <= reach; k++) {
      if (place + k >= 0 && place + k < SIZE) out[i] += weights[k + reach] * grid[i + k * step];
    }
  }
  return out;
}
