// Shows the answer: a digit or a number, its confidence, and any warnings.

const ANNOUNCE_DELAY = 700; // milliseconds without a change before a screen reader announces the answer
const WARNINGS = {
  low_contrast: "The ink is pale. Use a darker pen or more light.",
  several_digits: "There are several digits, and only the most prominent one was read.",
  touches_border: "The digit touches the edge, so part of it may be missing.",
  tiny: "The digit is tiny, less than ten pixels long. Write larger, or move closer.",
  no_digits: "Digits that are very small or very pale are not found.",
  ignored_writing: "There is other writing, which was not read.",
  crowded: "There is too much in the picture to examine all of it, so digits may be missing.",
};

const CAPTIONS = {
  digit: [
    "What the network saw.",
    " The digit is cut out, turned white on black and centred by its mass: 28×28 pixels, and nothing else.",
  ],
  number: ["Each digit on its own,", " cut out and centred in 28×28 pixels."],
};

const byId = (id) => document.getElementById(id);
const panel = byId("answer");
const image = byId("view").querySelector("img");
let announcement;

/** Show the state before there is an answer. */
export function showNothing(mode) {
  const subject = mode === "number" ? "number" : "digit";
  show({ state: "empty", text: "?", words: ["", `Your ${subject} appears here while you draw.`], mode });
  showBars(mode === "number" ? [] : Array.from("0123456789", (digit) => ({ digit, share: 0 })));
}

/** Show a `Prediction`. */
export function showDigit({ digit, confidence, probabilities, is_digit: isDigit, warnings, view }) {
  const words = isDigit
    ? [`${formatPercent(confidence)} sure`, ...describeRunnerUp(probabilities, digit)]
    : ["This does not look like a digit.", ` The best guess would be ${digit}.`];
  show({ state: isDigit ? "sure" : "doubt", text: String(digit), words, warnings, mode: "digit" });
  showBars(probabilities.map((share, each) => ({ digit: each, share, best: each === digit })));
  showView(image, view);
  announceLater(isDigit ? `${digit}, ${words[0]}.` : words.join(""));
}

/** Show a `NumberPrediction`; `isChosen` if somebody chose to read a number, so that nobody needs a way back. */
export function showNumber({ written, confidence, digits, warnings }, { isChosen }) {
  const sure = [`${formatPercent(confidence)} sure`, ...(digits.length > 1 ? [` that all ${digits.length} digits are right`] : [])];
  const words = digits.length ? sure : ["No digit was found."];
  show({ state: digits.length ? "sure" : "doubt", text: written || "?", words, warnings, mode: "number", isChosen });
  showBars(digits.map((each) => ({ ...each, share: each.confidence, best: true })));
  announceLater(digits.length ? `${written.replaceAll("\n", ", ")}: ${words.join("")}.` : words[0]);
}

/** Show that the drawing will be read later; an earlier answer stays. */
export function showWaiting(seconds) {
  if (panel.dataset.state !== "empty") return;
  setTexts(byId("words"), [`Reading in ${seconds} s`, "The service limits how often it reads."]);
}

/** Show what went wrong; an empty text hides the message. */
export function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
  letScroll(byId("problem"));
}

/** Let the keyboard scroll an element whose content is too long for its place. */
function letScroll(element) {
  if (element.scrollHeight > element.clientHeight) element.tabIndex = 0;
  else element.removeAttribute("tabindex");
}

/** Announce a text to screen readers. */
export function announce(text) {
  byId("status").textContent = text;
}

/** Announce a text and the warnings once nothing has changed for a while. */
function announceLater(text) {
  clearTimeout(announcement);
  announcement = setTimeout(announce, ANNOUNCE_DELAY, `${text} ${byId("warnings").innerText}`);
}

/** Return a share as text. */
export function formatPercent(share) {
  return share > 0.9995 ? "over 99.9 %" : `${(100 * share).toFixed(1)} %`;
}

function show({ state, text, words, warnings = [], mode, isChosen = true }) {
  clearTimeout(announcement);
  const digit = byId("digit");
  if (digit.textContent !== text && state !== "empty" && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
    digit.animate({ transform: ["scale(0.86)", "none"], opacity: [0.4, 1] }, { duration: 220, easing: "ease-out" });
  }
  digit.textContent = text;
  const lines = text.split("\n");
  panel.style.setProperty("--count", Math.max(...lines.map((line) => line.length)));
  panel.style.setProperty("--lines", lines.length);
  setTexts(byId("words"), words);
  setTexts(byId("view").querySelector("figcaption"), CAPTIONS[mode]);
  byId("warnings").replaceChildren(...warnings.map((code) => createItem(WARNINGS[code] ?? code)));
  byId("whole").hidden = mode === "digit" ? !warnings.includes("several_digits") : isChosen;
  byId("whole").textContent = mode === "digit" ? "Read the whole number" : "Read it as one digit";
  panel.dataset.state = state;
  panel.dataset.mode = mode;
  if (state === "empty") showView(image, null);
  letScroll(byId("notes"));
  byId("bars-title").textContent = mode === "number" ? "How sure each digit is" : "How likely each digit is";
}

/** Show a canonical picture in an element, or hide the element if there is none. */
function showView(element, view) {
  element.hidden = !view;
  if (view) element.src = view;
}

/** Return which digit is the next most likely, or nothing if all others are unlikely. */
function describeRunnerUp(probabilities, digit) {
  const rest = probabilities.map((share, each) => (each === digit ? 0 : share));
  const share = Math.max(...rest);
  return share < 0.0005 ? [] : [` Next likely: ${rest.indexOf(share)}, ${formatPercent(share)}`];
}

/** Put texts into an element, the first one in bold. */
function setTexts(element, [first, ...rest]) {
  const strong = document.createElement("strong");
  strong.textContent = first;
  element.replaceChildren(strong, ...rest);
}

/** Show a column for each digit, in rows by lines; existing columns are reused, so that they grow and shrink smoothly. */
function showBars(columns) {
  const list = byId("bars");
  while (list.children.length < columns.length) list.append(byId("column").content.cloneNode(true));
  while (list.children.length > columns.length) list.lastElementChild.remove();
  for (const [index, { digit, share, best, line, view }] of columns.entries()) {
    const column = list.children[index];
    column.style.setProperty("--share", share);
    column.classList.toggle("best", Boolean(best));
    column.style.gridColumnStart = line === columns[index - 1]?.line ? "" : 1;
    column.querySelector(".name").textContent = digit;
    column.querySelector(".share").textContent = formatShare(share);
    showView(column.querySelector("img"), view);
  }
}

/** Return a share in per cent, with a decimal where it matters. */
function formatShare(share) {
  if (share < 0.0005) return "";
  return (100 * share).toFixed(share < 0.1 || (share > 0.99 && share < 0.9995) ? 1 : 0);
}

const createItem = (textContent) => Object.assign(document.createElement("li"), { textContent });
