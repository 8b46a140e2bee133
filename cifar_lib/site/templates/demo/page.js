// The page: a picture in, and what the network makes of it out.

const find = (selector) => document.querySelector(selector);
const every = (selector) => [...document.querySelectorAll(selector)];
const MOST = 8; // feature maps shown of each part
const MOST_PIXELS = 50e6, LONGEST = 16384; // of a picture; no browser's canvas is longer
const TOO_LARGE = "That picture is too large: at most 50 million pixels can be read, and 16,384 in a row.";
const REPEAT = 150; // milliseconds between two looks at a drawing in the making

const trained = network(JSON.parse(find("#layers").textContent), find("#numbers").textContent);
const coarse = int8(trained);
let current = null; // the 32 × 32 × 3 pixels shown, and what they are where that is known

// Pixels from a picture of any kind that a canvas can draw; transparent parts lie on white.
function pixelsOf(picture, width, height) {
  if (width * height > MOST_PIXELS || Math.max(width, height) > LONGEST) throw new Error(TOO_LARGE);
  const canvas = new OffscreenCanvas(width, height);
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  brush.fillStyle = "white";
  brush.fillRect(0, 0, width, height);
  brush.drawImage(picture, 0, 0);
  return resized(brush.getImageData(0, 0, width, height).data, width, height);
}

async function openFile(file) {
  const asStored = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  try {
    const picture = await createImageBitmap(file, asStored);
    look({ pixels: pixelsOf(picture, picture.width, picture.height), words: file.name || "your picture" });
  } catch (error) {
    complain(error.message === TOO_LARGE ? TOO_LARGE : "That is no picture that this browser can read.");
  }
}

function complain(words) {
  find("#trouble").textContent = words;
  find("#trouble").hidden = !words;
}

// Look at a picture anew, or at the same one with other weights.
function look(picture) {
  current = picture;
  complain("");
  every(".examples button").forEach((button) => button.setAttribute("aria-pressed", button === picture.button));
  const rounded = find("[name=weights]:checked").value === "int8";
  const start = performance.now();
  const found = forward(rounded ? coarse : trained, picture.pixels);
  const milliseconds = performance.now() - start;
  showPicture(picture);
  showAnswer(found, picture);
  find("#time").textContent = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
  find("#beside").textContent = rounded ? beside(picture.pixels, found) : "";
  showMaps(found.maps);
  showGates(found.gates);
}

// What the weights as trained say, beside what the rounded ones do.
function beside(pixels, { logits }) {
  const exact = forward(trained, pixels), best = order(exact.probabilities)[0];
  const apart = Math.max(...logits.map((logit, i) => Math.abs(logit - exact.logits[i])));
  const says = `${trained.classes[best]}, ${percent(exact.probabilities[best])}`;
  return `With the float weights: ${says}. The logits differ by at most ${apart.toFixed(2)}.`;
}

// Rounded down, so that nothing is called certain that is not.
function percent(share) {
  return `${(Math.floor(1000 * share + 1e-6) / 10).toFixed(1)}%`;
}

function order(probabilities) {
  return probabilities.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
}

function showPicture({ pixels, words }) {
  const image = new ImageData(SIZE, SIZE);
  for (let i = 0; i < SIZE * SIZE; i++) image.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  find("#seen").getContext("2d").putImageData(image, 0, 0);
  find("#seen").ariaLabel = `What the network sees of ${words}, 32 by 32 pixels`;
  find("#given").textContent = words;
}

function showAnswer({ probabilities }, { truth }) {
  const [best, second] = order(probabilities), name = (i) => trained.classes[i];
  find("#name").textContent = name(best);
  find("#sure").textContent = percent(probabilities[best]);
  const verdict = truth === undefined ? "" : truth === best ? "Right. " : `Wrong: it is ${article(name(truth))}. `;
  const guess = `Its second guess is ${name(second)}, ${percent(probabilities[second])}.`;
  find("#verdict").textContent = verdict + (probabilities[second] < 0.001 ? "" : guess);
  every(".bars li").forEach((bar, i) => {
    bar.classList.toggle("best", i === best);
    bar.querySelector(".bar").style.setProperty("--share", probabilities[i]);
    bar.querySelector(".value").textContent = percent(probabilities[i]);
  });
}

function article(name) {
  return /^\d/.test(name) ? name : `${/^[aeiou]/.test(name) ? "an" : "a"} ${name}`;
}

// A canvas of side × side values from 0 to 1, in the colour of links, whatever the theme.
function painted(side, value) {
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const brush = canvas.getContext("2d");
  brush.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--link");
  for (let i = 0; i < side * side; i++) {
    brush.globalAlpha = value(i);
    brush.fillRect(i % side, Math.floor(i / side), 1, 1);
  }
  return canvas;
}

function channelMeans({ channels, values }) {
  const means = new Float32Array(channels);
  values.forEach((value, i) => { means[i % channels] += value; });
  return Array.from(means, (sum) => sum * channels / values.length);
}

function showMaps(maps) {
  find("#maps").replaceChildren(...maps.map(({ name, map }) => {
    const most = order(channelMeans(map)).slice(0, MOST);
    const row = strip("maps", `${name}: its ${most.length} most active feature maps of ${map.channels}`);
    row.append(...most.map((channel) => {
      const own = map.values.filter((_, i) => i % map.channels === channel), largest = Math.max(...own) || 1;
      return painted(map.side, (i) => own[i] / largest);
    }));
    return labelled(name, `${map.channels} maps of ${map.side} × ${map.side}`, row);
  }));
}

