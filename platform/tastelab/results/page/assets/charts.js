// Line charts of training curves, drawn from the records: one line a run, the chosen run in front.

const COLOURS = ["#3b82b5", "#d0632a", "#3f9168", "#b0609a", "#a8862a", "#6a6fc0"];
const BOX = { width: 300, height: 168, left: 40, right: 8, top: 8, bottom: 20 };

const short = (value) => {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace("e+", "e");
  return String(parseFloat(value.toPrecision(size >= 100 ? 4 : 3)));
};

/** Round numbers within a range: 1, 2, 2.5 or 5 times a power of ten apart. */
function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw) * power;
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9); value * step <= high + step * 1e-9; value += 1) found.push(value * step);
  return found;
}

function extent(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = high > low ? 0.06 * (high - low) : Math.abs(high) * 0.1 || 1;
  return [low - margin, high + margin];
}

/** The points of a curve that are numbers. */
const pointsOf = ([steps, values]) => steps.map((step, i) => [step, values[i]]).filter(([, value]) => value !== null);

/** Draw one chart. `lines`: [{label, colour, front, points: [[step, value], …]}], the front one last. */
function chart(title, lines) {
  const all = lines.flatMap((line) => line.points);
  const [low, high] = extent(all.map(([, value]) => value));
  const steps = all.map(([step]) => step);
  const [first, last] = [Math.min(...steps), Math.max(...steps, Math.min(...steps) + 1)];
  const x = (step) => BOX.left + ((step - first) / (last - first)) * (BOX.width - BOX.left - BOX.right);
  const y = (value) => BOX.height - BOX.bottom - ((value - low) / (high - low)) * (BOX.height - BOX.top - BOX.bottom);
  const svg = h("svg:svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-label": `${title} over steps` },
    ticks(low, high, 5).map((value) => [
      h("svg:line", { class: "grid", x1: BOX.left, x2: BOX.width - BOX.right, y1: y(value), y2: y(value) }),
      h("svg:text", { x: BOX.left - 5, y: y(value) + 3, "text-anchor": "end" }, short(value)),
    ]),
    ticks(first, last, 5).map((step) =>
      h("svg:text", { x: x(step), y: BOX.height - 5, "text-anchor": "middle" }, short(step))),
    lines.map((line) => drawn(line, x, y)));
  const ends = lines.filter((line) => line.front).map(({ points }) => said(points[0], points.at(-1)));
  const readout = h("p", null, ...ends);
  follow(svg, lines, x, first, last, readout, ends);
  return h("div", { class: "chart" }, h("h4", null, title), readout, svg);
}

const said = (from, to) => (from === to ? `${short(to[1])} at step ${to[0]}` :
  `${short(from[1])} → ${short(to[1])} at step ${to[0]}`);

function drawn({ points, colour, front }, x, y) {
  const path = points.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const marks = points.length <= 24 && front
    ? points.map(([step, value]) => h("svg:circle", { cx: x(step), cy: y(value), r: 2.2, fill: colour })) : [];
  return [h("svg:path", { class: front ? "line" : "line back", d: path, stroke: colour }), marks];
}

/** Read the values at the step under the pointer. */
function follow(svg, lines, x, first, last, readout, ends) {
  const cursor = h("svg:line", { class: "cursor", y1: BOX.top, y2: BOX.height - BOX.bottom, visibility: "hidden" });
  svg.append(cursor);
  const nearest = (points, step) => points.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * BOX.width;
    const step = first + ((at - BOX.left) / (BOX.width - BOX.left - BOX.right)) * (last - first);
    const front = lines.find((line) => line.front) || lines[0];
    const [where] = nearest(front.points, step);
    for (const name of ["x1", "x2"]) cursor.setAttribute(name, x(where));
    cursor.setAttribute("visibility", "visible");
    const values = [...lines].sort((a, b) => a.order - b.order).map((line) => short(nearest(line.points, where)[1]));
    readout.replaceChildren(`step ${where}: ${values.join(" · ")}`);
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout.replaceChildren(...ends);
  });
}

/** All curves of some runs, one chart a name, names in the order of the first run that has them. */
function charts(runs, chosen) {
  const lines = runs.map((run, order) => ({ run, order, curves: curvesOf(run), front: run.run_id === chosen.run_id,
    colour: COLOURS[order % COLOURS.length] }));
  const names = [...new Set(lines.flatMap((line) => Object.keys(line.curves)))];
  const made = names.map((name) => {
    const shown = lines.filter((line) => line.curves[name]).map((line) => ({ ...line, points: line.curves[name] }));
    return chart(name, shown.sort((a, b) => a.front - b.front));
  });
  const keys = lines.map((line) => h("span", null, h("i", { style: `border-color:${line.colour}` }), nameOf(line.run)));
  return made.length ? [runs.length > 1 ? h("p", { class: "legend" }, keys) : null, h("div", { class: "charts" }, made)] : [];
}

function curvesOf(run) {
  const found = Object.entries(run.curves || {});
  const trial = run.trial && run.trial.curve;
  if (trial && trial.length) found.push(["validation", [trial.map((at) => at[0]), trial.map((at) => at[1])]]);
  return Object.fromEntries(found.map(([name, curve]) => [name, pointsOf(curve)]).filter(([, points]) => points.length));
}
