// Turns the page's numbers into curves over any x axis, smoothed or not, and into SVG paths.
"use strict";

const NAMESPACE = "http://www.w3.org/2000/svg";

// Text from trackers is set only by textContent and setAttribute, so it stays text.
function svg(name, attributes, parent) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (parent) parent.appendChild(made);
  return made;
}

const numbers = (list) => Float64Array.from(list, (value) => (value === null ? NaN : value));

function summed(deltas) {
  let at = 0;
  return Float64Array.from(deltas, (delta) => (at += delta));
}

const ARRAYS = new Set(["x", "y", "sx", "sy", "low", "high", "slow", "shigh"]);

/** The panels with the arrays that they refer to by index. */
function resolved(item, arrays) {
  if (Array.isArray(item)) return item.map((part) => resolved(part, arrays));
  if (item === null || typeof item !== "object") return item;
  const entries = Object.entries(item).map(
    ([key, value]) => [key, ARRAYS.has(key) ? arrays[value] : resolved(value, arrays)]);
  return Object.fromEntries(entries);
}

/** A curve: x in steps, y, and the evenly spaced means that smoothing uses if it is allowed. */
function curveOf(raw, runs, smooth) {
  const x = summed(raw.x), y = numbers(raw.y);
  return { runs, x, y, smooth, sx: raw.sx ? summed(raw.sx) : x, sy: raw.sy ? numbers(raw.sy) : y };
}

/** A panel with its curves, ready to draw. */
function panelOf(raw) {
  const series = raw.series.map((item) => item && seriesOf(item, raw));
  return { ...raw, series };
}

function seriesOf(raw, panel) {
  if (panel.profile) return raw;
  const series = { mean: null, band: null, ends: raw.ends };
  series.runs = (raw.runs || []).map((run) => curveOf(run, [run.run], false));
  if (raw.x) {
    series.mean = curveOf(raw, raw.of, panel.smooth);
    // a single run: its recorded values are drawn behind the smoothed line
    if (!raw.runs && panel.smooth) series.runs = [curveOf(raw, raw.of, false)];
  }
  if (raw.band) {
    const x = raw.band.x || raw.x;
    const part = (y, sy) => curveOf({ x, y, sx: x, sy: sy || y }, raw.of, panel.smooth);
    series.band = [part(raw.band.low, raw.band.slow), part(raw.band.high, raw.band.shigh)];
  }
  const counted = new Set(raw.of);
  series.counted = series.runs.filter((run) => counted.has(run.runs[0]));
  return series;
}

/** The position of a step on a run's axis, interpolated between knots and extrapolated beyond. */
function placed(ruler, step) {
  const [steps, places] = ruler;
  const last = steps.length - 1;
  if (last < 1) return places[0];
  const slope = (places[last] - places[0]) / (steps[last] - steps[0]);
  if (step <= steps[0]) return places[0] + slope * (step - steps[0]);
  if (step >= steps[last]) return places[last] + slope * (step - steps[last]);
  let low = 0, high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle; else high = middle;
  }
  const share = (step - steps[low]) / (steps[high] - steps[low]);
  return places[low] + share * (places[high] - places[low]);
}

/** The part of the page's data that has the curves over an axis. */
function layer(data, axis) {
  return data.over && data.over.axis === axis ? data.over : data;
}

/** Positions of steps on an axis, averaged over runs; on the step axis, the steps themselves. */
function places(data, axis, runs, steps) {
  const { unit } = layer(data, axis);
  if (unit) return steps.map((step) => step * unit);  // they are positions already
  const rulers = data.rulers[axis];
  if (!rulers) return steps;
  return steps.map((step) => {
    let sum = 0;
    for (const run of runs) sum += placed(rulers[run], step);
    return sum / runs.length;
  });
}

