// Elements, from text alone: nothing here makes markup of a string.

/** Return an element with attributes, and children that are elements or text; children that are missing are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

/** Return a paragraph's text with `code` as elements. */
export function prose(text) {
  return text.split(/(`[^`]+`)/).map((part) => (part.startsWith("`") ? element("code", {}, part.slice(1, -1)) : part));
}

/** Return a block of code that can be scrolled with the keyboard. */
export function code(label, text) {
  return element("pre", { tabindex: 0, role: "group", "aria-label": label }, element("code", {}, text));
}

/** Return JSON as people read it, with short lists on one line. */
export function pretty(value) {
  const text = JSON.stringify(value, null, 2);
  return text.replaceAll(/\[\s+([^[\]{}]{1,72}?)\s+\]/g, (_, items) => `[${items.replaceAll(/\s*\n\s*/g, " ")}]`);
}
