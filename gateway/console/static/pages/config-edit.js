// The editor with its files, the state of the check, and the list of problems.

import { button, card, field, state } from "../components/basics.js";
import { PlainEditor } from "../components/editor-plain.js";
import { Schema } from "../components/editor-schema.js";
import { confirm, dialog } from "../components/dialog.js";
import { icon } from "../components/icon.js";
import { get } from "../lib/api.js";
import { h, list } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { computed, effect, onEnd, signal, untracked } from "../lib/signal.js";

const FILE = /^[^\s./\\][^/\\]*\.ya?ml$/;

let schema = null; // one for the life of the page in the browser

/** {element, jump}: the part of the page, and a function that shows a place {file, line, column}. */
export function editing(page, draft) {
  const shown = signal(page.route.peek().params.get("file") ?? "");
  const host = h("div", { class: "editor-host" });
  const editor = signal(null);
  get("config/schema", {}, { signal: page.abort }).then((found) => (schema = new Schema(found)), () => {});
  let ended = false;
  onEnd(() => {
    ended = true;
    editor.peek()?.destroy();
  });
  make(host, draft).then((made) => (ended ? made.destroy() : (editor.value = made)));
  follow(draft, editor, shown);
  const problems = computed(() => draft.problems.value);
  const target = signal(null); // a place that is to be shown as soon as editor and text are there
  effect(() => {
    const [made, place] = [editor.value, target.value];
    if (!made || !place || !draft.files.value.some((one) => one.name === place.file)) return;
    untracked(() => {
      target.value = null;
      shown.value = place.file;
      made.jump(place.file, place.line, place.column);
    });
  });
  const jump = (place) => (target.value = place);
  const element = h("div", { class: "stack" },
    card({ pad: false, class: "editor-card" },
      fileBar(draft, editor, shown, problems), host,
      h("div", { class: "editor-foot" }, h("span", { class: "editor-state", role: "status" }, () => checkState(draft, problems.value)), h("span", { class: "muted small editor-keys" }, t("config.keys")))),
    problemList(problems, jump));
  return { element, jump };
}

/** CodeMirror if it was there when the console was built, else a plain field. */
async function make(host, draft) {
  const options = {
    schema: () => schema,
    phrases: phrases(),
    label: t("config.editor"),
    onChange: (name, text) => draft.set(name, text),
  };
  try {
    const { YamlEditor } = await import("../components/editor.js");
    return new YamlEditor(host, options);
  } catch (error) {
    console.warn("the editor is not part of this installation:", error.message);
    return new PlainEditor(host, options);
  }
}

const WORDS = ["Find", "Replace", "next", "previous", "all", "match case", "regexp", "by word", "replace", "replace all", "close", "Go to line", "go", "Fold line", "Unfold line", "Completions", "Diagnostics", "No diagnostics", "current match", "on line", "replaced match on line $", "replaced $ matches", "Selection deleted", "folded code", "unfold", "Folded lines", "Unfolded lines", "to"];

const slug = (word) => word.replaceAll(" ", "_").replaceAll("$", "n");
const phrases = () => Object.fromEntries(WORDS.map((word) => [word, t(`config.cm_${slug(word)}`)]));

/** What comes from outside (another version of the files, problems) goes into the editor; its own changes do not. */
function follow(draft, editor, shown) {
  effect(() => {
    const made = editor.value;
    const files = draft.files.value;
    if (!made || !files.length) return;
    untracked(() => {
      const same = files.length === made.texts.size && files.every(({ name, text }) => made.texts.get(name) === text);
      if (!same) made.load(files);
      if (!files.some((one) => one.name === shown.peek())) shown.value = files[0].name;
      made.show(shown.peek());
    });
  });
  effect(() => {
    const [made, name] = [editor.value, shown.value];
    if (made?.texts.has(name)) untracked(() => made.show(name));
  });
  effect(() => {
    const [made, problems] = [editor.value, draft.problems.value];
    if (made) untracked(() => made.mark(problems));
  });
}

