// Comforts for who has scripts: all code at once (imports and checks too), tables that sort (a third click undoes it), values along a curve. Every page reads without.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

for (const words of all(".scripted")) words.hidden = false;

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

for (const figure of all("[data-points]")) {
  const { words, leads, ...places } = JSON.parse(figure.dataset.points);
  const image = figure.querySelector("img"), mark = document.createElement("span"), said = document.createElement("output");
  mark.className = "mark";
  mark.hidden = true;
  figure.append(mark, said);
  let at = -1;
  const here = () => (image.currentSrc.endsWith("-narrow.svg") ? places.narrow : places.svg);
  const show = (i) => {
    at = i;
    mark.hidden = said.hidden = i < 0;
    said.value = words[i] ?? "";
    figure.classList.toggle("leads", Boolean(leads[i]));
    const [x, y] = here()[i] ?? [0, 0];
    figure.style.setProperty("--x", x);
    figure.style.setProperty("--y", y);
  };
  const nearest = ({ clientX, clientY }) => {
    const { left, top, width, height } = image.getBoundingClientRect();
    const far = here().map(([x, y]) => Math.hypot(left + x * width - clientX, top + y * height - clientY));
    const least = Math.min(...far);
    return least < 30 ? far.indexOf(least) : -1;
  };
  figure.addEventListener("pointermove", (event) => show(nearest(event)));
  figure.addEventListener("pointerleave", () => show(-1));
  figure.addEventListener("click", (event) => {
    if (!leads[at]) return;
    event.preventDefault();
    location.href = leads[at];
  });
  figure.addEventListener("focusout", () => show(-1));
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    show(Math.min(Math.max(at + step, 0), words.length - 1));
  });
}
