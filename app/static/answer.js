// Shows the answer: a digit or a number, its confidence, and any warnings.

const ANNOUNCE_DELAY = 700; // milliseconds without a change before a screen reader announces the answer
const WARNINGS = {
  low_contrast: "The ink is pale. Use a darker pen or more light.",
  several_digits: "There are several digits, and only the most prominent one was read. Try “Whole number”.",
  touches_border: "The digit touches the edge, so part of it may be missing.",
  tiny: "The digit is tiny, less than ten pixels long. Write larger, or move closer.",
  no_digits: "There is ink, but none of it can be read as a digit.",
  crowded: "There is too much in the picture to examine all of it, so digits may be missing.",
};

const CAPTIONS = {
  digit: [
    "What the network saw.",
    " The digit is cut out, turned white on black and centred by its mass: 28 × 28 pixels, and nothing else.",
  ],
  number: ["What the network saw.", " Each box on its own, cut out and centred in 28 × 28 pixels."],
};

const byId = (id) => document.getElementById(id);
const panel = byId("answer");
const image = byId("view").querySelector("img");
let announcement;

/** Show the state before there is an answer. */
export function showNothing(mode) {
  const subject = mode === "number" ? "number" : "digit";
  show({ state: "empty", text: "?", words: `Your ${subject} appears here while you draw.`, mode });
  showBars(mode === "number" ? [] : Array.from({ length: 10 }, (_, digit) => ({ digit, share: 0 })));
}

/** Show a `Prediction`. */
export function showDigit({ digit, confidence, probabilities, is_digit: isDigit, warnings, view }) {
  const words = isDigit
    ? [`${formatPercent(confidence)} sure`, ...describeRunnerUp(probabilities, digit)]
    : ["This does not look like a digit.", ` The best guess would be ${digit}.`];
  show({ state: isDigit ? "sure" : "doubt", text: String(digit), words, warnings, mode: "digit" });
  showBars(probabilities.map((share, each) => ({ digit: each, share, best: each === digit })));
  image.src = view;
  image.hidden = false;
  announceLater(isDigit ? `${digit}, ${words[0]}` : words.join(""));
}

/** Show a `NumberPrediction`. */
export function showNumber({ text, confidence, digits, warnings }) {
  const sure = [`${formatPercent(confidence)} sure`, ...(digits.length > 1 ? [` that all ${digits.length} are right`] : [])];
  const words = digits.length ? sure : ["No digit was found."];
  show({ state: digits.length ? "sure" : "doubt", text: text || "?", words, warnings, mode: "number" });
  showBars(digits.map((each) => ({ digit: each.digit, share: each.confidence, best: true })));
  announceLater(digits.length ? `${text.replaceAll("\n", ", ")}: ${words.join("")}` : words[0]);
}

/** Show what went wrong; an empty text hides the message. */
export function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

/** Announce a text to screen readers. */
export function announce(text) {
  byId("status").textContent = text;
}

/** Announce a text once nothing has changed for a while. */
function announceLater(text) {
  clearTimeout(announcement);
  announcement = setTimeout(announce, ANNOUNCE_DELAY, text);
}

function formatPercent(share) {
  return share > 0.9995 ? "over 99.9 %" : `${(100 * share).toFixed(1)} %`;
}

function show({ state, text, words, warnings = [], mode }) {
  clearTimeout(announcement);
  const digit = byId("digit");
  if (digit.textContent !== text && state !== "empty" && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
    digit.animate({ transform: ["scale(0.86)", "none"], opacity: [0.4, 1] }, { duration: 220, easing: "ease-out" });
  }
  digit.textContent = text;
  digit.style.setProperty("--count", Math.max(...text.split("\n").map((line) => line.length)));
  digit.style.setProperty("--lines", text.split("\n").length);
  setTexts(byId("words"), [words].flat());
  setTexts(byId("view").querySelector("figcaption"), CAPTIONS[mode]);
  byId("warnings").replaceChildren(...warnings.map((code) => createItem(WARNINGS[code] ?? code)));
  panel.dataset.state = state;
  panel.dataset.mode = mode;
  image.hidden ||= state === "empty";
  const likely = state === "doubt" ? "How likely each digit would be" : "How likely each digit is";
  byId("bars-title").textContent = mode === "number" ? "How sure each digit is" : likely;
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

/** Show the columns; existing ones are reused, so that they grow and shrink smoothly. */
function showBars(columns) {
  const list = byId("bars");
  while (list.children.length < columns.length) list.append(createItem("", "name", "share", "bar"));
  while (list.children.length > columns.length) list.lastChild.remove();
  for (const [index, { digit, share, best }] of columns.entries()) {
    const column = list.children[index];
    column.style.setProperty("--share", share);
    column.classList.toggle("best", Boolean(best));
    column.querySelector(".name").textContent = digit;
    column.querySelector(".share").textContent = formatShare(share);
  }
}

/** Return a share in per cent, with a decimal where it matters. */
function formatShare(share) {
  if (share < 0.0005) return "";
  return (100 * share).toFixed(share < 0.1 || (share > 0.99 && share < 0.9995) ? 1 : 0);
}

function createItem(text, ...parts) {
  const element = document.createElement("li");
  element.append(
    text,
    ...parts.map((name) => Object.assign(document.createElement("span"), { className: name })),
  );
  return element;
}
