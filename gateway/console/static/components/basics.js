// The small parts that all pages are made of.

import { h } from "../lib/dom.js";
import { age, word } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { gatewayNow } from "../lib/live.js";
import { icon } from "./icon.js";

/** The head of a page: its heading, a line that says what it is for, and actions at the right. */
export const pageHead = (title, { text = "", actions = [] } = {}) =>
  h(
    "div",
    { class: "page-head" },
    h("h1", { tabindex: "-1" }, title),
    actions.length ? h("div", { class: "page-actions" }, actions) : null,
    text ? h("p", {}, text) : null,
  );

/** A box with an optional heading (with a note or actions at its right). */
export const card = ({ title, aside, class: name = "", pad = true }, ...children) =>
  h(
    "section",
    { class: ["card", pad && "card-pad", name] },
    title
      ? h("header", { class: "card-head" }, h("h2", {}, title), aside ? h("div", { class: "card-aside" }, aside) : null)
      : null,
    children,
  );

/** A button. kind: "primary", "danger" or nothing. `icon` names an icon before the text. */
export const button = (
  text,
  { kind = "", icon: name, small = false, onClick, type = "button", disabled, title, href, download } = {},
) =>
  h(
    href ? "a" : "button",
    {
      class: ["button", kind && `is-${kind}`, small && "is-small"],
      ...(href ? { href, download } : { type, disabled }),
      onClick: onClick ?? (() => {}),
      title,
    },
    name ? icon(name, { size: 16 }) : null,
    text ? h("span", {}, text) : null,
  );

/** A button that shows an icon only; `label` is what it does. */
export const iconButton = (name, label, { onClick, disabled, class: more = "", pressed } = {}) =>
  h(
    "button",
    {
      class: ["tool", more],
      type: "button",
      "aria-label": label,
      title: label,
      onClick,
      disabled,
      "aria-pressed": pressed,
    },
    icon(name),
  );

const STATE_ICONS = { ok: "circle", warn: "warning", bad: "cross", info: "about", idle: "minus" };

/** A state by colour, symbol and word. kind: "ok", "warn", "bad", "info" or "idle". */
export const state = (kind, text) =>
  h("span", { class: ["chip", `is-${kind}`] }, icon(STATE_ICONS[kind] ?? "minus", { size: 14 }), text);

const LINKS = {
  up: "ok",
  down: "bad",
  connecting: "warn",
  starting: "warn",
  waiting: "warn",
  stopped: "idle",
  idle: "idle",
};

/** The state of a link: "up", "down" and the like. */
export const linkState = (value) => state(LINKS[value] ?? (value ? "warn" : "idle"), word("link", value || "unknown"));

const SEVERITIES = { info: "info", warning: "warn", critical: "bad" };
export const severity = (value) => state(SEVERITIES[value] ?? "info", word("severity", value));

const LEVELS = { debug: "idle", info: "info", warning: "warn", error: "bad", critical: "bad" };
export const level = (value) => state(LEVELS[value] ?? "idle", word("level", value));

const FLAGS = [
  "overflow",
  "out-of-range",
  "bad-reference",
  "oscillatory",
  "failure",
  "old-data",
  "inconsistent",
  "inaccurate",
  "substituted",
  "test",
  "operator-blocked",
  "historical",
  "clock-not-synchronised",
];

/** What a quality word says: {validity, flags}. */
export const readQuality = (bits) => ({
  validity: ["good", "invalid", "invalid", "questionable"][bits & 3],
  flags: FLAGS.filter((_, index) => bits & (4 << index)),
});

/** Quality by colour, symbol and words; `reason` says why there is no value. */
export function quality(bits, reason) {
  const { validity, flags } = readQuality(bits ?? 0);
  const kind = validity === "invalid" ? "bad" : validity === "questionable" ? "warn" : "ok";
  const said = reason ? [word("reason", reason)] : flags.map((flag) => word("flag", flag));
  return state(kind, [
    word("validity", validity),
    said.length ? h("span", { class: "chip-more" }, ` · ${said.join(", ")}`) : null,
  ]);
}

/** How old a time of the gateway is, counting on. `since()` gives it in ms or null. */
export const ageOf = (since) => () => {
  const at = since();
  return age(at === null || at === undefined ? null : (gatewayNow() - at) / 1000);
};

/** One figure with its name: `value` is a text or a function that gives one. */
export const figure = (label, value, { note, kind } = {}) =>
  h(
    "div",
    { class: ["figure", kind && `is-${kind}`] },
    h("dt", {}, label),
    h("dd", { class: "live" }, value),
    note ? h("dd", { class: "figure-note" }, note) : null,
  );

