// The panel behind a cell: its row, every run of the row, and one run in full. `#run=<id>` opens it.

const DATA = JSON.parse(document.getElementById("page-data").textContent);
const panel = document.getElementById("page-panel");
let shownRow = null;
let entered = false; // whether a click on this page, and not the address it was opened with, opened the panel

const number = (value, digits = 4) => (typeof value === "number" ? value.toFixed(digits) : ABSENT);
const grouped = (value) => (typeof value === "number" ? value.toLocaleString("en-US", { maximumFractionDigits: 2 }) : ABSENT);
const nameOf = (run) => (run.trial ? `trial ${run.trial.number}` : `seed ${run.seed ?? ABSENT}`);
const idOf = () => (/^#run=([\w.-]+)/.exec(location.hash) || [])[1];
const runsOf = (row) => [...row.runs, ...row.failed, ...row.trials].map((id) => DATA.runs[id]).filter(Boolean);

function metricLabel(name) {
  const known = { auc: "AUC", mrr: "MRR", ndcg: "nDCG", hr: "HR", kl: "KL", ctr: "CTR", gini: "Gini" };
  const [metric, k] = name.split("@");
  return (known[metric] || metric.replace("_", " ")) + (k ? `@${k.replace("_", " ")}` : "");
}

/** A value of a metric as the tables print it: shares in per cent, counts whole, what is tiny with three digits. */
function metricValue(name, value) {
  if (typeof value !== "number") return ABSENT;
  if (/^(hr|ctr|coverage)(@|$)/.test(name)) return `${(100 * value).toFixed(2)} %`;
  if (name === "diversity") return grouped(Math.round(value));
  return name === "popularity" || name === "kl" ? value.toPrecision(3) : number(value);
}

/** The metric that a run was chosen by. */
const headline = (run) => (run && run.config && run.config.retrieval && run.config.retrieval.metric) || "auc";

function seconds(value) {
  if (typeof value !== "number") return ABSENT;
  if (value < 120) return `${value.toFixed(value >= 10 ? 0 : 1)} s`;
  return value < 7200 ? `${(value / 60).toFixed(1)} min` : `${(value / 3600).toFixed(1)} h`;
}

/** Open the panel at the run that the address names, close it where it names none. */
function followAddress() {
  const id = idOf();
  const run = id && DATA.runs[id];
  if (!run) {
    if (panel.open) panel.close();
    return;
  }
  const holds = (row) => row && runsOf(row).includes(run);
  if (!holds(shownRow)) shownRow = DATA.rows.find(holds);
  if (!shownRow) return;
  show(shownRow, run);
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  panel.querySelector("h2").focus();
}

/** Change the run within the open panel: the address follows, the history does not grow. */
function choose(event, run) {
  event.preventDefault();
  history.replaceState(null, "", `#run=${run.run_id}`);
  const top = panel.scrollTop;
  show(shownRow, run);
  panel.scrollTop = top;
  const link = panel.querySelector(`a[href="#run=${run.run_id}"]`);
  if (link) link.focus({ preventScroll: true });
}

/** Change to a run of another row within the open panel, as from a probe to the model that was probed. */
function goTo(event, run) {
  shownRow = DATA.rows.find((row) => runsOf(row).includes(run)) || shownRow;
  choose(event, run);
  panel.scrollTop = 0;
  panel.querySelector("h2").focus();
}

function closed() {
  if (!idOf()) return;
  if (entered) history.back();
  else history.replaceState(null, "", location.pathname + location.search);
  entered = false;
}

function show(row, run) {
  const runs = row.runs.map((id) => DATA.runs[id]);
  const failed = row.failed.map((id) => DATA.runs[id]);
  const trials = row.trials.map((id) => DATA.runs[id]);
  const peers = runs.includes(run) ? runs : [run];
  const curves = charts(peers, run);
  panel.replaceChildren(
    h("div", { class: "panel-head" },
      h("div", null,
        h("p", null, [row.title, row.data, `size ${row.size}`].filter(Boolean).join(" · ")),
        h("h2", { id: "page-panel-title", tabindex: -1 }, row.label)),
      h("button", { class: "plain", type: "button", onclick: () => panel.close() }, "Close")),
    h("div", { class: "panel-body" },
      runs.length || failed.length ? [h("h3", null, "Runs"), runTable([...runs, ...failed], run)] : null,
      row.comparison ? compared(row.comparison) : null,
      h("h3", null, `${run.trial ? "Search" : "Run"} ${run.run_id}, ${nameOf(run)}`),
      run.error ? h("p", { class: "error" }, run.error) : null,
      described(run),
      Object.keys(run.slices || {}).length ? [h("h3", null, "By slice"), sliceTable(run.slices)] : null,
      curves.length ? [h("h3", null, "Curves"), curves] : null,
      h("h3", null, "Configuration"), tree(run.config || {}, 2),
      h("details", null, h("summary", null, "The whole record"), h("pre", null, JSON.stringify(run, null, 1))),
      trials.length ? [h("h3", null, "Trials of the search"), trialTable(trials, run)] : null));
}

const link = (run, follow = choose) =>
  h("a", { href: `#run=${run.run_id}`, class: "mono", onclick: (event) => follow(event, run) }, run.run_id);

/** One line a run, its metrics with their intervals, and the mean that the table shows. */
function runTable(runs, chosen) {
  const metrics = [...new Set(runs.flatMap((run) => Object.keys(run.metrics || {})))];
  const cell = (name, found) => h("td", null, metricValue(name, found && found.mean), found && typeof found.low === "number"
    ? h("small", null, `${metricValue(name, found.low)} – ${metricValue(name, found.high)}`) : null);
  const line = (run) => h("tr", { "aria-current": run === chosen ? "true" : null },
    h("th", { scope: "row" }, nameOf(run)), h("td", { class: "text" }, link(run)),
    metrics.map((name) => cell(name, (run.metrics || {})[name])),
    h("td", null, seconds(run.wall_time_s)), h("td", { class: "text" }, run.stale ? "stale" : run.status));
  const finished = runs.filter((run) => run.status === "finished");
  const mean = (name) => {
    const values = finished.map((run) => run.metrics && run.metrics[name] && run.metrics[name].mean);
    const known = values.filter((value) => typeof value === "number");
    return h("td", null, known.length ? metricValue(name, known.reduce((a, b) => a + b, 0) / known.length) : ABSENT);
  };
  const means = finished.length > 1
    ? h("tr", { class: "mean" }, h("th", { scope: "row" }, "mean"), h("td"), metrics.map(mean), h("td"), h("td")) : null;
  return framed(["", "run", ...metrics.map(metricLabel), "time", "status"], [...runs.map(line), means], [0, 1, metrics.length + 3]);
}

function trialTable(trials, chosen) {
  const names = [...new Set(trials.flatMap((trial) => Object.keys((trial.trial && trial.trial.params) || {})))];
  const metric = headline(trials[0]);
  const value = (trial) => (trial.metrics && trial.metrics[metric] ? trial.metrics[metric].mean : undefined);
  const shown = (param) => (typeof param === "number" ? String(Number(param.toPrecision(3))) : String(param ?? ABSENT));
  const lines = trials.map((trial) => h("tr", { "aria-current": trial === chosen ? "true" : null },
    h("th", { scope: "row" }, nameOf(trial)), h("td", { class: "text" }, link(trial)),
    h("td", { class: "text" }, trial.status), h("td", null, metricValue(metric, value(trial))),
    names.map((name) => h("td", null, shown(trial.trial.params[name])))));
  return framed(["", "run", "status", metricLabel(metric), ...names.map((name) => name.split(".").slice(-2).join("."))], lines, [0, 1, 2]);
}

/** The AUC of one run on parts of the impressions; where these are too few there is no number. */
function sliceTable(slices) {
  const line = (dimension) => (found) => {
    const auc = (found.metrics || {}).auc || {};
    const interval = typeof auc.low === "number" ? h("small", null, `${number(auc.low)} – ${number(auc.high)}`) : null;
    return h("tr", null, h("th", { scope: "row" }, `${dimension}: ${found.slice}`), h("td", null, grouped(found.n)),
      h("td", null, found.too_few ? "few" : number(auc.mean), interval));
  };
  const lines = Object.entries(slices).flatMap(([dimension, found]) => found.map(line(dimension)));
  return framed(["slice", "impressions", "AUC"], lines, [0]);
}

function framed(header, lines, textual) {
  const heads = header.map((name, i) => h("th", { scope: "col", class: textual.includes(i) ? "text" : null }, name));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs" },
    h("table", null, h("thead", null, h("tr", null, heads)), h("tbody", null, lines)));
}

