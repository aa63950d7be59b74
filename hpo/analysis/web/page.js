// The page: panels in their places, the head of a live page, and the stream from the server. On a frozen page the data are inlined.

let catalogue = new Set();
const inlined = document.getElementById("data");
const frozen = Boolean(inlined);
const MAKERS = { history: historyPanel, curves: curvesPanel, rungs: rungsPanel, pareto: paretoPanel, beside: besidePanel, parallel: parallelPanel, slices: slicesPanel, importance: importancePanel, effects: effectsPanel, lineage: lineagePanel, timeline: timelinePanel, drivers: driversPanel, failures: failuresPanel, compare: comparePanel, trials: trialsPanel };
const panels = [];

const placePanels = () => {
  for (const place of document.querySelectorAll("[data-panel]")) {
    const panel = MAKERS[place.dataset.panel]();
    panel.section = place.closest("section");
    panel.place = place;
    place.replaceChildren(panel.box);
    panels.push(panel);
    place.panel = panel;
    watchPanels.observe(place);
  }
};
// What is out of sight is brought up to date when it comes into sight.
const watchPanels = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.panel.seen = isIntersecting;
    if (isIntersecting && target.panel.stale) updatePanel(target.panel, main());
  }
}, { rootMargin: "300px" });
const updatePanel = (panel, study) => {
  panel.stale = !panel.seen;
  if (panel.seen && panel.update) panel.update(study);
};
const refreshPanels = (urgent) => {
  const study = main();
  if (!study || !study.summary) return;
  const open = new Map();
  for (const panel of panels) {
    const shown = panel.isShown(study);
    panel.place.hidden = !shown;
    open.set(panel.section, open.get(panel.section) || shown);
    if (!shown) continue;
    updatePanel(panel, study);
    for (const plot of panel.plots || []) plot.touch(urgent);
  }
  for (const [section, shown] of open) if (section) section.hidden = !shown;
  updateTools(study);
};
// Tables and texts are brought up to date at most so often that it takes a small part of the time.
let again = 0, rested = 0;
const refresh = (urgent = false) => {
  if (urgent) { clearTimeout(again); again = 0; refreshNow(true); return; }
  if (!again) again = setTimeout(() => { again = 0; refreshNow(false); }, Math.max(0, rested - performance.now()));
};
const refreshNow = (urgent) => {
  const begun = performance.now();
  refreshPanels(urgent);
  rested = performance.now() + REST * (performance.now() - begun);
};

// -- head of a live page ----------------------------------------------------------------------------------------------

