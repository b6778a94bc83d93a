// Draws the panels over one shared x axis, and shows values under the pointer.
"use strict";

const byId = (id) => document.getElementById(id);
const raw = JSON.parse(byId("data").textContent);
const layerOf = (part) => ({ ...part, panels: resolved(part.panels, raw.arrays).map(panelOf), lastStep: 1 });
// The panels over steps, which rulers turn into other axes, and those over the report's own metric.
const data = { ...layerOf(raw), over: raw.over && layerOf(raw.over) };
for (const axis in data.rulers) {
  data.rulers[axis] = data.rulers[axis].map((ruler) => ruler.map((index) => raw.arrays[index]));
}
const runTitles = [...document.querySelectorAll(".runs th")].map((head) => head.textContent);
const runRows = document.querySelectorAll(".runs tbody tr");
const ofRun = (run, title) => runRows[run].cells[runTitles.indexOf(title)].textContent;
const MARGIN = { left: 62, right: 14, top: 26, bottom: 8, axis: 34 };
const HEIGHTS = [280, 170, 170, 170, 150];
const LISTED = 10;
const state = {
  axis: data.axis, smooth: Number(byId("smooth").value), xlog: false, ylog: "auto", zoom: null,
  on: new Set(data.schedules.flatMap((item, index) => (item.on ? [index] : []))),
};
const drawn = [];  // each panel's svg, scales and marks, which the pointer uses

for (const part of [data, data.over].filter(Boolean)) {
  for (const panel of part.panels) for (const item of panel.series) {
    const curves = item && !panel.profile ? [item.mean, ...item.runs].filter(Boolean) : [];
    for (const curve of curves) part.lastStep = Math.max(part.lastStep, curve.x[curve.x.length - 1]);
  }
}

function visible(panel) {
  return panel.series.flatMap((item, index) => (item && state.on.has(index) ? [[item, index]] : []));
}

/** The curves that the y range must show: not diverged runs, whose last values are huge. */
function countedCurves(item) {
  return [item.mean, ...(item.band || []), ...item.counted].filter(Boolean);
}

function profileOf(item) {
  const at = item.reached.map(([run, step]) => places(data, state.axis, [run], [step])[0]);
  at.sort((a, b) => a - b);
  const last = places(data, state.axis, item.of, [item.last])[0];
  const x = [0], y = [0];
  at.forEach((place, index) => {
    x.push(place, place);
    y.push((100 * index) / item.of.length, (100 * (index + 1)) / item.of.length);
  });
  x.push(Math.max(last, x[x.length - 1]));
  y.push(y[y.length - 1]);
  return { px: x, py: y };
}

/** The lowest and highest x of all visible schedules; above zero on a log scale. */
function wholeX() {
  let low = Infinity, high = -Infinity, least = Infinity;
  for (const panel of layer(data, state.axis).panels) for (const [item] of visible(panel)) {
    const curves = panel.profile ? [profileOf(item)]
      : [item.mean, ...item.runs].filter(Boolean).map((curve) => points(data, curve, state));
    for (const { px } of curves) {
      low = Math.min(low, px[0]);
      high = Math.max(high, px[px.length - 1]);
      least = Math.min(least, px.find((value) => value > 0) || Infinity);
    }
  }
  if (!(high >= low)) return [0, 1, false];
  const log = state.xlog && least < high;
  if (log) return [least, high, true];
  return high > low ? [low, high, false] : [low - 0.5, high + 0.5, false];
}

/** The y scale of the visible schedules within the x range. */
function scaleY(panel, sx, height) {
  const bottom = height - MARGIN.bottom, top = MARGIN.top;
  if (panel.profile) return scaleOf(0, 104, bottom, top, false);
  const wanted = state.ylog === "auto" ? panel.log : state.ylog === "log";
  const counted = visible(panel).flatMap(([item]) => countedCurves(item));
  const chosen = counted.length ? counted : visible(panel).flatMap(([item]) => item.runs);
  let low = Infinity, high = -Infinity, least = Infinity;
  for (const curve of chosen) {
    const { px, py } = points(data, curve, state);
    for (let at = 0; at < px.length; at++) {
      if (px[at] < sx.low || px[at] > sx.high || !Number.isFinite(py[at])) continue;
      if (py[at] < low) low = py[at];
      if (py[at] > high) high = py[at];
      if (py[at] > 0 && py[at] < least) least = py[at];
    }
  }
  if (!(high >= low)) return null;
  if (wanted && high > 0) {
    low = Math.max(least, high * 1e-9);
    const room = high > low ? (high / low) ** 0.04 : 1.5;
    return scaleOf(low / room, high * room, bottom, top, true);
  }
  if (low > 0 && low < high / 5) low = 0;
  const room = high > low ? (high - low) * 0.05 : Math.abs(high) * 0.1 || 1;
  return scaleOf(low === 0 ? low : low - room, high + room, bottom, top, false);
}