function compared(found) {
  const interval = typeof found.low === "number" ? ` [${number(found.low)}, ${number(found.high)}]` : "";
  const sign = found.difference > 0 ? "+" : "";
  return [h("h3", null, `Against ${found.against}`),
    h("p", null, `${metricLabel(found.metric)} ${sign}${number(found.difference)}${interval}, p = ${short(found.p)}, not corrected `
      + `(${found.test}, ${grouped(found.n)} ${found.metric.startsWith("hr@") ? "users" : "impressions"}, seed${[found.seeds].flat().length === 1 ? "" : "s"} `
      + `${[found.seeds].flat().join(", ")})`)];
}

function described(run) {
  const { data = {}, encoder, git, hardware = {}, versions = {}, counts = {}, throughput } = run;
  const named = (thing) => (thing ? h("span", null, thing.name, " ", h("code", null, thing.fingerprint)) : null);
  const machine = run.hardware && [hardware.cpu, hardware.cpus && `${hardware.cpus} CPUs`, hardware.gpu || "no GPU",
    hardware.workers && `${hardware.workers} worker${hardware.workers === 1 ? "" : "s"}`];
  const probed = DATA.runs[run.of];
  const facts = [
    ["Probe of", run.of && h("span", null, `${(probed || run).label}, `, probed ? link(probed, goTo) : h("code", null, run.of))],
    ["Measured as", run.probe],
    ["Commit", git && h("span", null, h("code", null, git.commit.slice(0, 12)), git.dirty ? " with uncommitted changes" : "")],
    ["Data", named(data)], ["Encoder", named(encoder)],
    ["Split, ties", [run.split, run.dialect].filter(Boolean).join(", ")],
    ["Features", (run.features || []).join(" + ")], ["Seed", run.seed],
    ["Clicks", counts.n_users === undefined ? null :
      `${grouped(counts.n_total)} of ${grouped(counts.n_users)} users, ${grouped(counts.n_cold_targets)} on items unseen in training`],
    ["Impressions", counts.n_total === undefined || counts.n_users !== undefined ? null :
      `${grouped(counts.n_total)}, ${grouped(counts.n_scored)} scored, ${grouped(counts.n_empty_history)} without history`],
    ["Parameters trained", run.params_total ? `${grouped(run.params_trained)} of ${grouped(run.params_total)}` : null],
    ["Wall time", seconds(run.wall_time_s)],
    ["Throughput", Object.keys(throughput || {}).length ? h("span", null, Object.entries(throughput).map(([k, v]) => `${grouped(v)} ${unit(k)}`).join(", ")) : null],
    ["Peak memory", run.peak_memory_mb ? `${grouped(Math.round(run.peak_memory_mb))} MB` : null],
    ["Latency, ms an impression", run.latency_ms && latency(run.latency_ms)],
    ["Hardware", machine && machine.filter(Boolean).join(", ")],
    ["Versions", Object.entries(versions).filter(([, v]) => v).map(([k, v]) => `${k} ${v}`).join(", ")],
    ["Finished", run.finished_at], ["Method version", `${run.method_version}${run.stale ? ", stale" : ""}`],
    ["Checkpoint", run.checkpoint && h("code", null, run.checkpoint)],
  ];
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== ABSENT);
  return h("dl", { class: "described" }, known.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** Warm: what can be computed of an item alone is kept; cold: nothing is. */
const latency = (found) => Object.entries(found).filter(([, value]) => typeof value === "number")
  .map(([key, value]) => `${key.replace("_", ", batch ")}: ${short(value)}`).join("; ");

const unit = (key) => key.replace("_per_s", "/s").replace(/_/g, " ");

/** A value as a tree whose branches fold. */
function tree(value, open) {
  const item = ([key, child]) => {
    const branch = child !== null && typeof child === "object" && Object.keys(child).length;
    if (!branch) return h("li", null, h("b", null, `${key}: `), JSON.stringify(child));
    if (Array.isArray(child) && child.every((part) => part === null || typeof part !== "object")) {
      return h("li", null, h("b", null, `${key}: `), JSON.stringify(child));
    }
    const title = [key, child.name].filter((part) => typeof part === "string").join(": ");
    return h("li", null, h("details", { open: open > 1 }, h("summary", null, title), tree(child, open - 1)));
  };
  return h("ul", { class: "tree" }, Object.entries(value).map(item));
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest && event.target.closest('a[href^="#run="]');
  if (!anchor || panel.contains(anchor)) return;
  const row = anchor.closest("[data-row]");
  shownRow = row ? DATA.rows[row.dataset.row] : null;
  entered = anchor.getAttribute("href") !== location.hash;
});
panel.addEventListener("close", closed);
panel.addEventListener("click", (event) => event.target === panel && panel.close());
addEventListener("hashchange", followAddress);
followAddress();
