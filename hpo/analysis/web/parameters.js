// Panels of hyperparameters: parallel coordinates with brushes, slices, importance and effects.

const axisOf = (spec, values) => {
  if (spec.kind === "choice") return { kind: "choice", names: spec.values };
  const inside = values.filter((value) => value !== null);
  const low = inside.reduce((a, b) => Math.min(a, b), spec.low), high = inside.reduce((a, b) => Math.max(a, b), spec.high);
  return { kind: spec.log && low > 0 ? "log" : "linear", low, high };
};

const LINES = 2000; // in the picture of parallel coordinates
const SHADES = 12;
const mix = (a, b, share) => {
  const parse = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  const [from, to] = [parse(a), parse(b)];
  return `rgb(${from.map((value, place) => Math.round(value + (to[place] - value) * share)).join(",")})`;
};

// Ticks of a scale with its two ends, except where these would be too near to a tick.
const withEnds = (scale, count, room) => {
  const ticks = scale.ticks(count);
  if (scale.kind === "choice") return ticks;
  return [scale.low, scale.high, ...ticks.filter((tick) => [scale.low, scale.high].every((end) => Math.abs(scale.at(tick) - scale.at(end)) > room))];
};

const parallelPanel = () => {
  let layout = null, drag = null;
  const said = el("p", { className: "note" }), clear = el("button", { type: "button", className: "plain", textContent: "clear the brushes", hidden: true, onclick: () => { view.brush = {}; refresh(true); } });
  const axes = (study) => [...study.header.objectives.map(([name, way], place) => ({ id: `${OBJECTIVE}${place}`, name: `${name}${way === "max" ? " ↑" : " ↓"}`, spec: null, place })),
    ...study.header.columns.map((spec, place) => ({ id: spec.name, name: spec.name, spec, place }))];
  const valueAt = (row, axis) => (axis.spec ? row.x[axis.place] : row.v[axis.place]);
  const plot = new Plot({
    label: "Parallel coordinates: drag along an axis to choose a range", height: (width) => (isWide(width) ? 380 : 76 + 62 * (axes(main()).length - 1) + 20),
    over: (x, y) => { const hit = axisNear(x, y); plot.canvas.style.cursor = hit ? (layout.wide ? "ns-resize" : "ew-resize") : ""; return null; },
    draw: (g, width, height, plot) => {
      const study = main(), all = axes(study), rows = compared(study), wide = isWide(width), direction = sign(study);
      const sorted = memo(study, `sorted ${view.place} ${comparedBudget(study)}`, () => [...rows].sort((a, b) => direction * (a.v[view.place] - b.v[view.place])));
      const from = wide ? 40 : 34, to = wide ? height - 30 : width - 16;
      const across = (place) => (wide ? 58 + (place * (width - 130)) / Math.max(all.length - 1, 1) : 44 + place * 62);
      const scales = all.map((axis) => {
        const values = rows.map((row) => valueAt(row, axis));
        const ends = axis.spec ? axisOf(axis.spec, values) : (() => { const [low, high] = goodLimits(values, study.header.objectives[axis.place][1] === "max" ? -1 : 1); return { kind: "linear", low, high }; })();
        return wide ? makeScale(ends.kind, ends.low, ends.high, to, from, ends.names) : makeScale(ends.kind, ends.low, ends.high, from, to, ends.names);
      });
      const absent = wide ? to + 14 : from - 16;
      plot.canvas.style.touchAction = wide ? "none" : "pan-y"; // a finger brushes along an axis, and scrolls across
      layout = { wide, all, scales, across, from, to, absent };
      const at = (row, place) => {
        const value = valueAt(row, all[place]);
        let p = value === null || value === undefined ? absent : scales[place].at(value);
        p = Math.max(Math.min(from, to) - 18, Math.min(Math.max(from, to) + 18, p));
        return wide ? [across(place), p] : [p, across(place)];
      };
      const brushed = isBrushed(), inside = brushed ? sorted.filter((row) => isInside(study, row)) : sorted;
      const thin = (some, most) => { if (some.length <= most) return some; const best = most >> 2, each = Math.ceil((some.length - best) / (most - best)); return some.filter((_, place) => place < best || place % each === 0); };
      const draw = (some, color, alpha, lineWidth) => {
        g.strokeStyle = color; g.globalAlpha = alpha; g.lineWidth = lineWidth;
        g.beginPath();
        for (const row of some) for (let place = 0; place < all.length; place++) { const [x, y] = at(row, place); if (place) g.lineTo(x, y); else g.moveTo(x, y); }
        g.stroke();
        g.globalAlpha = 1;
      };
      if (brushed) draw(thin(sorted, LINES / 2), theme.thin, 0.07, 1);
      const shown = thin(inside, LINES), alpha = Math.max(0.14, Math.min(0.75, 20 / Math.sqrt(shown.length + 1)));
      const groups = Array.from({ length: SHADES }, () => []);
      const rank = new Map(sorted.map((row, place) => [row, place]));
      for (const row of shown) groups[Math.min(SHADES - 1, Math.floor((SHADES * rank.get(row)) / sorted.length))].push(row);
      for (let shade = SHADES - 1; shade >= 0; shade--) draw(groups[shade], mix(theme.best, theme.thin, Math.min(1, shade / (SHADES - 4))), shade ? alpha : Math.min(0.9, alpha * 1.6), shade ? 1 : 1.3);
      const best = leader(study);
      if (best && best.u === comparedBudget(study) && (!brushed || isInside(study, best))) draw([best], theme.best, 1, 2.6);
      for (const row of rows) if (pickColor(row.t)) draw([row], pickColor(row.t), 1, 2.4);
      all.forEach((axis, place) => drawAxis(g, axis, place, width));
      const shownWords = inside.length > shown.length ? ` ${shown.length.toLocaleString("en")} of the lines are drawn, the best among them.` : "";
      const hollow = study.header.columns.some((spec) => Object.keys(spec.when).length);
      const budget = study.header.horizon > 1 ? ` at ${several(comparedBudget(study) || 0, study.header.unit)}` : "";
      said.textContent = `A line a result${budget}, the better the bluer. Drag along an axis to choose a range; every picture and the table then show what lies inside${hollow ? "; beyond the end of an axis is what was inactive" : ""}.${brushed ? ` ${inside.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} lie inside.` : ""}${shownWords}`;
      clear.hidden = !brushed;
      plot.canvas.dataset.axes = JSON.stringify(all.map((axis, place) => [axis.name, Math.round(across(place)), from, to])); // for whoever drives the page
    },
  });
  const isWide = (width) => width >= 100 + 62 * axes(main()).length;
  const drawAxis = (g, axis, place, width) => {
    const { wide, scales, across, from, to } = layout, scale = scales[place], p = across(place);
    g.strokeStyle = theme.muted;
    g.lineWidth = 1.2;
    g.beginPath();
    if (wide) { g.moveTo(p, from); g.lineTo(p, to); } else { g.moveTo(from, p); g.lineTo(to, p); }
    g.stroke();
    g.font = FONT;
    const room = wide ? (width - 130) / Math.max(layout.all.length - 1, 1) : width;
    const halo = (text, x, y, color) => { g.lineWidth = 3.5; g.strokeStyle = theme.card; g.strokeText(text, x, y); g.fillStyle = color; g.fillText(text, x, y); };
    g.textBaseline = "middle";
    if (wide) {
      g.textAlign = "center";
      halo(cut(axis.name, Math.max(5, Math.floor(room / 7))), p, place % 2 && room < 90 ? 27 : 13, theme.ink);
      g.textAlign = "left";
      for (const tick of withEnds(scale, 5, 14)) halo(cut(scale.text(tick), Math.max(4, Math.floor(room / 8))), p + 5, scale.at(tick), theme.muted);
    } else {
      g.textAlign = "left";
      halo(axis.name, 4, p - 22, theme.ink);
      g.textAlign = "center";
      const ticks = withEnds(scale, 3, 46), most = Math.floor((to - from) / ticks.length / 7);
      for (const tick of ticks) halo(cut(scale.text(tick), Math.max(3, most)), scale.at(tick), p + 12, theme.muted);
    }
    const range = view.brush[axis.id];
    if (!range || range[0] === null) return;
    const ends = range.map((value) => Math.max(Math.min(from, to) - 18, Math.min(Math.max(from, to) + 18, scale.at(value)))).sort((a, b) => a - b);
    g.fillStyle = theme.best; g.globalAlpha = 0.22;
    if (wide) g.fillRect(p - 8, ends[0], 16, ends[1] - ends[0]); else g.fillRect(ends[0], p - 8, ends[1] - ends[0], 16);
    g.globalAlpha = 1; g.strokeStyle = theme.best; g.lineWidth = 1.5;
    if (wide) g.strokeRect(p - 8, ends[0], 16, ends[1] - ends[0]); else g.strokeRect(ends[0], p - 8, ends[1] - ends[0], 16);
  };
  const axisNear = (x, y) => {
    if (!layout) return null;
    const p = layout.wide ? x : y;
    const place = layout.all.findIndex((_, k) => Math.abs(layout.across(k) - p) <= (layout.wide ? 14 : 20));
    return place < 0 ? null : place;
  };
  plot.canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = plot.place(event), place = axisNear(x, y);
    if (place === null || event.button) return;
    drag = { place, start: layout.wide ? y : x, moved: false };
    plot.canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  plot.canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = plot.place(event), now = layout.wide ? y : x;
    if (Math.abs(now - drag.start) < 4 && !drag.moved) return;
    drag.moved = true;
    const values = [drag.start, now].map((p) => layout.scales[drag.place].back(p)).sort((a, b) => a - b);
    view.brush = { ...view.brush, [layout.all[drag.place].id]: values };
    refresh(true);
  });
  const end = () => {
    if (drag && !drag.moved) { const { [layout.all[drag.place].id]: gone, ...rest } = view.brush; if (gone) { view.brush = rest; refresh(true); } }
    drag = null;
  };
  plot.canvas.addEventListener("pointerup", end);
  plot.canvas.addEventListener("pointercancel", () => { drag = null; });
  return { box: el("div", {}, said, plot.box, clear), plots: [plot], isShown: (study) => study.header.columns.length > 0 && compared(study).length > 1 };
};

