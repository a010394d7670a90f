// The API reference: every call in openapi.json, to read and to try out.

import { createCodeBlock, createElement, formatExample, renderProse } from "./dom.js";
import { Schemas } from "./schema.js";
import { apiKey } from "./service.js";
import { createTrial } from "./trial.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

const byId = (id) => document.getElementById(id);
const findCalls = () => [...document.querySelectorAll("details.call")];

async function loadDocument() {
  try {
    const response = await fetch("openapi.json", { headers: authorizationHeaders(), cache: "no-cache" });
    if (!response.ok) throw new Error(`openapi.json can't be read: the service answered ${response.status}.`);
    show(await response.json());
  } catch (error) {
    byId("problem").textContent = error instanceof TypeError ? "The service does not answer." : error.message;
    byId("problem").hidden = false;
  }
}

const authorizationHeaders = () => (apiKey.get() ? { Authorization: `Bearer ${apiKey.get()}` } : {});

function show(openapi) {
  const schemas = new Schemas(openapi);
  byId("about").replaceChildren(...createParagraphs(openapi.info.description ?? ""));
  byId("version").textContent = `${openapi.info.title} ${openapi.info.version}`;
  byId("key").hidden = isOpen(openapi.security);
  byId("tools").hidden = false;
  const all = listOperations(openapi);
  document.querySelector("main").append(
    ...openapi.tags.map((tag) => createSection(tag, all.filter(({ operation }) => operation.tags.includes(tag.name)), schemas)),
  );
  openLinkedCall();
}

const createParagraphs = (text) => text.trim().split(/\n\s*\n/).map((each) => createElement("p", {}, renderProse(each)));

/** Return whether a call needs no key: there are no security schemes, or one of the alternatives is empty. */
const isOpen = (security) => !security?.length || security.some((each) => !Object.keys(each).length);

function listOperations({ paths, security }) {
  return Object.entries(paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ method, path, operation: { security, ...item[method] } })),
  );
}

function createSection(tag, members, schemas) {
  const id = `tag-${tag.name.replaceAll(/\W+/g, "-")}`;
  const title = createElement("h2", { id }, tag.name);
  const about = createElement("p", { class: "about" }, renderProse(tag.description ?? ""));
  return createElement("section", { "aria-labelledby": id }, title, about, members.map((call) => createCall(call, schemas)));
}

function createCall(call, schemas) {
  const { method, path, operation } = call;
  const [first, ...others] = createParagraphs(operation.description ?? operation.summary ?? "");
  return createElement(
    "details",
    { class: "call", id: operation.operationId },
    createElement(
      "summary",
      {},
      createElement("h3", {}, createElement("span", { class: `method ${method}` }, method), createElement("code", {}, breakAtSlashes(path))),
      createElement("span", { class: "brief" }, ...first.childNodes),
    ),
    createElement("div", { class: "inside" }, createElement("div", {}, others, describeCall(operation, schemas)), createTrial(call, schemas)),
  );
}

/** Return a path with line-break opportunities before its slashes. */
const breakAtSlashes = (path) => path.split(/(?=\/)/).flatMap((step, index) => (index ? [createElement("wbr"), step] : [step]));

function describeCall(operation, schemas) {
  return [describeParameters(operation, schemas), describeBody(operation, schemas), describeAnswers(operation, schemas)];
}

function describeParameters({ parameters = [] }, schemas) {
  if (!parameters.length) return null;
  const rows = parameters.map(({ name, in: place, required, schema, description }) =>
    createElement("li", {}, createElement("span", { class: "place" }, place), schemas.renderField(name, schema, { mark: required && "required", description })),
  );
  return [createElement("h4", {}, "Parameters"), createElement("ul", { class: "fields" }, rows)];
}

function describeBody({ requestBody }, schemas) {
  if (!requestBody) return null;
  const { description, content } = requestBody;
  return [
    createElement("h4", {}, "Body"),
    description && createElement("p", {}, renderProse(description)),
    Object.entries(content).map(([type, { schema, example }]) =>
      createDetails(createElement("code", {}, type), [
        schemas.renderFields(schema) ?? createElement("p", {}, schemas.describeType(schema)),
        example !== undefined && createCodeBlock(`Example of ${type}`, formatExample(example)),
      ]),
    ),
  ];
}

const createDetails = (title, inside) => createElement("details", { class: "part" }, createElement("summary", {}, title), inside);

function describeAnswers({ responses }, schemas) {
  const rows = Object.entries(responses).map(([status, response]) =>
    createDetails(
      [createElement("strong", {}, status === "default" ? "other" : status), " ", renderProse(response.description)],
      [describeHeaders(response, schemas), Object.entries(response.content ?? {}).map((each) => describeContent(each, schemas))],
    ),
  );
  return [createElement("h4", {}, "Answers"), rows];
}

function describeContent([type, { schema, example, examples = {} }], schemas) {
  const named = Object.entries(examples).map(([name, part]) => [name, schemas.resolve(part)]);
  const listed = example === undefined ? named : [["Example", { value: example }]];
  return [
    createElement("p", { class: "kind" }, createElement("code", {}, type)),
    listed
      .filter(([, { value }]) => value !== undefined)
      .map(([name, { value, summary }]) => [
        createElement("p", { class: "kind" }, summary ?? name),
        createCodeBlock(summary ?? name, typeof value === "string" ? value : formatExample(value)),
      ]),
    schemas.renderFields(schema, { answer: true }),
  ];
}

function describeHeaders({ headers = {} }, schemas) {
  const rows = Object.entries(headers).map(([name, part]) => {
    const { schema, required, description } = schemas.resolve(part);
    return createElement("li", {}, schemas.renderField(name, schema, { mark: !required && "optional", description }));
  });
  return rows.length ? createDetails("Headers", createElement("ul", { class: "fields" }, rows)) : null;
}

// Finding a call

/** Open the call that the URL's fragment names. */
function openLinkedCall() {
  const call = findCalls().find(({ id }) => id === decodeURIComponent(location.hash.slice(1)));
  if (!call) return;
  call.open = true;
  call.scrollIntoView();
  call.querySelector("summary").focus({ preventScroll: true });
}

function filterCalls() {
  const words = byId("filter").value.toLowerCase().split(/\s+/);
  for (const call of findCalls()) {
    const text = call.querySelector("summary").textContent.toLowerCase();
    call.hidden = !words.every((word) => text.includes(word));
  }
  for (const section of document.querySelectorAll("main > section:not(#intro)")) {
    section.hidden = !section.querySelector("details.call:not([hidden])");
  }
  const count = findCalls().filter((call) => !call.hidden).length;
  byId("filter-status").textContent = count === 1 ? "1 call" : `${count} calls`;
}

byId("filter").addEventListener("input", filterCalls);

byId("open").addEventListener("click", () => {
  const open = byId("open").getAttribute("aria-pressed") === "false";
  byId("open").setAttribute("aria-pressed", open);
  for (const call of findCalls()) call.open = open;
});

byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey.set(byId("secret").value.trim());
  byId("secret").value = "";
  byId("key-status").textContent = "It is sent with every request until you close this tab.";
});

addEventListener("hashchange", openLinkedCall);
document.querySelector("main").addEventListener(
  "toggle",
  ({ target }) => {
    if (target.matches("details.call[open]")) history.replaceState(null, "", `#${target.id}`);
  },
  true, // the event does not bubble
);

loadDocument();