/** A row of figures. */
export const figures = (...all) => h("dl", { class: "figures" }, all);

/** Names and values under each other: facts([["Unit", "V"], ...]); rows with an empty value are left out. */
export const facts = (rows) =>
  h(
    "dl",
    { class: "facts" },
    rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );

/** How full something is: `share()` from 0 to 1. */
export function meter(label, share, { warn = 0.8, bad = 0.95 } = {}) {
  const value = () => Math.min(1, Math.max(0, share() ?? 0));
  const inner = h("span", {
    class: () => ["meter-fill", value() >= bad ? "is-bad" : value() >= warn ? "is-warn" : ""],
  });
  const outer = h(
    "span",
    {
      class: "meter",
      role: "meter",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": () => {
        inner.style.inlineSize = `${(value() * 100).toFixed(1)}%`;
        return Math.round(value() * 100);
      },
    },
    inner,
  );
  return outer;
}

/** What to show where there is nothing: what it means and what to do next. */
export const emptyState = ({ icon: name = "about", title, text, action }) =>
  h(
    "div",
    { class: "empty" },
    icon(name, { size: 32 }),
    title ? h("h2", {}, title) : null,
    text ? h("p", {}, text) : null,
    action ?? null,
  );

/** A note above or in a page. kind: "info", "warn" or "bad". */
export const note = (kind, ...children) =>
  h(
    "div",
    { class: ["note", `is-${kind}`], role: kind === "bad" ? "alert" : "note" },
    icon(STATE_ICONS[kind], { size: 18 }),
    h("div", {}, children),
  );

export const spinner = () =>
  h("div", { class: "spinner", role: "status" }, h("span", { class: "visually-hidden" }, t("shell.loading")));

/** An error of the API in words. */
export const errorText = (error) => (error.status === 0 ? t("shell.unreachable") : error.message);

/** A labelled input: field("Name", input). */
export const field = (label, input, { hint } = {}) =>
  h(
    "label",
    { class: "field" },
    h("span", { class: "field-label" }, label),
    input,
    hint ? h("span", { class: "field-hint" }, hint) : null,
  );

/** A choice of few: choice("Level", [["info", "Info"], ...], signal). */
export const choice = (label, options, chosen, { onChange } = {}) =>
  h(
    "select",
    {
      class: "select",
      "aria-label": label,
      onChange: (event) => {
        chosen.value = event.target.value;
        onChange?.(event.target.value);
      },
    },
    options.map(([value, text]) => h("option", { value, selected: () => chosen.value === value }, text)),
  );

/** A search field; `take(text)` is called `wait` ms after the last key. */
export function searchField(label, { value = "", take, wait = 120, placeholder = label, id } = {}) {
  let timer;
  return h(
    "div",
    { class: "search" },
    icon("search", { size: 16 }),
    h("input", {
      class: "input",
      type: "search",
      id,
      value,
      placeholder,
      "aria-label": label,
      autocomplete: "off",
      spellcheck: "false",
      onInput: (event) => {
        clearTimeout(timer);
        timer = setTimeout(() => take(event.target.value), wait);
      },
    }),
  );
}

/** Tabs: tabs("Parts", [["active", "Active", () => node], ...], signal). */
export function tabs(label, parts, chosen) {
  const id = `tab-${Math.random().toString(36).slice(2, 8)}`;
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const names = parts.map(([name]) => name);
    chosen.value = names[(names.indexOf(chosen.value) + step + names.length) % names.length];
    event.currentTarget.querySelector('[aria-selected="true"]')?.focus();
  };
  return h(
    "div",
    { class: "tabs" },
    h(
      "div",
      { class: "tab-list", role: "tablist", "aria-label": label, onKeydown: move },
      parts.map(([name, text]) =>
        h(
          "button",
          {
            class: "tab",
            role: "tab",
            type: "button",
            id: `${id}-${name}`,
            "aria-controls": `${id}-panel`,
            "aria-selected": () => String(chosen.value === name),
            tabindex: () => (chosen.value === name ? "0" : "-1"),
            onClick: () => (chosen.value = name),
          },
          text,
        ),
      ),
    ),
    h("div", { role: "tabpanel", id: `${id}-panel`, "aria-labelledby": () => `${id}-${chosen.value}` }, () =>
      (parts.find(([name]) => name === chosen.value) ?? parts[0])[2](),
    ),
  );
}
