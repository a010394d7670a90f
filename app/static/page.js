// The page: sends what is on the sheet to the service, and shows the answer.

import { say, showDigit, showNothing, showNumber, showProblem } from "./answer.js";
import * as camera from "./camera.js";
import { program } from "./code.js";
import { judge } from "./feedback.js";
import "./numbers.js";
import { Asker, Unreachable, call, key } from "./service.js";
import { Sheet } from "./sheet.js";

const PENS = { digit: 0.055, number: 0.028 }; // of the sheet's width
const TITLES = { digit: "Draw a digit", number: "Write a number" };
const HEALTHY = 30_000; // milliseconds between health checks
const LONGEST_WAIT = 30_000; // milliseconds between health checks while the service does not answer, at most

const at = (id) => document.getElementById(id);
const mode = () => document.querySelector("input[name=mode]:checked").value;
const health = () => at("health").dataset.state;
const language = () => document.querySelector("input[name=language]:checked").value;
let newest; // identifies the latest call of showProgram
let photographing = false;
let limits = null; // of the service, once they are known
let looking; // the timer of the next health check
let wait = 1000; // milliseconds until the next health check while the service does not answer

const sheet = new Sheet(at("sheet"), { changed, say });
const asker = new Asker({ question, answered, failed });

function changed({ fresh }) {
  at("undo").disabled = !sheet.undoable;
  at("clear").disabled = sheet.empty;
  if (fresh) asker.forget();
  if (fresh) sheet.mark([]);
  if (sheet.empty) {
    showNothing(mode());
    if (health() !== "lost") showProblem("");
    showProgram();
  } else if (health() !== "lost") {
    asker.ask();
  }
}

async function question(signal) {
  const asked = mode();
  const blob = await sheet.blob();
  if (limits && blob.size > limits.max_body_bytes) {
    throw new Error(
      `This file has ${size(blob.size)}, but the service accepts at most ${size(limits.max_body_bytes)}. Choose a smaller one.`,
    );
  }
  const model = at("model").value;
  const answer = await call(path(asked, { view: true }), { picture: blob, signal });
  return { asked, blob, model, ...answer };
}

