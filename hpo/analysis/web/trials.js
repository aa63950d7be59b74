// Panels of trials: lineage, timeline, failures, two beside each other, the table.

const lineagePanel = () => {
  const rowsOf = (study) => new Map((study.lineage || []).map(([trial, until, place]) => [`${trial},${until}`, place]));
  const plot = new Plot({
    label: "Whose weights came from whom", click: (hit) => hit.row && pick(hit.row),
    height: () => { const places = (main().lineage || []).map((one) => one[2]); return Math.min(560, Math.max(180, 60 + 11 * (Math.max(0, ...places) + 1))); },
    draw: (g, width, height, plot) => {
      const study = main(), places = rowsOf(study), best = leader(study), most = Math.max(1, ...places.values());
      const shade = memo(study, `shade ${view.place}`, () => {
        const found = new Map();
        for (const [until] of budgets(study)) {
          const here = successes(study).filter((row) => row.u === until).sort((a, b) => sign(study) * (a.v[view.place] - b.v[view.place]));
          here.forEach((row, place) => found.set(row, 1 - place / Math.max(here.length - 1, 1)));
        }
        return found;
      });
      const path = new Set();
      for (let row = best; row && !path.has(row); row = rowOf(study, row.s)) path.add(row);
      const end = Math.max(1, ...[...places.keys()].map((key) => Number(key.split(",")[1])));
      const box = { x: 0, y: 0, w: width, h: height };
      const { xs, inner } = drawAxes(g, box, { low: 0, high: end * 1.02, label: `${study.header.unit} trained`, text: amount }, { kind: "choice", names: [""], label: "" });
      g.clearRect(inner.x, 0, inner.w + 8, inner.y + inner.h - 1);
      const y = (key) => inner.y + 4 + (places.get(key) / most) * (inner.h - 12);
      const lineOf = (row) => {
        const key = `${row.t},${row.u}`, source = row.s ? `${row.s[0]},${row.s[1]}` : null, known = source !== null && places.has(source);
        const x0 = xs.at(known ? row.s[1] : 0), y0 = known ? y(source) : y(key), x1 = xs.at(row.u), y1 = y(key);
        if (y0 === y1) return [[x0, y0], [x1, y1]];
        const found = [];
        for (let k = 0; k <= 12; k++) { const t = k / 12; found.push([x0 + 0.45 * t * (x1 - x0), y0 + (3 - 2 * t) * t * t * (y1 - y0)]); }
        return [...found, [x1, y1]];
      };
      const rows = [...places.keys()].map((key) => study.rows.get(key)).filter(Boolean), wide = Math.min(2.2, Math.max(0.8, (3 * inner.h) / (most + 1) / 12));
      for (const row of rows.filter((row) => !path.has(row)).sort((a, b) => (shade.get(a) || 0) - (shade.get(b) || 0))) {
        g.globalAlpha = 0.15 + 0.85 * (shade.get(row) || 0);
        drawLine(g, lineOf(row), pickColor(row.t) || theme.first, pickColor(row.t) ? 2.6 : wide);
      }
      g.globalAlpha = 1;
      for (const row of path) if (places.has(`${row.t},${row.u}`)) drawLine(g, lineOf(row), theme.best, Math.max(2.6, 1.3 * wide));
      for (const row of path) if (row.s && row.s[0] !== row.t && places.has(`${row.s[0]},${row.s[1]}`)) {
        g.beginPath(); g.arc(xs.at(row.s[1]), y(`${row.s[0]},${row.s[1]}`), 4, 0, 6.2832); g.fillStyle = theme.card; g.fill(); g.strokeStyle = theme.best; g.lineWidth = 1.8; g.stroke();
      }
      for (const row of rows) {
        const point = { x: xs.at(row.u), y: y(`${row.t},${row.u}`), row };
        plot.points.push(point);
        if (row.k === "failed") { g.strokeStyle = theme.bad; g.lineWidth = 1.4; g.beginPath(); g.moveTo(point.x - 3, point.y - 3); g.lineTo(point.x + 3, point.y + 3); g.moveTo(point.x + 3, point.y - 3); g.lineTo(point.x - 3, point.y + 3); g.stroke(); }
      }
    },
  });
  return { box: el("div", {}, legend(["line best", "the one that leads"], ["line first", "the darker, the better at its budget"], ["ring best", "copied"], ["cross bad", "failed"]), plot.box), plots: [plot], isShown: (study) => hasClones(study) && Boolean(study.lineage && study.lineage.length) };
};