// Small pictures of equal size in rows on one canvas: how many columns, and the box of each.
const grid = (count, width, height) => {
  const columns = Math.max(1, Math.min(count, Math.floor(width / (width < 500 ? 160 : 230))));
  return { rows: Math.ceil(count / columns), box: (place) => ({ x: ((place % columns) * width) / columns + 4, y: Math.floor(place / columns) * height, w: width / columns - 12, h: height - 14 }) };
};

const MOST = 16; // hyperparameters in the slices
const byImportance = (study) => {
  const found = study.importance && study.importance[view.place], order = found && found.total ? Object.keys(found.total) : [];
  const specs = study.header.columns.map((spec, place) => ({ spec, place })).filter(({ place }) => compared(study).some((row) => row.x[place] !== null));
  return specs.sort((a, b) => (order.indexOf(a.spec.name) + 1 || 999) - (order.indexOf(b.spec.name) + 1 || 999)).slice(0, MOST);
};
const slicesPanel = () => {
  const plot = new Plot({
    label: "Every result over the value of each hyperparameter", click: (hit) => hit.row && pick(hit.row),
    height: (width) => grid(byImportance(main()).length, width, 190).rows * 190,
    draw: (g, width, height, plot) => {
      const study = main(), rows = compared(study), specs = byImportance(study), cells = grid(specs.length, width, 190), best = leader(study);
      const [low, high] = goodLimits(rows.map((row) => row.v[view.place]), sign(study));
      specs.forEach(({ spec, place }, k) => {
        const there = rows.filter((row) => row.x[place] !== null);
        const axis = axisOf(spec, there.map((row) => row.x[place]));
        const { xs, ys, inner } = drawAxes(g, cells.box(k), { ...axis, label: spec.name }, { low, high, label: "" });
        const jitter = (row) => (spec.kind === "choice" ? (((row.t * 0.618034) % 1) - 0.5) * 0.5 : 0);
        const at = (row) => [xs.at(row.x[place] + jitter(row)), ys.at(row.v[view.place])];
        clip(g, inner, () => {
          drawResults(g, plot, study, there, at, () => 2.4);
          if (best && best.u === comparedBudget(study) && best.x[place] !== null) drawDots(g, [at(best)], theme.best, 4.5, 1);
          drawPicks(g, there, at);
        });
      });
    },
  });
  const said = el("p", { className: "note" });
  const update = (study) => { said.textContent = `${study.header.objectives[view.place][0]} over each hyperparameter, every result${study.header.horizon > 1 ? ` at ${several(comparedBudget(study) || 0, study.header.unit)}` : ""}; blue is the best.`; };
  return { box: el("div", {}, said, plot.box), plots: [plot], update, isShown: (study) => study.header.columns.length > 0 && compared(study).length > 1 };
};

