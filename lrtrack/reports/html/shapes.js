// SVG elements, and the paths of curves.
"use strict";

const NAMESPACE = "http://www.w3.org/2000/svg";

// Text from trackers is set only by textContent and setAttribute, so it stays text.
function svg(name, attributes, parent, text) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.appendChild(element);
  return element;
}

function html(name, attributes, parent, text) {
  const element = document.createElement(name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.appendChild(element);
  return element;
}

const RING = "m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0";

/** A pixel near the picture: renderers lose precision, and lines, far outside. */
const near = (pixel) => Math.max(-9999, Math.min(9999, pixel));

/** Whether the line from or to a point lies outside the x range. */
function outside(px, at, sx) {
  return (at + 1 < px.length && px[at + 1] < sx.low) || (at && px[at - 1] > sx.high);
}

/** A path through points, broken at gaps, within the x range and one point beyond. */
function path(px, py, sx, sy) {
  let text = "", pen = false, alone = false;
  for (let at = 0; at < px.length; at++) {
    const x = near(sx(px[at])), y = near(sy(py[at]));
    if (outside(px, at, sx) || y !== y || x !== x) {
      if (alone) text += RING;
      pen = alone = false;
      continue;
    }
    text += (pen ? "L" : "M") + x.toFixed(1) + " " + y.toFixed(1);
    alone = !pen;
    pen = true;
  }
  return alone ? text + RING : text;  // a single point has no length, so it is drawn as a ring
}

/** Closed shapes between two curves with the same x, one per stretch without a gap. */
function area(px, low, high, sx, sy, floor) {
  let text = "", top = [], bottom = [];
  const close = () => {
    if (top.length > 1) text += "M" + top.join("L") + "L" + bottom.reverse().join("L") + "Z";
    top = [];
    bottom = [];
  };
  for (let at = 0; at < px.length; at++) {
    const x = near(sx(px[at])), y = near(sy(high[at]));
    if (outside(px, at, sx) || x !== x || y !== y) { close(); continue; }
    const base = sy(low[at]);  // none below 0 on a log scale
    top.push(x.toFixed(1) + " " + y.toFixed(1));
    bottom.push(x.toFixed(1) + " " + (base === base ? near(base) : floor).toFixed(1));
  }
  close();
  return text;
}