// A column for each part, in it a row of bars for each block: a bar is a channel, its height the gate.
function showGates(gates) {
  find("#gating").hidden = gates.length === 0;
  const part = ({ name }) => name.split(",")[0], parts = [...new Set(gates.map(part))];
  find("#gates").replaceChildren(...parts.map((name) => {
    const column = document.createElement("ul");
    column.append(...gates.filter((gate) => part(gate) === name).map(gateBars));
    return column;
  }));
}

function gateBars({ name, values }) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(2));
  const row = strip("gates", `${name}: ${values.length} gates from ${low} to ${high}`);
  const [drawing, bars] = ["svg", "path"].map((kind) => document.createElementNS("http://www.w3.org/2000/svg", kind));
  drawing.setAttribute("viewBox", `0 0 ${values.length} 1`);
  drawing.setAttribute("preserveAspectRatio", "none");
  bars.setAttribute("d", Array.from(values, (value, i) => `M${i} 1v${-value}h.8v${value}z`).join(""));
  drawing.append(bars);
  row.append(drawing);
  return labelled(name, `${low} to ${high}`, row);
}

function strip(kind, words) {
  return Object.assign(document.createElement("div"), { className: kind, role: "img", ariaLabel: words });
}

function labelled(name, more, row) {
  const item = document.createElement("li"), head = document.createElement("p");
  const about = Object.assign(document.createElement("span"), { textContent: more });
  head.append(name, " ", about);
  item.append(head, row);
  return item;
}

// Ways to give a picture.

for (const button of every(".examples button")) {
  const image = button.querySelector("img");
  button.addEventListener("click", async () => {
    await image.decode();
    look({ button, pixels: pixelsOf(image, SIZE, SIZE), words: button.title, truth: Number(button.dataset.truth) });
  });
}

find("#file").addEventListener("change", ({ target }) => {
  if (target.files.length) openFile(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
addEventListener("paste", ({ clipboardData }) => { if (clipboardData.files.length) openFile(clipboardData.files[0]); });
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", ({ relatedTarget }) => { if (!relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
});
for (const choice of every("[name=weights]")) choice.addEventListener("change", () => current && look(current));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => current && look(current));

// A panel is opened by the button that names it.
function toggle(button, opened = button.getAttribute("aria-expanded") === "false") {
  button.setAttribute("aria-expanded", opened);
  find(`#${button.getAttribute("aria-controls")}`).hidden = !opened;
  return opened;
}

const paper = find("#paper"), pencil = paper.getContext("2d", { willReadFrequently: true });
let waiting = 0;

function fill(colour) {
  pencil.fillStyle = colour;
  pencil.fillRect(0, 0, paper.width, paper.height);
}

function drawn() {
  waiting = 0;
  look({ pixels: pixelsOf(paper, paper.width, paper.height), words: "your drawing" });
}

function stroke({ offsetX, offsetY, buttons, type }) {
  if (!buttons) return;
  const scale = paper.width / paper.clientWidth, x = offsetX * scale, y = offsetY * scale;
  if (type === "pointerdown") {
    pencil.beginPath();
    pencil.moveTo(x, y);
  }
  Object.assign(pencil, { lineWidth: find("#thickness").value, lineCap: "round", lineJoin: "round" });
  pencil.strokeStyle = find("[name=colour]:checked").value;
  pencil.lineTo(x, y);
  pencil.stroke();
  waiting ||= setTimeout(drawn, REPEAT);
}

every("[name=colour]").forEach((choice) => choice.style.setProperty("--own", choice.value));
fill("white");
find("#draw").addEventListener("click", ({ target }) => { if (toggle(target)) drawn(); });
paper.addEventListener("pointerdown", (event) => { paper.setPointerCapture(event.pointerId); stroke(event); });
paper.addEventListener("pointermove", stroke);
find("#fill").addEventListener("click", () => { fill(find("[name=colour]:checked").value); drawn(); });
find("#clear").addEventListener("click", () => { fill("white"); drawn(); });

// The camera, which browsers give to secure pages alone. Its middle square is taken.
const camera = find("#camera"), film = find("#film");

async function startFilm() {
  try {
    film.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    toggle(camera, false);
    complain("This browser gave no camera.");
  }
}

function stopFilm() {
  film.srcObject?.getTracks().forEach((track) => track.stop());
  film.srcObject = null;
}

async function take() {
  const side = Math.min(film.videoWidth, film.videoHeight);
  if (!side) return;
  const left = (film.videoWidth - side) / 2, top = (film.videoHeight - side) / 2;
  const picture = await createImageBitmap(film, left, top, side, side);
  look({ pixels: pixelsOf(picture, side, side), words: "the camera's picture" });
}

camera.hidden = !(isSecureContext && navigator.mediaDevices?.getUserMedia);
camera.addEventListener("click", () => (toggle(camera) ? startFilm() : stopFilm()));
find("#take").addEventListener("click", take);

find(".lab").hidden = false;
find(".inside").hidden = false;
(find(".examples button") ?? find("#clear")).click();
