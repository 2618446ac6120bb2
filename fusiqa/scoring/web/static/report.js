// The table of a report: sorted, filtered, a hundred rows at a time.
"use strict";
(() => {
  const PAGE = 100, NUMERIC = new Set(["score"]);
  const $ = (id) => document.getElementById(id);
  const all = JSON.parse($("data").textContent);
  for (const row of all) row.text = `${row.path} ${row.flaws} ${row.note}`.toLowerCase();
  let order = { by: "score", up: true }, found = all, first = 0;

  function arrange() {
    const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [least, most] = ["least", "most"].map((id) => ($(id).value === "" ? null : Number($(id).value)));
    found = all.filter((row) => words.every((word) => row.text.includes(word))
      && (least === null || (row.score !== null && row.score >= least))
      && (most === null || (row.score !== null && row.score <= most)));
    const { by, up } = order, sign = up ? 1 : -1, none = (value) => value === null || value === "";
    const text = new Intl.Collator(undefined, { numeric: true });
    found.sort((a, b) => none(a[by]) - none(b[by])
      || sign * (NUMERIC.has(by) ? a[by] - b[by] : text.compare(a[by], b[by])));
    first = 0;
    show();
  }

  function cell(content, className = "") {
    const made = document.createElement("td");
    made.className = className;
    made.append(content ?? "");
    return made;
  }

  function line(row) {
    const made = document.createElement("tr");
    let picture = "";
    if (row.picture) {
      picture = new Image();
      picture.src = row.picture;
      picture.alt = "";
    }
    made.append(cell(picture), cell(row.path, "name"), cell(row.score === null ? "" : row.score.toPrecision(3)),
      cell(row.flaws, "flaws"), cell((row.taken ?? "").slice(0, 19).replace("T", " ")), cell(row.size),
      cell(row.note, row.score === null ? "error" : ""));
    return made;
  }

  function show() {
    const last = Math.min(first + PAGE, found.length);
    $("rows").replaceChildren(...found.slice(first, last).map(line));
    const count = (number) => number.toLocaleString("en");
    $("place").textContent = found.length ? `${count(first + 1)} to ${count(last)} of ${count(found.length)}` : "no image";
    $("first").disabled = $("back").disabled = first === 0;
    $("next").disabled = $("last").disabled = last >= found.length;
  }

  const end = () => Math.max(0, Math.floor((found.length - 1) / PAGE) * PAGE);
  const go = { first: () => 0, back: () => Math.max(0, first - PAGE), next: () => first + PAGE, last: end };
  for (const [id, place] of Object.entries(go)) $(id).addEventListener("click", () => { first = place(); show(); });
  for (const id of ["words", "least", "most"]) $(id).addEventListener("input", arrange);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-sort]"))
    button.addEventListener("click", () => {
      const by = button.dataset.sort;
      order = { by, up: order.by === by ? !order.up : true };
      for (const head of document.querySelectorAll("th")) head.removeAttribute("aria-sort");
      button.parentElement.setAttribute("aria-sort", order.up ? "ascending" : "descending");
      arrange();
    });
  arrange();
})();
