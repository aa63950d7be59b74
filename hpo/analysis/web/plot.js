// Drawing: elements, numbers as people write them, scales, and canvases that are drawn when they are seen and something has changed.

const root = document.documentElement;
const el = (tag, { dataset, ...props } = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), props);
  Object.assign(made.dataset, dataset);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

const THEME = ["page", "card", "ink", "muted", "grid", "line", "best", "default", "thin", "first", "bad", "tint"];
const SERIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#56b4e9", "#7570b3", "#e69f00", "#666666", "#66a61e"];
let theme = {};
const readTheme = () => {
  const style = getComputedStyle(root);
  theme = Object.fromEntries(THEME.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
};

// -- numbers ----------------------------------------------------------------------------------------------------------

const short = (value) => {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) return String(Number(value.toPrecision(4)));
  return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
};
const amount = (count) => {
  for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (count >= limit) return `${Number((count / limit).toPrecision(3))}${unit}`;
  return Number.isInteger(count) ? String(count) : String(Number(count.toPrecision(3)));
};
const several = (count, words) => `${count.toLocaleString("en")} ${count === 1 ? words.replace(/s$/, "") : words}`;
const duration = (seconds) => {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${Number(seconds.toPrecision(3))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.round((seconds % 86400) / 3600)} h`;
};
const cut = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);

// -- scales -----------------------------------------------------------------------------------------------------------

const SPANS = [1, 2, 5, 10];
const linearTicks = (low, high, count) => {
  const span = (high - low) / Math.max(count, 1), ten = 10 ** Math.floor(Math.log10(span));
  const step = SPANS.find((one) => one * ten >= span) * ten;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
};
const logTicks = (low, high, count) => {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const within = (value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9);
  const step = Math.max(1, Math.ceil((last - first) / Math.max(count, 1)));
  const tens = [];
  for (let k = first; k <= last; k += step) tens.push(10 ** k);
  const found = tens.filter(within);
  for (const parts of [[1, 2, 5], [1, 3]]) {
    const more = [];
    for (let k = first; k <= last; k++) for (const one of parts) more.push(one * 10 ** k);
    const seen = more.filter(within);
    if (seen.length > found.length && (seen.length <= count || found.length < 2)) return seen;
  }
  return found.length ? found : [low, high];
};
// From values to pixels a..b. kind: "linear", "log", "choice" (values are places among `names`).
const makeScale = (kind, low, high, a, b, names) => {
  if (kind === "choice") {
    const width = (b - a) / names.length;
    return { kind, low: -0.5, high: names.length - 0.5, at: (v) => a + (v + 0.5) * width, back: (p) => (p - a) / width - 0.5,
             ticks: () => names.map((_, place) => place), text: (v) => names[v] };
  }
  if (kind === "log" && !(low > 0)) kind = "linear";
  if (!(high > low)) [low, high] = kind === "log" ? [low / 1.5, low * 1.5] : [low - (Math.abs(low) * 0.05 || 0.5), low + (Math.abs(low) * 0.05 || 0.5)];
  const f = kind === "log" ? Math.log : (v) => v, inverse = kind === "log" ? Math.exp : (v) => v;
  const from = f(low), to = f(high);
  return { kind, low, high, at: (v) => a + ((f(v) - from) / (to - from)) * (b - a),
           back: (p) => inverse(from + ((p - a) / (b - a)) * (to - from)),
           ticks: (count) => (kind === "log" ? logTicks : linearTicks)(low, high, count), text: short };
};
// Limits that show the good end of some values: of many nine in ten are inside. sign: -1 where higher is better.
const goodLimits = (values, sign, always = []) => {
  const losses = values.map((value) => sign * value).sort((x, y) => x - y);
  if (!losses.length) return [0, 1, 0];
  let top = losses[losses.length - 1];
  if (losses.length > 10) top = losses[Math.floor(0.9 * (losses.length - 1))];
  else top = Math.max(...losses.filter((x) => x <= losses[0] + 3 * Math.max(losses[losses.length >> 1] - losses[0], Math.abs(losses[0]))));
  const low = losses[0], whole = losses[losses.length - 1];
  if (whole <= low + 2 * (top - low)) top = whole;
  for (const value of always) top = Math.max(top, sign * value);
  const margin = 0.06 * (top - low) || 0.01 * Math.abs(top) || 0.01;
  const beyond = losses.filter((x) => x > top + margin).length;
  const ends = [sign * (low - margin), sign * (top + margin)];
  return [Math.min(...ends), Math.max(...ends), beyond];
};

// -- canvases ---------------------------------------------------------------------------------------------------------

const FONT = '12px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif';
const plots = new Set();
const REST = 4; // times as long as it took, a canvas rests before it is drawn again
let frame = 0, alarm = 0;
const drawSoon = () => { if (!frame) frame = requestAnimationFrame(drawAll); };
const drawAll = () => {
  frame = 0;
  let wait = Infinity;
  for (const plot of plots) {
    if (!plot.dirty || !plot.seen) continue;
    const now = performance.now();
    if (now < plot.next && !plot.urgent) { wait = Math.min(wait, plot.next - now); continue; }
    plot.paint();
    const end = performance.now();
    plot.next = end + REST * (end - now);
  }
  if (wait < Infinity && !alarm) alarm = setTimeout(() => { alarm = 0; drawSoon(); }, wait + 1);
};
const watchSight = new IntersectionObserver((entries) => {
  for (const entry of entries) { entry.target.plot.seen = entry.isIntersecting; if (entry.isIntersecting) drawSoon(); }
}, { rootMargin: "200px" });
const watchSize = new ResizeObserver((entries) => { for (const entry of entries) entry.target.plot.touch(); });

// A canvas as wide as its box. draw(g, width, height, plot) draws all of it and may fill plot.points with {x, y, row} that answer
// to the pointer; height(width) gives pixels.
class Plot {
  constructor({ label, height, draw, over = null, click = null }) {
    this.canvas = el("canvas", { role: "img" });
    this.canvas.setAttribute("aria-label", label);
    this.box = el("div", { className: "plot" }, this.canvas);
    this.box.plot = this;
    Object.assign(this, { height, draw, over, click, dirty: true, seen: false, next: 0, urgent: false, points: [], drawn: 0 });
    plots.add(this);
    watchSight.observe(this.box);
    watchSize.observe(this.box);
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => hideTip());
    this.canvas.addEventListener("click", (event) => { const hit = this.nearest(event); if (hit && this.click) this.click(hit); });
  }
  touch(urgent = false) { this.dirty = true; this.urgent = this.urgent || urgent; drawSoon(); }
  paint() {
    const width = Math.floor(this.box.clientWidth);
    if (!width) return;
    const height = Math.round(typeof this.height === "function" ? this.height(width) : this.height), sharp = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * sharp) || this.canvas.height !== Math.round(height * sharp)) {
      this.canvas.width = Math.round(width * sharp);
      this.canvas.height = Math.round(height * sharp);
      this.canvas.style.height = `${height}px`;
    }
    const g = this.canvas.getContext("2d");
    g.setTransform(sharp, 0, 0, sharp, 0, 0);
    g.clearRect(0, 0, width, height);
    g.font = FONT;
    g.lineJoin = "round";
    this.points = [];
    this.dirty = this.urgent = false;
    this.draw(g, width, height, this);
    this.drawn++;
  }
  place(event) { const box = this.canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; }
  nearest(event) {
    const [x, y] = this.place(event);
    let found = null, least = 14 * 14;
    for (const point of this.points) {
      const away = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (away < least) [found, least] = [point, away];
    }
    return found;
  }
  point(event) {
    if (event.buttons) return;
    const hit = this.over ? this.over(...this.place(event)) : this.nearest(event);
    this.canvas.style.cursor = hit && this.click ? "pointer" : "";
    if (hit) showTip(event, hit.tip ? hit.tip() : describeRow(hit.row)); else hideTip();
  }
}

const tip = el("div", { className: "tip", hidden: true });
tip.setAttribute("role", "status");
const showTip = (event, lines) => {
  tip.replaceChildren(...lines.map((line, place) => el(place ? "div" : "b", {}, ...(Array.isArray(line) ? [el("span", {}, line[0]), line[1]] : [line]))));
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), room = 14;
  const left = event.clientX + room + box.width > innerWidth ? event.clientX - room - box.width : event.clientX + room;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + room, innerHeight - box.height - 4))}px`;
};
const hideTip = () => { tip.hidden = true; };

