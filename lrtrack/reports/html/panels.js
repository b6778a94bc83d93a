// The panels' own elements: which metric each shows, its y scale, and its files.
"use strict";

function metricsInto(select, chosen) {
  data.panels.forEach((panel, index) => {
    const option = html("option", { value: index }, select, panel.title);
    option.selected = index === chosen;
  });
}

function tool(parent, text, label, act) {
  // A name that begins with the text that is seen can be spoken to a computer.
  const name = /^\w/.test(text) ? `${text}: ${label}` : label;
  const button = html("button", { type: "button", title: label, "aria-label": name }, parent, text);
  button.addEventListener("click", act);
  return button;
}

/** Makes the elements of a panel and the listeners of its controls. */
function addPanel(view) {
  const box = html("div", { class: "panel" }, byId("panels")), head = html("div", { class: "panel-head" }, box);
  const select = html("select", { "aria-label": "metric of this panel", autocomplete: "off" }, head);
  metricsInto(select, view.index);
  const tools = html("span", { class: "own" }, head);
  const plot = html("div", { class: "plot", tabindex: 0, role: "application" }, box);
  const table = html("table", {}, html("div", { class: "sr" }, box));
  const entry = { view, box, select, plot, table };
  entry.beyond = tool(tools, "", "", () => { view.whole = !view.whole; draw(); });
  entry.log = tool(tools, "log", "logarithmic y scale", () => {
    view.log = !(entry.sy && entry.sy.log);
    view.zoom = null;
    draw();
  });
  tool(tools, "SVG", "save this panel as SVG", () => save(fileName(entry.panel, "svg"), "image/svg+xml", svgOf(entry)));
  tool(tools, "CSV", "save what this panel shows as CSV", () => save(fileName(entry.panel, "csv"), "text/csv", csvOf(entry)));
  entry.close = tool(tools, "×", "remove this panel", () => {
    state.views.splice(state.views.indexOf(view), 1);
    drawn.splice(drawn.indexOf(entry), 1);
    box.remove();
    draw();
    byId("add").focus();
  });
  select.addEventListener("change", () => {
    Object.assign(view, viewOf(Number(select.value)));
    draw();
  });
  drawn.push(entry);
  zoomable(entry);
  keyboard(entry);
}

/** Sets what the panel's buttons say. */
function drawTools({ view, panel, sy, log, beyond, close }) {
  log.setAttribute("aria-pressed", Boolean(sy && sy.log));
  log.disabled = Boolean(panel.profile);
  const [below, above] = (sy && sy.beyond) || [null, null];
  beyond.hidden = below === null && above === null;
  const ends = [below === null ? "" : `↓ ${written(below)}`, above === null ? "" : `↑ ${written(above)}`];
  beyond.textContent = view.whole ? "usual range" : ends.filter(Boolean).join(" ");
  const words = view.whole ? "Show the range of most values" : "Some values lie beyond this scale: show them";
  beyond.title = words;
  beyond.setAttribute("aria-label", `${beyond.textContent}: ${words}`);
  close.hidden = state.views.length < 2;
}

state.views.forEach(addPanel);
metricsInto(byId("add"), -1);
byId("add").addEventListener("change", (event) => {
  const view = viewOf(Number(event.target.value));
  state.views.push(view);
  addPanel(view);
  event.target.selectedIndex = 0;
  draw();
  const { box, plot } = drawn[drawn.length - 1];
  box.scrollIntoView({ block: "nearest" });
  plot.focus({ preventScroll: true });
});
