// Scales, their ticks, and the choice of each panel's y scale.
"use strict";

/** A scale from numbers to pixels. */
function scaleOf(low, high, from, to, log) {
  const f = log ? Math.log10 : (value) => value;
  const a = f(low), size = (to - from) / (f(high) - a || 1);
  const scale = (value) => from + (f(value) - a) * size;
  scale.back = (pixel) => {
    const value = a + (pixel - from) / size;
    return log ? 10 ** value : value;
  };
  return Object.assign(scale, { low, high, log, from, to });
}

/** About this many round numbers on a scale, or only whole numbers. */
function ticks(scale, about, whole = false) {
  const { low, high } = scale;
  if (scale.log) {
    const decades = Math.log10(high / low);
    const every = Math.max(1, Math.round(decades / about));
    const room = (about * 1.5) / decades;
    const digits = decades < 0.7 ? null : room >= 3 ? [1, 2, 5] : room >= 2 ? [1, 3] : [1];
    if (digits) {
      const marks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        if (power % every) continue;
        // parsed, because a product would give 0.30000000000000004
        for (const digit of digits) marks.push(Number(`${digit}e${power}`));
      }
      return marks.filter((value) => value >= low && value <= high);
    }
  }
  const rough = (high - low) / about, size = 10 ** Math.floor(Math.log10(rough));
  const round = size * [1, 2, 5, 10].find((times) => times * size >= rough);
  const step = whole ? Math.max(1, round) : round;
  const marks = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) {
    marks.push(Number((at * step).toPrecision(12)));
  }
  return marks;
}

const raised = (power) => [...String(power)].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");

/** A number with a power of ten: 2.5×10⁹, or 10⁹ alone. */
function scientific(value, digits) {
  const [factor, power] = value.toExponential(digits).split("e");
  const head = Number(factor) === 1 ? "" : `${Number(factor)}×`;
  return `${head}10${raised(Number(power))}`;
}

function written(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return scientific(value, 2);
  return size >= 1e4 ? value.toLocaleString("en-US") : String(Number(value.toPrecision(4)));
}

/** A number on the x axis: millions and more are read at a glance. */
function amount(value) {
  const size = Math.abs(value);
  if (size < 1e6) return written(value);
  if (size < 1e9) return `${Number((value / 1e6).toPrecision(6))} M`;
  const [digits, power] = value.toExponential(5).split("e+");
  return `${Number(digits)}×10${raised(Number(power))}`;
}

// Values further than this many usual ranges from the usual ones are beyond the scale; on a log
// scale at least this many decades are within.
const FAR = 4, DECADES = 3;
// Larger values than this many times the median are wide, and rates whose peaks differ more.
const WIDE = 8, PEAKS = 20;
const SAMPLES = 200;

