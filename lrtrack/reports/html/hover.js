// The cursor: values under the pointer, or at the place that the arrow keys chose.
"use strict";

/** Each visible schedule's value at x, and the single runs under the pointer; the nearest first. */
function under({ panel, sx, sy }, x, y) {
  const place = sx.back(x), means = [], runs = [];
  for (const [item, index] of visible(panel)) {
    const line = lineOf(item, panel);
    if (line) {
      const at = nearest(line.px, place), value = line.py[at];
      const off = Math.abs(sx(line.px[at]) - x);
      if (Number.isFinite(value) && off < 40) means.push({ index, value, x: line.px[at], far: Math.abs(near(sy(value)) - y) });
    }
    for (const curve of drawnRuns(item, panel)) {
      if (curve === item.alone) continue;
      const run = points(curve), at = nearest(run.px, place);
      const far = Math.hypot(sx(run.px[at]) - x, sy(run.py[at]) - y);
      if (far < (item.mean ? 8 : 40)) runs.push({ index, run: run.runs[0], value: run.py[at], x: run.px[at], far });
    }
  }
  const order = (a, b) => a.far - b.far;
  return { means: means.sort(order), runs: runs.sort(order) };
}

function tipRow(hit, first) {
  const row = html("div", { class: `c${data.schedules[hit.index].colour}` + (hit === first ? " first" : "") });
  html("i", { class: "spot" }, row);
  html("span", {}, row, written(hit.value));
  html("span", {}, row, hit.run === undefined ? nameOf(hit.index) : `run ${ofRun(hit.run, "run")}`);
  return row;
}

function placeName(x) {
  return `${data.axes[state.axis]} ${amount(state.axis === "step" ? Math.round(x) : Number(x.toPrecision(5)))}`;
}

/** The tip's lines: the schedules' means, the highest first, then the runs under the pointer. */
function fillTip(entry, x, { means, runs }) {
  const rows = (hits, most) => {
    const shown = hits.slice(0, most).sort((a, b) => b.value - a.value).map((hit) => tipRow(hit, hits[0]));
    if (hits.length > most) shown.push(html("div", { class: "more" }, null, `… ${hits.length - most} more`));
    return shown;
  };
  const parts = [html("b", {}, null, placeName(x)), ...rows(means, LISTED)];
  if (runs.length) parts.push(html("div", { class: "more" }, null, "single runs"), ...rows(runs, 5));
  byId("tip").replaceChildren(...parts);
}

function placeTip(clientX, clientY) {
  const tip = byId("tip"), { offsetWidth, offsetHeight } = tip;
  const left = clientX + 16 + offsetWidth > innerWidth ? clientX - 16 - offsetWidth : clientX + 16;
  const top = Math.min(clientY + 16, innerHeight - offsetHeight - 8);
  tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
}

function hideCursor() {
  byId("tip").hidden = true;
  for (const { cross, dots } of drawn) {
    cross.setAttribute("d", "");
    dots.replaceChildren();
  }
}

/** Shows the cursor at a place of a panel, in all panels, and the values there; the hits. */
function showCursor(entry, x, y) {
  const { picture, sx, sy } = entry;
  if (!sy) return null;
  const place = sx.back(x), hits = under(entry, x, y);
  for (const other of drawn) {
    const at = other.sx(place).toFixed(1);
    other.cross.setAttribute("d", `M${at} ${MARGIN.top}V${other.floor}`);
    other.dots.replaceChildren();
  }
  for (const hit of hits.means.slice(0, LISTED)) {
    const cy = sy(hit.value);
    if (cy < MARGIN.top - 4 || cy > entry.floor + 4) continue;
    svg("circle", { class: `spot c${data.schedules[hit.index].colour}`, cx: sx(hit.x), cy, r: 3.5 }, entry.dots);
  }
  byId("tip").hidden = false;
  fillTip(entry, place, hits);
  const box = picture.getBoundingClientRect();
  placeTip(box.left + x, box.top + y);
  return hits;
}

/** Follows the pointer, and lets the schedule near it stand out. */
function point(event, entry) {
  const box = entry.picture.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  if (!entry.sy || x < MARGIN.left || x > box.width - MARGIN.right) return hideCursor();
  const { means, runs } = showCursor(entry, x, y);
  const [first] = [...runs.filter((run) => run.far < 8), ...means.filter((mean) => mean.far < 12)];
  light(first ? first.index : null, first && first.run !== undefined ? first.run : null);
}

const SPOKEN = 5;

/** The cursor of the keyboard: arrow keys move it, and a live region says the values. */
function keyboard(entry) {
  const { plot } = entry;
  let place = null, followed = 0;
  const moves = { ArrowRight: 0.01, ArrowLeft: -0.01 };
  const say = () => {
    const { panel, sx, sy } = entry;
    const shown = visible(panel);
    if (!sy || !shown.length) return;
    const [item, index] = shown[followed % shown.length];
    const x = sx(place), line = lineOf(item, panel);
    const y = line ? Math.min(entry.floor, Math.max(MARGIN.top, sy(line.py[nearest(line.px, place)]))) : MARGIN.top;
    const { means } = showCursor(entry, x, Number.isFinite(y) ? y : MARGIN.top);
    light(index);
    const own = means.filter((hit) => hit.index === index), others = means.filter((hit) => hit.index !== index);
    const words = [...own, ...others.sort((a, b) => a.index - b.index)].slice(0, SPOKEN)
      .map((hit) => `${nameOf(hit.index)} ${written(hit.value)}${panel.profile ? " %" : ""}`);
    byId("spoken").textContent = `${placeName(place)}: ${words.join("; ") || "no values"}`;
  };
  plot.addEventListener("keydown", (event) => {
    const { sx } = entry;
    const size = sx.to - sx.from, at = place === null ? sx.from : Math.min(sx.to, Math.max(sx.from, sx(place)));
    if (event.key in moves) place = sx.back(Math.min(sx.to, Math.max(sx.from, at + size * moves[event.key] * (event.shiftKey ? 10 : 1))));
    else if (event.key === "Home") place = sx.low;
    else if (event.key === "End") place = sx.high;
    else if (event.key === "ArrowDown") followed++;
    else if (event.key === "ArrowUp") followed += Math.max(1, visible(entry.panel).length) - 1;
    else if (event.key === "+" || event.key === "=") zoomAbout(entry, place, 0.5);
    else if (event.key === "-") zoomAbout(entry, place, 2);
    else if (event.key === "Escape") { place = null; light(null); wholeRange(); return hideCursor(); }
    else return;
    event.preventDefault();
    place = place === null ? sx.low : place;
    say();
  });
  plot.addEventListener("blur", () => { place = null; light(null); hideCursor(); });
}
