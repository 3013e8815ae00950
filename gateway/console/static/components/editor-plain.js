// A plain text field with the interface of the editor: for installations without CodeMirror.

import { h } from "../lib/dom.js";

export class PlainEditor {
  constructor(host, { label, readOnly = false, onChange }) {
    this.texts = new Map();
    this.name = null;
    this.onChange = onChange;
    this.field = h("textarea", { class: "textarea plain-editor", "aria-label": label, spellcheck: "false", autocapitalize: "off", wrap: "off", readonly: readOnly, onInput: () => this.#typed() });
    host.append(this.field);
  }

  #typed() {
    if (this.name === null) return;
    this.texts.set(this.name, this.field.value);
    this.onChange(this.name, this.field.value);
  }

  load(files) {
    const before = this.name;
    this.name = null;
    this.texts = new Map(files.map(({ name, text }) => [name, text]));
    this.show(this.texts.has(before) ? before : (files[0]?.name ?? null));
  }

  show(name) {
    if (name === null) return;
    this.name = name;
    this.field.value = this.texts.get(name) ?? "";
  }

  replace(name, text) {
    this.show(name);
    this.field.value = text;
    this.#typed();
  }

  add(name, text) {
    this.texts.set(name, text);
    this.show(name);
    this.onChange(name, text);
  }

  remove(name) {
    const next = [...this.texts.keys()].find((one) => one !== name) ?? null;
    this.texts.delete(name);
    if (this.name === name) this.show(next);
    this.onChange(name, null);
  }

  mark() {} // the list of problems below says where they are

  jump(name, line, column) {
    this.show(name);
    const lines = this.field.value.split("\n");
    const at = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0) + Math.max(0, (column ?? 1) - 1);
    this.field.focus();
    this.field.setSelectionRange(at, at + 1);
  }

  focus() {
    this.field.focus();
  }

  destroy() {
    this.field.remove();
  }
}
