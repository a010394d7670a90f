// Asks whether an answer was right, and sends the picture with its correct digit, if the service stores feedback.

import { announce } from "./answer.js";
import { sendRequest } from "./service.js";

const byId = (id) => document.getElementById(id);
let question; // the picture and model that it is about

/** Ask whether a model's `Prediction` for a picture is right. */
export function askForFeedback({ digit, is_digit: isDigit }, picture, model) {
  question = { picture, model };
  show("Was this right?", button("Yes", isDigit ? digit : "none"), button("No"));
}

function askForDigit() {
  const digits = document.createElement("div");
  digits.className = "bars"; // as wide as the bars below
  digits.append(...[..."0123456789"].map((digit) => button(digit, digit)));
  show("What is it?", button("No digit", "none"), digits);
  byId("question").focus();
}

async function send(digit) {
  const answered = question;
  show("Sending …");
  byId("question").focus();
  let texts = ["Thank you. The picture has been saved for training."];
  try {
    await sendRequest(`/feedback?${new URLSearchParams({ digit, model: answered.model })}`, { picture: answered.picture });
  } catch (error) {
    texts = [error.message, button("Try again", digit)];
  }
  if (answered !== question) return;
  show(...texts);
  announce(texts[0]);
}

function show(text, ...answers) {
  const title = byId("question"); // is not replaced, because it may have the focus
  title.textContent = text;
  while (title.nextSibling) title.nextSibling.remove();
  title.after(...answers);
}

function button(textContent, digit) {
  const onclick = () => (digit === undefined ? askForDigit() : send(digit));
  return Object.assign(document.createElement("button"), { type: "button", textContent, onclick });
}