const size = (bytes) => (bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`);

/** Return the path and query of the request for what is on the sheet. */
function path(asked, { view }) {
  const query = new URLSearchParams();
  if (at("model").selectedIndex > 0) query.set("model", at("model").value);
  if (view && asked === "digit") query.set("view", "true");
  return `/predict${asked === "number" ? "/number" : ""}${query.size ? `?${query}` : ""}`;
}

function answered({ asked, blob, model, body, stages, taken }) {
  showProblem("");
  if (asked === "number") showNumber(body);
  else showDigit(body);
  if (asked === "digit") judge(body, blob, model);
  sheet.mark(boxes(asked, body), body.image);
  showTiming(stages, taken);
  showProgram();
}

/** Return the boxes to show: of every digit of a number, or of the digit in a picture, but not in a drawing. */
function boxes(asked, { digits, digit, image }) {
  if (asked === "number") return digits.map((each) => ({ box: each.box, text: each.digit }));
  return sheet.picture ? [{ box: image.box, text: digit }] : [];
}

function failed(error) {
  if (error instanceof Unreachable) lost();
  else if (error.wait) showProblem(`${error.message} Retrying in ${error.wait} s.`);
  else if (error.status === 401) askForKey();
  else refuse(error.message);
}

/** Show why there is no answer. */
function refuse(text) {
  showNothing(mode());
  sheet.mark([]);
  showProblem(text);
  showProgram();
}

// The service's state

function showHealth(state, text) {
  at("health").textContent = text;
  at("health").dataset.state = state;
}

function lookIn(milliseconds) {
  clearTimeout(looking);
  looking = setTimeout(look, milliseconds);
}

function lost() {
  showProblem("The service does not answer. Your drawing is kept, and will be read as soon as it does.");
  showHealth("lost", "Not reachable");
  lookIn(wait);
  wait = Math.min(2 * wait, LONGEST_WAIT);
}

async function look() {
  const missed = health() === "lost";
  try {
    await call("/health/ready");
  } catch (error) {
    if (error instanceof Unreachable) return lost();
    showHealth("draining", "Not ready");
    return lookIn(1000 * (error.wait || 1));
  }
  wait = 1000;
  showHealth("ready", "Ready");
  lookIn(HEALTHY);
  return missed ? begin() : undefined;
}

function showTiming(stages, taken) {
  const spent = Array.from(stages.matchAll(/dur=([\d.]+)/g), ([, duration]) => Number(duration));
  const service = spent.reduce((sum, each) => sum + each, 0);
  at("timing").textContent = `Read in ${service.toFixed(1)} ms, answered in ${taken.toFixed(0)} ms`;
}

/** Load the list of models, and send what is on the sheet again. */
async function begin() {
  try {
    const { body } = await call("/models");
    limits = body.models[0].limits;
    showModels(body.models);
    at("judge").hidden = !body.feedback;
    if (body.feedback) {
      at("kept").textContent = "Your pictures are sent only to this service, which stores those you give feedback on.";
    }
  } catch (error) {
    if (error instanceof Unreachable) return lost();
    if (error.status === 401) return askForKey();
    if (error.wait) setTimeout(begin, 1000 * error.wait);
    return showProblem(error.message);
  }
  at("key").hidden = true;
  showProblem("");
  showProgram();
  if (!sheet.empty) asker.ask();
  return undefined;
}

function showModels(models) {
  const chosen = at("model").value;
  at("model").replaceChildren(
    ...models.map(({ name, metrics }) => {
      const accuracy = metrics?.test?.accuracy;
      return new Option(accuracy ? `${name} · ${(100 * accuracy).toFixed(2)} %` : name, name);
    }),
  );
  at("model").value = chosen;
  if (at("model").selectedIndex < 0) at("model").selectedIndex = 0;
  at("model").parentElement.hidden = false;
}

function askForKey() {
  const tried = key.get() !== "";
  key.set("");
  at("key").hidden = false;
  showProblem(tried ? "The service does not know this key." : "The service requires a key.");
  at("secret").focus();
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(at("secret").value.trim());
  at("secret").value = "";
  begin();
});

// The program

async function showProgram() {
  const mine = (newest = {});
  const blob = sheet.empty ? null : await sheet.blob();
  const name = sheet.picture?.name ?? "digit.png";
  const url = new URL(path(mode(), { view: false }), location.href).href;
  const member = mode() === "number" ? "text" : "digit";
  const { text, fromFile } = await program(language(), { url, blob, name, member, locked: key.get() !== "" });
  if (mine !== newest) return;
  at("code").textContent = text;
  at("copied").textContent = "";
  at("save").hidden = !(blob && fromFile);
  if (at("save").hidden) return;
  URL.revokeObjectURL(at("save").href);
  at("save").href = URL.createObjectURL(blob);
  at("save").download = name;
}

at("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(at("code").textContent);
    at("copied").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(at("code")); // over plain HTTP, a page may not write to the clipboard
    at("copied").textContent = "Selected: copy it with the keyboard";
  }
});

// Pictures

const file = (list) => Array.from(list ?? []).find((each) => each instanceof File);

function take(picture, name = picture?.name) {
  if (picture) sheet.show(picture, name || "picture.png");
}

for (const input of [at("file"), at("capture")]) {
  input.addEventListener("change", () => {
    take(file(input.files));
    input.value = ""; // so that the user can choose the same file again
  });
}

at("choose").addEventListener("click", () => at("file").click());

at("photo").addEventListener("click", async () => {
  if (!camera.available()) {
    at("capture").click(); // opens the camera on a phone, and a file dialog elsewhere
    return;
  }
  if (photographing) return;
  photographing = true;
  try {
    take(await camera.photograph(at("camera")), "photo.jpg");
  } catch (error) {
    const why = error.name === "NotAllowedError" ? "This page may not use the camera" : "No camera can be used";
    showProblem(`${why}. Choose a picture instead.`);
  } finally {
    photographing = false;
  }
});

addEventListener("paste", (event) => take(file(event.clipboardData?.files)));

addEventListener("dragover", (event) => {
  event.preventDefault();
  at("sheet").classList.add("over");
});
for (const name of ["dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    if (name === "drop" || !event.relatedTarget) at("sheet").classList.remove("over");
  });
}
addEventListener("drop", (event) => take(file(event.dataTransfer.files)));

at("undo").addEventListener("click", () => sheet.undo());
at("clear").addEventListener("click", () => sheet.clear());
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=radio]), select");
  if (!typing && event.key === "z" && (event.ctrlKey || event.metaKey)) sheet.undo();
});

function changeMode() {
  document.body.dataset.mode = mode();
  at("title").textContent = TITLES[mode()];
  sheet.pen = PENS[mode()];
  showNothing(mode());
  changed({ fresh: true });
}
for (const input of document.querySelectorAll("input[name=mode]")) input.addEventListener("change", changeMode);
for (const input of document.querySelectorAll("input[name=language]")) input.addEventListener("change", showProgram);
at("model").addEventListener("change", () => changed({ fresh: true }));

addEventListener("offline", lost);
addEventListener("online", look);
document.addEventListener("visibilitychange", () => document.hidden || look());

changeMode();
begin();
look();
