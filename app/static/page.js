// The page: sends what is on the sheet to the service, and shows the answer.

import { announce, showDigit, showNothing, showNumber, showProblem } from "./answer.js";
import * as camera from "./camera.js";
import { writeProgram } from "./code.js";
import { askForFeedback } from "./feedback.js";
import "./numbers.js";
import { Requester, Unreachable, sendRequest, apiKey } from "./service.js";
import { Sheet } from "./sheet.js";

const PENS = { digit: 0.055, number: 0.028 }; // of the sheet's width
const TITLES = { digit: "Draw a digit", number: "Write a number" };
const INTERVAL = 30_000; // milliseconds between health checks
const MAX_DELAY = 30_000; // milliseconds between health checks while the service does not answer, at most

const byId = (id) => document.getElementById(id);
const getMode = () => document.querySelector("input[name=mode]:checked").value;
const getHealth = () => byId("health").dataset.state;
const getLanguage = () => document.querySelector("input[name=language]:checked").value;
let latestCall; // identifies the latest call of showProgram
let photographing = false;
let limits = null; // of the service, once they are known
let healthTimer;
let delay = 1000; // milliseconds until the next health check while the service does not answer

const sheet = new Sheet(byId("sheet"), { onChange, announce });
const requester = new Requester({ send: sendSheet, onAnswer, onFailure });

function onChange({ fresh }) {
  byId("undo").disabled = !sheet.canUndo;
  byId("clear").disabled = sheet.isEmpty;
  if (fresh) requester.drop();
  if (fresh) sheet.showBoxes([]);
  if (sheet.isEmpty) {
    showNothing(getMode());
    if (getHealth() !== "lost") showProblem("");
    showProgram();
  } else if (getHealth() !== "lost") {
    requester.request();
  }
}

async function sendSheet(signal) {
  const mode = getMode();
  const blob = await sheet.toBlob();
  if (limits && blob.size > limits.max_body_bytes) {
    throw new Error(
      `This file has ${formatSize(blob.size)}, but the service accepts at most ${formatSize(limits.max_body_bytes)}. Choose a smaller one.`,
    );
  }
  const model = byId("model").value;
  const answer = await sendRequest(requestPath(mode, { view: true }), { picture: blob, signal });
  return { mode, blob, model, ...answer };
}

