// Panels of results: best so far, learning curves, Pareto front, studies beside one another. Each makes {box, update, isShown}.

const main = () => studies.get(view.main);
const options = (label, choices, current, choose) => {
  const group = el("div", { className: "options" });
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", label);
  const buttons = choices.map(([name, words]) => el("button", { type: "button", textContent: words, onclick: () => { choose(name); mark(name); } }));
  const mark = (now) => choices.forEach(([name], place) => buttons[place].setAttribute("aria-pressed", String(name === now)));
  group.append(...buttons);
  mark(current);
  return group;
};
const legend = (...entries) => el("div", { className: "legend" }, ...entries.map(([kind, words]) => el("span", { className: `key ${kind}` }, words)));

const RESULTS = "results", SECONDS = "seconds";
const xOf = (study, row, mode) => (mode === SECONDS ? row.p : row.place);
const placed = (study) => memo(study, "placed", () => {
  const rows = allRows(study).filter((row) => row.f !== undefined && row.f !== null).sort((a, b) => a.p - b.p || a.f - b.f);
  rows.forEach((row, place) => { row.place = place + 1; });
  return rows;
});
const isTimed = (study) => study.summary.seconds > 0;
// Dots of many results: those that a brush leaves in front, one path a colour.
const drawResults = (g, plot, study, rows, at, size) => {
  const faint = [], clear = [], brushed = isBrushed();
  for (const row of rows) {
    const [x, y] = at(row);
    const inside = !brushed || isInside(study, row);
    (inside ? clear : faint).push([x, y, size(row)]);
    if (inside) plot.points.push({ x, y, row });
  }
  const many = Math.max(0.28, Math.min(0.85, 12 / Math.sqrt(rows.length + 1)));
  drawDots(g, faint, theme.thin, 3, 0.12);
  drawDots(g, clear, brushed ? theme.best : theme.thin, 3, brushed ? 0.8 : many);
};
const drawPicks = (g, rows, at) => {
  for (const row of rows) {
    const color = pickColor(row.t);
    if (!color) continue;
    const [x, y] = at(row);
    g.beginPath(); g.arc(x, y, 6, 0, 6.2832); g.strokeStyle = color; g.lineWidth = 2.5; g.stroke();
  }
};

const historyPanel = () => {
  let mode = SECONDS;
  const bar = el("div", { className: "bar" }), words = el("div", { className: "legend" });
  const plot = new Plot({
    label: "The best so far, and every result, over the time of the search", height: 300, click: (hit) => hit.row && pick(hit.row),
    draw: (g, width, height, plot) => {
      const study = main(), place = view.place, direction = sign(study), rows = placed(study).filter((row) => row.v);
      const by = mode === SECONDS && isTimed(study) ? SECONDS : RESULTS;
      const steps = study.summary.steps[place] || [], defaults = lastSuccess(study, study.summary.default);
      const end = by === SECONDS ? Math.max(study.summary.seconds, 1e-3) : Math.max(study.summary.results, 1);
      const [low, high, beyond] = goodLimits(rows.map((row) => row.v[place]), direction, defaults ? [defaults.v[place]] : []);
      const { xs, ys, inner } = drawAxes(g, { x: 0, y: 0, w: width, h: height }, { low: 0, high: end * 1.01, label: by === SECONDS ? "seconds of search" : "results" }, { low, high, label: axisLabel(study) });
      const tops = budgets(study), rank = new Map(tops.map(([until], place) => [until, place + 1]));
      const at = (row) => [xs.at(xOf(study, row, by)), ys.at(row.v[place])];
      clip(g, inner, () => {
        drawResults(g, plot, study, rows, at, (row) => 1.6 + (2.4 * rank.get(row.u)) / tops.length);
        if (defaults) drawLine(g, [[inner.x, ys.at(defaults.v[place])], [inner.x + inner.w, ys.at(defaults.v[place])]], theme.default, 1.6, [6, 4]);
        const worst = direction > 0 ? high : low, keep = (value) => (direction > 0 ? Math.min(value, worst) : Math.max(value, worst));
        const line = [];
        steps.forEach(([trial, until, second, value]) => {
          const row = rowOf(study, [trial, until]), x = xs.at(by === SECONDS ? second : row ? row.place : 0), y = ys.at(keep(value));
          if (line.length) line.push([x, line[line.length - 1][1]]);
          line.push([x, y]);
        });
        if (line.length) line.push([xs.at(end), line[line.length - 1][1]]);
        drawLine(g, line, theme.best, 2.4);
        drawPicks(g, rows, at);
      });
      if (beyond) note(g, `${several(beyond, "results")} ${direction > 0 ? "above" : "below"}`, inner.x + inner.w, direction > 0 ? inner.y + 14 : inner.y + inner.h - 3);
      words.replaceChildren(...legend(["line best", "best so far"], ["dot thin", tops.length > 1 ? "results, larger budgets larger" : "every result"], ...(defaults ? [["line default", "default"]] : [])).children);
    },
  });
  bar.append(words, options("Horizontal axis", [[SECONDS, "seconds"], [RESULTS, "results"]], mode, (name) => { mode = name; plot.touch(true); }));
  return { box: el("div", {}, bar, plot.box), plots: [plot], isShown: (study) => successes(study).length > 0 };
};
const lastSuccess = (study, trial) => (trial === null || trial === undefined ? undefined : (byTrial(study).get(trial) || []).findLast((row) => row.v));