const importancePanel = () => {
  const said = el("p", { className: "note" }), bars = el("div", { className: "bars" });
  const update = (study) => {
    const found = study.importance && study.importance[view.place];
    said.textContent = found ? found.said || `There is no model: ${found.error}` : study.importance && study.importance.error ? `There is no model: ${study.importance.error}` : "It is being computed.";
    said.hidden = frozen; // there the words stand on the page
    const names = found && found.total ? Object.keys(found.total) : [], most = Math.max(...names.map((name) => found.total[name]), 1e-9);
    bars.replaceChildren(...names.map((name) => {
      const whole = el("i", { className: "whole" }), own = el("i", { className: "own" });
      whole.style.width = `${(100 * found.total[name]) / most}%`;
      own.style.width = `${(100 * Math.min(found.first[name], found.total[name])) / most}%`;
      return el("div", { className: "barrow" }, el("span", { title: name }, name), el("div", { className: "track" }, whole, own), el("b", {}, `${Math.round(100 * found.total[name])}%`));
    }));
    if (names.length) bars.append(legend(["box first", "by itself"], ["box thin", "with interactions"]));
  };
  return { box: el("div", {}, said, bars), update, isShown: (study) => study.header.columns.length > 0 && successes(study).length > 0 };
};

const effectsPanel = () => {
  const said = el("p", { className: "note" });
  const model = (study) => study.importance && study.importance[view.place] && study.importance[view.place].effects;
  const plot = new Plot({
    label: "Marginal effects of the most important hyperparameters", height: (width) => grid((model(main()) || []).length, width, 190).rows * 190 || 10,
    draw: (g, width) => {
      const study = main(), effects = model(study) || [], cells = grid(effects.length, width, 190), best = leader(study);
      const values = effects.flatMap((one) => [...one.mean, ...one.around]).filter((value) => value !== null);
      const low = Math.min(...values), high = Math.max(...values), room = 0.06 * (high - low);
      effects.forEach((one, k) => {
        const place = study.header.columns.findIndex((spec) => spec.name === one.name), spec = study.header.columns[place], axis = axisOf(spec, one.x);
        const { xs, ys, inner } = drawAxes(g, cells.box(k), { ...axis, label: one.name }, { low: low - room, high: high + room, label: "" });
        clip(g, inner, () => {
          const chosen = best && best.x[place] !== null ? xs.at(best.x[place]) : null;
          if (chosen !== null) drawLine(g, [[chosen, inner.y], [chosen, inner.y + inner.h]], theme.muted, 1, [2, 3]);
          for (const [line, color] of [[one.mean, theme.first], [one.around, theme.best]]) {
            const points = line.map((value, place) => [xs.at(one.x[place]), ys.at(value)]);
            if (spec.kind === "choice") drawDots(g, points, color, 4, 1); else drawLine(g, points, color, 2.2);
          }
        });
      });
    },
  });
  const update = (study) => { const found = study.importance && study.importance[view.place]; said.textContent = found ? found.effects_said || "" : "It is being computed."; said.hidden = frozen; };
  return { box: el("div", {}, said, legend(["line first", "averaged over the others"], ["line best", "the others as in the best"]), plot.box), plots: [plot], update, isShown: (study) => (study.importance ? Boolean(model(study) && model(study).length) : study.header.columns.length > 0 && compared(study).length > study.header.columns.length + 1) };
};
