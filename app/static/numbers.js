// Shows the most important metrics of the service, read from /metrics while the view is open.

import { call } from "./service.js";

const AGAIN = 5_000; // milliseconds between two requests
const SERIES = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="([^"]*)"/g;

const at = (id) => document.getElementById(id);
let next; // the timer of the next request

at("numbers").addEventListener("toggle", () => {
  clearTimeout(next);
  if (at("numbers").open) look();
});

async function look() {
  try {
    const { body } = await call("/metrics", { as: "text" });
    show(read(body));
  } catch (error) {
    at("counted").replaceChildren(pair("Metrics can't be read", error.message));
  }
  if (at("numbers").open) next = setTimeout(look, AGAIN);
}

/** Parse Prometheus' text format; return name, labels and value of each series. */
function read(text) {
  const found = text.split("\n").map((line) => SERIES.exec(line)).filter(Boolean);
  return found.map(([, name, labels = "", value]) => ({
    name,
    labels: Object.fromEntries(Array.from(labels.matchAll(LABEL), ([, key, named]) => [key, named])),
    value: Number(value),
  }));
}

function show(series) {
  const sum = (name, fits = () => true) =>
    series.filter((one) => one.name === name && fits(one.labels)).reduce((total, { value }) => total + value, 0);
  at("counted").replaceChildren(
    pair("Requests answered", number(sum("digits_requests_total"))),
    pair("Refused", number(sum("digits_refusals_total"))),
    pair("50 % and 99 % of pictures read within", `${within(series, 0.5)}, ${within(series, 0.99)}`),
    pair("In flight", `${number(sum("digits_pictures_in_flight"))} of ${number(sum("digits_places"))}`),
    pair("Memory", `${number(sum("process_resident_memory_bytes") / 1e6)} MB`),
  );
  at("digits-read").replaceChildren(
    ...Array.from({ length: 10 }, (_, digit) =>
      cell(number(sum("digits_predictions_total", (labels) => labels.digit === String(digit)))),
    ),
  );
}

/** Return the time within which that share of single pictures was answered, rounded up to a bucket of the histogram. */
function within(series, share) {
  const buckets = series.filter(
    ({ name, labels }) => name === "digits_request_duration_seconds_bucket" && labels.route === "/predict",
  );
  const all = Math.max(0, ...buckets.map(({ value }) => value));
  const bound = buckets.find(({ value }) => value > 0 && value >= share * all)?.labels.le;
  if (!bound) return "–";
  return bound === "+Inf" ? "more" : `${number(1000 * Number(bound))} ms`;
}

const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });

function pair(name, value) {
  const [both, term, told] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  term.textContent = name;
  told.textContent = value;
  both.append(term, told);
  return both;
}

function cell(text) {
  const made = document.createElement("td");
  made.textContent = text;
  return made;
}