const CURVES = 1500; // lines in a picture
const curvesPanel = () => {
  let mode = "rungs";
  const bar = el("div", { className: "bar" }), words = el("div", { className: "legend" });
  const pointsOf = (keys) => {
    const found = new Map();
    for (const row of keys) {
      if (mode === "training" && view.place === 0) for (const [step, value] of row.c || []) found.set(step, value);
      if (row.v) found.set(row.u, row.v[view.place]);
    }
    return [...found].sort((a, b) => a[0] - b[0]);
  };
  const plot = new Plot({
    label: "Learning curves of the trials", height: 300, click: (hit) => hit.row && pick(hit.row),
    draw: (g, width, height, plot) => {
      const study = main(), direction = sign(study), best = leader(study), usual = study.summary.default;
      let trials = [...byTrial(study)].map(([trial, keys]) => ({ trial, keys, points: pointsOf(keys), last: keys.findLast((row) => row.v) })).filter((one) => one.points.length && one.last);
      const total = trials.length, loss = (one) => direction * one.last.v[view.place];
      if (total > CURVES) {
        trials.sort((a, b) => b.last.u - a.last.u || loss(a) - loss(b));
        const each = Math.ceil((total - CURVES / 2) / (CURVES / 2));
        trials = trials.filter((one, place) => place < CURVES / 2 || place % each === 0 || one.trial === usual || view.picks.includes(one.trial));
      }
      const steps = trials.flatMap((one) => one.points.map((point) => point[0]));
      const lowest = steps.length ? steps.reduce((a, b) => Math.min(a, b)) : 1, highest = steps.length ? steps.reduce((a, b) => Math.max(a, b)) : 1;
      const [low, high, beyond] = goodLimits(trials.map((one) => one.last.v[view.place]), direction, best && best.v ? [best.v[view.place]] : []);
      const kind = lowest > 0 && highest / lowest >= 8 ? "log" : "linear";
      const rungs = budgets(study).map(([until]) => until), ticks = mode === "rungs" && rungs.length <= 7 ? rungs : undefined;
      const { xs, ys, inner } = drawAxes(g, { x: 0, y: 0, w: width, h: height }, { kind, low: lowest, high: highest, label: `${study.header.unit} trained`, text: amount, ticks }, { low, high, label: axisLabel(study) });
      const brushed = isBrushed(), at = ([x, y]) => [xs.at(x), ys.at(y)];
      clip(g, inner, () => {
        const faint = brushed ? 0.08 : Math.max(0.12, Math.min(0.6, 14 / Math.sqrt(trials.length)));
        const paths = [[[], theme.thin, faint], [[], theme.best, 0.55]];
        for (const one of trials) {
          const inside = brushed && isInside(study, one.last);
          paths[inside ? 1 : 0][0].push(one);
          if (!brushed || inside) for (const point of one.points) { const [x, y] = at(point); plot.points.push({ x, y, row: one.last }); }
        }
        for (const [some, color, alpha] of paths) {
          g.globalAlpha = alpha;
          g.strokeStyle = color;
          g.lineWidth = 1;
          g.beginPath();
          for (const one of some) one.points.forEach((point, place) => { const [x, y] = at(point); if (place) g.lineTo(x, y); else g.moveTo(x, y); });
          g.stroke();
          drawDots(g, some.filter((one) => one.points.length === 1 || mode === "rungs").flatMap((one) => one.points.map(at)), color, 1.6, alpha);
        }
        const special = (trial, color, width, dash) => {
          const one = trials.find((each) => each.trial === trial);
          if (!one) return;
          drawLine(g, one.points.map(at), color, width, dash);
          if (mode === "rungs" || one.points.length < 3) drawDots(g, one.points.map(at), color, width + 0.8, 1);
        };
        if (usual !== null) special(usual, theme.default, 1.8, [6, 4]);
        if (best) special(best.t, theme.best, 2.6, []);
        view.picks.forEach((trial) => { if (!best || trial !== best.t) special(trial, pickColor(trial), 2.2, []); });
      });
      const less = total > trials.length ? `${several(trials.length, "lines")} of ${total.toLocaleString("en")}` : "";
      const out = beyond ? `${several(beyond, "trials")} ${direction > 0 ? "above" : "below"}` : "";
      if (less || out) note(g, [less, out].filter(Boolean).join("; "), inner.x + inner.w, inner.y + 14);
      words.replaceChildren(...legend(...(best ? [["line best", `${leads(study)}: trial ${best.t}`]] : []), ...(usual !== null ? [["line default", "default"]] : []), ["line thin", "other trials"]).children);
    },
  });
  bar.append(words, options("Curves", [["rungs", "by rung"], ["training", "within trainings"]], mode, (name) => { mode = name; plot.touch(true); }));
  const isShown = (study) => study.header.horizon > 1 && successes(study).length > 0;
  return { box: el("div", {}, bar, plot.box), plots: [plot], isShown };
};

