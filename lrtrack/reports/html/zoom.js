// Zoom: a box by mouse, two fingers by touch, plus and minus by keyboard. The x range is that of
// all panels, the y range a panel's own.
"use strict";

// A drag narrower than this is along one axis alone, and one shorter than `CLICK` is a click.
const ALONG = 14, CLICK = 5, FINGERS = 24;

function wholeRange() {
  state.zoom = null;
  for (const view of state.views) view.zoom = null;
  draw();
}

/** Zooms the x range about a place: a factor of 0.5 shows half of it. */
function zoomAbout({ sx }, place, factor) {
  const middle = sx(place === null ? sx.back((sx.from + sx.to) / 2) : place);
  state.zoom = [sx.back(middle - (middle - sx.from) * factor), sx.back(middle + (sx.to - middle) * factor)];
  draw();
}

/** The box between two places of a panel, along one axis if it is narrow in the other. */
function boxOf({ sx, floor }, from, to) {
  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  const xs = [from.x, to.x].map((x) => within(x, sx.from, sx.to)).sort((a, b) => a - b);
  const ys = [from.y, to.y].map((y) => within(y, MARGIN.top, floor)).sort((a, b) => a - b);
  const wide = xs[1] - xs[0], tall = ys[1] - ys[0];
  const alongX = wide > CLICK && (tall < ALONG || wide >= ALONG), alongY = tall > CLICK && tall >= ALONG;
  return { xs: alongX ? xs : null, ys: alongY ? ys : null };
}

function drawBox(entry, { xs, ys }) {
  for (const other of drawn) {
    const { chosen, sx, floor } = other, own = other === entry;
    const [left, right] = !xs ? [sx.from, own ? sx.to : sx.from] : xs.map((x) => sx(entry.sx.back(x)));
    const [top, bottom] = own && ys ? ys : [MARGIN.top, floor];
    const size = { x: left, width: xs || ys ? right - left : 0, y: top, height: bottom - top };
    for (const key in size) chosen.setAttribute(key, size[key]);
  }
}

function zoomTo(entry, { xs, ys }) {
  if (xs) state.zoom = xs.map(entry.sx.back);
  if (ys && entry.sy) entry.view.zoom = [...ys].reverse().map(entry.sy.back);
  draw();
}

/** Moves and stretches the ranges so that what was under two fingers stays under them. */
function pinched(entry, start, now) {
  const along = (axis) => {
    const apart = Math.abs(start.at[0][axis] - start.at[1][axis]);
    const stretch = apart > FINGERS ? Math.max(0.05, Math.abs(now[0][axis] - now[1][axis]) / apart) : 1;
    const was = (start.at[0][axis] + start.at[1][axis]) / 2, is = (now[0][axis] + now[1][axis]) / 2;
    return (pixel) => was + (pixel - is) / stretch;
  };
  const { sx, sy } = start, x = along("x"), y = along("y");
  state.zoom = [sx.from, sx.to].map((pixel) => sx.back(x(pixel)));
  if (sy) entry.view.zoom = [sy.from, sy.to].map((pixel) => sy.back(y(pixel)));
  draw();
}

/** Pointers on a panel: a mouse draws a box, one finger moves the cursor, two fingers zoom and move. */
function zoomable(entry) {
  const { plot } = entry, fingers = new Map();
  let from = null, pinch = null;
  const at = (event) => {
    const box = plot.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const touched = (event) => event.pointerType === "touch";
  plot.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    plot.setPointerCapture(event.pointerId);
    if (!touched(event)) { from = at(event); return; }
    fingers.set(event.pointerId, at(event));
    if (fingers.size === 1) point(event, entry);
    if (fingers.size === 2) {
      hideCursor();
      pinch = { at: [...fingers.values()], sx: entry.sx, sy: entry.sy };
    }
  });
  plot.addEventListener("pointermove", (event) => {
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at(event));
    if (pinch) return pinched(entry, pinch, [...fingers.values()]);
    point(event, entry);
    if (from) drawBox(entry, boxOf(entry, from, at(event)));
  });
  const up = (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size < 2) pinch = null;
    const box = from && event.type === "pointerup" ? boxOf(entry, from, at(event)) : {};
    from = null;
    if (box.xs || box.ys) zoomTo(entry, box);
    else if (!touched(event)) drawBox(entry, {});
  };
  plot.addEventListener("pointerup", up);
  plot.addEventListener("pointercancel", up);
  plot.addEventListener("pointerleave", (event) => {
    if (touched(event)) return;  // what a finger showed stays when it is lifted
    light(null);
    hideCursor();
  });
  plot.addEventListener("dblclick", wholeRange);
  // One finger up or down scrolls the page; two never do.
  const hold = (event) => { if (event.touches.length > 1) event.preventDefault(); };
  plot.addEventListener("touchstart", hold, { passive: false });
  plot.addEventListener("touchmove", hold, { passive: false });
}
