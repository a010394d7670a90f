// What somebody may ask for beside the answer. Each part is a module of its own, which is loaded when it is first asked for.

import { announce } from "./answer.js";
import { locate } from "./service.js";

const STATUS_TIME = 6000; // milliseconds
const DRAWING = "#drawing="; // as in link.js, which is only loaded if there is one

const byId = (id) => document.getElementById(id);
const PANELS = [
  { button: byId("why"), panel: byId("decided"), load: () => import("./explain.js") },
  { button: byId("all"), panel: byId("networks"), load: () => import("./networks.js") },
];
const followers = []; // the `follow` of each panel that has been opened
let latest = null; // the answer on the page
let statusTimer;

/** Tell the panels the newest answer `{ mode, blob, body, model, isDrawing }`, or null if there is none any more. */
export function follow(answer) {
  latest = answer;
  for (const each of followers) each(answer);
}

/** Draw what the page's address carries, if it does. */
export async function openLink(sheet, { showProblem }) {
  if (!location.hash.startsWith(DRAWING)) return;
  try {
    const { decodeDrawing } = await import("./link.js");
    const { strokes, mode } = decodeDrawing(location.hash);
    document.querySelector(`input[name=mode][value=${mode}]`).click();
    await sheet.play(strokes);
  } catch (error) {
    showProblem(error.message);
  }
}

/** Let the buttons for links, cards, panels and photographs work. */
export function listenToTools(sheet, { getChoice, usePicture, showProblem }) {
  for (const each of PANELS) each.button.addEventListener("click", () => toggle(each, showProblem));
  byId("link").addEventListener("click", () => copyLink(sheet.strokes, getChoice()));
  byId("share").addEventListener("click", () => shareCard());
  for (const button of document.querySelectorAll("[data-photo]")) {
    button.addEventListener("click", () => openPhoto(button.dataset.photo, usePicture, showProblem));
  }
  addEventListener("hashchange", () => openLink(sheet, { showProblem }));
}

async function toggle({ button, panel, load }, showProblem) {
  panel.hidden = !panel.hidden;
  button.setAttribute("aria-expanded", !panel.hidden);
  try {
    const { build, follow: followAnswers } = await load();
    if (!followers.includes(followAnswers)) {
      build();
      followers.push(followAnswers);
    }
    followAnswers(latest);
  } catch {
    showProblem("This part of the page could not be loaded. Reload the page.");
  }
}

async function copyLink(strokes, mode) {
  const { encodeDrawing } = await import("./link.js");
  const fragment = encodeDrawing(strokes, mode);
  if (!fragment) return showStatus("There is too much in this drawing for a link.");
  const address = new URL(fragment, location.href).href;
  try {
    await navigator.clipboard.writeText(address);
    return showStatus("Copied. The link holds the drawing itself.");
  } catch {
    history.replaceState(null, "", address); // over plain HTTP, a page may not write to the clipboard
    return showStatus("Copy it from the address bar.");
  }
}

async function shareCard() {
  const { drawCard, shareFile } = await import("./card.js");
  const written = byId("digit").textContent;
  const words = byId("words").querySelector("strong").textContent;
  const canvases = byId("sheet").querySelectorAll("canvas");
  const blob = await drawCard(canvases, { written, words, address: location.host });
  const outcome = await shareFile(blob, { name: `digits-${written.replaceAll(/\D+/g, "-")}.png`, title: "Digits", text: `${written}, ${words}` });
  showStatus({ shared: "Shared.", saved: "Saved as a picture.", cancelled: "" }[outcome]);
}

async function openPhoto(name, usePicture, showProblem) {
  try {
    const response = await fetch(locate(`/static/${name}`));
    if (!response.ok) throw new Error();
    usePicture(await response.blob(), name);
    byId("sheet").focus({ preventScroll: true }); // the button disappears
  } catch {
    showProblem("The photograph could not be loaded. Try again.");
  }
}

function showStatus(text) {
  byId("share-status").textContent = text;
  announce(text);
  clearTimeout(statusTimer);
  statusTimer = setTimeout(() => (byId("share-status").textContent = ""), STATUS_TIME);
}
