// Shows the most important metrics of the service, read from /metrics while the view is open.

import { sendRequest } from "./service.js";

const INTERVAL = 5_000; // milliseconds between two requests
const SERIES = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="([^"]*)"/g;

const byId = (id) => document.getElementById(id);
let next; // the timer of the next request

byId("numbers").addEventListener("toggle", () => {
  clearTimeout(next);
  if (byId("numbers").open) refresh();
});

async function refresh() {
  try {
    const { body } = await sendRequest("/metrics", { as: "text" });
    show(parseMetrics(body));
  } catch (error) {
    byId("counts").replaceChildren(createPair("Metrics can't be read", error.message));
  }
  if (byId("numbers").open) next = setTimeout(refresh, INTERVAL);
}

/** Parse Prometheus' text format; return name, labels and value of each series. */
function parseMetrics(text) {
  const lines = text.split("\n").map((line) => SERIES.exec(line)).filter(Boolean);
  return lines.map(([, name, labels = "", value]) => ({
    name,
    labels: Object.fromEntries(Array.from(labels.matchAll(LABEL), ([, key, text]) => [key, text])),
    value: Number(value),
  }));
}

function show(series) {
  const sum = (name, matches = () => true) =>
    series.filter((sample) => sample.name === name && matches(sample.labels)).reduce((total, { value }) => total + value, 0);
  byId("counts").replaceChildren(
    createPair("Requests answered", format(sum("digits_requests_total"))),
    createPair("Refused", format(sum("digits_refusals_total"))),
    createPair("50 % and 99 % of pictures read within", `${findQuantile(series, 0.5)}, ${findQuantile(series, 0.99)}`),
    createPair("In flight", `${format(sum("digits_pictures_in_flight"))} of ${format(sum("digits_places"))}`),
    createPair("Memory", `${format(sum("process_resident_memory_bytes") / 1e6)} MB`),
  );
  byId("digits-read").replaceChildren(
    ...Array.from({ length: 10 }, (_, digit) =>
      createCell(format(sum("digits_predictions_total", (labels) => labels.digit === String(digit)))),
    ),
  );
}

/** Return the time within which that share of single pictures was answered, rounded up to a bucket of the histogram. */
function findQuantile(series, share) {
  const buckets = series.filter(
    ({ name, labels }) => name === "digits_request_duration_seconds_bucket" && labels.route === "/predict",
  );
  const total = Math.max(0, ...buckets.map(({ value }) => value));
  const bound = buckets.find(({ value }) => value > 0 && value >= share * total)?.labels.le;
  if (!bound) return "–";
  return bound === "+Inf" ? "more" : `${format(1000 * Number(bound))} ms`;
}

const format = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });

function createPair(name, value) {
  const [both, term, description] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  term.textContent = name;
  description.textContent = value;
  both.append(term, description);
  return both;
}

function createCell(text) {
  const element = document.createElement("td");
  element.textContent = text;
  return element;
}