// Grid, ticks and labels of one panel inside the box {x, y, w, h} of a canvas; the scales. x, y: {kind, low, high, names, label}.
const drawAxes = (g, box, x, y) => {
  g.font = FONT;
  g.fillStyle = theme.muted;
  const high = Math.max(2, Math.floor(box.h / 45));
  const guess = makeScale(y.kind || "linear", y.low, y.high, 0, 1, y.names);
  const left = Math.min(box.w * 0.34, Math.max(...guess.ticks(high).map((tick) => g.measureText(cut(guess.text(tick), 14)).width), 8) + 10) + (y.label ? 16 : 0);
  const inner = { x: box.x + left, y: box.y + 6, w: box.w - left - 8, h: box.h - 6 - (x.label ? 38 : 22) };
  const xs = makeScale(x.kind || "linear", x.low, x.high, inner.x, inner.x + inner.w, x.names);
  const ys = makeScale(y.kind || "linear", y.low, y.high, inner.y + inner.h, inner.y, y.names);
  g.strokeStyle = theme.grid;
  g.lineWidth = 1;
  g.textBaseline = "middle";
  g.textAlign = "right";
  for (const tick of ys.ticks(high)) {
    const at = Math.round(ys.at(tick)) + 0.5;
    if (at < inner.y - 1 || at > inner.y + inner.h + 1) continue;
    g.beginPath(); g.moveTo(inner.x, at); g.lineTo(inner.x + inner.w, at); g.stroke();
    g.fillText(cut(ys.text(tick), 14), inner.x - 6, at);
  }
  g.textBaseline = "top";
  g.textAlign = "center";
  const ticks = x.ticks || xs.ticks(Math.max(2, Math.floor(inner.w / 75)));
  const words = ticks.map((tick) => (x.kind === "choice" ? cut(xs.text(tick), Math.max(3, Math.floor(inner.w / ticks.length / 7))) : (x.text || xs.text)(tick)));
  let free = -Infinity;
  ticks.forEach((tick, place) => {
    const at = xs.at(tick);
    if (at < inner.x - 1 || at > inner.x + inner.w + 1) return;
    g.beginPath(); g.moveTo(Math.round(at) + 0.5, inner.y + inner.h); g.lineTo(Math.round(at) + 0.5, inner.y + inner.h + 4); g.strokeStyle = theme.thin; g.stroke();
    const wide = g.measureText(words[place]).width, centre = Math.min(at, box.x + box.w - wide / 2);
    if (centre - wide / 2 < free + 6) return;
    free = centre + wide / 2;
    g.fillText(words[place], centre, inner.y + inner.h + 7);
  });
  g.strokeStyle = theme.thin;
  g.beginPath(); g.moveTo(inner.x, inner.y + inner.h + 0.5); g.lineTo(inner.x + inner.w, inner.y + inner.h + 0.5); g.stroke();
  if (x.label) { g.fillStyle = theme.ink; g.textBaseline = "bottom"; g.fillText(cut(x.label, Math.floor(inner.w / 6.5)), inner.x + inner.w / 2, box.y + box.h); }
  if (y.label) {
    g.save();
    g.translate(box.x + 2, inner.y + inner.h / 2);
    g.rotate(-Math.PI / 2);
    g.fillStyle = theme.ink; g.textBaseline = "top";
    g.fillText(cut(y.label, Math.floor(inner.h / 6.5)), 0, 0);
    g.restore();
  }
  return { xs, ys, inner };
};
const clip = (g, inner, draw) => {
  g.save();
  g.beginPath(); g.rect(inner.x - 4, inner.y - 4, inner.w + 8, inner.h + 8); g.clip();
  draw();
  g.restore();
};
const drawLine = (g, points, color, width, dash = []) => {
  if (!points.length) return;
  g.beginPath();
  points.forEach(([x, y], place) => (place ? g.lineTo(x, y) : g.moveTo(x, y)));
  Object.assign(g, { strokeStyle: color, lineWidth: width, lineCap: "round" });
  g.setLineDash(dash);
  g.stroke();
  g.setLineDash([]);
};
// Dots of one colour: circles, or squares where they are too many for that.
const drawDots = (g, points, color, size, alpha) => {
  g.fillStyle = color;
  g.globalAlpha = alpha;
  if (points.length > 3000) for (const [x, y, r] of points) { const s = (r || size) * 0.85; g.fillRect(x - s, y - s, 2 * s, 2 * s); }
  else for (const [x, y, r] of points) { g.beginPath(); g.arc(x, y, r || size, 0, 6.2832); g.fill(); }
  g.globalAlpha = 1;
};
const note = (g, text, x, y, align = "right") => { g.fillStyle = theme.muted; g.textAlign = align; g.textBaseline = "bottom"; g.fillText(text, x, y); };
