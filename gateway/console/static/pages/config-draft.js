// What is being edited. It outlives the page, so that a look at another page costs nothing that was typed.

import { get, post } from "../lib/api.js";
import { signal } from "../lib/signal.js";

const CHECK_MS = 350;

export class Draft {
  constructor() {
    /** {path, folder, writable, why_not, instead, base, running, unconfirmed}; null before it was asked. */
    this.info = signal(null);
    /** What is on disk, as far as we know: [{name, text}]. */
    this.original = signal([]);
    /** What there is to be. */
    this.files = signal([]);
    this.problems = signal([]);
    /** "", "checking", "checked" or an error in words. */
    this.checking = signal("");
    /** When the unconfirmed change is undone, of this browser's clock in ms; null if none waits. */
    this.undoneAt = signal(null);
    this.turn = 0;
    this.timer = null;
  }

  /** Take what is on disk now; what was edited and is not on disk stays. Gives names that both have changed. */
  async load({ keep = true, abort } = {}) {
    const { files: theirs, ...info } = await get("config", {}, { signal: abort });
    const [mine, before] = [this.files.peek(), this.original.peek()];
    const clashes = keep && this.info.peek() ? this.#clashes(mine, before, theirs) : [];
    const kept = keep && this.info.peek() && this.changed() ? joined(mine, before, theirs) : theirs;
    const fresh = !same(kept, mine);
    this.original.value = theirs;
    this.info.value = info;
    this.undoneAt.value = info.unconfirmed ? Date.now() + info.unconfirmed.remaining_s * 1000 : null;
    if (fresh) this.files.value = kept;
    this.check(0);
    return { clashes, fresh };
  }

  #clashes(mine, before, theirs) {
    const text = (files, name) => files.find((one) => one.name === name)?.text;
    const names = [...new Set([...mine, ...theirs].map((one) => one.name))];
    return names.filter((name) => {
      const [a, b, c] = [text(mine, name), text(before, name), text(theirs, name)];
      return a !== b && b !== c && a !== c;
    });
  }

  /** A file has another text now; null: it goes. */
  set(name, text) {
    const rest = this.files.peek();
    const there = rest.some((one) => one.name === name);
    if (text === null) this.files.value = rest.filter((one) => one.name !== name);
    else if (there) this.files.value = rest.map((one) => (one.name === name ? { name, text } : one));
    else this.files.value = [...rest, { name, text }].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.check();
  }

  discard() {
    this.files.value = this.original.peek();
    this.check(0);
  }

  /** Names of files that differ from those on disk. */
  changedNames() {
    const [mine, theirs] = [this.files.value, this.original.value];
    const names = [...new Set([...mine, ...theirs].map((one) => one.name))];
    return names.filter((name) => mine.find((one) => one.name === name)?.text !== theirs.find((one) => one.name === name)?.text);
  }

  changed() {
    return !same(this.files.peek(), this.original.peek());
  }

  /** Have the gateway look at it, a moment after the last key. */
  check(wait = CHECK_MS) {
    clearTimeout(this.timer);
    this.checking.value = "checking";
    this.timer = setTimeout(() => this.#ask(), wait);
  }

  async #ask() {
    this.turn += 1;
    const turn = this.turn;
    try {
      const { problems } = await post("config/check", { files: this.files.peek() });
      if (turn !== this.turn) return;
      this.problems.value = problems;
      this.checking.value = "checked";
    } catch (error) {
      if (turn === this.turn) this.checking.value = error.message || "–";
    }
  }

  /** Problems that came with an error: shown until the next change. */
  told(problems) {
    this.turn += 1;
    this.problems.value = problems.map((one) => ({ ...one, file: one.file?.split("/").at(-1) ?? "" }));
    this.checking.value = "checked";
  }

  /** Bring it into effect. */
  apply(comment, confirm_s) {
    const { base } = this.info.peek();
    return post("config/apply", { files: this.files.peek(), base, comment, ...(confirm_s ? { confirm_s } : {}) });
  }
}

const same = (some, others) => some.length === others.length && some.every(({ name, text }) => others.find((one) => one.name === name)?.text === text);

/** Theirs, but mine where I have changed something. */
function joined(mine, before, theirs) {
  const text = (files, name) => files.find((one) => one.name === name)?.text;
  const names = [...new Set([...mine, ...theirs].map((one) => one.name))].sort();
  return names
    .map((name) => ({ name, text: text(mine, name) === text(before, name) ? text(theirs, name) : text(mine, name) }))
    .filter((one) => one.text !== undefined);
}
