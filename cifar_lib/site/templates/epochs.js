// The confusion matrices of a run, epoch by epoch: a slider, and a button that plays them, with a PAUSE in milliseconds. It uses `all` of script.js.
"use strict";

const PAUSE = 500;

for (const part of all("[data-epochs]")) {
  const { names, epochs, counts } = JSON.parse(part.dataset.epochs);
  const [button, slider, output] = ["button", "input", "output"].map((name) => part.querySelector(name));
  const grid = document.createElement("table"), cells = [];
  const head = (row, words, scope) => {
    const cell = row.appendChild(document.createElement("th")), inside = cell.appendChild(document.createElement("span"));
    cell.scope = scope;
    inside.textContent = words;
  };
  const top = grid.createTHead().insertRow(), body = grid.createTBody();
  top.insertCell();
  for (const name of names) head(top, name, "col");
  for (const name of names) {
    const row = body.insertRow();
    head(row, name, "row");
    for (const _ of names) cells.push(row.insertCell());
  }
  part.append(grid);

  const show = () => {
    const now = counts[slider.value], size = names.length;
    let right = 0, images = 0;
    cells.forEach((cell, i) => {
      const true_ = Math.floor(i / size), of = now.slice(true_ * size, (true_ + 1) * size).reduce((a, b) => a + b, 0);
      const percent = of ? 100 * now[i] / of : 0, diagonal = i % size === true_;
      right += diagonal ? now[i] : 0;
      images += now[i];
      cell.className = diagonal ? "hit" : "miss";
      cell.textContent = now[i] ? (percent < 0.5 ? "<1" : percent.toFixed(0)) : "";
      cell.style.setProperty("--share", `${Math.min(75, percent * (diagonal ? 0.75 : 2.5))}%`);
    });
    output.value = `${epochs[slider.value]}: ${(100 * right / images).toFixed(1)}% right`;
    slider.ariaValueText = `epoch ${output.value}`;
  };
  let playing = 0;
  const stop = () => {
    clearInterval(playing);
    playing = 0;
    button.textContent = "Play";
  };
  const step = () => {
    slider.value = +slider.value + 1;
    show();
    if (slider.value === slider.max) stop();
  };
  button.addEventListener("click", () => {
    if (playing) return stop();
    if (slider.value === slider.max) slider.value = 0;
    show();
    button.textContent = "Stop";
    playing = setInterval(step, PAUSE);
  });
  slider.addEventListener("input", () => { stop(); show(); });
  slider.max = epochs.length - 1;
  slider.value = slider.max;
  button.hidden = epochs.length < 2;
  show();
}