function fileBar(draft, editor, shown, problems) {
  const changed = computed(() => new Set(draft.changedNames()));
  const bar = h("div", { class: "file-list", role: "tablist", "aria-label": t("config.files"), onKeydown: arrows });
  list(bar, () => draft.files.value, (one) => one.name, (one) => {
    const { name } = one.peek();
    const wrong = computed(() => problems.value.filter((each) => each.file === name && each.severity !== "warning").length);
    return h("button", { type: "button", role: "tab", class: "file", "aria-selected": () => String(shown.value === name), tabindex: () => (shown.value === name ? "0" : "-1"), onClick: () => (shown.value = name) },
      h("span", { class: "mono" }, name),
      () => (changed.value.has(name) ? h("span", { class: "file-dot", title: t("config.changed") }, h("span", { class: "visually-hidden" }, t("config.changed"))) : null),
      () => (wrong.value ? h("span", { class: "file-count" }, count(wrong.value)) : null));
  });
  const folder = computed(() => Boolean(draft.info.value?.folder));
  return h("div", { class: "file-bar" }, bar,
    h("div", { class: () => (folder.value ? "file-tools" : "hidden") },
      button(t("config.new_file"), { small: true, icon: "plus", onClick: () => askName(draft, editor, shown) }),
      () => (draft.files.value.length > 1 ? button(t("config.delete_file"), { small: true, icon: "close", onClick: () => remove(draft, editor, shown) }) : null)));
}

function arrows(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const all = [...event.currentTarget.querySelectorAll('[role="tab"]')];
  const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
  next.click();
  next.focus();
}

function askName(draft, editor, shown) {
  const problem = signal("");
  const input = h("input", { class: "input mono", placeholder: "40-more.yaml", autocomplete: "off", autofocus: true });
  const make = (close) => {
    const name = input.value.trim();
    if (!FILE.test(name)) problem.value = t("config.bad_name");
    else if (draft.files.peek().some((one) => one.name === name)) problem.value = t("config.name_taken");
    else {
      editor.peek().add(name, "");
      shown.value = name;
      close();
      editor.peek().focus();
    }
  };
  let shut = () => {};
  dialog({
    title: t("config.new_file"),
    content: () => h("form", { class: "stack", onSubmit: (event) => { event.preventDefault(); make(shut); } }, field(t("config.file_name"), input, { hint: t("config.file_name_hint") }), h("p", { class: "form-problem", role: "alert" }, () => problem.value)),
    actions: (close) => {
      shut = close;
      return [button(t("shell.cancel"), { onClick: close }), button(t("config.new_file"), { kind: "primary", onClick: () => make(close) })];
    },
  });
  input.focus();
}

async function remove(draft, editor, shown) {
  const name = shown.peek();
  if (await confirm({ title: t("config.delete_file"), text: t("config.delete_text", { name }), yes: t("config.delete_file"), kind: "danger" })) editor.peek().remove(name);
}

function checkState(draft, problems) {
  const doing = draft.checking.value;
  if (!draft.info.value) return "";
  if (doing === "checking" && !problems.length) return state("idle", t("config.checking"));
  if (!["", "checking", "checked"].includes(doing)) return state("warn", t("config.not_checked", { why: doing }));
  const errors = problems.filter((one) => one.severity !== "warning").length;
  const warnings = problems.length - errors;
  if (!problems.length) return state("ok", t("config.no_problems"));
  return [errors ? state("bad", t("config.errors", { n: errors })) : null, warnings ? state("warn", t("config.warnings", { n: warnings })) : null];
}

function problemList(problems, jump) {
  const rows = h("ul", { class: "problems" });
  list(rows, () => problems.value.map((one, i) => ({ ...one, key: `${i} ${one.file}:${one.line}:${one.column} ${one.message}` })), (one) => one.key, (one) => {
    const { file, line, column, path, message, severity } = one.peek();
    const bad = severity !== "warning";
    return h("li", {}, h("button", { type: "button", class: "problem", onClick: () => jump(one.peek()) },
      h("span", { class: bad ? "bad" : "warn" }, icon(bad ? "cross" : "warning", { size: 16, label: bad ? t("config.error") : t("config.warning") })),
      h("span", { class: "problem-text" }, h("span", {}, message), h("span", { class: "muted small mono break" }, `${file}:${line}:${column}${path ? ` · ${path}` : ""}`))));
  });
  return h("div", { class: () => (problems.value.length ? "" : "hidden") }, card({ title: t("config.problems"), pad: false }, rows));
}

