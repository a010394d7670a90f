// A form that sends a request, and shows it as a command together with its answer.

import { createCodeBlock, createElement, formatJson } from "./dom.js";
import { apiKey } from "./service.js";

const MAX_ANSWER = 100_000; // characters of an answer that are shown

let fieldCount = 0; // each field gets an id of its own

/** Quote a word for a POSIX shell. */
const quoteWord = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`);

/** Return a form for one call; `schemas` resolves its references. */
export function createTrial(call, schemas) {
  const { method, operation } = call;
  const parameters = (operation.parameters ?? []).map((each) => createParameter(each, schemas));
  const bodies = Object.entries(operation.requestBody?.content ?? {}).map(([type, content]) =>
    BODIES[chooseBodyKind(type)]({ type, content, schemas, ...readExample(operation) }),
  );
  const answer = createElement("div", { class: "outcome" });
  const status = createElement("p", { class: "status", role: "status" });
  const button = createElement("button", { class: "main" }, "Send");
  const form = createElement(
    "form",
    { "aria-label": `Try ${method.toUpperCase()} ${call.path}` },
    createElement("h4", {}, "Try it"),
    parameters.map(({ element }) => element),
    createChooser(bodies),
    createElement("div", { class: "tools" }, button, status),
    answer,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    status.textContent = "Sending …";
    const body = bodies.find(({ element }) => !element.hidden)?.read();
    const request = composeRequest(call, parameters, body);
    answer.replaceChildren(showCommand(request));
    status.textContent = await send(request, answer);
    button.disabled = false;
  });
  return form;
}

// What is filled in

function createField(label, input, ...beside) {
  input.id = `field-${(fieldCount += 1)}`;
  return createElement("div", { class: "entry" }, createElement("label", { for: input.id }, label), input, beside);
}

/** Return an input for a value of a schema: a list if there are choices, otherwise a text field. */
function createInput(schema, { value = "", required = false } = {}) {
  const choices = schema.type === "boolean" ? [true, false] : schema.enum;
  if (!choices) return createElement("input", { type: "text", value, required, autocomplete: "off", spellcheck: "false" });
  const options = choices.map((each) => createElement("option", { selected: String(each) === String(value) }, String(each)));
  return createElement("select", { required }, createElement("option", { value: "" }, "not sent"), options);
}

function createParameter({ name, in: place, required, schema, examples }, schemas) {
  const resolved = schemas.resolve(schema);
  const value = required ? (resolved.examples?.[0] ?? Object.values(examples ?? {})[0]?.value ?? "") : "";
  const input = createInput(resolved, { value, required });
  return { name, place, element: createField(name, input), read: () => input.value.trim() };
}

/** Return the fields and pictures of the document's example of a body. */
function readExample({ requestBody }) {
  const values = requestBody?.content?.["application/json"]?.example ?? {};
  const texts = [values.image, ...(values.images ?? [])].filter(Boolean);
  return { values, pictures: texts.map((text, index) => createPictureFile(text, `example${index ? `-${index + 1}` : ""}.png`)) };
}

function createPictureFile(base64, name) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return Object.assign(new File([bytes], name, { type: "image/png" }), { address: `data:image/png;base64,${base64}` });
}

/** Return a file input; while no file is chosen, the pictures of the example are sent. */
function createFileInput(label, { pictures, several }) {
  const input = createElement("input", { type: "file", multiple: several, required: !pictures.length });
  const defaults = several ? pictures : pictures.slice(0, 1);
  const examples = createElement("small", { hidden: !defaults.length }, "Or the example: ", defaults.map(createSaveLink));
  input.addEventListener("change", () => (examples.hidden = !defaults.length || input.files.length > 0));
  return { element: createField(label, input, examples), read: () => (input.files.length ? [...input.files] : defaults) };
}

/** Return a picture that a click saves, because the command below reads it from a file. */
function createSaveLink({ address, name }) {
  const image = createElement("img", { src: address, alt: `Save ${name}`, title: `Save ${name}` });
  return createElement("a", { href: address, download: name }, image);
}

const chooseBodyKind = (type) => (type === "multipart/form-data" ? "form" : type === "application/json" ? "json" : "bytes");

const BODIES = {
  form({ type, content, schemas, values, pictures }) {
    const { properties = {}, required = [] } = schemas.resolve(content.schema);
    const entries = Object.entries(properties).map(([name, part]) => {
      const schema = schemas.resolve(part);
      const several = schema.type === "array";
      const item = several ? schemas.resolve(schema.items) : schema;
      if (item.format === "binary") return { name, ...createFileInput(name, { pictures, several }) };
      const input = createInput(schema, { value: values[name] ?? "", required: required.includes(name) });
      return { name, element: createField(name, input), read: () => [input.value].filter(Boolean) };
    });
    const read = () => {
      const parts = entries.flatMap(({ name, read }) => read().map((value) => [name, value]));
      const body = new FormData();
      for (const part of parts) body.append(...part);
      const curl = parts.flatMap(([name, value]) => ["-F", `${name}=${value.name ? `@${value.name}` : value}`]);
      return { body, headers: {}, curl };
    };
    return { type, element: createElement("div", {}, entries.map(({ element }) => element)), read };
  },

  bytes({ type, pictures }) {
    const { element, read } = createFileInput("body", { pictures, several: false });
    return {
      type,
      element,
      read() {
        const [file] = read();
        const headers = { "Content-Type": type.includes("*") ? file.type || "application/octet-stream" : type };
        return { body: file, headers, curl: ["--data-binary", `@${file.name}`] };
      },
    };
  },

  json({ type, values }) {
    const text = formatJson(values);
    const input = createElement("textarea", { rows: Math.min(12, text.split("\n").length + 1), spellcheck: "false" });
    input.value = text;
    const read = () => ({ body: input.value, headers: { "Content-Type": type }, curl: ["-d", input.value] });
    return { type, element: createField("body", input), read };
  },
};

/** Return the bodies, of which one is shown at a time, and the buttons that select it. */
function createChooser(bodies) {
  const name = `type-${(fieldCount += 1)}`;
  const choices = bodies.map(({ type, element }, index) => {
    element.hidden = index > 0;
    const input = createElement("input", { type: "radio", name, checked: index === 0 });
    input.addEventListener("change", () => {
      for (const each of bodies) setVisible(each.element, each.element === element);
    });
    return createElement("label", {}, input, createElement("span", {}, type));
  });
  for (const { element } of bodies) setVisible(element, !element.hidden);
  if (bodies.length < 2) return bodies.map(({ element }) => element);
  const legend = createElement("legend", { class: "unseen" }, "Type of the body");
  return [createElement("fieldset", { class: "modes" }, legend, choices), bodies.map(({ element }) => element)];
}

/** Show or hide a body; hidden fields need not be filled in. */
function setVisible(element, wanted) {
  element.hidden = !wanted;
  for (const input of element.querySelectorAll("input, select, textarea")) input.disabled = !wanted;
}

// The request and its answer

function composeRequest({ method, path }, parameters, body) {
  const readParameters = (place) => parameters.map((each) => [each, each.read()]).filter(([{ place: at }, value]) => at === place && value);
  const pathname = readParameters("path").reduce((text, [{ name }, value]) => text.replace(`{${name}}`, encodeURIComponent(value)), path);
  const url = new URL(pathname.slice(1), document.baseURI); // relative to this page, which may have a prefix
  for (const [{ name }, value] of readParameters("query")) url.searchParams.set(name, value);
  const headers = { ...body?.headers, ...Object.fromEntries(readParameters("header").map(([{ name }, value]) => [name, value])) };
  return { method: method.toUpperCase(), url, headers, body };
}

/** Show a request as a shell command, with a variable in place of the key. */
function showCommand({ method, url, headers, body }) {
  const words = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  const all = [...(method === (body ? "POST" : "GET") ? [] : ["-X", method]), ...words, ...(body?.curl ?? [])];
  const lines = [`curl ${quoteWord(url.href)}`];
  if (apiKey.get()) lines.push('-H "Authorization: Bearer $DIGITS_KEY"');
  for (let at = 0; at < all.length; at += 2) lines.push(`${all[at]} ${quoteWord(all[at + 1])}`);
  return createElement("div", {}, createElement("h5", {}, "Request"), createCodeBlock("Request", lines.join(" \\\n  ")));
}

/** Send a request, add its answer to `element`, and return a short summary. */
async function send({ method, url, headers, body }, element) {
  const authorization = apiKey.get() ? { Authorization: `Bearer ${apiKey.get()}` } : {};
  const started = performance.now();
  try {
    const all = { ...headers, ...authorization };
    const response = await fetch(url, { method, headers: all, body: body?.body, cache: "no-store" });
    const text = await response.text();
    const duration = Math.round(performance.now() - started);
    element.append(showAnswer(response, text));
    return `${response.status} ${response.statusText} in ${duration} ms`;
  } catch {
    return "The service does not answer.";
  }
}

function showAnswer(response, text) {
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return createElement(
    "div",
    {},
    createElement("h5", {}, "Answer"),
    createCodeBlock("Answer", formatAnswer(response, text).slice(0, MAX_ANSWER) || "The answer has no body."),
    createElement("details", {}, createElement("summary", {}, "Headers"), createCodeBlock("Headers of the answer", headers)),
  );
}

function formatAnswer(response, text) {
  if (!response.headers.get("Content-Type")?.includes("json")) return text;
  try {
    return formatJson(JSON.parse(text));
  } catch {
    return text; // JSON followed by binary data
  }
}
