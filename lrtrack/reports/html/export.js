// A panel as a file: a picture that needs no other file, or the numbers that it shows.
"use strict";

const COPIED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray",
  "stroke-linejoin", "stroke-linecap", "font-size", "font-weight", "opacity"];

function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  html("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** A file name of letters and digits: `loss-by-step.svg`. */
function fileName(panel, suffix) {
  const plain = `${panel.title} by ${data.axes[state.axis]}`.normalize("NFKD").toLowerCase()
    .replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60);
  return `${plain || "curves"}.${suffix}`;
}

/** How the lines of the panel are made, in the lines of a caption. */
function captionOf(panel) {
  if (panel.profile) return [];
  const smooth = panel.smooth && state.smooth ? `, moving average over ${windowText()}` : "";
  const bands = visible(panel).some(([item]) => item.band);
  return [`mean over runs${smooth}`, ...(bands ? ["bands: 95 % confidence interval of the mean"] : [])];
}

/** Writes the styles that a picture has on the page into it, in its present colours. */
function inlined(picture) {
  const copy = picture.cloneNode(true);
  const originals = picture.querySelectorAll("*"), copies = copy.querySelectorAll("*");
  originals.forEach((original, index) => {
    const style = getComputedStyle(original);
    for (const name of COPIED) copies[index].setAttribute(name, style.getPropertyValue(name));
    copies[index].removeAttribute("class");
    copies[index].removeAttribute("style");
  });
  return copy;
}

/** Adds the visible schedules' lines and names below the picture; the height that they take. */
function legendInto(copy, picture, panel, width, top) {
  const probe = svg("text", {}, picture);
  let x = MARGIN.left, y = top;
  for (const [, index] of visible(panel)) {
    let name = nameOf(index);
    const measure = () => { probe.textContent = name; return probe.getComputedTextLength(); };
    while (measure() > width - MARGIN.left - MARGIN.right - 60 && name.length > 8) name = `${name.slice(0, -9)}…`;
    const size = 50 + measure();
    if (x > MARGIN.left && x + size > width) { x = MARGIN.left; y += 18; }
    const sample = keys[index].querySelector(".swatch path");
    const { stroke, strokeDasharray } = getComputedStyle(sample);
    const dashes = strokeDasharray === "none" ? {} : { "stroke-dasharray": data.schedules[index].dash.map((part) => 2 * part) };
    svg("path", { d: `M${x} ${y - 4}h26`, stroke, "stroke-width": 2, fill: "none", ...dashes }, copy);
    svg("text", { x: x + 33, y, class: "key" }, copy, name);
    x += size;
  }
  probe.remove();
  return y + 12 - top;
}

/** The panel as an SVG document with title, legend and caption. */
function svgOf(entry) {
  const { picture, panel, width, sy } = entry;
  hideCursor();
  const copy = inlined(picture), head = 30, { fontFamily, color, backgroundColor } = getComputedStyle(document.body);
  const body = svg("g", { transform: `translate(0 ${head})` });
  body.append(...copy.childNodes);
  const tall = Number(picture.getAttribute("height")) + head;
  const attributes = { xmlns: NAMESPACE, width, "font-family": fontFamily, "font-size": 12, role: "img" };
  const file = svg("svg", { ...attributes, "aria-label": picture.getAttribute("aria-label") });
  const paper = svg("rect", { width: "100%", height: "100%", fill: backgroundColor }, file);
  file.append(body);
  const title = panel.title + (sy && sy.log ? " (log)" : "");
  svg("text", { x: MARGIN.left, y: 20, "font-size": 14, "font-weight": 600, fill: color }, file, title);
  const key = legendInto(file, picture, panel, width, tall + 14);
  for (const text of file.querySelectorAll(".key")) {
    text.removeAttribute("class");
    text.setAttribute("fill", color);
  }
  const words = captionOf(panel), faint = getComputedStyle(picture.querySelector("text")).fill;
  words.forEach((line, at) => {
    svg("text", { x: MARGIN.left, y: tall + key + 20 + 15 * at, "font-size": 11, fill: faint }, file, line);
  });
  const height = tall + key + 15 * words.length + 17;
  file.setAttribute("height", height);
  file.setAttribute("viewBox", `0 0 ${width} ${height}`);
  paper.setAttribute("height", height);
  return new XMLSerializer().serializeToString(file);
}

/** A cell of a CSV file. Text from trackers must not become a formula in a spreadsheet. */
function cell(value) {
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The numbers that the panel shows: one row for each point of each line in the x range. */
function csvOf({ panel, sx, sy }) {
  const rows = [[data.noun, "series", "run", data.axes[state.axis], panel.title]];
  const add = (schedule, kind, run, { px, py }) => {
    for (let at = 0; at < px.length; at++) {
      if (px[at] >= sx.low && px[at] <= sx.high) rows.push([schedule, kind, run, px[at], py[at]]);
    }
  };
  for (const [item, index] of visible(panel)) {
    const name = nameOf(index), line = lineOf(item, panel);
    if (line) add(name, panel.profile ? "share of runs" : "mean", "", line);
    const band = bandOf(item, sy && sy.log);
    for (const edge of band ? ["low", "high"] : []) add(name, edge, "", { px: band.px, py: band[edge] });
    for (const run of drawnRuns(item, panel)) add(name, "run", ofRun(run.runs[0], "run"), points(run));
  }
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
