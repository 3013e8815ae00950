// Elements without a framework: h("p", { class: "muted" }, "text", () => live.value).

import { Scope, effect, onEnd, signal, untracked } from "./signal.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Properties: `class` (text, or an array of texts and falsy values), `on<Event>` (a function), `ref`
 * (called with the element), `value`/`checked`/`disabled`/`hidden`/`selected`/`open` (set as properties), anything else
 * an attribute; null, undefined and false leave it out. A function in place of a value is run again when signals in it
 * change. The same holds for children: texts, nodes, arrays, or a function that gives one of these.
 */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** The same in SVG. */
export function s(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

const AS_PROPERTY = new Set(["value", "checked", "disabled", "hidden", "selected", "open", "indeterminate"]);

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === "ref") continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2).toLowerCase(), value);
    else if (typeof value === "function") effect(() => set(element, name, value()));
    else set(element, name, value);
  }
  append(element, children);
  props?.ref?.(element);
  return element;
}

function set(element, name, value) {
  if (name === "class") value = Array.isArray(value) ? value.filter(Boolean).join(" ") : value;
  if (AS_PROPERTY.has(name) && name in element) {
    if (element[name] !== value) element[name] = value ?? "";
  } else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value === true ? "" : value))
    element.setAttribute(name, value === true ? "" : value);
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === true) continue;
    if (typeof child === "function") parent.append(...changing(child));
    else parent.append(child);
  }
}

/** Nodes that follow what `make` gives; a text is changed in place. */
function changing(make) {
  const end = document.createTextNode("");
  let nodes = [];
  effect(() => {
    const made = [make()].flat(Infinity).filter((one) => one !== null && one !== undefined && typeof one !== "boolean");
    if (made.length === 1 && nodes.length === 1 && nodes[0].nodeType === Node.TEXT_NODE && !(made[0] instanceof Node)) {
      if (nodes[0].data !== String(made[0])) nodes[0].data = String(made[0]);
      return;
    }
    const next = made.map((one) => (one instanceof Node ? one : document.createTextNode(String(one))));
    if (end.parentNode) {
      for (const node of nodes) if (!next.includes(node)) node.remove();
      end.before(...next);
    }
    nodes = next;
  });
  return [...nodes, end];
}

/**
 * Keep the children of `parent` in step with an array: `items()` gives it, `key(item)` names each, `make(item)` builds an
 * element from a signal of the item. Elements are kept and moved, never built again, so focus and selection stay.
 */
export function list(parent, items, key, make) {
  const kept = new Map(); // key -> {element, item, scope}
  onEnd(() => {
    for (const one of kept.values()) one.scope.end();
  });
  effect(() => {
    const wanted = items() ?? [];
    untracked(() => {
      const seen = new Set();
      let place = parent.firstChild;
      for (const value of wanted) {
        const name = key(value);
        seen.add(name);
        let one = kept.get(name);
        if (one) one.item.value = value;
        else {
          const scope = new Scope(null);
          const item = signal(value);
          one = { item, scope, element: scope.run(() => make(item)) };
          kept.set(name, one);
        }
        if (one.element === place) place = place.nextSibling;
        else parent.insertBefore(one.element, place);
      }
      for (const [name, one] of kept) {
        if (seen.has(name)) continue;
        one.scope.end();
        one.element.remove();
        kept.delete(name);
      }
    });
  });
  return parent;
}