const byId = (name) => document.getElementById(name);
const card = (number, words, kind = "") => el("div", { className: `card ${kind}` }, el("b", {}, number), el("span", {}, words));
const updateHead = (study) => {
  const { header, summary } = study, aims = header.objectives.map(([name, way]) => `${name} (${way})`).join(", ");
  document.title = `${study.name}: ${summary.said}`;
  byId("title").textContent = header.title;
  byId("subtitle").textContent = `${header.place || study.name} — ${aims}; up to ${header.horizon.toLocaleString("en")} ${header.horizon === 1 ? header.unit.replace(/s$/, "") : header.unit} a trial, seed ${header.seed}${header.bounds ? `; bounds: ${header.bounds}` : ""}`;
  const cards = [], best = leader(study), usual = lastSuccess(study, summary.default);
  header.objectives.forEach(([name], place) => { const step = summary.steps[place].at(-1); if (step && (place === 0 || header.objectives.length < 4)) cards.push(card(short(header.objectives.length > 1 ? step[3] : best ? best.v[0] : step[3]), `${name} of the best, trial ${step[0]}`, "best")); });
  if (header.objectives.length > 1) cards.push(card(String(summary.front.length), "results on the Pareto front", "best"));
  if (usual && (!best || usual.t !== best.t)) cards.push(card(short(usual.v[0]), `${header.objectives[0][0]} of the default`, "default"));
  cards.push(card(summary.trials.toLocaleString("en"), `${summary.trials === 1 ? "configuration" : "configurations"} tried${summary.pending ? `, ${summary.pending} in flight` : ""}`));
  cards.push(card(summary.results.toLocaleString("en"), `results${summary.failed ? `, ${summary.failed} failed` : ""}${summary.lost ? `, ${summary.lost} lost` : ""}`));
  if (header.horizon > 1) {
    cards.push(card(summary.whole.toLocaleString("en"), `trained to the end, ${amount(header.horizon)} ${header.unit}`));
    cards.push(card(amount(summary.work), `${header.unit} trained in all`));
  }
  if (summary.seconds) cards.push(card(duration(summary.seconds), "of search"));
  byId("cards").replaceChildren(...cards);
  const config = best ? ` Trial ${best.t}: ${header.columns.map((spec, place) => (best.x[place] === null ? "" : `${spec.name}=${cellText(spec, best.x[place])}`)).filter(Boolean).join(" ")}.` : "";
  const stopped = summary.stopped ? ` No new trials: ${summary.stopped}.` : "";
  byId("lead").replaceChildren(el("strong", {}, `${summary.said}.`), `${config}${stopped}`);
  const name = encodeURIComponent(study.name);
  byId("csv").href = `table.csv?study=${name}`;
  byId("json").href = `table.json?study=${name}`;
  const rows = [["study", header.name], ["optimizer", header.call || header.title], ["objectives", aims], ["unit", header.unit], ["horizon", header.horizon.toLocaleString("en")], ["seed", String(header.seed)],
    ...header.columns.map((spec) => [spec.name, `${spec.allowed}${Object.keys(spec.when).length ? `; where ${Object.entries(spec.when).map(([parent, values]) => `${parent} is ${values.map(String).join(" or ")}`).join(" and ")}` : ""}`]),
    ...Object.entries(header.fixed).map(([key, value]) => [key, `always ${typeof value === "string" ? value : JSON.stringify(value)}`])];
  byId("header").replaceChildren(...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", { className: "left" }, cell)))));
};
// The objective and the budget that the page is about, where there are several.
const updateTools = (study) => {
  const { header } = study;
  const objective = byId("objective");
  objective.hidden = header.objectives.length < 2;
  fillSelect(objective, header.objectives.map(([one], place) => [String(place), `objective: ${one}`]), String(view.place));
  const levels = budgets(study);
  byId("budget").hidden = header.horizon === 1 || levels.length < 2;
  fillSelect(byId("budget"), [["", "compared at: automatic"], ...levels.map(([until, count]) => [String(until), `compared at ${amount(until)} ${header.unit} (${several(count, "results")})`])], view.until === null ? "" : String(view.until));
};
const fillSelect = (select, choices, now) => {
  const key = JSON.stringify(choices);
  if (select.dataset.key !== key && document.activeElement !== select) { select.dataset.key = key; select.replaceChildren(...choices.map(([value, text]) => el("option", { value }, text))); }
  if (document.activeElement !== select) select.value = now;
};

// -- stream -----------------------------------------------------------------------------------------------------------

let source = null, lastHeard = 0, tries = 0;
const state = (kind, words) => { byId("state").className = `state ${kind}`; byId("state").textContent = words; };
const follow = () => {
  if (source) source.close();
  const known = studies.get(view.main), query = new URLSearchParams({ study: view.main });
  if (known && known.whole) { query.set("since", known.version); query.set("epoch", known.epoch); }
  for (const name of view.beside) if (name !== view.main) query.append("beside", name);
  source = new EventSource(`follow?${query}`);
  const mine = source;
  source.onmessage = (event) => {
    if (mine !== source) return;
    tries = 0;
    lastHeard = performance.now();
    const message = JSON.parse(event.data), whole = message.name === view.main;
    if (message.data) { const study = takeDocument(message.name, message.epoch, message.data); if (whole) study.whole = true; }
    const study = studies.get(message.name);
    if (study && message.importance) study.importance = message.importance;
    if (study && message.lineage) study.lineage = message.lineage;
    const driven = study && message.drivers && JSON.stringify(message.drivers) !== JSON.stringify(study.drivers);
    if (driven) study.drivers = message.drivers;
    if (whole) state(message.error ? "bad" : message.opening ? "" : "live", message.error || (message.opening ? "the log is being read" : "live"));
    if (whole && message.data && panels.length) { updateHead(study); } // at once, however long the pictures take
    if (message.data || message.importance || message.lineage || driven) refresh();
  };
  source.onerror = () => {
    if (mine !== source) return;
    source.close();
    state("bad", "the server does not answer; it is asked again");
    setTimeout(() => { if (mine === source) follow(); }, Math.min(5000, 300 * 2 ** tries++));
  };
};
const openStudy = (name) => {
  if (view.main === name) return;
  Object.assign(view, { main: name, brush: {}, picks: [], place: 0, until: null });
  location.hash = encodeURIComponent(name);
  byId("study").value = name;
  follow();
  if (main() && main().summary) updateHead(main());
  refresh(true);
};
const listStudies = async () => {
  try {
    const answer = await fetch("studies");
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const names = await answer.json();
    if (JSON.stringify(names) !== JSON.stringify([...catalogue])) {
      const first = !catalogue.size;
      catalogue = new Set(names);
      byId("study").replaceChildren(...names.map((name) => el("option", { value: name }, name)));
      byId("study").hidden = names.length < 2;
      if (first && names.length) {
        names.slice(0, 8).forEach((name) => view.beside.add(name));
        let asked = "";
        try { asked = decodeURIComponent(location.hash.slice(1)); } catch { /* no name */ }
        view.main = names.includes(asked) ? asked : names[0];
        follow();
      }
      byId("study").value = view.main;
      refresh();
    }
    if (!names.length) state("bad", "there is no study yet");
  } catch (error) { if (!source) state("bad", error.message); }
  setTimeout(listStudies, 5000);
};

// -- begin ------------------------------------------------------------------------------------------------------------

const THEMES = ["", "light", "dark"];
const setTheme = (name) => { if (name) root.dataset.theme = name; else delete root.dataset.theme; readTheme(); for (const plot of plots) plot.touch(true); };
readTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(root.dataset.theme || ""));
document.body.append(tip);
const themer = byId("theme");
if (themer) themer.onclick = () => { const next = THEMES[(THEMES.indexOf(root.dataset.theme || "") + 1) % 3]; setTheme(next); themer.textContent = next || "auto"; };
byId("objective").onchange = (event) => { view.place = Number(event.target.value); refresh(true); };
byId("budget").onchange = (event) => { view.until = event.target.value ? Number(event.target.value) : null; refresh(true); };
placePanels();
if (frozen) {
  const message = JSON.parse(inlined.textContent), study = takeDocument(message.name, 1, message.data);
  Object.assign(study, { importance: message.importance, lineage: message.lineage, leader: message.leader, leads: message.leads, label: message.label });
  byId("state").textContent = `as it was on ${new Date(1000 * message.now).toLocaleString()}`;
  catalogue = new Set([message.name]);
  view.main = message.name;
  refresh(true);
} else {
  byId("study").onchange = (event) => openStudy(event.target.value);
  setInterval(() => {
    for (const panel of panels) if (panel.ticks && main() && main().summary && main().summary.pending) for (const plot of panel.plots) plot.touch();
    if (source && lastHeard && performance.now() - lastHeard > 15000) follow();
  }, 1000);
  listStudies();
}