function drawAxes(picture, panel, sx, sy, size) {
  const { width, height, last } = size;
  const grid = svg("g", { class: "grid" }, picture);
  for (const at of ticks(sx, Math.max(2, Math.floor(width / 110)), state.axis === "step")) {
    const x = sx(at).toFixed(1);
    svg("path", { d: `M${x} ${MARGIN.top}V${height - MARGIN.bottom}` }, grid);
    if (last) {
      const label = svg("text", { x, y: height + 10, "text-anchor": "middle" }, grid);
      label.textContent = amount(at);
    }
  }
  if (sy) for (const at of ticks(sy, Math.max(2, Math.floor(height / 45)))) {
    const y = sy(at);
    svg("path", { d: `M${MARGIN.left} ${y.toFixed(1)}H${width - MARGIN.right}` }, grid);
    const label = svg("text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, grid);
    label.textContent = written(at) + (panel.profile ? " %" : "");
  }
  const title = svg("text", { class: "title", x: MARGIN.left, y: 15 }, picture);
  title.textContent = panel.title + (sy && sy.log ? " (log)" : "");
  if (last) {
    const attributes = { class: "title", x: width - MARGIN.right, y: height + 27, "text-anchor": "end" };
    svg("text", attributes, picture).textContent = data.axes[state.axis] + (sx.log ? " (log)" : "");
  }
}

/** Draws bands, single runs and the ends of diverged runs, behind the means. */
function drawBehind(group, item, sx, sy, floor) {
  const at = (curve) => points(data, curve, state);
  const line = (kind, d) => d && svg("path", { class: kind, d }, group);
  if (item.band) {
    const [low, high] = item.band.map(at);
    line("band", area(low.px, low.py, high.py, sx, sy, floor));
  }
  const runs = item.runs.map(at).map((run) => path(run.px, run.py, sx, sy));
  line(item.mean ? "run" : "run only", runs.join(""));
  for (const end of item.ends) {
    const x = sx(places(data, state.axis, [end.run], [end.step])[0]);
    const y = Math.max(MARGIN.top + 4, sy(end.value));
    if (Number.isFinite(x) && Number.isFinite(y)) line("end", `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`);
  }
}

/** Draws the line of a schedule's mean. */
function drawMean(group, item, panel, sx, sy, dash) {
  const mean = panel.profile ? profileOf(item) : item.mean && points(data, item.mean, state);
  const d = mean && path(mean.px, mean.py, sx, sy);
  const dashes = dash.length ? { "stroke-dasharray": dash.map((part) => 2 * part) } : {};
  if (d) svg("path", { class: "mean", d, ...dashes }, group);
}

/** Draws all visible schedules: bands and runs first, then the means, the best on top. */
function drawAll(inside, panel, sx, sy, floor) {
  const shown = visible(panel).reverse();
  const runs = shown.reduce((sum, [item]) => sum + (panel.profile ? 0 : item.runs.length), 0);
  inside.style.setProperty("--fade", Math.min(0.35, Math.max(0.07, 7 / runs)).toFixed(2));
  const group = (index) => {
    const attributes = { class: `series c${data.schedules[index].colour}`, "data-s": index };
    return svg("g", attributes, inside);
  };
  if (!panel.profile) for (const [item, index] of shown) drawBehind(group(index), item, sx, sy, floor);
  for (const [item, index] of shown) {
    drawMean(group(index), item, panel, sx, sy, data.schedules[index].dash);
  }
}

function drawPanel(panel, index, sx, width) {
  const last = index === data.panels.length - 1;
  const height = panel.profile ? 150 : HEIGHTS[index];
  const full = height + (last ? MARGIN.axis : 0);
  const holder = byId("panels").children[index];
  const picture = svg("svg", { width, height: full, viewBox: `0 0 ${width} ${full}`, role: "img" });
  picture.setAttribute("aria-label", panel.title);
  const sy = scaleY(panel, sx, height);
  drawAxes(picture, panel, sx, sy, { width, height, last });
  const area = {
    x: MARGIN.left, y: MARGIN.top - 4,
    width: Math.max(1, width - MARGIN.left - MARGIN.right),
    height: height - MARGIN.top - MARGIN.bottom + 8,
  };
  const clip = svg("clipPath", { id: `clip${index}` }, picture);
  svg("rect", area, clip);
  const inside = svg("g", { "clip-path": `url(#clip${index})` }, picture);
  const floor = height - MARGIN.bottom;
  if (sy) drawAll(inside, panel, sx, sy, floor);
  if (!sy) {
    const middle = { class: "nothing", x: width / 2, y: height / 2, "text-anchor": "middle" };
    svg("text", middle, picture).textContent = state.on.size ? "no finite values here" : "no schedule is selected";
  }
  const cross = svg("path", { class: "cross" }, picture);
  const chosen = svg("rect", { class: "chosen", y: area.y, height: area.height, width: 0 }, picture);
  holder.replaceChildren(picture);
  drawn[index] = { panel, picture, sx, sy, cross, chosen, floor };
}

function draw() {
  const width = Math.max(280, byId("panels").clientWidth);
  const [low, high, log] = wholeX();
  let [from, to] = state.zoom || [low, high];
  if (log && from <= 0) from = Math.min(low, to / 10);
  const sx = scaleOf(from, to, MARGIN.left, width - MARGIN.right, log);
  layer(data, state.axis).panels.forEach((panel, index) => drawPanel(panel, index, sx, width));
  byId("unzoom").hidden = !state.zoom;
  document.body.dataset.drawn = Number(document.body.dataset.drawn || 0) + 1;
}

/** Each visible schedule's value under the pointer, the nearest one first. */
function under({ panel, sx, sy }, px, py) {
  const place = sx.back(px);
  const hits = [];
  for (const [item, index] of visible(panel)) {
    const curves = panel.profile ? [profileOf(item)]
      : [item.mean, ...(item.mean ? [] : item.runs)].filter(Boolean).map((curve) => points(data, curve, state));
    const own = [];
    for (const curve of curves) {
      const at = nearest(curve.px, place), value = curve.py[at];
      const off = Math.abs(sx(curve.px[at]) - px);
      if (Number.isFinite(value) && off < 40) own.push({ index, value, far: Math.abs(sy(value) - py) });
    }
    if (own.length) hits.push(own.sort((a, b) => a.far - b.far)[0]);
    for (const run of panel.profile ? [] : item.runs) {
      const at = nearest(run.px, place), off = Math.hypot(sx(run.px[at]) - px, sy(run.py[at]) - py);
      if (off < 6) hits.push({ index, run: run.runs[0], value: run.py[at], far: off - 100 });
    }
  }
  return hits.sort((a, b) => a.far - b.far);
}

function point(event, index) {
  const { picture, sx, sy } = drawn[index];
  const box = picture.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const inside = sy && x >= MARGIN.left && x <= box.width - MARGIN.right;
  for (const panel of drawn) {
    const d = inside ? `M${x.toFixed(1)} ${MARGIN.top}V${panel.floor}` : "";
    panel.cross.setAttribute("d", d);
  }
  const tip = byId("tip");
  tip.hidden = !inside;
  if (!inside) return;
  const hits = under(drawn[index], x, y);
  const head = document.createElement("b");
  const at = sx.back(x);
  head.textContent = `${data.axes[state.axis]} ${amount(state.axis === "step" ? Math.round(at) : at)}`;
  const shown = hits.slice(0, LISTED).sort((a, b) => b.value - a.value).map((hit) => tipRow(hit, hits[0]));
  const more = document.createElement("div");
  if (hits.length > LISTED) more.textContent = `… ${hits.length - LISTED} more`;
  tip.replaceChildren(head, ...shown, more);
  const left = event.clientX + 16 + tip.offsetWidth > innerWidth ? event.clientX - 16 - tip.offsetWidth : event.clientX + 16;
  const top = Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8);
  tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
}

function tipRow(hit, first) {
  const row = document.createElement("div");
  const { colour } = data.schedules[hit.index];
  row.className = `c${colour}` + (hit === first ? " first" : "");
  const swatch = row.appendChild(document.createElement("i"));
  swatch.className = "spot";
  const value = row.appendChild(document.createElement("span"));
  value.textContent = written(hit.value);
  const words = row.appendChild(document.createElement("span"));
  words.textContent = hit.run === undefined ? keys[hit.index].title : `run ${ofRun(hit.run, "run")}`;
  return row;
}

for (const dot of document.querySelectorAll(".dot")) {
  const { run } = dot.dataset;
  svg("title", {}, dot).textContent = `${ofRun(run, "run")}: ${ofRun(run, "final")}`;
}
