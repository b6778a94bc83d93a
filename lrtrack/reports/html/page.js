// What the page shows, which every control changes and draw() draws, and the names in its tables.
"use strict";

const keys = [...document.querySelectorAll(".key")];
const runTitles = [...document.querySelectorAll(".runs th")].map((head) => head.textContent);
const runRows = document.querySelectorAll(".runs tbody tr");
const ofRun = (run, title) => runRows[run].cells[runTitles.indexOf(title)].textContent;
const nameOf = (schedule) => keys[schedule].title;

/** What a panel shows: the index of its data, and its own y scale (null: chosen by the data). */
const viewOf = (index) => ({ index, log: null, whole: false, zoom: null });
const state = {
  axis: data.axis, smooth: Number(byId("smooth").value), runs: false, xlog: false,
  on: new Set(data.schedules.flatMap((item, index) => (item.on ? [index] : []))),
  zoom: null,  // the x range; null: all
  lit: null, litRun: null,  // the schedule and the run that stand out
  views: data.panels.flatMap((panel, index) => (panel.on ? [viewOf(index)] : [])),
};
const drawn = [];  // each panel's elements and scales, which pointer and keyboard use

function visible(panel) {
  const series = panel.ready || panel.series;
  return series.flatMap((item, index) => (item && state.on.has(index) ? [[item, index]] : []));
}

/** Lets a schedule stand out, or one of its runs; null: none. Tables and curves hear of it. */
function light(schedule, run = null) {
  if (state.lit === schedule && state.litRun === run) return;
  const detail = schedule === null ? null : { schedule, run };
  document.dispatchEvent(new CustomEvent("lrtrack:highlight", { detail }));
}

document.addEventListener("lrtrack:highlight", ({ detail }) => {
  state.lit = detail ? detail.schedule : null;
  state.litRun = detail && detail.run !== undefined ? detail.run : null;
  drawLight();
});

for (const dot of document.querySelectorAll(".dot")) {
  const { run } = dot.dataset;
  svg("title", {}, dot, `${ofRun(run, "run")}: ${ofRun(run, "final")}`);
}
