// What decided: which ink speaks for the digit, painted over the drawing, and what each layer of the network sees.

import { createElement } from "./dom.js";
import { Requester, sendRequest } from "./service.js";

const PAUSE = 250; // milliseconds between an answer and its explanation, which costs as much as 400 answers
const SHARE = 4; // pauses are so many times as long as those of reading, which needs the requests more
const SIDE = 28; // pixels of the picture that the network saw
const MIN_INK = 40; // of 255: paler pixels are outside the digit's box
const GAP = 1; // pixels between the feature maps of a layer
const GLOW = "#ffb98f";
const LAYER_DELAY = 90; // milliseconds between two layers that light up

const panel = document.getElementById("decided");
const sheet = document.getElementById("sheet");
const overlay = createElement("canvas", { class: "heat", "aria-hidden": "true" });
const heat = createElement("canvas", { width: SIDE, height: SIDE, role: "img" });
const words = createElement("p", { role: "status" });
const layers = createElement("ol", { class: "layers" });
const requester = new Requester({ send, onAnswer: show, onFailure: showFailure });
let asked = null; // the newest answer on the page
let shown = null; // the explanation that is shown

/** Explain the answer `{ mode, blob, model, isDrawing }`, or nothing if it is null or the panel is closed. */
export function follow(answer) {
  asked = answer;
  if (!panel.hidden && answer?.mode === "digit") {
    requester.request();
    return;
  }
  requester.drop();
  showNothing(answer ? "Only the reading of one digit can be explained. Choose “One digit” above." : "");
}

/** Fill the panel, which opens for the first time. */
export function build() {
  sheet.querySelector(".boxes").before(overlay);
  const legend = createElement(
    "p",
    { class: "scale" },
    createElement("span", {}, "against"),
    createElement("i", { "aria-hidden": "true" }),
    createElement("span", {}, "for it"),
  );
  panel.querySelector("div").replaceChildren(
    createElement("figure", { class: "decider" }, heat, createElement("figcaption", {}, words, legend)),
    createElement("div", {}, createElement("h3", {}, "Layer by layer"), layers),
  );
  new ResizeObserver(() => paint()).observe(sheet);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint());
}

async function send(signal) {
  await new Promise((resume) => setTimeout(resume, PAUSE));
  const answer = asked;
  if (signal.aborted || !answer) throw new DOMException("", "AbortError");
  const { body, pause } = await sendRequest(`/explain?${new URLSearchParams(answer.model && { model: answer.model })}`, { picture: answer.blob, signal });
  const view = await readView(body.prediction.view);
  const mosaics = await Promise.all(body.layers.map(({ mosaic }) => loadImage(mosaic)));
  return { ...body, view, mosaics, isDrawing: answer.isDrawing, pause: SHARE * pause };
}

function show(explanation) {
  shown = explanation;
  const { prediction } = explanation;
  words.textContent = prediction.is_digit
    ? `The warmer the ink, the more it speaks for a ${prediction.digit}: without it, the network would be less sure.`
    : `It doubts that this is a digit. This ink makes it guess ${prediction.digit}.`;
  heat.setAttribute("aria-label", `The picture as the network saw it; its ink is coloured by how much it speaks for ${prediction.digit}`);
  paint();
  showLayers(explanation);
}

function showNothing(text) {
  shown = null;
  words.textContent = text || "Draw a digit, and see which ink decides.";
  heat.removeAttribute("aria-label");
  heat.getContext("2d").clearRect(0, 0, SIDE, SIDE);
  overlay.width = 0;
  layers.replaceChildren();
}

function showFailure(error) {
  showNothing(error.wait ? `${error.message} It goes on in ${error.wait} s.` : error.message);
}

// The heat map

function paint() {
  if (!shown || panel.hidden) {
    overlay.width = 0;
    return;
  }
  const { data } = shown.view;
  const coloured = colourHeat(shown.heat_map);
  const context = heat.getContext("2d");
  context.clearRect(0, 0, SIDE, SIDE);
  context.drawImage(coloured, 0, 0);
  context.globalCompositeOperation = "destination-in";
  context.drawImage(maskInk(data), 0, 0);
  context.globalCompositeOperation = "source-over";
  paintOverlay(coloured, maskInk(data));
}

/** Paint the heat over the ink on the sheet: the box of the digit's ink there is that of the ink which the network saw. */
function paintOverlay(coloured, mask) {
  const { image } = shown.prediction;
  const ink = findBox(shown.view.data);
  overlay.width = Math.round(sheet.clientWidth * devicePixelRatio);
  overlay.height = Math.round(sheet.clientHeight * devicePixelRatio);
  const scale = Math.min(overlay.width / image.width, overlay.height / image.height);
  const [left, top] = [(overlay.width - scale * image.width) / 2, (overlay.height - scale * image.height) / 2];
  const [x, y, width, height] = image.box;
  const zoom = (scale * Math.max(width, height)) / Math.max(ink.width, ink.height);
  const target = [
    left + scale * (x + width / 2) - zoom * (ink.x + ink.width / 2),
    top + scale * (y + height / 2) - zoom * (ink.y + ink.height / 2),
    zoom * SIDE,
    zoom * SIDE,
  ];
  const context = overlay.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(coloured, ...target);
  context.globalCompositeOperation = "destination-in";
  if (shown.isDrawing) context.drawImage(sheet.querySelector("canvas:not(.heat)"), 0, 0, overlay.width, overlay.height);
  else context.drawImage(mask, ...target);
}

