// Tables: sorting by a click on a head, filtering, columns of parameters, copies as Markdown.
"use strict";

{
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const NUMBER = /^-?\d[\d.]*(?:e[+-]?\d+)?/;
  const POWER = /^×10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+)/;

  /** The number that a cell begins with: `≈ −0.005 [−0.02, 0.01]`, `12,300`, `2.1 M`, `3.2×10⁹`. */
  const numberIn = (text) => {
    const plain = text.trim().replace(/^[≈>≥<≤]\s*/, "").replace("−", "-").replace(/(\d),(?=\d{3})/g, "$1");
    const [digits] = NUMBER.exec(plain) || [""];
    const rest = plain.slice(digits.length);
    const [, sign, power] = POWER.exec(rest) || [];
    const exponent = power ? [...power].map((digit) => SUPERSCRIPTS.indexOf(digit)).join("") : 0;
    const factor = /^ M\b/.test(rest) ? 1e6 : 10 ** (sign ? -exponent : exponent);
    return digits ? Number(digits) * factor : NaN;
  };

  /** Compares two cells; those without a value come last, in both directions. */
  const compare = (numeric, turn) => ([a], [b]) => {
    const [x, y] = numeric ? [numberIn(a), numberIn(b)] : [a, b];
    const [noX, noY] = numeric ? [Number.isNaN(x), Number.isNaN(y)] : [x, y].map((text) => text === "" || text === "–");
    if (noX || noY) return noX - noY;
    return turn * (numeric ? x - y : x.localeCompare(y, undefined, { numeric: true }));
  };

  /** Sorts by a column: ascending, descending, and in the page's own order again. */
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0], rows = [...body.rows];
    heads.forEach((head, at) => {
      if (head.classList.contains("drawn")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = { ascending: "descending", descending: null }[head.ariaSort];
        const wanted = now === undefined ? "ascending" : now;
        for (const other of heads) other.removeAttribute("aria-sort");
        if (wanted) head.setAttribute("aria-sort", wanted);
        const order = compare(head.classList.contains("number"), wanted === "descending" ? -1 : 1);
        const texts = rows.map((row) => [row.cells[at].textContent.trim(), row]);
        body.append(...(wanted ? texts.sort(order).map(([, row]) => row) : rows));
      });
    });
  };

  /** Shows the rows that contain all words of the input. */
  const filterable = (table, bar) => {
    const input = bar.querySelector("input[type=search]");
    if (!input) return;
    const rows = [...table.tBodies[0].rows];
    let texts = null;  // made when they are first needed
    input.addEventListener("input", () => {
      texts = texts || rows.map((row) => [...row.cells].map((cell) => `${cell.textContent}\n${cell.title}`).join("\n").toLowerCase());
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row, at) => { row.hidden = !words.every((word) => texts[at].includes(word)); });
      const left = rows.filter((row) => !row.hidden).length;
      bar.querySelector(".count").textContent = words.length ? `${left} of ${rows.length} ${bar.dataset.noun}` : "";
    });
  };

  /** Copies text; where the browser does not let a page do so, the text is shown and selected. */
  const copy = async (text, said, done) => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = done;
    } catch {
      const area = document.createElement("textarea");
      area.className = "by-hand";
      area.readOnly = true;
      area.value = text;
      area.setAttribute("aria-label", "Text to copy");
      area.addEventListener("blur", () => { area.remove(); said.textContent = ""; });
      said.after(area);
      area.select();
      said.textContent = "Press Ctrl+C (⌘C) to copy";
    }
  };

  /** Text that Markdown shows as it is: no markup, no cells, no HTML. */
  const escaped = (text) => text.trim().replace(/\s+/g, " ").replace(/[\\`*_[\]~|#!]/g, "\\$&")
    .replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/(\w)\\_(?=\w)/g, "$1_");

  /** The visible rows and columns of a table, without drawings. */
  const markdownOf = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const shown = heads.flatMap((head, at) => (
      head.classList.contains("drawn") || getComputedStyle(head).display === "none" ? [] : [at]));
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    return [
      line(shown.map((at) => escaped(heads[at].textContent))),
      line(shown.map((at) => (heads[at].classList.contains("number") ? "---:" : "---"))),
      ...rows.map((row) => line(shown.map((at) => escaped(row.cells[at].textContent)))),
    ].join("\n") + "\n";
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const bar = table.closest("section").querySelector(".bar"), said = bar.querySelector(".said");
    sortable(table);
    filterable(table, bar);
    const box = bar.querySelector(".with");
    if (box) box.addEventListener("change", () => table.classList.toggle("with-params", box.checked));
    bar.querySelector(".copy").addEventListener("click", () => {
      const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
      copy(markdownOf(table), said, `Copied ${rows} row${rows === 1 ? "" : "s"}`);
    });
    bar.hidden = false;
  }

  for (const button of document.querySelectorAll(".copy-command")) {
    const line = button.parentElement;
    button.hidden = false;
    button.addEventListener("click", () => {
      copy(line.querySelector("code").textContent, line.querySelector(".said"), "Copied");
    });
  }
}
