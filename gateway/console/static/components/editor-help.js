// What the editor offers while one writes and shows while one points: completion and hints by the schema.

import { snippet, startCompletion } from "@codemirror/autocomplete";
import { hoverTooltip } from "@codemirror/view";
import { t } from "../lib/i18n.js";
import { parse, placeAt } from "./editor-yaml.js";
import { references, written } from "./editor-schema.js";

const STEP = "  ";

/**
 * Sources for autocompletion and hints. `schema()` gives the Schema or null while it is not there; `others()` the texts
 * of the other files, for names that lie in them.
 */
export function help(schema, others) {
  return { completion: (context) => complete(context, schema(), others), hints: hoverTooltip((view, at) => hint(view, at, schema()), { hoverTime: 250 }) };
}

function complete(context, schema, others) {
  if (!schema) return null;
  const text = context.state.doc.toString();
  const place = placeAt(text, context.pos);
  if (!place || (!context.explicit && !wanted(context, place))) return null;
  const options = [...offeredKeys(schema, place, context), ...offeredValues(schema, place, others, context)];
  if (!options.length) return null;
  return { from: place.from, to: Math.max(context.pos, place.role === "key" && place.entry ? place.to : context.pos), options, validFor: /^[\w.\-/*]*$/ };
}

// by itself only where something is being typed, or right behind "key: "
function wanted(context, place) {
  if (place.from < context.pos) return true;
  const before = context.state.sliceDoc(Math.max(0, context.pos - 2), context.pos);
  return /[:,[{-]\s?$/.test(before) && place.role === "value";
}

function offeredKeys(schema, place, context) {
  if (place.role !== "key" && !place.both) return [];
  const holder = place.entry ? without(place.holder, place.entry) : place.holder;
  return schema.keys(place.path, place.tree, holder).map((one) => ({
    label: one.key,
    detail: [one.required && t("config.required"), kindName(one.kind)].filter(Boolean).join(" · "),
    info: one.doc || one.values.length ? () => told(one) : undefined,
    boost: one.key === "type" ? 99 : one.required ? 50 : 0,
    apply: place.entry ? one.key : inserted(one, place, context),
  }));
}

const without = (holder, entry) => ({ ...holder, entries: holder.entries.filter((one) => one !== entry) });

/** What a key brings with it: the colon, and the room for what comes behind it. */
function inserted(one, place, context) {
  const flow = place.holder?.flow;
  const line = context.state.doc.lineAt(place.from);
  const indent = " ".repeat(place.from - line.from);
  const ask = (template) => (view, completion, from, to) => {
    snippet(template)(view, completion, from, to);
    if (one.values.length || one.key === "type" || one.key === "to") startCompletion(view);
  };
  const key = written(one.key).replace(/[{}$#]/g, "\\$&");
  if (one.kind === "object" && one.needs.length && place.path.includes("steps")) {
    return ask(`${key}: {${one.needs.map((need, i) => `${need}: #{${i + 1}}`).join(", ")}}`);
  }
  if (one.kind === "object" && (flow || place.path.includes("steps"))) return ask(`${key}: {#{}}`);
  if (one.kind === "object") {
    const line = one.needs.includes("type") ? "type: #{}" : "#{}";
    return ask(`${key}:\n${indent}${STEP}${line}`);
  }
  if (one.kind === "list" && !flow) return ask(`${key}:\n${indent}${STEP}- #{}`);
  return ask(["list", "text_or_list"].includes(one.kind) ? `${key}: [#{}]` : `${key}: #{}`);
}

function offeredValues(schema, place, others, context) {
  if (place.role !== "value") return [];
  const here = references(place.path, [place.tree, ...others().map(parse)]);
  const list = place.path.at(-1) === "to" && !place.both && here.length ? here.map((one) => ({ ...one, asList: true })) : here;
  const space = context.state.sliceDoc(place.from - 1, place.from) === ":" ? " " : "";
  return [...list, ...schema.values(place.path, place.tree)].map((one, i) => ({
    label: one.value,
    detail: one.isDefault ? t("config.default") : one.doc === "uplinks" || one.doc === "pipelines" ? t(`config.kind_${one.doc}`) : "",
    info: one.doc.length > 12 ? () => told({ doc: one.doc, values: [] }) : undefined,
    boost: 20 - Math.min(i, 20),
    apply: space + (one.asList ? `[${written(one.value)}]` : written(one.value)),
  }));
}

const kindName = (kind) => t(`config.type_${kind}`);

function told(one) {
  const box = document.createElement("div");
  if (one.doc) box.append(prose(one.doc));
  if (one.values?.length) box.append(prose(one.values.map((value) => `\`${value}\``).join(" ")));
  return box;
}

/** A text of the schema: what stands in backticks is code. */
export function prose(text) {
  const box = document.createElement("p");
  text.split(/(`[^`]+`)/).forEach((part) => {
    if (part.length > 2 && part.startsWith("`")) {
      const code = document.createElement("code");
      code.textContent = part.slice(1, -1);
      box.append(code);
    } else box.append(part);
  });
  return box;
}

function hint(view, at, schema) {
  if (!schema) return null;
  const place = placeAt(view.state.doc.toString(), at);
  if (!place || !place.word || (place.role === "key" && !place.entry)) return null;
  const path = place.role === "key" ? [...place.path, place.entry.key] : place.path;
  const about = schema.about(path, place.tree);
  if (!about || (place.role === "value" && typeof path.at(-1) !== "string")) return null;
  return { pos: place.from, end: place.to, above: true, create: () => ({ dom: card(about, path) }) };
}

function card(about, path) {
  const box = document.createElement("div");
  box.className = "cm-hint";
  const head = document.createElement("div");
  head.className = "cm-hint-head";
  head.append(part("cm-hint-key", String(path.at(-1))), part("cm-hint-kind", about.named ? about.kind : kindName(about.kind)));
  if (about.required) head.append(part("cm-hint-need", t("config.required")));
  if (about.value !== undefined && about.value !== "" && typeof about.value !== "object") {
    head.append(part("cm-hint-kind", `${t("config.default")}: ${about.value}`));
  }
  box.append(head);
  if (about.doc) box.append(prose(about.doc));
  if (about.values.length > 1) box.append(prose(about.values.map((value) => `\`${value}\``).join(" ")));
  return box;
}

function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}
