// A YAML editor: CodeMirror in a shadow root of its own. There CodeMirror adopts its style sheets instead of writing
// style elements into the page, which a strict content security policy forbids.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, completionStatus } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, foldGutter, foldKeymap, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState, Prec } from "@codemirror/state";
import {
  EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers,
} from "@codemirror/view";
import { colours, look } from "./editor-look.js";
import { help } from "./editor-help.js";

const ITEM = /^(\s*)- [\w-]+:\s*[{[].*[}\]]\s*(?:#.*)?$/; // a whole item on one line, such as a step
const EMPTY_ITEM = /^(\s*)- ?$/;

/** Enter behind an item that stands on one line begins the next item; on an empty item it ends the list. */
function nextItem(view) {
  const { main } = view.state.selection;
  const line = view.state.doc.lineAt(main.head);
  if (!main.empty) return false;
  const empty = EMPTY_ITEM.exec(line.text);
  if (empty) {
    const indent = empty[1].slice(0, Math.max(0, empty[1].length - 2));
    view.dispatch({ changes: { from: line.from, to: line.to, insert: indent }, selection: { anchor: line.from + indent.length }, userEvent: "input" });
    return true;
  }
  const item = main.head === line.to && ITEM.exec(line.text);
  if (!item) return false;
  const next = `\n${item[1]}- `;
  view.dispatch({ changes: { from: main.head, insert: next }, selection: { anchor: main.head + next.length }, scrollIntoView: true, userEvent: "input" });
  return true;
}

/**
 * Typing over a selection of several lines: left to the browser, it joins the lines with inline styles to keep their
 * look, of which the security policy complains.
 */
function typedOver(event, view) {
  const { from, to } = view.state.selection.main;
  if (event.inputType !== "insertText" || event.data === null || view.composing) return false;
  if (view.state.doc.lineAt(from).to >= to || view.state.readOnly) return false;
  event.preventDefault();
  view.dispatch(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
  return true;
}

const COMMON = [
  lineNumbers(), highlightActiveLineGutter(), highlightSpecialChars(), history(), drawSelection(), indentOnInput(), bracketMatching(),
  closeBrackets(), highlightActiveLine(), highlightSelectionMatches(), foldGutter(), lintGutter(), yaml(), indentUnit.of("  "),
  EditorState.tabSize.of(2), syntaxHighlighting(colours), look,
  EditorView.domEventHandlers({ beforeinput: typedOver }),
  Prec.high(keymap.of([{ key: "Enter", run: (view) => completionStatus(view.state) !== "active" && nextItem(view) }])),
  keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...completionKeymap, ...lintKeymap, indentWithTab]),
];

/**
 * One editor for several files, each with its own history of changes.
 * `schema()`: the Schema or null; `phrases`: CodeMirror's words in the reader's language; `onChange(name, text)`.
 */
export class YamlEditor {
  constructor(host, { schema, phrases, label, readOnly = false, onChange }) {
    this.states = new Map(); // of the files that are not shown
    this.texts = new Map();
    this.problems = [];
    this.name = null;
    this.onChange = onChange;
    const { completion, hints } = help(schema, () => [...this.texts].filter(([name]) => name !== this.name).map(([, text]) => text));
    this.extensions = [
      COMMON, hints, autocompletion({ override: [completion], icons: false }), EditorState.phrases.of(phrases),
      EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false", autocapitalize: "off", autocorrect: "off" }),
      EditorState.readOnly.of(readOnly), EditorView.editable.of(true), EditorView.updateListener.of((update) => this.#updated(update)),
    ];
    const root = host.attachShadow({ mode: "open" });
    this.view = new EditorView({ root, parent: root, state: this.#state("") });
  }

  #state(text) {
    return EditorState.create({ doc: text, extensions: this.extensions });
  }

  #updated(update) {
    if (!update.docChanged || this.name === null) return;
    const text = update.state.doc.toString();
    this.texts.set(this.name, text);
    this.onChange(this.name, text);
  }

  /** Begin with these files: [{name, text}]. What was changed before is forgotten. */
  load(files) {
    const before = this.name;
    this.name = null;
    this.states.clear();
    this.texts = new Map(files.map(({ name, text }) => [name, text]));
    this.show(this.texts.has(before) ? before : (files[0]?.name ?? null));
  }

  /** Show a file. */
  show(name) {
    if (name === null || name === this.name) return;
    if (this.name !== null) this.states.set(this.name, this.view.state);
    this.name = null; // what follows is no change by a person
    this.view.setState(this.states.get(name) ?? this.#state(this.texts.get(name)));
    this.states.delete(name);
    this.name = name;
    this.mark(this.problems);
  }

  /** Replace the text of a file, as one change that can be undone. */
  replace(name, text) {
    this.show(name);
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  add(name, text) {
    this.texts.set(name, text);
    this.show(name);
    this.onChange(name, text);
  }

  remove(name) {
    const next = [...this.texts.keys()].find((one) => one !== name) ?? null;
    if (this.name === name) this.show(next);
    this.texts.delete(name);
    this.states.delete(name);
    this.onChange(name, null);
  }

  /** Show problems where they are: [{file, line, column, message, severity}]; those of the shown file. */
  mark(problems) {
    this.problems = problems;
    const { doc } = this.view.state;
    const found = problems
      .filter((one) => one.file === this.name && one.line)
      .map((one) => ({ ...extent(doc, one), severity: one.severity ?? "error", message: one.message }))
      .sort((a, b) => a.from - b.from);
    this.view.dispatch(setDiagnostics(this.view.state, found));
  }

  /** Put the cursor at a line and column (both from 1) and show them. */
  jump(name, line, column) {
    this.show(name);
    const { from } = extent(this.view.state.doc, { line, column });
    this.view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: "center" }) });
    this.view.focus();
  }

  focus() {
    this.view.focus();
  }

  destroy() {
    this.view.destroy();
  }
}

/** From where to where a mark goes: the word that begins there, or the character. */
function extent(doc, { line, column }) {
  const at = doc.line(Math.min(Math.max(line, 1), doc.lines));
  const from = Math.min(at.from + Math.max((column ?? 1) - 1, 0), at.to);
  const rest = at.text.slice(from - at.from);
  const word = /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s:,[\]{}]+(?::(?=\S)[^\s,[\]{}]+)*)/.exec(rest)?.[0] ?? rest.slice(0, 1);
  return { from, to: Math.min(from + Math.max(word.length, 1), Math.max(at.to, from)) };
}