const STATES = { done: "best", failed: "bad", pending: "default", lost: "thin" };
const timelinePanel = () => {
  let layout = null;
  const lanes = (study) => memo(study, "lanes", () => {
    const found = new Map();
    for (const row of allRows(study)) if (row.l !== undefined) found.set(`${row.d ?? -1},${row.l}`, [row.d ?? -1, row.l]);
    return [...found.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  });
  // Pauses in which nothing was in flight are cut out, so that a study that was resumed after a day can be read.
  const pieces = (study, now) => {
    const rows = allRows(study).filter((row) => row.a && row.l !== undefined).sort((a, b) => a.a - b.a), found = [];
    for (const row of rows) {
      const end = row.f || (row.k === "pending" && !frozen ? now : row.a);
      const last = found[found.length - 1];
      if (last && row.a <= last[1]) last[1] = Math.max(last[1], end); else found.push([row.a, end]);
    }
    const busy = found.reduce((sum, [a, b]) => sum + b - a, 0) || 1, joined = [];
    for (const [a, b] of found) { const last = joined[joined.length - 1]; if (last && a - last[1] < Math.max(1, 0.05 * busy)) last[1] = b; else joined.push([a, b]); }
    return joined;
  };
  const TALL = 500;
  const plot = new Plot({
    label: "What every worker did when", height: () => { const count = lanes(main()).length; return 52 + Math.min(TALL, Math.max(1, count) * (count > 24 ? 8 : 22)); },
    click: (hit) => hit.row && pick(hit.row),
    over: (x, y) => (layout ? layout.find(x, y) : null),
    draw: (g, width, height) => {
      const study = main(), now = study.now + (performance.now() - study.heard) / 1000, all = lanes(study), parts = pieces(study, now);
      const gap = parts.length > 1 ? Math.min(14, 200 / parts.length) : 0, left = 86, right = width - 10, total = parts.reduce((sum, [a, b]) => sum + b - a, 0) || 1;
      const unit = (right - left - gap * (parts.length - 1)) / total, starts = [];
      parts.reduce((x, [a, b]) => { starts.push(x); return x + (b - a) * unit + gap; }, left);
      const at = (time) => { let k = parts.findLastIndex(([a]) => a <= time); k = Math.max(k, 0); return starts[k] + (Math.min(time, parts[k][1]) - parts[k][0]) * unit; };
      const top = 8, bottom = height - 38, step = (bottom - top) / Math.max(1, all.length), tall = Math.max(2, step * 0.74);
      const line = new Map(all.map(([driver, lane], place) => [`${driver},${lane}`, top + place * step]));
      g.font = FONT;
      g.fillStyle = theme.muted; g.textAlign = "right"; g.textBaseline = "middle";
      const drivers = [...new Set(all.map(([driver]) => driver))];
      if (step >= 12) all.forEach(([driver, lane], place) => g.fillText(drivers.length > 1 ? `${driver < 0 ? "by hand" : `driver ${drivers.indexOf(driver) + 1}`} · ${lane + 1}` : driver < 0 ? `by hand ${lane + 1}` : `worker ${lane + 1}`, left - 8, top + place * step + tall / 2));
      else drivers.forEach((driver) => { const first = all.findIndex((one) => one[0] === driver); g.fillText(driver < 0 ? "by hand" : `driver ${drivers.indexOf(driver) + 1}`, left - 8, top + first * step + 6); });
      g.textAlign = "center"; g.textBaseline = "top";
      for (const tick of linearTicks(0, total, Math.max(2, Math.floor((right - left) / 90)))) {
        let rest = tick, k = 0;
        while (k < parts.length - 1 && rest > parts[k][1] - parts[k][0]) { rest -= parts[k][1] - parts[k][0]; k++; }
        const x = starts[k] + rest * unit, wide = g.measureText(short(tick)).width;
        g.strokeStyle = theme.grid; g.beginPath(); g.moveTo(Math.round(x) + 0.5, top); g.lineTo(Math.round(x) + 0.5, bottom); g.stroke();
        g.fillStyle = theme.muted; g.fillText(short(tick), Math.min(x, right - wide / 2), bottom + 4);
      }
      g.fillStyle = theme.grid;
      starts.slice(1).forEach((x) => g.fillRect(x - gap + 2, top, Math.max(1, gap - 4), bottom - top));
      const caption = parts.length > 1 ? "seconds with jobs in flight; pauses are cut out" : "seconds since the first job";
      g.fillStyle = theme.ink; g.textBaseline = "bottom"; g.fillText(caption, width < 500 ? width / 2 : (left + right) / 2, height);
      const boxes = [];
      for (const row of allRows(study)) {
        const y = line.get(`${row.d ?? -1},${row.l}`);
        if (y === undefined || !row.a) continue;
        const end = row.f || (row.k === "pending" && !frozen ? now : row.a), worked = row.w && row.f ? Math.max(row.a, row.f - row.w) : row.a;
        const x0 = at(row.a), x1 = Math.max(at(end), x0 + 1), xw = Math.min(x1, at(worked)), color = theme[STATES[row.k]];
        const alpha = (!isBrushed() || isInside(study, row) ? 1 : 0.2);
        g.fillStyle = color;
        g.globalAlpha = 0.25 * alpha; if (xw > x0 + 0.5) g.fillRect(x0, y, xw - x0, tall);
        g.globalAlpha = 0.8 * alpha; g.fillRect(xw, y, Math.max(1, x1 - xw - (x1 - xw > 4 ? 1 : 0)), tall);
        g.globalAlpha = 1;
        if (pickColor(row.t)) { g.strokeStyle = pickColor(row.t); g.lineWidth = 2; g.strokeRect(x0, y, x1 - x0, tall); }
        boxes.push({ x0, x1, y, row, end });
      }
      layout = { find: (x, yy) => { const hit = boxes.findLast((box) => x >= box.x0 - 2 && x <= box.x1 + 2 && yy >= box.y && yy <= box.y + tall); return hit ? { row: hit.row, tip: () => [...describeRow(hit.row), ["took", duration(hit.end - hit.row.a)]] } : null; } };
      plot.hit = layout.find;
    },
  });
  plot.nearest = (event) => (layout ? layout.find(...plot.place(event)) : null);
  return { box: el("div", {}, legend(["box best", "finished"], ["box bad", "failed"], ["box default", "in flight"], ["box pale", "waiting for a worker"]), plot.box), plots: [plot], ticks: true, isShown: (study) => lanes(study).length > 0 };
};

// Who drives the study now, and what is known of its lease; only on a live page.
const driversPanel = () => {
  const body = el("tbody"), head = ["driver", "who", "in flight", "state"].map((text) => el("th", { className: "left" }, text));
  const update = (study) => body.replaceChildren(...study.drivers.map((row) => el("tr", {}, ...row.map((cell) => el("td", { className: "left" }, cell)))));
  return { box: el("div", { className: "table" }, el("table", {}, el("thead", {}, el("tr", {}, ...head)), body)), update, isShown: (study) => Boolean(study.drivers && study.drivers.length) };
};

const failuresPanel = () => {
  const box = el("div", { className: "failures" }), open = new Set();
  const update = (study) => {
    const groups = new Map();
    for (const row of allRows(study)) if (row.k === "failed") { const kind = row.e.replace(/\d+/g, "0"), some = groups.get(kind); if (some) some.push(row); else groups.set(kind, [row]); }
    const sorted = [...groups].sort((a, b) => b[1].length - a[1].length);
    const shown = sorted.slice(0, 50).map(([error, rows]) => {
      const last = rows[rows.length - 1].e, differ = rows.some((row) => row.e !== last) ? " (the last; numbers differ)" : "";
      const traced = rows.findLast((row) => row.b !== null && row.b !== undefined), text = traced && study.tracebacks[traced.b];
      const names = rows.slice(-24).map((row) => el("button", { type: "button", className: "chip", textContent: String(row.t), onclick: () => pick(row) }));
      const details = el("details", { open: open.has(error), ontoggle: (event) => { if (event.target.open) open.add(error); else open.delete(error); } },
        el("summary", {}, el("b", {}, several(rows.length, "trials")), ` ${cut(last, 300)}${differ}`),
        el("p", { className: "chips" }, rows.length > 24 ? "the last of them: " : "", ...names), text ? el("pre", {}, text) : el("p", { className: "note" }, "No traceback was kept."));
      return details;
    });
    if (sorted.length > shown.length) shown.push(el("p", { className: "note" }, `and ${several(sorted.length - shown.length, "other errors")}`));
    box.replaceChildren(...shown);
  };
  return { box, update, isShown: (study) => study.summary.failed > 0 };
};

const comparePanel = () => {
  const fields = [0, 1].map((place) => el("input", { type: "number", min: "0", className: `pick${place}`, onchange: (event) => choose(place, event.target) }));
  fields.forEach((field, place) => field.setAttribute("aria-label", place ? "second trial" : "first trial"));
  const table = el("table"), said = el("p", { className: "note" }), all = el("input", { type: "checkbox", onchange: () => refresh(true) });
  const choose = (place, field) => {
    const trial = Number(field.value);
    if (field.value === "" || !byTrial(main()).has(trial)) { field.setCustomValidity(`there is no trial ${field.value}`); field.reportValidity(); return; }
    field.setCustomValidity("");
    const picks = pair(main());
    picks[place] = trial;
    view.picks = picks;
    refresh(true);
  };
  const pair = (study) => {
    const best = leader(study), second = () => {
      const others = compared(study).filter((row) => row.t !== (best && best.t)).sort((a, b) => sign(study) * (a.v[view.place] - b.v[view.place]));
      return (study.summary.default !== null && (!best || study.summary.default !== best.t)) ? study.summary.default : others.length ? others[0].t : undefined;
    };
    const first = view.picks[0] ?? (best && best.t), other = view.picks[1] ?? (best && best.t !== first ? best.t : second());
    return [first, other];
  };
  const update = (study) => {
    const trials = pair(study);
    trials.forEach((trial, place) => { if (document.activeElement !== fields[place]) fields[place].value = trial ?? ""; });
    const shared = (() => {
      const done = trials.map((trial) => (byTrial(study).get(trial) || []).filter((row) => row.v || row.e));
      const both = done[0].findLast((row) => done[1].some((other) => other.u === row.u));
      return both ? done.map((rows) => rows.find((row) => row.u === both.u)) : done.map((rows, place) => rows.at(-1) || (byTrial(study).get(trials[place]) || []).at(-1));
    })();
    if (!shared[0] || !shared[1]) { table.replaceChildren(); said.textContent = "Choose two trials: a click on a point or on a row of the table takes it."; return; }
    const rows = [], add = (name, texts, numbers) => { const differs = texts[0] !== texts[1]; if (differs || all.checked) rows.push([name, texts, differs, numbers]); };
    study.header.objectives.forEach(([name], place) => add(name, shared.map((row) => (row.v ? short(row.v[place]) : "–"))));
    study.header.columns.forEach((spec, place) => add(spec.name, shared.map((row) => cellText(spec, row.x[place]))));
    for (const name of new Set(shared.flatMap((row) => Object.keys(row.m || {})))) add(name, shared.map((row) => short((row.m || {})[name])));
    add("error", shared.map((row) => cut(row.e || "–", 80)));
    add("seconds", shared.map((row) => duration(row.w)));
    add("started from", shared.map((row) => (row.s ? `trial ${row.s[0]} at ${amount(row.s[1])}` : "nothing")));
    const where = shared.map((row) => `trial ${row.t}${study.header.horizon > 1 ? ` at ${amount(row.u)}` : ""}`);
    table.replaceChildren(el("thead", {}, el("tr", {}, el("th", {}, ""), ...where.map((text, place) => el("th", { className: `pick${place}` }, text)))),
      el("tbody", {}, ...rows.map(([name, texts, differs]) => el("tr", {}, el("td", {}, name), ...texts.map((text) => el("td", { className: differs ? "differs" : "muted" }, text))))));
    const losses = shared.map((row) => study.header.objectives.map((_, place) => (row.v ? sign(study, place) * row.v[place] : Infinity)));
    const beats = (a, b) => losses[a].every((loss, place) => loss <= losses[b][place]) && losses[a].some((loss, place) => loss < losses[b][place]);
    const winner = beats(0, 1) ? 0 : beats(1, 0) ? 1 : null;
    const words = shared[0].u !== shared[1].u ? "Their budgets differ, so neither is the better." : winner === null ? "Neither is better." : `${where[winner].replace("trial", "Trial")} is better.`;
    said.textContent = `${words} A click on a point or on a row of the table takes it.`;
  };
  return { box: el("div", {}, el("div", { className: "bar" }, el("div", { className: "pair" }, fields[0], " and ", fields[1]), el("label", {}, all, " what is equal, too")), said, el("div", { className: "table short" }, table)), update, isShown: (study) => furthest(study).length > 1 };
};

const ROW = 31; // pixels of a row, as in the style sheet
const trialsPanel = () => {
  let order = { place: null, up: true }, shown = [], key = "";
  const head = el("tr"), body = el("tbody"), said = el("p", { className: "note" }), filter = el("input", { type: "search", placeholder: "trial or error", oninput: () => { update(main()); } });
  filter.setAttribute("aria-label", "only trials that match");
  const clear = el("button", { type: "button", className: "plain", textContent: "clear the brushes", hidden: true, onclick: () => { view.brush = {}; refresh(true); } });
  const table = el("table", { className: "trials" }, el("thead", {}, head), body), box = el("div", { className: "table rows", tabIndex: 0 }, table);
  box.addEventListener("scroll", () => fill(main()));
  const columns = (study) => [
    { name: "trial", text: (row) => String(row.t), value: (row) => row.t },
    ...(study.header.horizon > 1 ? [{ name: study.header.unit, text: (row) => amount(row.u), value: (row) => row.u }] : []),
    ...study.header.objectives.map(([name], place) => ({ name, text: (row) => (row.v ? short(row.v[place]) : place ? "–" : row.e ? cut(row.e, 24) : row.k), title: (row) => row.e || "", value: (row) => (row.v ? row.v[place] : null), look: (row) => (row.v ? "" : row.k === "failed" ? "bad" : "muted") })),
    { name: "at second", text: (row) => (row.p === undefined || row.p === null ? "" : row.p.toFixed(1)), value: (row) => row.p ?? null },
    ...study.header.columns.map((spec, place) => ({ name: spec.name, text: (row) => cellText(spec, row.x[place]), value: (row) => (row.x[place] === null ? null : spec.kind === "choice" ? spec.values[row.x[place]] : row.x[place]) })),
  ];
  const best = (study) => {
    const direction = sign(study), value = (row) => (row.v ? direction * row.v[view.place] : Infinity);
    return (a, b) => Boolean(b.v || b.e) - Boolean(a.v || a.e) || b.u - a.u || (value(a) === value(b) ? a.t - b.t : value(a) - value(b));
  };
  const update = (study) => {
    const cells = columns(study), names = JSON.stringify(cells.map((cell) => cell.name));
    if (names !== key) {
      key = names;
      order = { place: null, up: true };
      head.replaceChildren(...cells.map((cell, place) => el("th", {}, el("button", { type: "button", textContent: cell.name, onclick: () => { order = { place, up: order.place === place ? !order.up : true }; update(main()); } }))));
    }
    [...head.children].forEach((one, place) => { if (order.place === place) one.setAttribute("aria-sort", order.up ? "ascending" : "descending"); else one.removeAttribute("aria-sort"); });
    const text = filter.value.trim().toLowerCase(), all = furthest(study);
    shown = all.filter((row) => (!isBrushed() || isInside(study, row)) && (!text || String(row.t) === text || (row.e || "").toLowerCase().includes(text) || row.k === text));
    if (order.place === null) shown.sort(best(study));
    else {
      const { value } = cells[order.place], turn = order.up ? 1 : -1;
      shown.sort((a, b) => { const x = value(a), y = value(b); if (x === null || y === null) return (x === null) - (y === null); return turn * (typeof x === "string" ? x.localeCompare(y) : x - y); });
    }
    said.textContent = `${shown.length === all.length ? several(all.length, "trials") : `${shown.length.toLocaleString("en")} of ${several(all.length, "trials")}`}, the furthest result of each; a click on a heading sorts, a click on a row takes it for the comparison.`;
    clear.hidden = !isBrushed();
    fill(study);
  };
  // Only rows that can be seen exist: the rest is the height of two empty ones.
  const fill = (study) => {
    const cells = columns(study), first = Math.max(0, Math.min(Math.floor(box.scrollTop / ROW) - 8, shown.length - 1)), count = Math.ceil(560 / ROW) + 16, end = Math.min(shown.length, first + count);
    const pad = (rows) => { const one = el("tr", { className: "pad" }, el("td", { colSpan: cells.length })); one.firstChild.style.height = `${rows * ROW}px`; return one; };
    const lead = leader(study);
    body.replaceChildren(...(first ? [pad(first)] : []), ...shown.slice(first, end).map((row) => {
      const made = el("tr", { className: `${lead && row.t === lead.t ? "best" : ""}${pickColor(row.t) ? ` picked${view.picks.indexOf(row.t)}` : ""}`, onclick: () => pick(row), dataset: { trial: row.t } },
        ...cells.map((cell) => el("td", { className: cell.look ? cell.look(row) : "", title: cell.title ? cell.title(row) : "" }, cell.text(row))));
      if (lead && row.t === lead.t) made.firstChild.append(el("span", { className: "tag best" }, leads(study)));
      if (row.t === study.summary.default) made.firstChild.append(el("span", { className: "tag default" }, "default"));
      return made;
    }), ...(end < shown.length ? [pad(shown.length - end)] : []));
  };
  return { box: el("div", {}, el("div", { className: "bar" }, said, el("div", {}, clear, filter)), box), update, isShown: (study) => allRows(study).length > 0 };
};
