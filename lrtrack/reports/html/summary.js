// What each panel shows, in words and as a small table, for those who do not see it.
"use strict";

const LISTED = 10;

/** The first, lowest, highest and last finite value of a line within the x range; null if it has none. */
function outline({ px, py }, sx) {
  let values = null;
  for (let at = 0; at < px.length; at++) {
    const y = py[at];
    if (px[at] < sx.low || px[at] > sx.high || !Number.isFinite(y)) continue;
    values = values || { first: y, low: y, high: y };
    values.last = y;
    values.low = Math.min(values.low, y);
    values.high = Math.max(values.high, y);
  }
  return values;
}

/** Says in a sentence what the panel shows, and lists each visible schedule's values. */
function tell({ view, panel, plot, picture, table, sx, sy }) {
  const rows = [];
  for (const [item, index] of visible(panel)) {
    const line = lineOf(item, panel) || (item.runs[0] && points(item.runs[0]));
    const values = line && outline(line, sx);
    if (values) rows.push({ name: nameOf(index), ...values });
  }
  const unit = panel.profile ? " %" : "";
  const say = (value) => written(Number(value.toPrecision(4))) + unit;
  const axis = data.axes[state.axis];
  const kind = panel.profile ? "" : ", mean over runs";
  const head = `${panel.title} by ${axis}${kind}, ${rows.length} ${data.noun}${rows.length === 1 ? "" : "s"}, `
    + `${sy && sy.log ? "logarithmic" : "linear"} scale, ${axis} ${amount(sx.low)} to ${amount(sx.high)}.`;
  const ends = rows.slice(0, 3).map((row) => ` ${row.name} goes from ${say(row.first)} to ${say(row.last)}.`);
  picture.setAttribute("aria-label", rows.length ? head + ends.join("") : `${panel.title}: nothing to show.`);
  plot.setAttribute("aria-label", `${panel.title}: arrow keys move the cursor, up and down choose a ${data.noun}, `
    + "plus and minus zoom, Escape shows the whole range");
  const caption = html("caption", {}, null, panel.title);
  const titles = html("tr");
  for (const title of [data.noun, "first", "lowest", "highest", "last"]) html("th", { scope: "col" }, titles, title);
  const lines = rows.slice(0, LISTED).map((row) => {
    const line = html("tr");
    html("th", { scope: "row" }, line, row.name);
    for (const value of [row.first, row.low, row.high, row.last]) html("td", {}, line, say(value));
    return line;
  });
  table.replaceChildren(caption, titles, ...lines);
  if (rows.length > LISTED) html("td", { colspan: 5 }, html("tr", {}, table), `and ${rows.length - LISTED} more`);
}
