// Controls, legend, zoom and theme.
"use strict";

const keys = [...document.querySelectorAll(".key")];

function show(schedules) {
  state.on = new Set(schedules);
  keys.forEach((key) => key.setAttribute("aria-pressed", state.on.has(Number(key.dataset.s))));
  draw();
}

for (const key of keys) {
  const own = Number(key.dataset.s);
  key.addEventListener("click", (event) => {
    if (event.detail > 1) return;  // the second click of a double click
    const next = new Set(state.on);
    if (!next.delete(own)) next.add(own);
    show(next);
  });
  key.addEventListener("dblclick", () => show([own]));
  const light = (on) => () => {
    byId("panels").classList.toggle("lit", on && state.on.has(own));
    for (const group of document.querySelectorAll(`.series[data-s="${own}"]`)) {
      group.classList.toggle("lit", on);
    }
  };
  key.addEventListener("pointerenter", light(true));
  key.addEventListener("pointerleave", light(false));
}

byId("all").addEventListener("click", () => show(data.schedules.keys()));
byId("none").addEventListener("click", () => show([]));
byId("best").addEventListener("click", () => show([...data.schedules.keys()].slice(0, 5)));

function onChoice(name, act) {
  for (const input of document.querySelectorAll(`input[name="${name}"]`)) {
    input.addEventListener("change", () => { act(input.value); draw(); });
  }
}

onChoice("axis", (value) => { state.axis = value; state.zoom = null; });
onChoice("x-scale", (value) => { state.xlog = value === "log"; state.zoom = null; });
onChoice("y-scale", (value) => { state.ylog = value; });
byId("smooth").addEventListener("input", (event) => {
  state.smooth = Number(event.target.value);
  byId("smooth-value").textContent = state.smooth ? `${state.smooth} %` : "off";
  draw();
});
byId("unzoom").addEventListener("click", () => { state.zoom = null; draw(); });

/** Dragging across a panel zooms all of them; a double click zooms out. */
function zoomable(holder, index) {
  let start = null;
  const at = (event) => {
    const box = holder.getBoundingClientRect();
    return Math.min(Math.max(event.clientX - box.left, MARGIN.left), box.width - MARGIN.right);
  };
  holder.addEventListener("pointerdown", (event) => {
    if (event.button || event.pointerType === "touch") return;
    start = at(event);
    holder.setPointerCapture(event.pointerId);
  });
  holder.addEventListener("pointermove", (event) => {
    point(event, index);
    if (start === null) return;
    const x = Math.min(start, at(event)), width = Math.abs(at(event) - start);
    for (const panel of drawn) {
      panel.chosen.setAttribute("x", x);
      panel.chosen.setAttribute("width", width);
    }
  });
  holder.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const ends = [start, at(event)].sort((a, b) => a - b).map(drawn[index].sx.back);
    const far = Math.abs(at(event) - start) > 5;
    start = null;
    if (far) state.zoom = ends;
    if (far) draw();
  });
  holder.addEventListener("pointerleave", () => {
    byId("tip").hidden = true;
    for (const panel of drawn) panel.cross.setAttribute("d", "");
  });
  holder.addEventListener("dblclick", () => { state.zoom = null; draw(); });
}

data.panels.forEach((panel, index) => {
  zoomable(byId("panels").appendChild(document.createElement("div")), index);
});

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

let width = 0;
new ResizeObserver(() => {
  if (byId("panels").clientWidth === width) return;
  width = byId("panels").clientWidth;
  draw();
}).observe(byId("panels"));