/** The extremes of curves within an x range, and the values that all but 2 % of their points lie between. */
function spanOf(curves, sx, log) {
  const sample = [];
  let low = Infinity, high = -Infinity;
  for (const { px, py } of curves) {
    const every = Math.max(1, Math.floor(px.length / SAMPLES));
    for (let at = 0; at < px.length; at++) {
      if (px[at] < sx.low || px[at] > sx.high || !(Math.abs(py[at]) < Infinity)) continue;
      const value = log ? Math.log10(py[at]) : py[at];
      if (!Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
      if (at % every === 0) sample.push(value);
    }
  }
  if (!(high >= low)) return null;
  sample.sort((a, b) => a - b);
  const quantile = (share) => (sample.length ? sample[Math.round(share * (sample.length - 1))] : low);
  return { low, high, bottom: quantile(0.02), top: quantile(0.98), middle: quantile(0.5) };
}

/** The curves that decide a schedule's range: not diverged runs, whose last values are huge. */
function decisive(item, panel) {
  if (!item.mean) return [];
  const runs = state.runs ? item.counted : [];
  return [item.mean, ...runs].map(points);
}

/** The curves by which the scale of a panel is chosen, one list for each visible schedule. */
function decisiveOf(panel) {
  const lists = visible(panel).map(([item]) => decisive(item, panel)).filter((list) => list.length);
  return lists.length ? lists : visible(panel).map(([item]) => item.runs.map(points));
}

/** Whether a linear scale would flatten what a panel shows, and a logarithmic one can show it. */
function isWide(panel, whole) {
  if (panel.profile) return false;
  const spans = decisiveOf(panel).map((curves) => spanOf(curves, whole, false)).filter(Boolean);
  if (!spans.length) return false;
  if (!panel.smooth) {
    const peaks = spans.map((span) => span.high).filter((peak) => peak > 0);
    return peaks.length === spans.length && Math.max(...peaks) > PEAKS * Math.min(...peaks);
  }
  const middles = spans.map((span) => span.middle).sort((a, b) => a - b);
  const median = middles[Math.floor((middles.length - 1) / 2)];
  return spans.every((span) => span.low > 0) && Math.max(...spans.map((span) => span.high)) > WIDE * median;
}

/** The usual range of several spans, and whether something lies far beyond it.
 *
 * Values near a common level, such as losses, count as far apart from a quarter of it on, rates
 * from all of it on, because constant ones have no range of their own. */
function usual(spans, log, level) {
  const middle = (numbers) => numbers.sort((a, b) => a - b)[Math.floor((numbers.length - 1) / 2)];
  const top = middle(spans.map((span) => span.top));
  const bottom = -middle(spans.map((span) => -span.bottom));
  const size = Math.max(top - bottom, log ? 0.5 : Math.max(Math.abs(top), Math.abs(bottom)) * level) || 1;
  const reach = Math.max(FAR * size, log ? DECADES : 0);
  const low = Math.min(...spans.map((span) => span.low)), high = Math.max(...spans.map((span) => span.high));
  const above = high > top + reach, below = low < bottom - reach;
  const tops = spans.map((span) => span.top).filter((value) => value <= top + reach);
  const bottoms = spans.map((span) => span.bottom).filter((value) => value >= bottom - reach);
  return {
    low: below ? Math.min(...bottoms) - size / 2 : low, high: above ? Math.max(...tops) + size / 2 : high,
    beyond: [below ? low : null, above ? high : null],
  };
}

/** The y scale of a panel's visible schedules; null if they have no value in the x range. */
function scaleY(view, panel, sx, whole, height) {
  const bottom = height - MARGIN.bottom, top = MARGIN.top;
  if (panel.profile && !view.zoom) return scaleOf(0, 104, bottom, top, false);
  const log = view.log === null ? isWide(panel, whole) : view.log;
  const f = log ? Math.log10 : (value) => value, back = log ? (value) => 10 ** value : f;
  const spans = panel.profile ? [{ low: 0, high: 100 }]
    : decisiveOf(panel).map((curves) => spanOf(curves, sx, log)).filter(Boolean);
  if (!spans.length) return view.log === null || !log ? null : scaleY({ ...view, log: false }, panel, sx, whole, height);
  if (view.zoom) {
    const [low, high] = view.zoom;
    return scaleOf(log && low <= 0 ? high / 1e6 : low, high, bottom, top, log);
  }
  const range = usual(spans, log, panel.smooth ? 0.25 : 1);
  let { low, high } = view.whole ? { low: Math.min(...spans.map((span) => span.low)),
    high: Math.max(...spans.map((span) => span.high)) } : range;
  // rates that fall to 0 have no place on a log scale, and those that nearly do would stretch it
  if (log && !panel.smooth) low = Math.max(low, Math.min(...spans.map((span) => span.high)) - 2);
  const size = high - low;
  for (const [item] of panel.profile ? [] : visible(panel)) {
    const edges = bandOf(item, log);
    const band = edges && spanOf([edges.low, edges.high].map((py) => ({ px: edges.px, py })), sx, log);
    if (!band || !size) continue;  // an interval of few runs may be many times as wide as the curves
    if (range.beyond[0] === null) low = Math.max(Math.min(low, band.low), range.low - size / 2);
    if (range.beyond[1] === null) high = Math.min(Math.max(high, band.high), range.high + size / 2);
  }
  if (!log && low > 0 && low < high / 5) low = 0;
  const room = high > low ? (high - low) * (log ? 0.04 : 0.05) : log ? 0.18 : Math.abs(high) * 0.1 || 1;
  const from = !log && low === 0 ? 0 : back(low - room);
  const scale = scaleOf(from, back(high + room), bottom, top, log);
  // that a rate falls far below its peak is no surprise
  const beyond = panel.smooth || !log ? range.beyond : [null, range.beyond[1]];
  scale.beyond = beyond.map((value) => (value === null ? null : back(value)));
  return scale;
}
