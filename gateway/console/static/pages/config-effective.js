// What holds in the running gateway, value by value, and where each comes from. Secrets stay hidden.

import { card, choice, emptyState, errorText, searchField, spinner } from "../components/basics.js";
import { table } from "../components/table.js";
import { get } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { computed, effect, signal, untracked } from "../lib/signal.js";

const SHOWN = 400;
const KINDS = ["file", "default", "variable", "credential", "profile", "discovery"];

/** `jump({file, line, column})` shows a place in the editor; null where there is no editor. */
export function effectiveRows(page, jump) {
  const words = signal("");
  const kind = signal("");
  const defaults = signal(false);
  const data = signal(null);
  const error = signal(null);
  effect(() => {
    const query = { defaults: String(defaults.value) };
    untracked(() => get("config/effective", query, { signal: page.abort }).then(
      (found) => (data.value = found),
      (problem) => problem.name === "AbortError" || (error.value = problem),
    ));
  });
  const fitting = computed(() => data.value && data.value.rows.filter((row) => fits(row, words.value, kind.value)));
  const columns = [
    { label: t("config.path"), cell: (row) => h("span", { class: "mono break" }, row.peek().path) },
    { label: t("config.value"), cell: (row) => h("span", { class: "mono break" }, () => shown(row.value.value)) },
    { label: t("config.origin"), cell: (row) => h("span", { class: "row" }, h("span", { class: ["tag", `origin-${row.peek().kind}`] }, t(`config.origin_${row.peek().kind}`)), () => origin(row.value, jump)) },
  ];
  const empty = () => emptyState({ icon: "search", title: t("config.none_fit") });
  return h("div", {},
    h("div", { class: "toolbar" },
      searchField(t("config.search"), { take: (text) => (words.value = text.trim().toLowerCase()) }),
      choice(t("config.origin"), [["", t("config.any_origin")], ...KINDS.map((name) => [name, t(`config.origin_${name}`)])], kind, { onChange: (name) => name === "default" && (defaults.value = true) }),
      h("label", { class: "switch" }, h("input", { type: "checkbox", checked: () => defaults.value, onChange: (event) => (defaults.value = event.target.checked) }), t("config.with_defaults")),
      h("span", { class: "toolbar-end muted small" }, () => (fitting.value ? t("config.values", { n: fitting.value.length }) : ""))),
    () => (error.value ? h("p", { class: "bad" }, errorText(error.value)) : data.value ? null : spinner()),
    card({ pad: false }, table({ label: t("config.tab_effective"), columns, rows: () => fitting.value?.slice(0, SHOWN), key: (row) => row.path, empty, class: "effective" }),
      () => (fitting.value?.length > SHOWN ? h("p", { class: "pager" }, t("config.more_values", { n: fitting.value.length - SHOWN })) : null)));
}

/** Where a value comes from, in words; a place in a file leads there. */
function origin({ kind, origin: text }, jump) {
  if (kind === "default") return null;
  const place = /([^\s()]+\.ya?ml):(\d+):(\d+)/.exec(text);
  const rest = text.replace(new RegExp(`^${kind} `), "");
  if (!place || !jump) return h("span", { class: "small muted break" }, rest);
  const [words, file, line, column] = place;
  const go = h("button", { type: "button", class: "place small mono", onClick: () => jump({ file, line: Number(line), column: Number(column) }) }, words);
  const before = rest.slice(0, rest.indexOf(words)).replace("(", "").trim();
  return [before ? h("span", { class: "small muted break" }, before) : null, go];
}

const fits = (row, words, kind) => (!kind || row.kind === kind) && words.split(/\s+/).filter(Boolean).every((word) => `${row.path} ${shown(row.value)} ${row.origin}`.toLowerCase().includes(word));

const shown = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));