const rungsPanel = () => {
  const body = el("tbody"), head = el("tr");
  const update = (study) => {
    const name = study.header.objectives[view.place][0], found = new Map();
    for (const row of allRows(study)) {
      const rung = found.get(row.u) || { finished: 0, failed: 0, running: 0, best: null };
      if (row.k === "pending" || row.k === "lost") rung.running++;
      else { rung.finished++; rung.failed += row.k === "failed"; }
      if (row.v && row.ok !== false && (rung.best === null || sign(study) * row.v[view.place] < sign(study) * rung.best)) rung.best = row.v[view.place];
      found.set(row.u, rung);
    }
    head.replaceChildren(...[study.header.unit, "finished", "failed", "in flight", `best ${name}`].map((text) => el("th", {}, text)));
    body.replaceChildren(...[...found].sort((a, b) => a[0] - b[0]).map(([until, rung]) =>
      el("tr", {}, ...[until.toLocaleString("en"), rung.finished, rung.failed, rung.running, short(rung.best)].map((cell) => el("td", {}, String(cell))))));
  };
  return { box: el("div", { className: "table" }, el("table", {}, el("thead", {}, head), body)), update, isShown: (study) => study.header.horizon > 1 && allRows(study).length > 0 };
};

const paretoPanel = () => {
  let pair = [0, 1];
  const choose = el("div", { className: "options" }), words = legend(["dot thin", "every result"], ["dot best", "Pareto front"]);
  const plot = new Plot({
    label: "The Pareto front of two objectives", height: 300, click: (hit) => hit.row && pick(hit.row),
    draw: (g, width, height, plot) => {
      const study = main(), aims = study.header.objectives, front = study.summary.front.map((key) => rowOf(study, key)).filter(Boolean);
      const until = front.length ? front[0].u : (budgets(study).at(-1) || [null])[0], rows = successes(study).filter((row) => row.u === until);
      const [a, b] = pair, direction = pair.map((place) => (aims[place][1] === "max" ? -1 : 1));
      const ends = pair.map((place, k) => goodLimits(rows.map((row) => row.v[place]), direction[k], front.map((row) => row.v[place])));
      const title = (place) => `${aims[place][0]} (${aims[place][1] === "max" ? "higher" : "lower"} is better)`;
      const { xs, ys, inner } = drawAxes(g, { x: 0, y: 0, w: width, h: height }, { low: ends[0][0], high: ends[0][1], label: title(a) }, { low: ends[1][0], high: ends[1][1], label: title(b) });
      const at = (row) => [xs.at(row.v[a]), ys.at(row.v[b])];
      clip(g, inner, () => {
        drawResults(g, plot, study, rows, at, () => 3);
        if (aims.length === 2) {
          const line = [];
          [...front].sort((r, s) => direction[0] * (r.v[a] - s.v[a])).forEach((row) => { const [x, y] = at(row); if (line.length) line.push([x, line[line.length - 1][1]]); line.push([x, y]); });
          drawLine(g, line, theme.best, 1.6);
        }
        drawDots(g, front.map(at), theme.best, 4, 0.9);
        drawPicks(g, rows, at);
      });
    },
  });
  const update = (study) => {
    const aims = study.header.objectives;
    if (aims.length > 2 && !choose.children.length)
      for (const axis of [0, 1]) choose.append(el("select", { onchange: (event) => { pair[axis] = Number(event.target.value); plot.touch(true); }, ariaLabel: axis ? "vertical" : "horizontal" },
        ...aims.map(([name], place) => el("option", { value: String(place), selected: place === pair[axis] }, name))));
  };
  return { box: el("div", {}, el("div", { className: "bar" }, words, choose), plot.box), plots: [plot], update, isShown: (study) => study.header.objectives.length > 1 && successes(study).length > 0 };
};

