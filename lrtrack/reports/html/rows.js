// Rows and dots light up together with their curves, under the pointer and with the keyboard.
//
// Whoever has the pointer or the focus dispatches `lrtrack:highlight` on the document, with the
// indices `{ schedule, run }`, where `run` is null for all runs of a schedule; null ends it.
"use strict";

{
  const lines = [...document.querySelectorAll("tr[data-s]")];
  const dots = [...document.querySelectorAll(".dot")];
  const tell = (detail) => document.dispatchEvent(new CustomEvent("lrtrack:highlight", { detail }));
  const indexOf = (text) => (text === undefined ? null : Number(text));

  for (const line of lines) {
    const detail = { schedule: Number(line.dataset.s), run: indexOf(line.dataset.run) };
    line.addEventListener("pointerenter", () => tell(detail));
    line.addEventListener("pointerleave", () => tell(null));
    line.addEventListener("focusin", () => tell(detail));
    line.addEventListener("focusout", () => tell(null));
  }

  for (const dot of dots) {
    const schedule = Number(dot.closest("tr").dataset.s);
    dot.addEventListener("pointerenter", () => tell({ schedule, run: Number(dot.dataset.run) }));
    dot.addEventListener("pointerleave", () => tell({ schedule, run: null }));
  }

  document.addEventListener("lrtrack:highlight", ({ detail }) => {
    const isLit = (schedule, run) => Boolean(detail) && detail.schedule === schedule
      && (run === null || (detail.run ?? null) === null || detail.run === run);
    for (const line of lines) {
      line.classList.toggle("lit", isLit(Number(line.dataset.s), indexOf(line.dataset.run)));
    }
    for (const dot of dots) {
      dot.classList.toggle("lit", Boolean(detail) && detail.run === Number(dot.dataset.run));
    }
  });

  // One row of each table can be reached with Tab; the arrow keys move to the others.
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    for (const row of body.rows) row.tabIndex = -1;
    if (body.rows.length) body.rows[0].tabIndex = 0;
    body.addEventListener("keydown", (event) => {
      const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!way || event.target.tagName !== "TR") return;
      const shown = [...body.rows].filter((row) => !row.hidden);
      const next = shown[shown.indexOf(event.target) + way];
      event.preventDefault();
      if (!next) return;
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }
}
