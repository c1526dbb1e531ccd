// The map: points and prior on a canvas, and the gestures on it. It knows the plane, not what is done with a place.

const CLICK = 6; // pixels: what moves less is no drag
const KEY_STEP = 1 / 24; // of the width of the map

export class LatentMap {
  // on: {hover(u, v), pin(u, v), path([u, v], [u, v]), key(name, u, v), seen([u, v, r])}
  constructor(canvas, on) {
    this.canvas = canvas;
    this.on = on;
    this.layer = document.createElement("canvas");
    this.groups = []; // [colour, row numbers]
    this.points = new Float32Array(0);
    this.lines = []; // of the prior: {points, pairs}
    this.marks = {}; // pinned, row, from, to: [u, v] or undefined; way, draws: lists of them
    this.cursor = null;
    this.drag = null;
    this.view = { u: 0, v: 0, r: 3.5 };
    new ResizeObserver(() => this.redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.listen();
  }

  listen() {
    const c = this.canvas;
    c.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      c.focus({ preventScroll: true });
      c.setPointerCapture(e.pointerId);
      this.drag = { x: e.offsetX, y: e.offsetY, from: this.toPlane(e.offsetX, e.offsetY), moves: e.shiftKey, far: false,
        view: { ...this.view } };
    });
    c.addEventListener("pointermove", (e) => {
      const place = this.toPlane(e.offsetX, e.offsetY);
      const d = this.drag;
      if (d && Math.hypot(e.offsetX - d.x, e.offsetY - d.y) > CLICK) d.far = true;
      if (d?.moves) {
        const { s } = this.frame();
        this.look(d.view.u - (e.offsetX - d.x) / s, d.view.v + (e.offsetY - d.y) / s, this.view.r);
        return;
      }
      this.cursor = place;
      this.draw();
      this.on.hover(...place);
    });
    c.addEventListener("pointerup", (e) => {
      const d = this.drag;
      this.drag = null;
      if (!d || d.moves) return;
      const place = this.toPlane(e.offsetX, e.offsetY);
      if (d.far) this.on.path(d.from, place);
      else this.on.pin(...place);
      this.draw();
    });
    c.addEventListener("pointercancel", () => {
      this.drag = null;
      this.draw();
    });
    c.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(e.deltaY * 0.0015), this.toPlane(e.offsetX, e.offsetY));
    }, { passive: false });
    c.addEventListener("keydown", (e) => this.pressed(e));
    c.addEventListener("focus", () => this.draw());
  }

  pressed(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const [u, v] = this.cursor ?? [this.view.u, this.view.v];
    const step = 2 * this.view.r * KEY_STEP;
    if (arrows[e.key]) {
      const [x, y] = arrows[e.key];
      if (e.shiftKey) this.look(this.view.u + 2 * x * step, this.view.v + 2 * y * step, this.view.r);
      else {
        this.cursor = [u + x * step, v + y * step];
        this.keepInView();
        this.draw();
        this.on.hover(...this.cursor);
      }
    } else if (e.key === "Enter" || e.key === " ") {
      this.cursor = [u, v];
      this.on.pin(u, v);
    } else if (e.key === "+" || e.key === "=") this.zoom(0.8);
    else if (e.key === "-") this.zoom(1.25);
    else if (e.key === "0") this.on.key("0", u, v);
    else if ("abnABN".includes(e.key)) this.on.key(e.key.toLowerCase(), u, v);
    else return;
    e.preventDefault();
  }

  zoom(factor, about = [this.view.u, this.view.v]) {
    const r = Math.max(1e-3, Math.min(300, this.view.r * factor));
    const k = r / this.view.r;
    this.look(about[0] + (this.view.u - about[0]) * k, about[1] + (this.view.v - about[1]) * k, r);
  }

  look(u, v, r) {
    this.view = { u, v, r };
    this.redraw();
    this.on.seen([u, v, r]);
  }

  keepInView() {
    const { w, h } = this.frame();
    const [x, y] = this.toPixels(...this.cursor);
    if (x < 0 || x > w || y < 0 || y > h) this.look(...this.cursor, this.view.r);
  }

  frame() {
    const [w, h] = [this.canvas.clientWidth, this.canvas.clientHeight];
    return { w, h, s: Math.min(w, h) / (2 * this.view.r) };
  }

  toPixels(u, v) {
    const { w, h, s } = this.frame();
    return [w / 2 + (u - this.view.u) * s, h / 2 - (v - this.view.v) * s];
  }

  toPlane(x, y) {
    const { w, h, s } = this.frame();
    return [this.view.u + (x - w / 2) / s, this.view.v - (y - h / 2) / s];
  }

  // The points and the prior change seldom: they are drawn once, and the pointer moves over their picture.
  redraw() {
    cancelAnimationFrame(this.asked);
    this.asked = requestAnimationFrame(() => {
      const ratio = devicePixelRatio || 1;
      const { w, h, s } = this.frame();
      for (const c of [this.canvas, this.layer]) {
        c.width = Math.max(1, Math.round(w * ratio));
        c.height = Math.max(1, Math.round(h * ratio));
      }
      const g = this.layer.getContext("2d");
      g.setTransform(ratio, 0, 0, ratio, 0, 0);
      const [left, top] = [w / 2 - this.view.u * s, h / 2 + this.view.v * s];
      this.style = getComputedStyle(document.documentElement);
      this.axes(g, w, h);
      g.strokeStyle = this.style.getPropertyValue("--soft");
      for (const { points, pairs } of this.lines) {
        g.beginPath();
        points.forEach(([u, v], i) => {
          const go = i === 0 || (pairs && i % 2 === 0) ? "moveTo" : "lineTo";
          g[go](left + u * s, top - v * s);
        });
        g.stroke();
      }
      const total = this.points.length / 2;
      const size = total > 5000 ? 2 : total > 1000 ? 3 : 4;
      for (const [colour, rows] of this.groups) {
        g.fillStyle = colour;
        for (const row of rows) {
          const x = left + this.points[2 * row] * s;
          const y = top - this.points[2 * row + 1] * s;
          if (x > -5 && y > -5 && x < w + 5 && y < h + 5) g.fillRect(x - size / 2, y - size / 2, size, size);
        }
      }
      this.draw();
    });
  }

  axes(g, w, h) {
    g.font = "12px system-ui, sans-serif";
    g.fillStyle = this.style.getPropertyValue("--soft");
    const [left, top] = [this.toPlane(0, 0), this.toPlane(w, h)];
    const said = (value) => Number(value.toPrecision(3)).toString();
    g.textAlign = "left";
    g.fillText(said(left[0]), 6, h - 6);
    g.textAlign = "center";
    g.fillText(this.names?.[0] ?? "", w / 2, h - 6);
    g.fillText(this.names?.[1] ?? "", 16, h / 2);
    g.textAlign = "right";
    g.fillText(said(top[0]), w - 6, h - 6);
    g.textAlign = "left";
    g.fillText(said(left[1]), 6, 16);
  }

  draw() {
    const g = this.canvas.getContext("2d");
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, this.canvas.width, this.canvas.height);
    g.drawImage(this.layer, 0, 0);
    const ratio = devicePixelRatio || 1;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    const ink = (this.style ?? getComputedStyle(document.documentElement)).getPropertyValue("--ink");
    g.strokeStyle = g.fillStyle = ink;
    g.lineWidth = 2;
    g.font = "bold 13px system-ui, sans-serif";
    const { from, to, way, pinned, row, draws } = this.marks;
    for (const place of draws ?? []) {
      const [x, y] = this.toPixels(...place);
      g.beginPath();
      g.moveTo(x - 5, y - 5);
      g.lineTo(x + 5, y + 5);
      g.moveTo(x - 5, y + 5);
      g.lineTo(x + 5, y - 5);
      g.stroke();
    }
    const drawn = this.drag?.far && !this.drag.moves;
    const start = drawn ? this.drag.from : from;
    const end = drawn ? this.cursor : to;
    for (const [place, name] of [[start, "A"], [end, "B"]]) {
      if (!place) continue;
      const [x, y] = this.toPixels(...place);
      g.beginPath();
      g.arc(x, y, 4, 0, 7);
      g.fill();
      g.fillText(name, x + 8, y - 6);
    }
    if (start && end) {
      g.beginPath();
      for (const place of (!drawn && way) || [start, end]) g.lineTo(...this.toPixels(...place));
      g.stroke();
    }
    if (row) {
      const [x, y] = this.toPixels(...row);
      g.strokeRect(x - 6, y - 6, 12, 12);
    }
    if (pinned) {
      const [x, y] = this.toPixels(...pinned);
      g.beginPath();
      g.arc(x, y, 8, 0, 7);
      g.stroke();
    }
    if (this.cursor) {
      const [x, y] = this.toPixels(...this.cursor);
      g.lineWidth = 1;
      g.beginPath();
      g.moveTo(x - 12, y);
      g.lineTo(x + 12, y);
      g.moveTo(x, y - 12);
      g.lineTo(x, y + 12);
      g.stroke();
    }
  }
}
