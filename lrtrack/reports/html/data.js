// Reads the page's numbers: the curves of each panel over any x axis, smoothed or not.
"use strict";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
for (const axis in data.rulers) {
  data.rulers[axis] = data.rulers[axis].map((ruler) => ruler.map((index) => data.arrays[index]));
}
// The panels over steps, which rulers turn into other axes, and those over the report's own metric.
const layers = [data, data.over].filter(Boolean);
const cached = { positions: new Map(), values: new Map() };

/** An array of the page, converted when it is first needed. */
function stored(kind, index, convert) {
  const cache = cached[kind];
  if (!cache.has(index)) cache.set(index, convert(data.arrays[index]));
  return cache.get(index);
}

function positions(index) {
  return stored("positions", index, (deltas) => {
    let at = 0;
    return Float64Array.from(deltas, (delta) => (at += delta));
  });
}

function values(index) {
  return stored("values", index, (list) => Float64Array.from(list, (value) => (value === null ? NaN : value)));
}

/** A curve by the indices of its arrays; smoothing uses the evenly spaced means `sx` and `sy`. */
function curveOf(part, runs, smooth) {
  const { x, y, sx = x, sy = y } = part;
  return { runs, x, y, sx, sy, smooth };
}

/** One schedule of one panel, ready to draw. */
function seriesOf(item, panel) {
  if (!item || panel.profile) return item;
  const series = { mean: null, band: null, alone: null, ends: item.ends };
  series.runs = (item.runs || []).map((run) => curveOf(run, [run.run], false));
  if (item.x !== undefined) {
    series.mean = curveOf(item, item.of, panel.smooth);
    // The recorded values of a single run lie behind its smoothed line.
    if (!item.runs && panel.smooth) series.alone = curveOf(item, item.of, false);
  }
  if (item.band) {
    const x = item.band.x === undefined ? item.x : item.band.x;
    const edge = (y, sy = y) => curveOf({ x, y, sy }, item.of, panel.smooth);
    series.band = [edge(item.band.low, item.band.slow), edge(item.band.high, item.band.shigh)];
  }
  const counted = new Set(item.of);
  series.counted = series.runs.filter((run) => counted.has(run.runs[0]));
  return series;
}

function layerNow() {
  return data.over && data.over.axis === state.axis ? data.over : data;
}

/** A panel over the current axis, with its series. */
function panelAt(index) {
  const panel = layerNow().panels[index];
  panel.ready = panel.ready || panel.series.map((item) => seriesOf(item, panel));
  return panel;
}

/** The position of a step on a run's axis, interpolated between knots and extrapolated beyond. */
function placed(ruler, step) {
  const [steps, places] = ruler;
  const last = steps.length - 1;
  if (last < 1) return places[0];
  const slope = (places[last] - places[0]) / (steps[last] - steps[0]);
  if (step <= steps[0]) return places[0] + slope * (step - steps[0]);
  if (step >= steps[last]) return places[last] + slope * (step - steps[last]);
  const low = before(steps, step);
  const share = (step - steps[low]) / (steps[low + 1] - steps[low]);
  return places[low] + share * (places[low + 1] - places[low]);
}

/** The index of the last of the ascending numbers, without the last, that is at most `value`. */
function before(list, value) {
  let low = 0, high = list.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle] <= value) low = middle; else high = middle;
  }
  return low;
}

/** The index of the position nearest to x. */
function nearest(px, x) {
  const low = before(px, x), high = Math.min(low + 1, px.length - 1);
  return x - px[low] <= px[high] - x ? low : high;
}

/** Positions of steps on the current axis, averaged over runs; on the step axis, the steps. */
function places(runs, steps) {
  const { unit } = layerNow();
  if (unit) return steps.map((step) => step * unit);  // they are positions already
  const rulers = data.rulers[state.axis];
  if (!rulers) return steps;
  return steps.map((step) => {
    let sum = 0;
    for (const run of runs) sum += placed(rulers[run], step);
    return sum / runs.length;
  });
}

/** The mean of y in a window of x around each point; gaps stay gaps. */
function smoothed(x, y, width) {
  const means = new Float64Array(y.length);
  let from = 0, to = 0, sum = 0, count = 0;
  for (let at = 0; at < x.length; at++) {
    for (; to < x.length && x[to] <= x[at] + width / 2; to++) {
      if (y[to] === y[to]) { sum += y[to]; count++; }
    }
    for (; x[from] < x[at] - width / 2; from++) {
      if (y[from] === y[from]) { sum -= y[from]; count--; }
    }
    means[at] = y[at] === y[at] && count ? sum / count : NaN;
  }
  return means;
}

/** The window of smoothing, in the steps or units of the current layer. */
const windowWidth = () => (state.smooth / 100) * layerNow().last;

/** A curve with its points for the current controls, kept until a control changes. */
function points(curve) {
  const rough = !(curve.smooth && state.smooth);
  const key = state.axis + (rough ? "" : state.smooth);
  if (curve.key !== key) {
    const steps = positions(rough ? curve.x : curve.sx);
    curve.px = places(curve.runs, steps);
    curve.py = rough ? values(curve.y) : smoothed(steps, values(curve.sy), windowWidth());
    curve.key = key;
  }
  return curve;
}

/** The share of runs, in percent, that have reached the target, as stairs. */
function profileOf(item) {
  const at = item.reached.map(([run, step]) => places([run], [step])[0]);
  at.sort((a, b) => a - b);
  const last = places(item.of, [item.last])[0];
  const px = [0], py = [0];
  at.forEach((place, index) => {
    px.push(place, place);
    py.push((100 * index) / item.of.length, (100 * (index + 1)) / item.of.length);
  });
  px.push(Math.max(last, px[px.length - 1]));
  py.push(py[py.length - 1]);
  return { px, py };
}

/** The line of a schedule: its mean, or its share of runs; null without one. */
function lineOf(item, panel) {
  if (panel.profile) return profileOf(item);
  return item.mean && points(item.mean);
}

/**
 * The interval of a schedule's mean as two curves; null without one. On a log scale, it is that of
 * the logarithm of the mean, by the delta method, as in pictures: its ends are positive, too.
 */
function bandOf(item, log) {
  if (!item.band) return null;
  const [low, high] = item.band.map(points);
  if (!log) return { px: low.px, low: low.py, high: high.py };
  const middle = low.py.map((y, at) => (y + high.py[at]) / 2);
  const factor = middle.map((y, at) => (y > 0 ? Math.exp(Math.min(200, (high.py[at] - y) / y)) : NaN));
  return { px: low.px, low: middle.map((y, at) => y / factor[at]), high: middle.map((y, at) => y * factor[at]) };
}

/** The runs of a schedule that are drawn: all if they are switched on or there is no mean. */
function drawnRuns(item, panel) {
  if (panel.profile) return [];
  if (state.runs || !item.mean) return item.runs;
  return item.alone && state.smooth ? [item.alone] : [];
}
