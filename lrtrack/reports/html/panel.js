// Draws the panels over one shared x axis.
"use strict";

const MARGIN = { left: 62, right: 14, top: 10, bottom: 6, axis: 33 };
const HEIGHTS = { first: 290, other: 180, narrow: 200 };

/** The lowest and highest x of all visible schedules; above zero on a log scale. */
function wholeX() {
  let low = Infinity, high = -Infinity, least = Infinity;
  for (const view of state.views) {
    const panel = panelAt(view.index);
    for (const [item] of visible(panel)) {
      const runs = drawnRuns(item, panel).map(points);
      for (const { px } of [lineOf(item, panel), ...runs].filter(Boolean)) {
        low = Math.min(low, px[0]);
        high = Math.max(high, px[px.length - 1]);
        least = Math.min(least, px.find((value) => value > 0) || Infinity);
      }
    }
  }
  if (!(high >= low)) return { low: 0, high: 1, log: false };
  if (state.xlog && least < high) return { low: least, high, log: true };
  return high > low ? { low, high, log: false } : { low: low - 0.5, high: high + 0.5, log: false };
}

function drawAxes(picture, panel, sx, sy, { width, height }) {
  const grid = svg("g", { class: "grid" }, picture);
  for (const at of ticks(sx, Math.max(2, Math.floor(width / 90)), state.axis === "step")) {
    const x = sx(at).toFixed(1);
    svg("path", { d: `M${x} ${MARGIN.top}V${height - MARGIN.bottom}` }, grid);
    svg("text", { x, y: height + 11, "text-anchor": "middle" }, grid, amount(at));
  }
  if (sy) for (const at of ticks(sy, Math.max(2, Math.floor(height / 34)))) {
    const y = sy(at);
    svg("path", { d: `M${MARGIN.left} ${y.toFixed(1)}H${width - MARGIN.right}` }, grid);
    const label = written(at) + (panel.profile ? " %" : "");
    svg("text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, grid, label);
  }
  const title = data.axes[state.axis] + (sx.log ? " (log)" : "");
  const attributes = { class: "axis", x: width - MARGIN.right, y: height + 27, "text-anchor": "end" };
  svg("text", attributes, picture, title);
}

/** Draws bands, single runs and the ends of diverged runs, behind the means. */
function drawBehind(group, item, panel, sx, sy, floor) {
  const line = (kind, d) => d && svg("path", { class: kind, d }, group);
  const band = bandOf(item, sy.log);
  if (band) line("band", area(band.px, band.low, band.high, sx, sy, floor));
  const runs = drawnRuns(item, panel).map(points).map((run) => path(run.px, run.py, sx, sy));
  line(item.mean ? "run" : "run only", runs.join(""));
  for (const end of item.ends) {
    const x = sx(places([end.run], [end.step])[0]);
    const y = Math.min(floor - 4, Math.max(MARGIN.top + 4, sy(end.value)));
    if (x >= MARGIN.left && x <= sx.to && y === y) line("end", `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`);
  }
}

/** Triangles at the edge where a schedule's line leaves the scale, and the line itself. */
function drawLine(group, item, panel, sx, sy, dash, floor) {
  const line = lineOf(item, panel);
  const d = line && path(line.px, line.py, sx, sy);
  if (!d) return;
  const dashes = dash.length ? { "stroke-dasharray": dash.map((part) => 2 * part) } : {};
  svg("path", { class: "mean", d, ...dashes }, group);
  if (!sy.beyond) return;
  const leaves = (beyond, is, shape) => {
    if (beyond === null) return;
    const at = line.py.findIndex((y, index) => is(y) && line.px[index] >= sx.low && line.px[index] <= sx.high);
    if (at >= 0) svg("path", { class: "leaves", d: `M${sx(line.px[at]).toFixed(1)} ${shape}` }, group);
  };
  leaves(sy.beyond[1], (y) => y > sy.high, `${MARGIN.top - 4}l5 8h-10z`);
  leaves(sy.beyond[0], (y) => y < sy.low, `${floor + 4}l5 -8h-10z`);
}

/** Draws all visible schedules: bands and runs first, then the means, the best on top. */
function drawAll(inside, panel, sx, sy, floor) {
  const shown = visible(panel).reverse();
  const runs = shown.reduce((sum, [item]) => sum + drawnRuns(item, panel).length, 0);
  inside.style.setProperty("--fade", Math.min(0.35, Math.max(0.07, 7 / runs)).toFixed(2));
  inside.style.setProperty("--shade", Math.min(0.15, Math.max(0.03, 0.4 / shown.length)).toFixed(2));
  const group = (index) => {
    const attributes = { class: `series c${data.schedules[index].colour}`, "data-s": index };
    return svg("g", attributes, inside);
  };
  if (!panel.profile) for (const [item, index] of shown) drawBehind(group(index), item, panel, sx, sy, floor);
  for (const [item, index] of shown) {
    drawLine(group(index), item, panel, sx, sy, data.schedules[index].dash, floor);
  }
}

let clips = 0;

/** Draws one panel into its elements, and remembers its scales for pointer and keyboard. */
function drawPanel(entry, whole, sxOf, height) {
  const { view, plot } = entry;
  const panel = panelAt(view.index);
  const width = Math.max(240, plot.clientWidth), full = height + MARGIN.axis;
  const sx = sxOf(width), sy = scaleY(view, panel, sx, whole, height);
  const picture = svg("svg", { width, height: full, viewBox: `0 0 ${width} ${full}`, role: "img" });
  drawAxes(picture, panel, sx, sy, { width, height });
  const frame = {
    x: MARGIN.left, y: MARGIN.top - 4,
    width: Math.max(1, width - MARGIN.left - MARGIN.right),
    height: height - MARGIN.top - MARGIN.bottom + 8,
  };
  const id = `clip${clips++}`;
  svg("rect", frame, svg("clipPath", { id }, picture));
  const inside = svg("g", { "clip-path": `url(#${id})` }, picture);
  const floor = height - MARGIN.bottom;
  if (sy) drawAll(inside, panel, sx, sy, floor);
  if (!sy) {
    const middle = { class: "nothing", x: width / 2, y: height / 2, "text-anchor": "middle" };
    svg("text", middle, picture, state.on.size ? "no finite values here" : `no ${data.noun} is selected`);
  }
  const over = svg("g", { class: "over", "clip-path": `url(#${id})` }, picture);
  const cross = svg("path", { class: "cross" }, picture);
  const dots = svg("g", {}, picture);
  const chosen = svg("rect", { class: "chosen", ...frame, width: 0 }, picture);
  plot.replaceChildren(picture);
  Object.assign(entry, { panel, picture, sx, sy, over, cross, dots, chosen, floor, width });
  tell(entry);
  drawTools(entry);
}

/** Draws every panel as the state says. */
function draw() {
  const whole = wholeX();
  let [from, to] = state.zoom || [whole.low, whole.high];
  if (whole.log && from <= 0) from = Math.min(whole.low, to / 10);
  const sxOf = (width) => scaleOf(from, to, MARGIN.left, width - MARGIN.right, whole.log);
  const narrow = byId("panels").clientWidth < 600;
  drawn.forEach((entry, index) => {
    drawPanel(entry, whole, sxOf, index === 0 && !narrow ? HEIGHTS.first : narrow ? HEIGHTS.narrow : HEIGHTS.other);
  });
  byId("unzoom").hidden = !state.zoom && !state.views.some((view) => view.zoom);
  drawLight();
  document.body.dataset.drawn = Number(document.body.dataset.drawn || 0) + 1;
}

/** Dims all but the schedule that stands out, and draws the run that does over the others. */
function drawLight() {
  const stands = state.lit !== null && state.on.has(state.lit);
  byId("panels").classList.toggle("lit", stands);
  for (const key of keys) key.classList.toggle("lit", Number(key.dataset.s) === state.lit);
  for (const group of document.querySelectorAll("#panels .series")) {
    group.classList.toggle("lit", Number(group.dataset.s) === state.lit);
  }
  for (const { panel, over, sx, sy } of drawn) {
    const item = state.litRun !== null && sy && !panel.profile && panel.ready[state.lit];
    const curve = item && [...item.runs, item.mean].find((one) => one && one.runs.includes(state.litRun));
    over.replaceChildren();
    if (!curve) continue;
    const { px, py } = points(curve);
    svg("path", { class: `picked c${data.schedules[state.lit].colour}`, d: path(px, py, sx, sy) }, over);
  }
}