// -- several studies --------------------------------------------------------------------------------------------------

const seriesColor = (name) => SERIES[[...catalogue].indexOf(name) % SERIES.length];
const besidePanel = () => {
  let mode = SECONDS;
  const table = el("table"), box = el("div", { className: "table" }, table);
  const plot = new Plot({
    label: "The best so far of several studies", height: 300,
    draw: (g, width, height, plot) => {
      const shown = [...catalogue].filter((name) => (name === view.main || view.beside.has(name)) && studies.get(name) && studies.get(name).summary);
      const first = main().header.objectives[0];
      const lines = shown.map((name) => ({ name, study: studies.get(name) })).filter(({ study }) => study.header.objectives[0][0] === first[0] && study.header.objectives[0][1] === first[1] && study.summary.steps[0].length);
      const by = mode === SECONDS && lines.every(({ study }) => isTimed(study)) ? SECONDS : RESULTS;
      const end = Math.max(1e-3, ...lines.map(({ study }) => (by === SECONDS ? study.summary.seconds : study.summary.results)));
      const [low, high] = goodLimits(lines.flatMap(({ study }) => study.summary.steps[0].map((step) => step[3])), first[1] === "max" ? -1 : 1);
      const { xs, ys, inner } = drawAxes(g, { x: 0, y: 0, w: width, h: height }, { low: 0, high: end * 1.01, label: by === SECONDS ? "seconds of search" : "results" }, { low, high, label: `best ${first[0]}` });
      clip(g, inner, () => lines.forEach(({ name, study }) => {
        const line = [];
        for (const [, , second, value, count] of study.summary.steps[0]) {
          const x = xs.at(by === SECONDS ? second : count);
          if (line.length) line.push([x, line[line.length - 1][1]]);
          line.push([x, ys.at(value)]);
          plot.points.push({ x, y: ys.at(value), tip: () => [name, [`best ${first[0]}`, short(value)], [by, short(by === SECONDS ? second : count)]] });
        }
        line.push([xs.at(by === SECONDS ? study.summary.seconds : study.summary.results), line[line.length - 1][1]]);
        drawLine(g, line, seriesColor(name), name === view.main ? 3 : 1.8);
      }));
    },
  });
  const update = () => {
    const rows = [...catalogue].map((name) => {
      const study = studies.get(name), known = study && study.summary;
      const shown = name === view.main || view.beside.has(name);
      const check = el("input", { type: "checkbox", checked: shown, disabled: name === view.main, onchange: (event) => { if (event.target.checked) view.beside.add(name); else view.beside.delete(name); follow(); refresh(true); } });
      check.setAttribute("aria-label", `show ${name}`);
      const swatch = el("i", { className: "swatch" });
      swatch.style.background = shown ? seriesColor(name) : "transparent";
      const open = el("button", { className: "name", type: "button", onclick: () => openStudy(name) }, name);
      const aims = known ? study.header.objectives : [], best = known && study.summary.steps[0].at(-1);
      const cells = known ? [best ? short(best[3]) : "–", study.summary.results, study.summary.failed, study.summary.pending, duration(study.summary.seconds), study.header.title, aims[0][0]] : ["", "", "", "", "", "", ""];
      return el("tr", { className: name === view.main ? "best" : "" }, el("td", {}, check, swatch, open), ...cells.map((cell) => el("td", {}, String(cell))));
    });
    const names = ["study", "best", "results", "failed", "in flight", "search", "optimizer", "objective"];
    table.replaceChildren(el("thead", {}, el("tr", {}, ...names.map((name) => el("th", {}, name)))), el("tbody", {}, ...rows));
  };
  const bar = el("div", { className: "bar" }, el("div", { className: "legend" }), options("Horizontal axis", [[SECONDS, "seconds"], [RESULTS, "results"]], mode, (name) => { mode = name; plot.touch(true); }));
  return { box: el("div", { className: "halves" }, el("div", {}, bar, plot.box), box), plots: [plot], update, isShown: () => catalogue.size > 1 };
};