/** The mean of y in a window of x around each point; gaps stay gaps. */
function smoothed(x, y, width) {
  const found = new Float64Array(y.length);
  let from = 0, to = 0, sum = 0, count = 0;
  for (let at = 0; at < x.length; at++) {
    for (; to < x.length && x[to] <= x[at] + width / 2; to++) {
      if (y[to] === y[to]) { sum += y[to]; count++; }
    }
    for (; x[from] < x[at] - width / 2; from++) {
      if (y[from] === y[from]) { sum -= y[from]; count--; }
    }
    found[at] = y[at] === y[at] && count ? sum / count : NaN;
  }
  return found;
}

/** The points of a curve for the current controls, cached until a control changes. */
function points(data, curve, state) {
  const rough = !(curve.smooth && state.smooth);
  const key = state.axis + (rough ? "" : state.smooth);
  if (curve.key !== key) {
    const steps = rough ? curve.x : curve.sx;
    const width = (state.smooth / 100) * layer(data, state.axis).lastStep;
    curve.px = places(data, state.axis, curve.runs, steps);
    curve.py = rough ? curve.y : smoothed(curve.sx, curve.sy, width);
    curve.key = key;
  }
  return curve;
}

/** A scale from numbers to pixels. */
function scaleOf(low, high, from, to, log) {
  const f = log ? Math.log10 : (value) => value;
  const a = f(low), size = (to - from) / (f(high) - a || 1);
  const scale = (value) => from + (f(value) - a) * size;
  scale.back = (pixel) => {
    const value = a + (pixel - from) / size;
    return log ? 10 ** value : value;
  };
  return Object.assign(scale, { low, high, log });
}

/** About this many round numbers on a scale, or only whole numbers. */
function ticks(scale, about, whole = false) {
  const { low, high } = scale;
  if (scale.log) {
    const decades = Math.log10(high / low);
    const every = Math.max(1, Math.ceil(decades / about));
    const steps = decades < 0.7 ? null : decades < 2.5 ? [1, 2, 5] : [1];
    if (steps) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += every) {
        // parsed, because a product would give 0.30000000000000004
        for (const digit of steps) found.push(Number(`${digit}e${power}`));
      }
      return found.filter((value) => value >= low && value <= high);
    }
  }
  const rough = (high - low) / about, size = 10 ** Math.floor(Math.log10(rough));
  const round = size * [1, 2, 5, 10].find((times) => times * size >= rough);
  const step = whole ? Math.max(1, round) : round;
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) {
    found.push(Number((at * step).toPrecision(12)));
  }
  return found;
}

function written(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2).replace(/\.?0+e\+?/, "e");
  return size >= 1e4 ? value.toLocaleString("en-US") : String(Number(value.toPrecision(4)));
}

/** A number on the x axis: millions and more are read at a glance. */
function amount(value) {
  const size = Math.abs(value);
  if (size < 1e6) return written(value);
  if (size < 1e9) return `${Number((value / 1e6).toPrecision(6))} M`;
  const [digits, power] = value.toExponential(5).split("e+");
  return `${Number(digits)}×10${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
}

const RING = "m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0";

/** A path through points, broken at gaps, within the x range and one point beyond. */
function path(px, py, sx, sy) {
  let text = "", pen = false, alone = false;
  for (let at = 0; at < px.length; at++) {
    const out = (at + 1 < px.length && px[at + 1] < sx.low) || (at && px[at - 1] > sx.high);
    const y = sy(py[at]), x = sx(px[at]);
    if (out || !Number.isFinite(y) || !Number.isFinite(x)) {
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
    const out = (at + 1 < px.length && px[at + 1] < sx.low) || (at && px[at - 1] > sx.high);
    const x = sx(px[at]), y = sy(high[at]);
    if (out || !Number.isFinite(x) || !Number.isFinite(y)) { close(); continue; }
    const base = sy(low[at]);
    top.push(x.toFixed(1) + " " + y.toFixed(1));
    bottom.push(x.toFixed(1) + " " + (Number.isFinite(base) ? base : floor).toFixed(1));
  }
  close();
  return text;
}

/** The index of the position nearest to x. */
function nearest(px, x) {
  let low = 0, high = px.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (px[middle] <= x) low = middle; else high = middle;
  }
  return x - px[low] <= px[high] - x ? low : high;
}
