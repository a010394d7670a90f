// The API reference: every call in openapi.json, to read and to try out.

import { code, element, pretty, prose } from "./dom.js";
import { Schemas } from "./schema.js";
import { key } from "./service.js";
import { trial } from "./trial.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

const at = (id) => document.getElementById(id);
const calls = () => [...document.querySelectorAll("details.call")];

async function begin() {
  try {
    const response = await fetch("openapi.json", { headers: authorization(), cache: "no-cache" });
    if (!response.ok) throw new Error(`openapi.json can't be read: the service answered ${response.status}.`);
    show(await response.json());
  } catch (error) {
    at("problem").textContent = error instanceof TypeError ? "The service does not answer." : error.message;
    at("problem").hidden = false;
  }
}

const authorization = () => (key.get() ? { Authorization: `Bearer ${key.get()}` } : {});

function show(openapi) {
  const schemas = new Schemas(openapi);
  at("about").replaceChildren(...paragraphs(openapi.info.description ?? ""));
  at("version").textContent = `${openapi.info.title} ${openapi.info.version}`;
  at("key").hidden = isOpen(openapi.security);
  at("tools").hidden = false;
  const all = collect(openapi);
  document.querySelector("main").append(
    ...openapi.tags.map((tag) => group(tag, all.filter(({ operation }) => operation.tags.includes(tag.name)), schemas)),
  );
  openNamed();
}

const paragraphs = (text) => text.trim().split(/\n\s*\n/).map((each) => element("p", {}, prose(each)));

/** Return whether a call needs no key: there are no security schemes, or one of the alternatives is empty. */
const isOpen = (security) => !security?.length || security.some((each) => !Object.keys(each).length);

function collect({ paths, security }) {
  return Object.entries(paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ method, path, operation: { security, ...item[method] } })),
  );
}

function group(tag, members, schemas) {
  const id = `tag-${tag.name.replaceAll(/\W+/g, "-")}`;
  const title = element("h2", { id }, tag.name);
  const about = element("p", { class: "about" }, prose(tag.description ?? ""));
  return element("section", { "aria-labelledby": id }, title, about, members.map((call) => callOf(call, schemas)));
}

function callOf(call, schemas) {
  const { method, path, operation } = call;
  const [first, ...others] = paragraphs(operation.description ?? operation.summary ?? "");
  return element(
    "details",
    { class: "call", id: operation.operationId },
    element(
      "summary",
      {},
      element("h3", {}, element("span", { class: `method ${method}` }, method), element("code", {}, breakable(path))),
      element("span", { class: "brief" }, ...first.childNodes),
    ),
    element("div", { class: "inside" }, element("div", {}, others, manual(operation, schemas)), trial(call, schemas)),
  );
}

/** Return a path with line-break opportunities before its slashes. */
const breakable = (path) => path.split(/(?=\/)/).flatMap((step, index) => (index ? [element("wbr"), step] : [step]));

function manual(operation, schemas) {
  return [parametersOf(operation, schemas), bodyOf(operation, schemas), answersOf(operation, schemas)];
}

function parametersOf({ parameters = [] }, schemas) {
  if (!parameters.length) return null;
  const rows = parameters.map(({ name, in: place, required, schema, description }) =>
    element("li", {}, element("span", { class: "place" }, place), schemas.line(name, schema, { mark: required && "required", description })),
  );
  return [element("h4", {}, "Parameters"), element("ul", { class: "fields" }, rows)];
}

function bodyOf({ requestBody }, schemas) {
  if (!requestBody) return null;
  const { description, content } = requestBody;
  return [
    element("h4", {}, "Body"),
    description && element("p", {}, prose(description)),
    Object.entries(content).map(([type, { schema, example }]) =>
      unfolding(element("code", {}, type), [
        schemas.fields(schema) ?? element("p", {}, schemas.type(schema)),
        example !== undefined && code(`Example of ${type}`, pretty(example)),
      ]),
    ),
  ];
}

const unfolding = (title, inside) => element("details", { class: "part" }, element("summary", {}, title), inside);

function answersOf({ responses }, schemas) {
  const rows = Object.entries(responses).map(([status, response]) =>
    unfolding(
      [element("strong", {}, status === "default" ? "other" : status), " ", prose(response.description)],
      [headersOf(response, schemas), Object.entries(response.content ?? {}).map((each) => contentOf(each, schemas))],
    ),
  );
  return [element("h4", {}, "Answers"), rows];
}

function contentOf([type, { schema, example, examples = {} }], schemas) {
  const named = Object.entries(examples).map(([name, part]) => [name, schemas.resolve(part)]);
  const shown = example === undefined ? named : [["Example", { value: example }]];
  return [
    element("p", { class: "kind" }, element("code", {}, type)),
    shown
      .filter(([, { value }]) => value !== undefined)
      .map(([name, { value, summary }]) => [
        element("p", { class: "kind" }, summary ?? name),
        code(summary ?? name, typeof value === "string" ? value : pretty(value)),
      ]),
    schemas.fields(schema, { answer: true }),
  ];
}

function headersOf({ headers = {} }, schemas) {
  const rows = Object.entries(headers).map(([name, part]) => {
    const { schema, required, description } = schemas.resolve(part);
    return element("li", {}, schemas.line(name, schema, { mark: !required && "optional", description }));
  });
  return rows.length ? unfolding("Headers", element("ul", { class: "fields" }, rows)) : null;
}

// Finding a call

/** Open the call that the URL's fragment names. */
function openNamed() {
  const named = calls().find(({ id }) => id === decodeURIComponent(location.hash.slice(1)));
  if (!named) return;
  named.open = true;
  named.scrollIntoView();
  named.querySelector("summary").focus({ preventScroll: true });
}

function filter() {
  const words = at("filter").value.toLowerCase().split(/\s+/);
  for (const call of calls()) {
    const text = call.querySelector("summary").textContent.toLowerCase();
    call.hidden = !words.every((word) => text.includes(word));
  }
  for (const section of document.querySelectorAll("main > section:not(#intro)")) {
    section.hidden = !section.querySelector("details.call:not([hidden])");
  }
  const left = calls().filter((call) => !call.hidden).length;
  at("found").textContent = left === 1 ? "1 call" : `${left} calls`;
}

at("filter").addEventListener("input", filter);

at("open").addEventListener("click", () => {
  const open = at("open").getAttribute("aria-pressed") === "false";
  at("open").setAttribute("aria-pressed", open);
  for (const call of calls()) call.open = open;
});

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(at("secret").value.trim());
  at("secret").value = "";
  at("kept").textContent = "It is sent with every request until you close this tab.";
});

addEventListener("hashchange", openNamed);
document.querySelector("main").addEventListener(
  "toggle",
  ({ target }) => {
    if (target.matches("details.call[open]")) history.replaceState(null, "", `#${target.id}`);
  },
  true, // the event does not bubble
);

begin();
