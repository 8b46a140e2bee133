// Comforts for who has scripts: all code at once (imports and checks too), tables that sort (a third click undoes it), mistakes that filter. Every page reads without.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

for (const button of all("button.codes")) {
  const codes = all("details.code");
  button.hidden = codes.length === 0;
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") === "false";
    codes.forEach((code) => { code.open = open; });
    document.body.classList.toggle("all-code", open); 
    button.setAttribute("aria-expanded", open);
    button.textContent = open ? "Hide all code" : "Show all code";
  });
}

function value(cell) {
  const text = cell.textContent.trim();
  const factor = { k: 1e3, M: 1e6, G: 1e9 }[text.slice(-1)] ?? 1;
  const number = factor * parseFloat(text.replace(/,/g, "").replace("−", "-"));
  return cell.classList.contains("number") ? (Number.isNaN(number) ? -Infinity : number) : text.toLowerCase();
}

function sort(table, column, down) {
  const body = table.tBodies[0], order = down ? -1 : 1;
  const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
  rows.sort(([a], [b]) => order * (a < b ? -1 : a > b ? 1 : 0));
  body.append(...rows.map(([, row]) => row));
}

for (const table of all("table")) {
  const plain = table.tHead?.rows.length === 1 && table.tBodies.length === 1 && !table.querySelector("[rowspan],[colspan]");
  if (!plain || table.tBodies[0].rows.length < 2) continue;
  const asMade = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.filter((head) => head.tagName === "TH").forEach((head) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const turns = head.classList.contains("number") ? ["descending", "ascending"] : ["ascending", "descending"];
      const next = turns[turns.indexOf(head.getAttribute("aria-sort")) + 1];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      table.tBodies[0].append(...asMade);
      if (!next) return;
      head.setAttribute("aria-sort", next);
      sort(table, head.cellIndex, next === "descending");
    });
  });
}

for (const form of all("form.filter")) {
  const items = all(".wrong li"), names = ["true", "predicted", "from", "to"];
  const filter = () => {
    const [true_, predicted, from, to] = names.map((name) => form.elements[name].value);
    const fits = ({ dataset: is }) => (!true_ || is.true === true_) && (!predicted || is.predicted === predicted)
      && +is.confidence >= +(from || 0) && +is.confidence <= +(to || 100);
    items.forEach((item) => { item.hidden = !fits(item); });
    const shown = items.filter(fits).length;
    form.querySelector("output").value = `${shown.toLocaleString("en")} of ${items.length.toLocaleString("en")} shown`;
  };
  const remember = () => history.replaceState(null, "", `#${new URLSearchParams(new FormData(form))}`);
  for (const [name, given] of new URLSearchParams(location.hash.slice(1))) {
    if (names.includes(name)) form.elements[name].value = given;
  }
  form.addEventListener("input", () => { filter(); remember(); });
  form.addEventListener("reset", () => setTimeout(() => { filter(); remember(); }));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}
