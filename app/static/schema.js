// Describes values for people, from the JSON Schemas of an OpenAPI 3.1 document.

import { createElement, renderProse } from "./dom.js";

/** The schemas of a document. */
export class Schemas {
  #document;

  constructor(document) {
    this.#document = document;
  }

  /** Return the target of a reference, merged with the members beside the reference. */
  resolve(part) {
    if (!part?.$ref) return part ?? {};
    const { $ref, ...beside } = part;
    const steps = $ref.slice(2).split("/");
    return { ...this.resolve(steps.reduce((node, step) => node[step], this.#document)), ...beside };
  }

  /** Return a schema's type in a few words. */
  describeType(part) {
    const schema = this.resolve(part);
    if (schema.anyOf) return schema.anyOf.map((each) => this.describeType(each)).join(" or ");
    if (schema.format === "binary") return "file";
    const item = schema.items ?? schema.prefixItems?.[0];
    if (item) return `array of ${this.describeType(item)}`;
    return [schema.type ?? "any"].flat().join(" or ");
  }

  /** Return the other constraints on a value, each in a few words. */
  listLimits(part) {
    const schema = this.resolve(part);
    const inner = [...(schema.anyOf ?? []), ...(schema.items ? [schema.items] : [])].flatMap((each) => this.listLimits(each));
    return [...inner, ...LIMITS.map((limit) => limit(schema)).filter(Boolean)];
  }

  /**
   * Return a list of the fields of an object, or of the objects in an array, with nested fields; null if there are none.
   * In requests, required fields are marked; in answers, optional ones.
   */
  renderFields(part, { answer = false, ancestors = [] } = {}) {
    if (part?.$ref && ancestors.includes(part.$ref)) return null; // it contains itself
    const below = { answer, ancestors: part?.$ref ? [...ancestors, part.$ref] : ancestors };
    const schema = this.resolve(part);
    if (schema.items) return this.renderFields(schema.items, below);
    if (schema.anyOf) return schema.anyOf.map((each) => this.renderFields(each, below)).find(Boolean) ?? null;
    const rows = Object.entries(schema.properties ?? {}).map(([name, each]) => {
      const required = schema.required?.includes(name) ?? false;
      const mark = answer ? !required && "optional" : required && "required";
      return createElement("li", {}, this.renderField(name, each, { mark }), this.renderFields(each, below));
    });
    return rows.length ? createElement("ul", { class: "fields" }, rows) : null;
  }

  /** Return a name with the type, limits and description of its value. */
  renderField(name, part, { mark, description = this.resolve(part).description } = {}) {
    const limits = this.listLimits(part).map((limit) => [" · ", ...renderProse(limit)]);
    return [
      createElement("code", { class: "field" }, name),
      createElement("span", { class: "type" }, this.describeType(part), limits),
      mark && createElement("span", { class: "note" }, mark),
      description && createElement("p", {}, renderProse(description)),
    ];
  }
}

const formatRange = (min, max, unit = "") => {
  const units = unit && ` ${unit}${(max ?? min) === 1 ? "" : "s"}`;
  if (min === undefined && max === undefined) return null;
  if (min === max) return `${max}${units}`;
  if (max === undefined) return `at least ${min}${units}`;
  return min === undefined ? `at most ${max}${units}` : `${min} to ${max}${units}`;
};

const quote = (value) => `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;

const LIMITS = [
  ({ enum: values }) => values && `one of ${values.map(quote).join(", ")}`,
  ({ const: value }) => value !== undefined && quote(value),
  ({ minimum, maximum }) => formatRange(minimum, maximum),
  ({ minLength, maxLength }) => formatRange(minLength, maxLength, "character"),
  ({ minItems, maxItems }) => formatRange(minItems, maxItems, "item"),
  ({ pattern }) => pattern && `matches ${quote(pattern)}`,
  ({ default: value }) => value !== undefined && `default ${quote(value)}`,
];
