// The data: studies by name, kept up to date by documents (hpo/analysis/feed.py), and what is chosen on the page.

const studies = new Map();
const view = { main: null, brush: {}, picks: [], place: 0, until: null, beside: new Set(), version: 0 };

const takeDocument = (name, epoch, data) => {
  let study = studies.get(name);
  if (!study || study.epoch !== epoch) { study = { name, epoch, rows: new Map(), tracebacks: {}, importance: null, lineage: null, version: 0 }; studies.set(name, study); }
  if (data.study) study.header = data.study;
  study.summary = data.summary;
  study.version = data.version;
  study.now = data.now;
  study.heard = performance.now();
  Object.assign(study.tracebacks, data.tracebacks || {});
  for (const row of data.rows || []) study.rows.set(`${row.t},${row.u}`, row);
  study.memo = {};
  return study;
};
// What is computed from a study's rows, once a document.
const memo = (study, name, make) => (name in study.memo ? study.memo[name] : (study.memo[name] = make()));

const sign = (study, place = view.place) => (study.header.objectives[place][1] === "max" ? -1 : 1);
const allRows = (study) => memo(study, "all", () => [...study.rows.values()]);
const successes = (study) => memo(study, "good", () => allRows(study).filter((row) => row.k === "done"));
const byTrial = (study) => memo(study, "trials", () => {
  const found = new Map();
  for (const row of allRows(study)) { const keys = found.get(row.t); if (keys) keys.push(row); else found.set(row.t, [row]); }
  for (const keys of found.values()) keys.sort((a, b) => a.u - b.u);
  return found;
});
// The furthest result of every trial, else its last job.
const furthest = (study) => memo(study, "furthest", () => [...byTrial(study).values()].map((keys) => keys.findLast((row) => row.v || row.e) || keys[keys.length - 1]));
const rowOf = (study, key) => (key ? study.rows.get(`${key[0]},${key[1]}`) : undefined);
const lastResult = (study, trial) => (byTrial(study).get(trial) || []).findLast((row) => row.v || row.e);
const isAdopted = (study, row) => { const first = byTrial(study).get(row.t)[0]; return Boolean(first.s && first.s[0] !== row.t); };
const hasClones = (study) => memo(study, "clones", () => allRows(study).some((row) => row.s && row.s[0] !== row.t && (row.v || row.e)));
const budgets = (study) => memo(study, "budgets", () => {
  const counts = new Map();
  for (const row of successes(study)) counts.set(row.u, (counts.get(row.u) || 0) + 1);
  return [...counts].sort((a, b) => a[0] - b[0]);
});
// Results that may be compared: of one budget, by default the highest with enough results, else the one with most.
const comparedBudget = (study) => {
  if (view.until !== null && budgets(study).some(([until]) => until === view.until)) return view.until;
  const enough = 2 * (study.header.columns.length + 2), all = budgets(study);
  const found = all.findLast(([, count]) => count >= enough) || all.reduce((a, b) => (b[1] > a[1] ? b : a), all[0] || [null, 0]);
  return found[0];
};
const compared = (study) => { const until = comparedBudget(study); return memo(study, `at ${until}`, () => successes(study).filter((row) => row.u === until)); };
const leader = (study) => rowOf(study, study.leader || study.summary.best);
const leads = (study) => study.leads || "best";
const axisLabel = (study, place = view.place) => (place === 0 && study.label) || study.header.objectives[place][0];

const column = (study, place) => study.header.columns[place];
const cellText = (spec, value) => (value === null || value === undefined ? "–" : spec.kind === "choice" ? spec.values[value] : short(value));
const describeRow = (row) => {
  const study = studies.get(view.main), { header } = study, lines = [`trial ${row.t}${header.horizon > 1 ? ` · ${amount(row.u)} ${header.unit}` : ""}`];
  if (row.v) header.objectives.forEach(([name], place) => lines.push([name, short(row.v[place])]));
  if (row.e) lines.push(["failed", cut(row.e, 120)]);
  if (row.ok === false) lines.push(["bounds", "not kept"]);
  if (row.k === "pending" || row.k === "lost") lines.push(["state", row.k]);
  header.columns.slice(0, 14).forEach((spec, place) => { if (row.x[place] !== null) lines.push([spec.name, cellText(spec, row.x[place])]); });
  if (header.columns.length > 14) lines.push(`and ${header.columns.length - 14} more`);
  return lines;
};

// -- brushing ---------------------------------------------------------------------------------------------------------

const OBJECTIVE = "\u0000objective "; // no parameter has such a name
const valueOn = (study, row, axis) => (axis.startsWith(OBJECTIVE) ? (row.v ? row.v[Number(axis.slice(OBJECTIVE.length))] : null) : row.x[study.header.columns.findIndex((spec) => spec.name === axis)]);
const brushes = () => Object.entries(view.brush);
const isInside = (study, row) => {
  for (const [axis, [low, high]] of brushes()) {
    const value = valueOn(study, row, axis);
    if (value === null || value === undefined) { if (!(low === null)) return false; } else if (low === null || value < low || value > high) return false;
  }
  return true;
};
const isBrushed = () => brushes().length > 0;
const pick = (row) => {
  view.picks = [row.t, ...view.picks.filter((trial) => trial !== row.t)].slice(0, 2);
  refresh(true);
};
const pickColor = (trial) => (view.picks[0] === trial ? theme.default : view.picks[1] === trial ? theme.first : null);
