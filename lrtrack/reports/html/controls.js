// The controls of all panels, the legend and the theme.
"use strict";

function show(schedules) {
  state.on = new Set(schedules);
  keys.forEach((key) => key.setAttribute("aria-pressed", state.on.has(Number(key.dataset.s))));
  draw();
}

/** Shows only one schedule, or all if it is alone already. */
function isolate(schedule) {
  show(state.on.size === 1 && state.on.has(schedule) ? data.schedules.keys() : [schedule]);
}

for (const key of keys) {
  const own = Number(key.dataset.s);
  let alone = false;  // whether the schedule was alone before the first click of a double click
  key.addEventListener("click", (event) => {
    if (event.detail > 1) return;  // the second click of a double click
    if (event.shiftKey) return isolate(own);
    alone = state.on.size === 1 && state.on.has(own);
    const next = new Set(state.on);
    if (!next.delete(own)) next.add(own);
    show(next);
  });
  key.addEventListener("dblclick", () => show(alone ? data.schedules.keys() : [own]));
  for (const event of ["pointerenter", "focus"]) key.addEventListener(event, () => light(own));
  for (const event of ["pointerleave", "blur"]) key.addEventListener(event, () => light(null));
}
show(state.on);

byId("all").addEventListener("click", () => show(data.schedules.keys()));
byId("none").addEventListener("click", () => show([]));
byId("best").addEventListener("click", () => show([...data.schedules.keys()].slice(0, 5)));

function onChoice(name, act) {
  for (const input of document.querySelectorAll(`input[name="${name}"]`)) {
    input.addEventListener("change", () => {
      act(input.value);
      state.zoom = null;
      drawWindow();
      draw();
    });
  }
}

/** The window of smoothing in words: `1 % = 100 steps`. */
function windowText() {
  const { unit } = layerNow(), width = windowWidth();
  if (unit) return `${amount(Number((width * unit).toPrecision(3)))} ${data.axes[state.axis]}`;
  return width < 1.5 ? "1 step" : `${amount(Math.round(width))} steps`;
}

function drawWindow() {
  byId("smooth-value").textContent = state.smooth ? `${state.smooth} % = ${windowText()}` : "off";
}

onChoice("axis", (value) => { state.axis = value; });
onChoice("x-scale", (value) => { state.xlog = value === "log"; });
byId("smooth").addEventListener("input", (event) => {
  state.smooth = Number(event.target.value);
  drawWindow();
  draw();
});
byId("runs").addEventListener("change", (event) => {
  state.runs = event.target.checked;
  draw();
});
byId("unzoom").addEventListener("click", wholeRange);
drawWindow();

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

let width = byId("panels").clientWidth;
new ResizeObserver(() => {
  if (byId("panels").clientWidth === width) return;
  width = byId("panels").clientWidth;
  draw();
}).observe(byId("panels"));
