// Whether an answer is right: kept with its picture, where the service keeps any.

import { say } from "./answer.js";
import { call } from "./service.js";

const at = (id) => document.getElementById(id);
let newest; // what is asked about

/** Ask whether a `Prediction` of a picture by a model is right. */
export function judge({ digit, is_digit: isDigit }, picture, model) {
  newest = { picture, model };
  show("Was this right?", button("Yes", isDigit ? digit : "none"), button("No"));
}

function choose() {
  const digits = document.createElement("div");
  digits.className = "bars"; // as wide as the bars below
  digits.append(...[..."0123456789"].map((digit) => button(digit, digit)));
  show("What is it?", button("No digit", "none"), digits);
  at("asked").focus();
}

async function send(digit) {
  const mine = newest;
  show("Sending …");
  at("asked").focus();
  let shown = ["Thank you. It is kept to learn from."];
  try {
    await call(`/feedback?${new URLSearchParams({ digit, model: mine.model })}`, { picture: mine.picture });
  } catch (error) {
    shown = [error.message, button("Try again", digit)];
  }
  if (mine !== newest) return;
  show(...shown);
  say(shown[0]);
}

function show(text, ...answers) {
  const asked = at("asked"); // stays where it is, as it may have the focus
  asked.textContent = text;
  while (asked.nextSibling) asked.nextSibling.remove();
  asked.after(...answers);
}

function button(textContent, digit) {
  const onclick = () => (digit === undefined ? choose() : send(digit));
  return Object.assign(document.createElement("button"), { type: "button", textContent, onclick });
}
