// Shows the most important metrics of the service, read from /metrics while the view is open.

import { sendRequest } from "./service.js";

const INTERVAL = 5_000; // milliseconds between two requests
const SERIES = /^(\w+)(?:\{(.*)\})? (\S+)$/gm; // in Prometheus' text format: name, labels and value

const byId = (id) => document.getElementById(id);
let next; // the timer of the next request

byId("numbers").addEventListener("toggle", () => {
  clearTimeout(next);
  if (byId("numbers").open) refresh();
});

async function refresh() {
  try {
    const { body } = await sendRequest("/metrics", { as: "text" });
    show(Array.from(body.matchAll(SERIES), ([, name, labels = "", value]) => ({ name, labels, value: Number(value) })));
  } catch (error) {
    byId("counts").replaceChildren(createPair("Metrics can't be read", error.message));
  }
  if (byId("numbers").open) next = setTimeout(refresh, INTERVAL);
}

function show(series) {
  const sum = (name, label = "") =>
    series.filter((each) => each.name === name && each.labels.includes(label)).reduce((total, { value }) => total + value, 0);
  byId("counts").replaceChildren(
    createPair("Requests answered", format(sum("digits_requests_total"))),
    createPair("Refused", format(sum("digits_refusals_total"))),
    createPair("Half read within", findQuantile(series, 0.5)),
    createPair("99 % read within", findQuantile(series, 0.99)),
    createPair("In flight", `${format(sum("digits_pictures_in_flight"))} of ${format(sum("digits_places"))}`),
    createPair("Memory", `${format(sum("process_resident_memory_bytes") / 1e6)} MB`),
  );
  byId("digits-read").replaceChildren(
    ...Array.from("0123456789", (digit) => createPair(digit, format(sum("digits_predictions_total", `digit="${digit}"`)))),
  );
}

/** Return the time within which that share of single pictures was answered, rounded up to a bucket of the histogram. */
function findQuantile(series, share) {
  const buckets = series.filter(
    ({ name, labels }) => name === "digits_request_duration_seconds_bucket" && labels.includes('route="/predict"'),
  );
  const total = Math.max(0, ...buckets.map(({ value }) => value));
  const bucket = buckets.find(({ value }) => value > 0 && value >= share * total);
  if (!bucket) return "–";
  const [, bound] = /le="([^"]*)"/.exec(bucket.labels);
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