/** Return a canvas in which each pixel has the colour of its heat. */
function colourHeat(rows) {
  const style = getComputedStyle(panel);
  const [against, neutral, pro] = ["--heat-against", "--heat-none", "--heat-for"].map((name) => parseColour(style.getPropertyValue(name)));
  const largest = Math.max(1e-6, ...rows.flat().map(Math.abs));
  return drawPixels(rows.flat(), (value) => {
    const share = Math.sqrt(Math.abs(value) / largest); // so that weak reasons can be seen beside the strongest
    const end = value < 0 ? against : pro;
    return [...neutral.map((channel, index) => channel + share * (end[index] - channel)), 255];
  });
}

const maskInk = (data) => drawPixels(data, (value) => [0, 0, 0, Math.min(255, 1.5 * value)]);

function drawPixels(values, colour) {
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const picture = new ImageData(SIDE, SIDE);
  for (const [index, value] of values.entries()) picture.data.set(colour(value), 4 * index);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

function parseColour(text) {
  const digits = text.trim().slice(1);
  return [0, 2, 4].map((at) => Number.parseInt(digits.slice(at, at + 2), 16));
}

function findBox(data) {
  const inked = data.flatMap((value, index) => (value >= MIN_INK ? [index] : []));
  const [columns, rows] = [inked.map((index) => index % SIDE), inked.map((index) => Math.floor(index / SIDE))];
  const [x, y] = [Math.min(...columns), Math.min(...rows)];
  return { x, y, width: Math.max(...columns) - x + 1, height: Math.max(...rows) - y + 1 };
}

async function readView(url) {
  const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d");
  context.drawImage(await loadImage(url), 0, 0);
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  return { data: Array.from({ length: SIDE * SIDE }, (_, index) => data[4 * index]) };
}

async function loadImage(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// The layers

function showLayers({ layers: found, mosaics, prediction }) {
  if (!found.length) {
    layers.replaceChildren(createElement("li", {}, `${prediction.model.name} has no hidden layers: it weighs the pixels themselves.`));
    return;
  }
  if (layers.childElementCount !== found.length || layers.dataset.model !== prediction.model.name) {
    layers.dataset.model = prediction.model.name;
    layers.replaceChildren(...found.map((layer) => createElement("li", {}, createElement("span", {}, describeLayer(layer)), createElement("canvas", { role: "img", "aria-label": `What ${layer.name} sees` }))));
  }
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const [index, layer] of found.entries()) {
    const canvas = layers.children[index].querySelector("canvas");
    drawLayer(canvas, layer, mosaics[index]);
    if (isCalm) continue;
    canvas.animate({ opacity: [0.25, 1], filter: ["brightness(1.9)", "none"] }, { duration: 420, delay: index * LAYER_DELAY, fill: "backwards", easing: "ease-out" });
  }
}

function describeLayer({ name, shape }) {
  const [kind, number] = [name.replace(/\d+$/, ""), name.replace(/^\D+/, "")];
  if (shape.length < 3) return `Dense ${number}: ${shape[0]} units`;
  return `${kind === "conv" ? "Convolution" : kind} ${number}: ${shape[0]} maps of ${shape[1]}×${shape[2]}`;
}

/** Draw the maps of a layer with a gap between them, white on black. */
function drawLayer(canvas, { shape, columns }, mosaic) {
  const [height, width] = shape.length < 3 ? [1, 1] : shape.slice(1);
  const rows = mosaic.naturalHeight / height;
  const gap = shape.length < 3 ? 0 : GAP;
  const perRow = shape.length < 3 ? columns : 2 * columns; // two rows of the mosaic side by side: wide and low
  const context = resize(canvas, perRow * (width + gap) - gap, Math.ceil((rows * columns) / perRow) * (height + gap) - gap);
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (let index = 0; index < rows * columns; index += 1) {
    const from = [(index % columns) * width, Math.floor(index / columns) * height];
    const to = [(index % perRow) * (width + gap), Math.floor(index / perRow) * (height + gap)];
    context.drawImage(mosaic, ...from, width, height, ...to, width, height);
  }
  context.globalCompositeOperation = "lighter"; // most values are far below the largest
  context.drawImage(canvas, 0, 0);
  context.globalCompositeOperation = "multiply";
  context.fillStyle = GLOW;
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function resize(canvas, width, height) {
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d");
}
