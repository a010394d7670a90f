// Creates elements from text only: nothing here parses a string as markup.

/** Return an element with attributes and with children, which are elements or text; missing children are skipped. */
export function createElement(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** Return the nodes of a paragraph, with `code` in backticks turned into elements. */
export function renderProse(text) {
  return text.split(/(`[^`]+`)/).map((part) => (part.startsWith("`") ? createElement("code", {}, part.slice(1, -1)) : part));
}

/** Return a block of code that the keyboard can scroll. */
export function createCodeBlock(label, text) {
  return createElement("pre", { tabindex: 0, role: "group", "aria-label": label }, createElement("code", {}, text));
}

/** Return JSON like formatJson, with the start of a picture in place of kilobytes of base64. */
export const formatExample = (value) => formatJson(value).replaceAll(/[\w+/=]{120,}/g, (text) => `${text.slice(0, 40)}…`);

/** Return indented JSON with short lists on one line. */
export function formatJson(value) {
  const text = JSON.stringify(value, null, 2);
  return text.replaceAll(/\[\s+([^[\]{}]{1,72}?)\s+\]/g, (_, items) => `[${items.replaceAll(/\s*\n\s*/g, " ")}]`);
}
