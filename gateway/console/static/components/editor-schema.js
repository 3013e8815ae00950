// What the schema of a configuration says about a place in it: which keys may stand there, which values, and what
// they mean. Pure functions over the JSON Schema of /api/config/schema and the tree of editor-yaml.js.

import { nodeAt, keys, words } from "./editor-yaml.js";

const REFERENCE = "#/$defs/reference";
const MAX_WORDS = 40; // values shown in a hint

export class Schema {
  constructor(root) {
    this.root = root;
    this.known = new Map(); // a place's alternatives, by node of the schema
  }

  /** The alternatives of a node of the schema: no references, no anyOf, no null, no `${...}`. */
  flat(node) {
    if (!node || typeof node !== "object") return [];
    let found = this.known.get(node);
    if (!found) {
      found = this.flatten(node);
      this.known.set(node, found);
    }
    return found;
  }

  flatten(node) {
    if (node.$ref === REFERENCE || node.type === "null") return [];
    if (node.$ref) {
      const name = node.$ref.slice("#/$defs/".length);
      return this.flat(this.root.$defs?.[name]);
    }
    if (node.anyOf) return node.anyOf.flatMap((one) => this.flat(one));
    return [node];
  }

  /** The alternatives at a path; those that a discriminator in the text rules out are left out. */
  at(path, tree) {
    let here = [this.root];
    path.forEach((step, depth) => {
      const behind = nodeAt(tree, path.slice(0, depth));
      here = fitting(here, words(behind)).flatMap((one) => this.step(one, step));
    });
    return here;
  }

  step(one, step) {
    if (typeof step === "number") return this.flat(one.prefixItems?.[step] ?? one.items);
    const next = one.properties?.[step] ?? one.additionalProperties;
    return typeof next === "object" ? this.flat(next) : [];
  }

  /** The keys that may stand in the mapping at a path: [{key, doc, required, values, kind, needs}]. */
  keys(path, tree, holder) {
    const present = new Set(keys(holder));
    const options = fitting(this.at(path, tree), words(holder)).filter((one) => one.properties);
    const one = options.some((option) => option.maxProperties === 1);
    if (one && present.size) return [];
    const found = new Map();
    for (const option of options) {
      for (const [key, node] of Object.entries(option.properties)) {
        // while the type is not chosen, only what all types have
        if (present.has(key) || found.has(key) || !options.every((each) => each.properties[key])) continue;
        found.set(key, this.describe(key, node, option));
      }
    }
    return [...found.values()];
  }

  describe(key, node, option) {
    const flat = this.flat(node);
    const struct = flat.find((one) => one.properties);
    return {
      key,
      doc: node.description ?? struct?.description ?? "",
      required: Boolean(option?.required?.includes(key)),
      kind: kind(flat),
      value: node.default,
      values: this.choices(flat),
      needs: struct?.required ?? [],
    };
  }

  /** Words that may stand at a path: [{value, doc}]. */
  values(path, tree) {
    const key = path.at(-1);
    const behind = nodeAt(tree, path.slice(0, -1));
    const parents = this.at(path.slice(0, -1), tree);
    // the discriminator itself: not narrowed by what stands there now
    const tags = parents.filter((one) => one.properties?.[key]?.const !== undefined);
    if (typeof key === "string" && tags.length) {
      return tags.map((one) => ({ value: String(one.properties[key].const), doc: one.description ?? "" }));
    }
    const flat = fitting(parents, words(behind)).flatMap((one) => this.step(one, key));
    const list = this.choices(flat).map((value) => ({ value, doc: "" }));
    const fallback = this.fallback(path, tree);
    if (fallback !== undefined && !list.some((one) => one.value === fallback)) list.push({ value: fallback, doc: "", isDefault: true });
    for (const one of list) one.isDefault ||= one.value === fallback;
    return list;
  }

  // the default of the key, as text, if it is a word or a number
  fallback(path, tree) {
    const key = path.at(-1);
    if (typeof key !== "string") return undefined;
    const holder = nodeAt(tree, path.slice(0, -1));
    const options = fitting(this.at(path.slice(0, -1), tree), words(holder));
    const value = options.map((one) => one.properties?.[key]?.default).find((one) => one !== undefined);
    return value === undefined || value === "" || typeof value === "object" ? undefined : String(value);
  }

  choices(flat) {
    const found = flat.flatMap((one) => {
      if (one.enum) return one.enum;
      if (typeof one.const === "string") return [one.const];
      return one.type === "boolean" ? [true, false] : [];
    });
    return [...new Set(found.map(String))];
  }

  /** What is known of the key at a path: {key, doc, kind, value, values, required}; null if nothing. */
  about(path, tree) {
    const key = path.at(-1);
    const holder = nodeAt(tree, path.slice(0, -1));
    const options = fitting(this.at(path.slice(0, -1), tree), words(holder));
    const option = options.find((one) => one.properties?.[key]);
    if (option) {
      const about = this.describe(key, option.properties[key], option);
      const tags = this.values(path, tree);
      return { ...about, values: (about.kind === "object" ? [] : tags.map((one) => one.value)).slice(0, MAX_WORDS) };
    }
    // a name that the user gave: what it is the name of
    const node = nodeAt(tree, path);
    const named = fitting(this.at(path, tree), words(node)).find((one) => one.properties);
    if (!named) return null;
    const tag = Object.values(named.properties).find((one) => one.const !== undefined)?.const;
    return { key, doc: named.description ?? "", kind: tag ?? "object", values: [], named: true };
  }
}

// those of several structs whose constant keys do not contradict what is written; all if all do
function fitting(options, written) {
  const fits = options.filter((option) =>
    Object.entries(option.properties ?? {}).every(
      ([key, node]) => node.const === undefined || written[key] === undefined || String(node.const) === written[key],
    ),
  );
  return fits.length ? fits : options;
}

function kind(flat) {
  if (flat.some((one) => one.properties || one.additionalProperties)) return "object";
  const types = new Set(flat.flatMap((one) => (one.enum || one.const !== undefined ? ["word"] : one.type ?? [])));
  if (types.has("array")) return types.has("string") ? "text_or_list" : "list";
  if (flat.some((one) => /\bms\|s\|m/.test(one.pattern ?? ""))) return "duration";
  if (flat.some((one) => /KiB|MiB/.test(one.pattern ?? ""))) return "size";
  for (const name of ["integer", "number"]) if (types.has(name) && !types.has("string")) return name;
  if (types.has("boolean") && types.size === 1) return "yes_or_no";
  return types.has("word") && !types.has("string") ? "word" : "text";
}

/** Names that `to:` of a pipeline may give: of uplinks and of other pipelines, over all files. */
export function targets(trees) {
  const names = (section) => trees.flatMap((tree) => keys(nodeAt(tree, [section])).map((value) => ({ value, doc: section })));
  return [...names("uplinks"), ...names("pipelines")];
}

/** Names of the sections that a path may refer to: {value, doc}; empty where a place refers to nothing. */
export function references(path, trees) {
  const [section, name, key] = path;
  if (section === "pipelines" && key === "to" && path.length <= 4) {
    return targets(trees).filter((one) => one.doc !== "pipelines" || one.value !== name);
  }
  if ((section === "heartbeat" || section === "alerts") && path.includes("to")) {
    return targets(trees).filter((one) => one.doc === "uplinks");
  }
  return [];
}

/** Whether a value may be written in YAML as it is. */
export function written(value) {
  return /^[A-Za-z_/][\w./:\- ]*$|^-?\d+(\.\d+)?\w*$/.test(value) && !/:\s/.test(value) ? value : JSON.stringify(value);
}
