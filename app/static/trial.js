// A form that sends a request, and shows it as a command together with its answer.

import { code, element, pretty } from "./dom.js";
import { key } from "./service.js";

const LONGEST = 100_000; // characters of an answer that are shown

let fields = 0; // how many fields there are: each gets its own id

/** Quote a word for a POSIX shell. */
const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`);

/** Return a form for one call; `schemas` resolves its references. */
export function trial(call, schemas) {
  const { method, operation } = call;
  const parameters = (operation.parameters ?? []).map((each) => parameter(each, schemas));
  const bodies = Object.entries(operation.requestBody?.content ?? {}).map(([type, content]) =>
    BODIES[bodyKind(type)]({ type, content, schemas, ...example(operation) }),
  );
  const answer = element("div", { class: "outcome" });
  const status = element("p", { class: "status", role: "status" });
  const button = element("button", { class: "main" }, "Send");
  const form = element(
    "form",
    { "aria-label": `Try ${method.toUpperCase()} ${call.path}` },
    element("h4", {}, "Try it"),
    parameters.map(({ shown }) => shown),
    chooser(bodies),
    element("div", { class: "tools" }, button, status),
    answer,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    status.textContent = "Sending …";
    const body = bodies.find(({ shown }) => !shown.hidden)?.read();
    const request = compose(call, parameters, body);
    answer.replaceChildren(commandOf(request));
    status.textContent = await send(request, answer);
    button.disabled = false;
  });
  return form;
}

// What is filled in

function field(label, input, ...beside) {
  input.id = `field-${(fields += 1)}`;
  return element("div", { class: "entry" }, element("label", { for: input.id }, label), input, beside);
}

/** Return an input for a value of a schema: a list if there are choices, otherwise a text field. */
function entry(schema, { value = "", required = false } = {}) {
  const choices = schema.type === "boolean" ? [true, false] : schema.enum;
  if (!choices) return element("input", { type: "text", value, required, autocomplete: "off", spellcheck: "false" });
  const options = choices.map((each) => element("option", { selected: String(each) === String(value) }, String(each)));
  return element("select", { required }, element("option", { value: "" }, "not sent"), options);
}

function parameter({ name, in: place, required, schema, examples }, schemas) {
  const resolved = schemas.resolve(schema);
  const value = required ? (resolved.examples?.[0] ?? Object.values(examples ?? {})[0]?.value ?? "") : "";
  const input = entry(resolved, { value, required });
  return { name, place, shown: field(name, input), read: () => input.value.trim() };
}

/** Return the fields and pictures of the document's example of a body. */
function example({ requestBody }) {
  const values = requestBody?.content?.["application/json"]?.example ?? {};
  const texts = [values.image, ...(values.images ?? [])].filter(Boolean);
  return { values, pictures: texts.map((text, index) => picture(text, `example${index ? `-${index + 1}` : ""}.png`)) };
}

function picture(base64, name) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return Object.assign(new File([bytes], name, { type: "image/png" }), { address: `data:image/png;base64,${base64}` });
}

/** Return a file input; while no file is chosen, the pictures of the example are sent. */
function fileEntry(label, { pictures, several }) {
  const input = element("input", { type: "file", multiple: several, required: !pictures.length });
  const usual = several ? pictures : pictures.slice(0, 1);
  const examples = element("small", { hidden: !usual.length }, "Or the example: ", usual.map(savable));
  input.addEventListener("change", () => (examples.hidden = !usual.length || input.files.length > 0));
  return { shown: field(label, input, examples), read: () => (input.files.length ? [...input.files] : usual) };
}

/** Return a picture that a click saves, because the command below reads it from a file. */
function savable({ address, name }) {
  const image = element("img", { src: address, alt: `Save ${name}`, title: `Save ${name}` });
  return element("a", { href: address, download: name }, image);
}

const bodyKind = (type) => (type === "multipart/form-data" ? "form" : type === "application/json" ? "json" : "bytes");

const BODIES = {
  form({ type, content, schemas, values, pictures }) {
    const { properties = {}, required = [] } = schemas.resolve(content.schema);
    const entries = Object.entries(properties).map(([name, part]) => {
      const schema = schemas.resolve(part);
      const several = schema.type === "array";
      const holds = several ? schemas.resolve(schema.items) : schema;
      if (holds.format === "binary") return { name, ...fileEntry(name, { pictures, several }) };
      const input = entry(schema, { value: values[name] ?? "", required: required.includes(name) });
      return { name, shown: field(name, input), read: () => [input.value].filter(Boolean) };
    });
    const read = () => {
      const parts = entries.flatMap(({ name, read }) => read().map((value) => [name, value]));
      const body = new FormData();
      for (const part of parts) body.append(...part);
      const curl = parts.flatMap(([name, value]) => ["-F", `${name}=${value.name ? `@${value.name}` : value}`]);
      return { body, headers: {}, curl };
    };
    return { type, shown: element("div", {}, entries.map(({ shown }) => shown)), read };
  },

  bytes({ type, pictures }) {
    const { shown, read } = fileEntry("body", { pictures, several: false });
    return {
      type,
      shown,
      read() {
        const [file] = read();
        const headers = { "Content-Type": type.includes("*") ? file.type || "application/octet-stream" : type };
        return { body: file, headers, curl: ["--data-binary", `@${file.name}`] };
      },
    };
  },

  json({ type, values }) {
    const text = pretty(values);
    const input = element("textarea", { rows: Math.min(12, text.split("\n").length + 1), spellcheck: "false" });
    input.value = text;
    const read = () => ({ body: input.value, headers: { "Content-Type": type }, curl: ["-d", input.value] });
    return { type, shown: field("body", input), read };
  },
};

/** Return the bodies, of which one is shown at a time, and the buttons that select it. */
function chooser(bodies) {
  const name = `type-${(fields += 1)}`;
  const choices = bodies.map(({ type, shown }, index) => {
    shown.hidden = index > 0;
    const input = element("input", { type: "radio", name, checked: index === 0 });
    input.addEventListener("change", () => {
      for (const each of bodies) show(each.shown, each.shown === shown);
    });
    return element("label", {}, input, element("span", {}, type));
  });
  for (const { shown } of bodies) show(shown, !shown.hidden);
  if (bodies.length < 2) return bodies.map(({ shown }) => shown);
  const legend = element("legend", { class: "unseen" }, "Type of the body");
  return [element("fieldset", { class: "modes" }, legend, choices), bodies.map(({ shown }) => shown)];
}

/** Show or hide a body; hidden fields need not be filled in. */
function show(shown, wanted) {
  shown.hidden = !wanted;
  for (const input of shown.querySelectorAll("input, select, textarea")) input.disabled = !wanted;
}

// The request and its answer

function compose({ method, path }, parameters, body) {
  const given = (place) => parameters.map((each) => [each, each.read()]).filter(([{ place: at }, value]) => at === place && value);
  const filled = given("path").reduce((text, [{ name }, value]) => text.replace(`{${name}}`, encodeURIComponent(value)), path);
  const url = new URL(filled.slice(1), document.baseURI); // relative to this page, which may have a prefix
  for (const [{ name }, value] of given("query")) url.searchParams.set(name, value);
  const headers = { ...body?.headers, ...Object.fromEntries(given("header").map(([{ name }, value]) => [name, value])) };
  return { method: method.toUpperCase(), url, headers, body };
}

/** Show a request as a shell command, with a variable in place of the key. */
function commandOf({ method, url, headers, body }) {
  const words = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  const all = [...(method === (body ? "POST" : "GET") ? [] : ["-X", method]), ...words, ...(body?.curl ?? [])];
  const lines = [`curl ${quote(url.href)}`];
  if (key.get()) lines.push('-H "Authorization: Bearer $DIGITS_KEY"');
  for (let at = 0; at < all.length; at += 2) lines.push(`${all[at]} ${quote(all[at + 1])}`);
  return element("div", {}, element("h5", {}, "Request"), code("Request", lines.join(" \\\n  ")));
}

/** Send a request, add its answer to `shown`, and return a short summary. */
async function send({ method, url, headers, body }, shown) {
  const authorization = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  const started = performance.now();
  try {
    const all = { ...headers, ...authorization };
    const response = await fetch(url, { method, headers: all, body: body?.body, cache: "no-store" });
    const text = await response.text();
    const taken = Math.round(performance.now() - started);
    shown.append(answerOf(response, text));
    return `${response.status} ${response.statusText} in ${taken} ms`;
  } catch {
    return "The service does not answer.";
  }
}

function answerOf(response, text) {
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return element(
    "div",
    {},
    element("h5", {}, "Answer"),
    code("Answer", readable(response, text).slice(0, LONGEST) || "The answer has no body."),
    element("details", {}, element("summary", {}, "Headers"), code("Headers of the answer", headers)),
  );
}

function readable(response, text) {
  if (!response.headers.get("Content-Type")?.includes("json")) return text;
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text; // JSON followed by binary data
  }
}
