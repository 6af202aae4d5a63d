"use strict";
const SVG = "http://www.w3.org/2000/svg";
const DEEPEST = 65535;
const WAIT_SECONDS = 25;
const $ = id => document.getElementById(id);
const view = $("view"), canvas = $("picture"), drawing = $("outlines"), stage = $("stage");
const level = $("level"), width = $("window"), opacity = $("opacity");

let largest = Infinity;  // bytes that the server takes
let shown = null;  // address, result and numbers of the radiograph that is shown
let turn = 0;      // of the radiograph that was opened last: answers about earlier ones are passed over

function make(name, attributes = {}, text = "") {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

function draw(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

function say(text, bad = false) {
  $("state").textContent = text;
  $("state").classList.toggle("bad", bad);
}

const pause = seconds => new Promise(resolve => setTimeout(resolve, 1000 * seconds));

async function reason(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `the server answers ${answer.status}`;
  }
}

// --- from a file to a result

async function open(file) {
  const own = ++turn;
  close();
  $("name").textContent = file.name;
  try {
    const address = await send(file, own);
    const result = address && await wait(address, own);
    if (result) await show(address, result, file.name);
  } catch (error) {
    if (own === turn) say(error instanceof TypeError ? "The server cannot be reached." : error.message, true);
  }
}

async function send(file, own) {
  if (file.size > largest) throw new Error(`Not taken: larger than the ${largest >> 20} MB that this server takes.`);
  const form = new FormData();
  form.append("file", file);
  while (own === turn) {
    say("Sending ...");
    const answer = await fetch("api/radiographs", {method: "POST", body: form});
    if (answer.ok) {
      const address = answer.headers.get("Location").slice(1);
      if (own === turn) return address;
      forget(address);
      return null;
    }
    if (answer.status !== 503) throw new Error(`Not taken: ${await reason(answer)}.`);
    const seconds = Number(answer.headers.get("Retry-After")) || 5;
    say(`Others are waiting; trying again in ${seconds} s ...`);
    await pause(seconds);
  }
  return null;
}

async function wait(address, own) {
  let seconds = 0;
  while (own === turn) {
    const answer = await fetch(`${address}?wait=${seconds}`);
    if (!answer.ok) throw new Error(`Lost: ${await reason(answer)}.`);
    const status = await answer.json();
    if (own !== turn) break;
    if (status.state === "failed") throw new Error(`Not segmented: ${status.error}`);
    if (status.state === "done") return status.result;
    say(status.ahead ? `Waiting for ${status.ahead} before it ...` : "Segmenting ...");
    seconds = status.ahead ? 2 : WAIT_SECONDS;
  }
  forget(address);
  return null;
}

function forget(address) {
  fetch(address, {method: "DELETE", keepalive: true}).catch(() => {});
}

function close() {
  if (shown) forget(shown.address);
  shown = null;
  view.hidden = $("side").hidden = true;
  $("hint").hidden = false;
  stage.classList.remove("shown");
}

// --- from a result to the page

async function show(address, result, name) {
  const own = turn;
  const answer = await fetch(`${address}/pixels`);
  if (!answer.ok) throw new Error(`Lost: ${await reason(answer)}.`);
  const bytes = new DataView(await answer.arrayBuffer());
  if (own !== turn) return forget(address);
  const {picture} = result;
  const numbers = new Uint16Array(picture.rows * picture.columns);
  for (let index = 0; index < numbers.length; index++) numbers[index] = bytes.getUint16(2 * index, true);
  shown = {address, result, numbers};
  canvas.width = picture.columns;
  canvas.height = picture.rows;
  $("hint").hidden = true;
  view.hidden = $("side").hidden = false;
  stage.classList.add("shown");
  fit();
  listStructures();
  drawOutlines();
  listMeasurements();
  listWarnings();
  listFiles(name.replace(/(\.gz)$/i, "").replace(/\.[a-z0-9]{2,5}$/i, "") || name);
  for (const slider of [level, width]) {
    slider.min = slider === level ? picture.low : (picture.high - picture.low) / 1000;
    slider.max = slider === level ? picture.high : picture.high - picture.low;
  }
  resetGreys();
  say("");
}

function fit() {
  if (!shown) return;
  const {upright_rows: rows, upright_columns: columns} = shown.result;
  // by the pixels' spacing, if rows and columns differ
  const [down, across] = uprightSpacing();
  const room = stage.getBoundingClientRect();
  const height = Math.max(200, window.innerHeight - room.top - 60);
  const scale = Math.min(room.width / (columns * across), height / (rows * down));
  view.style.width = `${columns * across * scale}px`;
  view.style.height = `${rows * down * scale}px`;
  sizeTexts();
}

function uprightSpacing() {
  const {spacing, rows, upright_rows: uprightRows} = shown.result;
  if (!spacing) return [1, 1];
  return rows === uprightRows ? spacing : [spacing[1], spacing[0]];
}

const isUncertain = () => shown.result.measurements.some(one => one.name === "ribs_numbering" && one.value === "uncertain");

function listStructures() {
  const list = $("structures");
  const items = [];
  for (const structure of shown.result.structures) {
    const item = make("li");
    const label = item.appendChild(make("label"));
    label.append(checkbox(structure.name, "outline"));
    const colour = label.appendChild(make("span", {class: "colour"}));
    colour.style.background = structure.colour;
    label.append(structure.title);
    const sure = structure.outlines.length ? structure.confidence.toFixed(2) : "not found";
    label.append(make("span", {class: "confidence", title: "The Dice to expect of the mask"}, sure));
    if (structure.unreliable) item.append(make("div", {class: "unreliable of"}, `not reliable: ${structure.unreliable}`));
    if (structure.parts.length) {
      const named = make("label", {class: "of"});
      named.append(checkbox(structure.name, "names"), structure.name === "ribs" ? "numbers" : "sides");
      if (structure.name === "ribs" && isUncertain()) named.append(make("span", {class: "unreliable"}, "uncertain"));
      item.append(named);
    }
    items.push(item);
  }
  if (shown.result.diameters.length) {
    const label = make("label");
    label.append(checkbox("diameters", "outline"), "Diameters");
    const item = make("li");
    item.append(label);
    items.push(item);
  }
  list.replaceChildren(...items);
}

function checkbox(name, kind) {
  const box = make("input", {type: "checkbox", "data-name": name, "data-kind": kind});
  box.checked = true;
  box.addEventListener("change", () => {
    for (const group of drawing.querySelectorAll(`[data-name="${name}"][data-kind="${kind}"]`)) {
      group.setAttribute("visibility", box.checked ? "visible" : "hidden");
    }
  });
  return box;
}

const pathOf = lines => lines.map(line => `M${line.map(point => point.join(" ")).join("L")}Z`).join("");

function drawOutlines() {
  const {result} = shown;
  drawing.replaceChildren();
  drawing.setAttribute("viewBox", `0 0 ${result.upright_columns} ${result.upright_rows}`);
  for (const structure of result.structures) {
    const group = draw("g", {"data-name": structure.name, "data-kind": "outline"}, drawing);
    draw("path", {d: pathOf(structure.outlines), stroke: structure.colour, fill: structure.colour, class: "whole"}, group);
    const names = draw("g", {"data-name": structure.name, "data-kind": "names"}, drawing);
    for (const part of structure.parts) {
      draw("path", {d: pathOf(part.outlines), stroke: structure.colour, class: "part"}, names);
      if (part.label) {
        const at = {x: part.label.x, y: part.label.y, fill: structure.colour, "text-anchor": part.label.anchor};
        const text = draw("text", {...at, "dominant-baseline": "central"}, names);
        text.textContent = part.label.text;
      }
    }
  }
  const lines = draw("g", {"data-name": "diameters", "data-kind": "outline"}, drawing);
  for (const line of result.diameters) draw("line", {x1: line.x1, x2: line.x2, y1: line.y, y2: line.y}, lines);
  setOpacity();
  sizeTexts();
}

function sizeTexts() {
  const across = view.clientWidth / shown.result.upright_columns;
  const down = view.clientHeight / shown.result.upright_rows;
  for (const text of drawing.querySelectorAll("text")) text.setAttribute("font-size", 14 / Math.sqrt(across * down));
}

function setOpacity() {
  for (const path of drawing.querySelectorAll(".whole")) path.setAttribute("fill-opacity", opacity.value / 100);
  opacity.nextElementSibling.textContent = `${opacity.value} %`;
}

function listMeasurements() {
  const rows = shown.result.measurements.map(one => {
    const row = make("tr", {title: one.definition});
    const value = typeof one.value === "number" ? `${one.value.toFixed(one.decimals)} ${one.unit}` : one.value ?? "–";
    row.append(make("th", {scope: "row"}, one.label), make("td", {}, value));
    return row;
  });
  $("measurements").replaceChildren(...rows);
}

function listWarnings() {
  const {warnings} = shown.result;
  $("warned").hidden = !warnings.length;
  $("warnings").replaceChildren(...warnings.map(text => make("li", {}, text)));
}

const TITLES = {
  ".seg.dcm": "DICOM Segmentation",
  ".sr.dcm": "DICOM Structured Report",
  "_overlay.jpg": "Picture with outlines",
  "_labels.png": "Label map",
};

function listFiles(stem) {
  const items = shown.result.files.filter(name => !name.includes("/")).map(name => {
    const ending = name.slice("radiograph".length);
    const title = TITLES[ending] || `Mask: ${ending.slice(1).replace(/\.png$/, "").replaceAll("_", " ")}`;
    const item = make("li");
    item.append(make("a", {href: `${shown.address}/files/${name}`, download: stem + ending}, title));
    return item;
  });
  $("files").replaceChildren(...items);
}

// --- grey values

let pending = false;

function paint() {
  pending = false;
  if (!shown) return;
  const {picture} = shown.result;
  const span = (picture.high - picture.low) / DEEPEST;
  const lowest = (level.valueAsNumber - width.valueAsNumber / 2 - picture.low) / span;
  const share = 255 * span / width.valueAsNumber;
  const image = new ImageData(picture.columns, picture.rows);
  const grey = new Uint8ClampedArray(DEEPEST + 1);
  for (let number = 0; number <= DEEPEST; number++) grey[number] = (number - lowest) * share;
  const pixels = new Uint32Array(image.data.buffer);
  for (let index = 0; index < pixels.length; index++) pixels[index] = 0xff000000 | grey[shown.numbers[index]] * 0x10101;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function greysChanged() {
  const digits = shown.result.picture.high - shown.result.picture.low < 20 ? 2 : 0;
  for (const slider of [level, width]) slider.nextElementSibling.textContent = slider.valueAsNumber.toFixed(digits);
  if (!pending) requestAnimationFrame(paint);
  pending = true;
}

function resetGreys() {
  const {window_low: low, window_high: high} = shown.result.picture;
  level.value = (low + high) / 2;
  width.value = high - low;
  greysChanged();
}

view.addEventListener("pointerdown", event => {
  const start = {x: event.clientX, y: event.clientY, level: level.valueAsNumber, width: width.valueAsNumber};
  const range = Number(width.max) / 400;  // a drag of 400 pixels is the whole range
  view.setPointerCapture(event.pointerId);
  const move = moved => {
    level.value = start.level + (moved.clientY - start.y) * range;
    width.value = start.width + (moved.clientX - start.x) * range;
    greysChanged();
  };
  view.addEventListener("pointermove", move);
  view.addEventListener("lostpointercapture", () => view.removeEventListener("pointermove", move), {once: true});
});

// --- what people do

level.addEventListener("input", greysChanged);
width.addEventListener("input", greysChanged);
opacity.addEventListener("input", setOpacity);
$("reset").addEventListener("click", resetGreys);
window.addEventListener("resize", fit);
window.addEventListener("pagehide", () => shown && forget(shown.address));
$("file").addEventListener("change", event => {
  if (event.target.files.length) open(event.target.files[0]);
  event.target.value = "";  // the same file may be opened again
});
document.addEventListener("dragover", event => {
  event.preventDefault();
  stage.classList.add("over");
});
document.addEventListener("dragleave", event => event.relatedTarget || stage.classList.remove("over"));
document.addEventListener("drop", event => {
  event.preventDefault();
  stage.classList.remove("over");
  const {files} = event.dataTransfer;
  if (files.length === 1) open(files[0]);
  else if (files.length) say("One radiograph at a time; for many there is cxr-attn-unet segment.", true);
});

fetch("api/about").then(answer => answer.json()).then(about => {
  largest = about.max_bytes;
  const weights = about.structures.map(one => `${one.name} ${one.version}`).join(", ");
  $("about").textContent = `cxr-attn-unet ${about.version}; weights: ${weights}.`;
  $("kept").textContent = about.kept_on_disk ? ", which keeps it" : " and is not kept";
}).catch(() => say("The server cannot be reached.", true));
