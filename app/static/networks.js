// All networks side by side on what is on the sheet.

import { formatPercent } from "./answer.js";
import { createElement } from "./dom.js";
import { Requester, sendRequest } from "./service.js";

const PAUSE = 250; // milliseconds between an answer and the requests for the others
const SHARE = 4; // pauses are so many times as long as those of reading, which needs the requests more

const panel = document.getElementById("networks");
const list = createElement("ol", { class: "cards" });
const words = createElement("p", { role: "status" });
const requester = new Requester({ send, onAnswer: show, onFailure: ({ message }) => showNothing(message) });
let models = [];
let asked = null; // the newest answer on the page

/** Let all networks read the picture of the answer `{ mode, blob, body }`; none if it is null or the panel is closed. */
export function follow(answer) {
  asked = answer;
  if (!panel.hidden && answer?.mode === "digit") {
    requester.request();
    return;
  }
  requester.drop();
  showNothing(answer ? "They read single digits only. Choose “One digit” above." : "Draw a digit, and see whether they agree.");
}

/** Fill the panel, which opens for the first time. */
export function build() {
  panel.querySelector("div").replaceChildren(words, list);
}

async function send(signal) {
  await new Promise((resume) => setTimeout(resume, PAUSE));
  const { blob, body } = asked ?? {};
  if (signal.aborted || !blob) throw new DOMException("", "AbortError");
  if (!models.length) models = await listModels();
  const answers = [];
  let pause = 0;
  for (const { name } of models) {
    const answer = body.model.name === name ? { body, pause: 0 } : await ask(name, blob, signal);
    answers.push(answer.body);
    pause += SHARE * answer.pause;
  }
  return { answers, pause };
}

const ask = (name, picture, signal) => sendRequest(`/predict?${new URLSearchParams({ model: name })}`, { picture, signal });

/** Return the classifiers, the least accurate first. */
async function listModels() {
  const { body } = await sendRequest("/models");
  const accuracy = ({ metrics }) => metrics?.test?.accuracy ?? 0;
  return body.models.filter(({ kind }) => kind === "classifier").sort((one, other) => accuracy(one) - accuracy(other));
}

function show({ answers }) {
  const best = answers.at(-1); // the most accurate
  const others = answers.filter(({ digit }) => digit !== best.digit);
  words.textContent = others.length
    ? `${others.length} of ${answers.length} disagree with ${best.model.name}, which reads ${best.digit}.`
    : `All ${answers.length} read ${best.digit}.`;
  while (list.childElementCount < answers.length) list.append(createCard());
  while (list.childElementCount > answers.length) list.lastElementChild.remove();
  for (const [index, answer] of answers.entries()) fillCard(list.children[index], answer, models[index], answer.digit !== best.digit);
}

function createCard() {
  const bars = Array.from("0123456789", () => createElement("i"));
  return createElement(
    "li",
    {},
    createElement("strong"),
    createElement("span", { class: "guess" }),
    createElement("span", { class: "certainty" }),
    createElement("span", { class: "bars-small", "aria-hidden": "true" }, bars),
    createElement("small"),
  );
}

function fillCard(card, { digit, confidence, probabilities, model }, { metrics }, differs) {
  const accuracy = metrics?.test?.accuracy;
  card.classList.toggle("differs", differs);
  card.querySelector("strong").textContent = model.name;
  card.querySelector(".guess").textContent = digit;
  card.querySelector(".certainty").textContent = `${formatPercent(confidence)} sure`;
  card.querySelector("small").textContent = accuracy ? `${(100 * accuracy).toFixed(2)} % right on MNIST` : "";
  for (const [each, bar] of card.querySelectorAll("i").entries()) bar.style.setProperty("--share", probabilities[each]);
}

function showNothing(text) {
  words.textContent = text;
  list.replaceChildren();
}
