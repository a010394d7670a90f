// The page: sends what is on the sheet to the service, and shows the answer.

import { announce, showDigit, showNothing, showNumber, showProblem, showWaiting } from "./answer.js";
import * as camera from "./camera.js";
import { writeProgram } from "./code.js";
import { askForFeedback } from "./feedback.js";
import "./numbers.js";
import { follow, listenToTools, openLink } from "./extras.js";
import { Requester, Unreachable, apiKey, locate, sendRequest } from "./service.js";
import { Sheet } from "./sheet.js";

const TITLES = { auto: "Draw a digit", digit: "Draw a digit", number: "Write a number" };
const INTERVAL = 30_000; // milliseconds between health checks
const MAX_DELAY = 30_000; // milliseconds between health checks while the service does not answer, at most

const byId = (id) => document.getElementById(id);
const getChoice = () => document.querySelector("input[name=mode]:checked").value; // auto, digit or number
const getMode = () => (getChoice() === "auto" ? autoMode : getChoice());
const getHealth = () => byId("health").dataset.state;
const getLanguage = () => document.querySelector("input[name=language]:checked").value;
let autoMode = "digit"; // what was last on the sheet, as the service saw it
let latestCall; // identifies the latest call of showProgram
let photographing = false;
let limits = null; // of the service, once they are known
let healthTimer;
let delay = 1000; // milliseconds until the next health check while the service does not answer

const sheet = new Sheet(byId("sheet"), { onChange, announce });
const requester = new Requester({ send: sendSheet, onAnswer, onFailure });

function onChange({ fresh }) {
  byId("undo").disabled = !sheet.canUndo;
  byId("redo").disabled = !sheet.canRedo;
  byId("clear").disabled = sheet.isEmpty;
  if (fresh) {
    requester.drop();
    sheet.showBoxes([]);
    follow(null);
    autoMode = "digit";
    byId("share").disabled = true;
  }
  byId("link").disabled = !sheet.strokes.length;
  if (sheet.isEmpty) {
    showNothing(getMode());
    if (getHealth() !== "lost") showProblem("");
    showProgram();
  } else if (getHealth() !== "lost") {
    requester.request();
  }
}

async function sendSheet(signal) {
  const blob = await sheet.toBlob();
  if (limits && blob.size > limits.max_body_bytes) {
    throw new Error(
      `This file has ${formatSize(blob.size)}, but the service accepts at most ${formatSize(limits.max_body_bytes)}. Choose a smaller one.`,
    );
  }
  const model = byId("model").value;
  const ask = async (mode) => ({ mode, blob, model, ...(await sendRequest(requestPath(mode, { view: true }), { picture: blob, signal })) });
  return getChoice() === "auto" ? chooseMode(ask) : ask(getMode());
}

/** Read what is on the sheet as it was last read; where that does not fit, read it in the other mode. */
async function chooseMode(ask) {
  const single = autoMode === "digit" ? await ask("digit") : null;
  if (single && !single.body.warnings.includes("several_digits")) return single;
  try {
    const number = await ask("number");
    return number.body.digits.length > 1 ? number : (single ?? ask("digit"));
  } catch (error) {
    if (single && error.status === 404) return single; // this service has no networks for numbers
    throw error;
  }
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
  autoMode = mode;
  document.body.dataset.mode = mode;
  if (mode === "number") showNumber(body, { isChosen: getChoice() === "number" });
  else showDigit(body);
  if (mode === "digit") askForFeedback(body, blob, model);
  sheet.showBoxes(listBoxes(mode, body), body.image);
  showTiming(stages, duration);
  showProgram();
  byId("share").disabled = false;
  follow({ mode, blob, body, model: byId("model").selectedIndex > 0 ? model : "", isDrawing: !sheet.picture });
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
  else if (error.status === 429) showWaiting(error.wait);
  else if (error.wait) showProblem(`${error.message} Retrying in ${error.wait} s.`);
  else if (error.status === 401) askForKey();
  else showRefusal(error.message);
}

/** Show why there is no answer. */
function showRefusal(text) {
  follow(null);
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
  requester.drop(); // what is on the sheet is read when the service answers again
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

/** Load the list of models, and send what is on the sheet unless that was read already. */
async function loadModels() {
  try {
    const { body } = await sendRequest("/models");
    limits = body.models[0].limits;
    byId("why").disabled = !body.explain;
    showModels(body.models);
    byId("judge").hidden = !body.feedback;
    if (body.feedback) {
      byId("privacy").textContent = "Your pictures are sent only to this service, which stores those you give feedback on.";
    }
  } catch (error) {
    if (error instanceof Unreachable) return markLost();
    if (error.status === 401) return askForKey();
    if (error.wait) setTimeout(loadModels, 1000 * error.wait);
    return error.status === 429 ? undefined : showProblem(error.message);
  }
  byId("key").hidden = true;
  showProblem("");
  showProgram();
  if (!sheet.isEmpty && !requester.isServed) requester.request();
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
  byId("model").disabled = false;
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
  const url = locate(requestPath(getMode(), { view: false }));
  const member = getMode() === "number" ? "written" : "digit";
  if (call !== latestCall) return;
  byId("code").textContent = writeProgram(getLanguage(), { url, name, member, needsKey: apiKey.get() !== "" });
  byId("copy-status").textContent = "";
  byId("save").hidden = !blob;
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
byId("redo").addEventListener("click", () => sheet.redo());
byId("clear").addEventListener("click", () => sheet.clear());
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=radio]), select");
  const key = event.key.toLowerCase();
  if (typing || !(event.ctrlKey || event.metaKey) || !["y", "z"].includes(key)) return;
  event.preventDefault(); // Ctrl+Y opens the history in some browsers
  if (key === "y" || event.shiftKey) sheet.redo();
  else sheet.undo();
});

function toggleEraser() {
  sheet.erases = !sheet.erases;
  byId("eraser").setAttribute("aria-pressed", sheet.erases);
}
byId("eraser").addEventListener("click", toggleEraser);
byId("sheet").addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "e" || event.ctrlKey || event.metaKey || event.altKey) return;
  toggleEraser();
  announce(sheet.erases ? "Eraser" : "Pen");
});

function changeMode() {
  autoMode = "digit";
  document.body.dataset.mode = getMode();
  byId("title").textContent = TITLES[getChoice()];
  showNothing(getMode());
  onChange({ fresh: true });
}
for (const input of document.querySelectorAll("input[name=mode]")) input.addEventListener("change", changeMode);
function choose(mode) {
  const choice = document.querySelector(`input[value=${mode}]`);
  choice.focus({ preventScroll: true }); // the button disappears
  choice.click();
}
byId("whole").addEventListener("click", () => choose(getMode() === "digit" ? "number" : "digit"));
for (const input of document.querySelectorAll("input[name=language]")) input.addEventListener("change", showProgram);
byId("model").addEventListener("change", () => onChange({ fresh: true }));

addEventListener("offline", markLost);
addEventListener("online", checkHealth);
document.addEventListener("visibilitychange", () => document.hidden || checkHealth());

changeMode();
listenToTools(sheet, { getChoice, usePicture, showProblem });
loadModels().then(() => openLink(sheet, { showProblem })); // before, it would clear the message of a damaged link
checkHealth();
