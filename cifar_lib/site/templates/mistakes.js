// The page of mistakes: a filter that the address remembers, 60 images at a time, and each of them enlarged. It uses `all` of script.js.
// STEP: images shown at a time; COLUMNS: images in a row of a picture that holds many; fitting: what passes the filter; most: how many of those are shown; at: which of them is enlarged.
"use strict";

const STEP = 60, COLUMNS = 40;

for (const form of all("form.filter")) {
  const items = all(".wrong li"), names = ["true", "predicted", "from", "to"];
  const more = document.querySelector("button.more"), large = document.querySelector("dialog.large");
  const classes = [...form.elements.true.options].slice(1).map((option) => option.text);
  const plain = (number) => number.toLocaleString("en");
  let fitting = items, most = STEP, at = 0;

  const show = () => {
    const shown = new Set(fitting.slice(0, most)), left = fitting.length - shown.size;
    items.forEach((item) => { item.hidden = !shown.has(item); });
    more.hidden = left === 0;
    more.textContent = left > STEP ? `Show ${STEP} more (${plain(left)} left)` : `Show the last ${left}`;
    const first = left ? `, the first ${plain(shown.size)} shown` : " shown";
    form.querySelector("output").value = `${plain(fitting.length)} of ${plain(items.length)}${first}`;
  };
  const filter = () => {
    const [true_, predicted, from, to] = names.map((name) => form.elements[name].value);
    fitting = items.filter(({ dataset: is }) => (!true_ || is.true === true_) && (!predicted || is.predicted === predicted)
      && +is.confidence >= +(from || 0) && +is.confidence <= +(to || 100));
    most = STEP;
    show();
  };
  const remember = () => history.replaceState(null, "", `#${new URLSearchParams(new FormData(form))}`);
  for (const [name, given] of new URLSearchParams(location.hash.slice(1))) {
    if (names.includes(name)) form.elements[name].value = given;
  }
  form.addEventListener("input", () => { filter(); remember(); });
  form.addEventListener("reset", () => setTimeout(() => { filter(); remember(); }));
  form.addEventListener("submit", (event) => event.preventDefault());

  for (const item of items) {
    const button = document.createElement("button"), tile = item.querySelector(".tile");
    button.type = "button";
    button.ariaHasPopup = "dialog";
    button.ariaLabel = `${tile.ariaLabel}, ${classes[item.dataset.true]} taken for ${classes[item.dataset.predicted]}`;
    tile.replaceWith(button);
    button.append(tile);
    button.addEventListener("click", () => { enlarge(fitting.indexOf(item)); large.showModal(); });
  }
  const focus = (item) => item.querySelector("button").focus();
  more.addEventListener("click", () => {
    most += STEP;
    show();
    focus(fitting[most - STEP]);
  });

  const dimmed = (digits, side) => {
    const canvas = document.createElement("canvas"), paper = canvas.getContext("2d");
    canvas.width = canvas.height = side;
    [...digits].forEach((digit, i) => {
      paper.fillStyle = `rgb(0 0 0 / ${0.85 * (1 - digit / 9)})`;
      paper.fillRect(i % side, Math.floor(i / side), 1, 1);
    });
    return canvas;
  };
  const explain = (is, tile) => {
    const why = large.querySelector(".why"), near = why.querySelector(".near ul");
    why.hidden = !is.heat;
    if (!is.heat) return;
    const half = is.heat.length / 2, side = Math.sqrt(half);
    all(".heat", why).forEach((figure, i) => {
      const digits = is.heat.slice(i * half, (i + 1) * half), name = classes[i ? is.true : is.predicted];
      const lit = /[1-9]/.test(digits) ? `Lit: what speaks for ${name}` : `Nothing speaks for ${name}`;
      figure.querySelector(".picture").replaceChildren(tile.cloneNode(), dimmed(digits, side));
      figure.querySelector("figcaption").textContent = lit;
    });
    near?.replaceChildren(...is.near.split(" ").map((one) => {
      const [place, index, label] = one.split(":"), item = document.createElement("li"), image = tile.cloneNode();
      image.classList.add("nearest");
      image.ariaLabel = `training image ${index}`;
      image.style.setProperty("--x", place % COLUMNS);
      image.style.setProperty("--y", Math.floor(place / COLUMNS));
      item.append(image, classes[label]);
      return item;
    }));
  };
  const enlarge = (i) => {
    at = (i + fitting.length) % fitting.length;
    const { dataset: is } = fitting[at], tile = fitting[at].querySelector(".tile");
    const part = (selector) => large.querySelector(selector);
    part("h2").textContent = tile.ariaLabel;
    part(".picture").replaceChildren(tile.cloneNode());
    explain(is, tile);
    part(".said").textContent = `True class: ${classes[is.true]}. Predicted: ${classes[is.predicted]}.`;
    part(".turn span").textContent = `${plain(at + 1)} of ${plain(fitting.length)}`;
    is.tenths.split(" ").forEach((tenths, which) => {
      const row = part("table").rows[which];
      row.className = which === +is.true ? "true" : which === +is.predicted ? "predicted" : "";
      row.querySelector(".bar span").style.width = `${tenths / 10}%`;
      row.querySelector(".number").textContent = `${(tenths / 10).toFixed(1)}%`;
    });
  };
  const turns = { ".previous": -1, ".next": 1, ArrowLeft: -1, ArrowRight: 1 };
  for (const way of [".previous", ".next"]) {
    large.querySelector(way).addEventListener("click", () => enlarge(at + turns[way]));
  }
  document.addEventListener("keydown", ({ key, altKey, ctrlKey, metaKey }) => {
    if (large.open && key in turns && !(altKey || ctrlKey || metaKey)) enlarge(at + turns[key]);
  });
  large.querySelector(".close").addEventListener("click", () => large.close());
  large.addEventListener("close", () => {
    most = Math.max(most, STEP * Math.ceil((at + 1) / STEP));
    show();
    focus(fitting[at]);
  });

  form.hidden = false;
  filter();
  const asked = location.hash.startsWith("#image-") && items.indexOf(document.getElementById(location.hash.slice(1)));
  if (asked >= 0 && asked !== false) {
    enlarge(asked);
    large.showModal();
  }
}