const formatSize = (bytes) => (bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`);

/** Return the path and query of the request for what is on the sheet. */
function requestPath(mode, { view }) {
  const query = new URLSearchParams();
  if (byId("model").selectedIndex > 0) query.set("model", byId("model").value);
  if (view) query.set("view", "true");
  return `/predict${mode === "number" ? "/number" : ""}${query.size ? `?${query}` : ""}`;
}

function onAnswer({ mode, blob, model, body, stages, duration }) {
  showProblem("");
  if (mode === "number") showNumber(body);
  else showDigit(body);
  if (mode === "digit") askForFeedback(body, blob, model);
  sheet.showBoxes(listBoxes(mode, body), body.image);
  showTiming(stages, duration);
  showProgram();
}

/** Return the boxes to show: of all that is written, or of the digits in a picture, but not in a drawing. */
function listBoxes(mode, { digits, signs, ignored, digit, image, others }) {
  if (mode === "number") {
    return [
      ...digits.map((each) => ({ box: each.box, text: each.digit })),
      ...signs.map((each) => ({ box: each.box, text: each.sign, look: "sign" })),
      ...ignored.map((box) => ({ box, look: "other" })),
    ];
  }
  if (!sheet.picture) return [];
  return [{ box: image.box, text: digit }, ...others.map((each) => ({ box: each.box, text: each.digit, look: "other" }))];
}

function onFailure(error) {
  if (error instanceof Unreachable) markLost();
  else if (error.wait) showProblem(`${error.message} Retrying in ${error.wait} s.`);
  else if (error.status === 401) askForKey();
  else showRefusal(error.message);
}

/** Show why there is no answer. */
function showRefusal(text) {
  showNothing(getMode());
  sheet.showBoxes([]);
  showProblem(text);
  showProgram();
}

// The service's state

function showHealth(state, text) {
  byId("health").textContent = text;
  byId("health").dataset.state = state;
}

function checkLater(milliseconds) {
  clearTimeout(healthTimer);
  healthTimer = setTimeout(checkHealth, milliseconds);
}

function markLost() {
  showProblem("The service does not answer. Your drawing is kept, and will be read as soon as it does.");
  showHealth("lost", "Not reachable");
  checkLater(delay);
  delay = Math.min(2 * delay, MAX_DELAY);
}

async function checkHealth() {
  const wasLost = getHealth() === "lost";
  try {
    await sendRequest("/health/ready");
  } catch (error) {
    if (error instanceof Unreachable) return markLost();
    showHealth("draining", "Not ready");
    return checkLater(1000 * (error.wait || 1));
  }
  delay = 1000;
  showHealth("ready", "Ready");
  checkLater(INTERVAL);
  return wasLost ? loadModels() : undefined;
}

function showTiming(stages, duration) {
  const durations = Array.from(stages.matchAll(/dur=([\d.]+)/g), ([, milliseconds]) => Number(milliseconds));
  const serviceTime = durations.reduce((sum, each) => sum + each, 0);
  byId("timing").textContent = `Read in ${serviceTime.toFixed(1)} ms, answered in ${duration.toFixed(0)} ms`;
}

/** Load the list of models, and send what is on the sheet again. */
async function loadModels() {
  try {
    const { body } = await sendRequest("/models");
    limits = body.models[0].limits;
    showModels(body.models);
    byId("judge").hidden = !body.feedback;
    if (body.feedback) {
      byId("privacy").textContent = "Your pictures are sent only to this service, which stores those you give feedback on.";
    }
  } catch (error) {
    if (error instanceof Unreachable) return markLost();
    if (error.status === 401) return askForKey();
    if (error.wait) setTimeout(loadModels, 1000 * error.wait);
    return showProblem(error.message);
  }
  byId("key").hidden = true;
  showProblem("");
  showProgram();
  if (!sheet.isEmpty) requester.request();
  return undefined;
}

function showModels(models) {
  const chosen = byId("model").value;
  byId("model").replaceChildren(
    ...models.filter(({ kind }) => kind === "classifier").map(({ name, metrics }) => {
      const accuracy = metrics?.test?.accuracy;
      return new Option(accuracy ? `${name} · ${(100 * accuracy).toFixed(2)} %` : name, name);
    }),
  );
  byId("model").value = chosen;
  if (byId("model").selectedIndex < 0) byId("model").selectedIndex = 0;
  byId("model").parentElement.hidden = false;
}

function askForKey() {
  const isRejected = apiKey.get() !== "";
  apiKey.set("");
  byId("key").hidden = false;
  showProblem(isRejected ? "The service does not know this key." : "The service requires a key.");
  byId("secret").focus();
}

byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey.set(byId("secret").value.trim());
  byId("secret").value = "";
  loadModels();
});

// The program

async function showProgram() {
  const call = (latestCall = {});
  const blob = sheet.isEmpty ? null : await sheet.toBlob();
  const name = sheet.picture?.name ?? "digit.png";
  const url = new URL(`.${requestPath(getMode(), { view: false })}`, location.href).href;
  const member = getMode() === "number" ? "written" : "digit";
  const { text, fromFile } = await writeProgram(getLanguage(), { url, blob, name, member, needsKey: apiKey.get() !== "" });
  if (call !== latestCall) return;
  byId("code").textContent = text;
  byId("copy-status").textContent = "";
  byId("save").hidden = !(blob && fromFile);
  if (byId("save").hidden) return;
  URL.revokeObjectURL(byId("save").href);
  byId("save").href = URL.createObjectURL(blob);
  byId("save").download = name;
}

byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(byId("code").textContent);
    byId("copy-status").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("code")); // over plain HTTP, a page may not write to the clipboard
    byId("copy-status").textContent = "Selected: copy it with the keyboard";
  }
});

// Pictures

const findFile = (list) => Array.from(list ?? []).find((each) => each instanceof File);

function usePicture(picture, name = picture?.name) {
  if (picture) sheet.show(picture, name || "picture.png");
}

for (const input of [byId("file"), byId("capture")]) {
  input.addEventListener("change", () => {
    usePicture(findFile(input.files));
    input.value = ""; // so that the user can choose the same file again
  });
}

byId("choose").addEventListener("click", () => byId("file").click());

byId("photo").addEventListener("click", async () => {
  if (!camera.isAvailable()) {
    byId("capture").click(); // opens the camera on a phone, and a file dialog elsewhere
    return;
  }
  if (photographing) return;
  photographing = true;
  try {
    usePicture(await camera.photograph(byId("camera")), "photo.jpg");
  } catch (error) {
    const why = error.name === "NotAllowedError" ? "This page may not use the camera" : "No camera can be used";
    showProblem(`${why}. Choose a picture instead.`);
  } finally {
    photographing = false;
  }
});

addEventListener("paste", (event) => usePicture(findFile(event.clipboardData?.files)));

addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("sheet").classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget || byId("sheet").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  byId("sheet").classList.remove("over");
  usePicture(findFile(event.dataTransfer.files));
});

byId("undo").addEventListener("click", () => sheet.undo());
byId("clear").addEventListener("click", () => sheet.clear());
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=radio]), select");
  if (!typing && event.key === "z" && (event.ctrlKey || event.metaKey)) sheet.undo();
});

function changeMode() {
  document.body.dataset.mode = getMode();
  byId("title").textContent = TITLES[getMode()];
  sheet.pen = PENS[getMode()];
  showNothing(getMode());
  onChange({ fresh: true });
}
for (const input of document.querySelectorAll("input[name=mode]")) input.addEventListener("change", changeMode);
byId("whole").addEventListener("click", () => {
  const choice = document.querySelector("input[value=number]");
  choice.focus({ preventScroll: true }); // the button disappears
  choice.click();
});
for (const input of document.querySelectorAll("input[name=language]")) input.addEventListener("change", showProgram);
byId("model").addEventListener("change", () => onChange({ fresh: true }));

addEventListener("offline", markLost);
addEventListener("online", checkHealth);
document.addEventListener("visibilitychange", () => document.hidden || checkHealth());

changeMode();
loadModels();
checkHealth();
