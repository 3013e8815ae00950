// Where a place in a YAML text lies, for completion and hover: a reader of the block and flow structure that
// never fails, because what a person is typing is seldom complete. It makes a tree of nodes:
//   {kind: "map", entries: [{key, from, to, value}]}     from, to: the key's place in the text
//   {kind: "seq", items: [node]}
//   {kind: "scalar", text, from, to, partial}            partial: a word in a mapping, not followed by a colon yet
// It knows no types; what a place may hold is the schema's business (editor-schema.js).

const KEY = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#"'[\]{},&*!|>%@`-][^#[\]{},]*?|-[^\s#[\]{},][^#[\]{},]*?)\s*:(?=\s|$)/;
const FLOW_KEY = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'[\]{},:][^[\]{},:\n]*?)\s*:(?=[\s,}\]]|$)/;
const MARK = "\uE000"; // stands where the cursor is when nothing is there yet

const map = (from) => ({ kind: "map", entries: [], from });
const seq = (from) => ({ kind: "seq", items: [], from });
const scalar = (text, from, partial = false) => ({ kind: "scalar", text, from, to: from + text.length, partial });

/** A scalar as it reads: without quotes. */
export function plain(text) {
  const quoted = /^(["'])([\s\S]*)\1$/.exec(text);
  return quoted ? quoted[2] : text;
}

/** The tree of a text. */
export function parse(text) {
  return new Reader(text).read();
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.root = map(0);
    this.levels = [{ indent: -1, node: null, slot: null }];
  }

  read() {
    let first = true;
    while (this.at < this.text.length) {
      const start = this.at;
      let end = this.text.indexOf("\n", start);
      if (end < 0) end = this.text.length;
      this.at = end + 1;
      const line = this.text.slice(start, end);
      if (/^\s*(#|$)/.test(line) || /^(---|\.\.\.|%)/.test(line)) continue;
      this.line(line, start, first);
      first = false;
    }
    return this.root;
  }

  line(line, start) {
    let column = /^\s*/.exec(line)[0].length;
    let rest = line.slice(column);
    let item;
    while ((item = /^-(?:\s+|$)/.exec(rest))) {
      this.item(column, start + column);
      column += item[0].length;
      rest = line.slice(column);
    }
    if (!rest || rest.startsWith("#")) return;
    const key = KEY.exec(rest);
    if (key) this.entry(column, start + column, key, rest);
    else this.loose(column, start + column, rest);
  }

  // the container for something that begins at this column
  container(column, kind, from) {
    const fits = (level) => level.indent < column || (level.indent === column && level.node.kind === kind);
    const hangs = (level) =>
      kind === "seq" && level.indent === column && level.node.kind === "map" && level.open && !level.open.value;
    while (this.levels.length > 1 && !fits(this.levels.at(-1)) && !hangs(this.levels.at(-1))) this.levels.pop();
    const top = this.levels.at(-1);
    if (top.node?.kind === kind && top.indent === column) return top;
    const node = kind === "map" ? map(from) : seq(from);
    if (top.node === null) this.root = this.root.entries?.length && kind !== "map" ? this.root : node;
    else if (top.node.kind === "seq") top.node.items[top.node.items.length - 1] = node;
    else if (top.open) top.open.value = node;
    const level = { indent: column, node, open: null };
    this.levels.push(level);
    return level;
  }

  item(column, from) {
    this.container(column, "seq", from).node.items.push(null);
  }

  entry(column, from, key, rest) {
    const level = this.container(column, "map", from);
    const entry = { key: plain(key[1]), from, to: from + key[1].length, value: null };
    level.node.entries.push(entry);
    level.open = entry;
    const after = key[0].length + /^\s*/.exec(rest.slice(key[0].length))[0].length;
    entry.value = this.value(rest.slice(after), from + after, column);
  }

  // what stands behind a key or in an item; null if it comes on the next lines
  value(rest, from, indent) {
    const text = rest.replace(/(^|\s)#.*$/, "").trimEnd();
    if (!text) return null;
    if (/^[|>][+-]?\d*$/.test(text)) {
      this.skip(indent);
      return scalar(text, from);
    }
    if (/^[{[]/.test(text)) {
      const flow = new Flow(this.text, from, this.limit(from, indent));
      const node = flow.node();
      const end = this.text.indexOf("\n", flow.at);
      this.at = Math.max(this.at, end < 0 ? this.text.length : end + 1);
      return node;
    }
    return scalar(text, from);
  }

  // a word that is neither item nor key: the rest of a scalar, or a key being typed
  loose(column, from, rest) {
    const top = this.levels.at(-1);
    if (top.node?.kind === "seq" && column > top.indent && !top.node.items.at(-1)) {
      const node = this.value(rest, from, top.indent);
      if (node?.kind === "scalar") node.partial = true;
      top.node.items[top.node.items.length - 1] = node;
      return;
    }
    if (top.node && column > top.indent && (top.open?.value?.kind === "scalar" || top.node.items?.at(-1)?.kind === "scalar")) {
      return; // a plain scalar over several lines
    }
    const word = scalar(rest.replace(/\s+#.*$/, "").trimEnd(), from, true);
    this.container(column, "map", from).node.entries.push({ key: "", from, to: from, value: null, word });
  }

  skip(indent) {
    for (;;) {
      let end = this.text.indexOf("\n", this.at);
      if (end < 0) end = this.text.length;
      const line = this.text.slice(this.at, end);
      if (this.at >= this.text.length || (line.trim() && /^\s*/.exec(line)[0].length <= indent)) return;
      this.at = end + 1;
    }
  }

  // an unclosed bracket ends where a line begins that lies no deeper than the key it belongs to
  limit(from, indent) {
    let at = this.text.indexOf("\n", from);
    while (at >= 0) {
      let end = this.text.indexOf("\n", at + 1);
      const line = this.text.slice(at + 1, end < 0 ? undefined : end);
      if (line.trim() && /^\s*/.exec(line)[0].length <= indent && !/^\s*[\]}]/.test(line)) return at;
      at = end;
    }
    return this.text.length;
  }
}

class Flow {
  constructor(text, from, end) {
    this.text = text.slice(0, end);
    this.at = from;
  }

  space() {
    this.at += /^(?:\s|(?<=\s)#[^\n]*)*/.exec(this.text.slice(this.at))[0].length;
  }

  node() {
    const open = this.text[this.at];
    if (open === "{") return this.collection(map(this.at), "}", (node) => this.pair(node));
    if (open === "[") return this.collection(seq(this.at), "]", (node) => node.items.push(this.node()));
    const found = /^(?:"(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?|[^,[\]{}\n]*)/.exec(this.text.slice(this.at))[0];
    const word = scalar(found.trimEnd(), this.at);
    this.at += found.length;
    return word;
  }

  collection(node, close, one) {
    this.at += 1;
    node.flow = true;
    for (;;) {
      this.space();
      const char = this.text[this.at];
      if (char === close) this.at += 1;
      if (char === undefined || char === close) break;
      const before = this.at;
      if (char === ",") this.at += 1;
      else one(node);
      if (this.at === before) this.at += 1; // a bracket that belongs to nothing
    }
    node.to = this.at;
    return node;
  }

  pair(node) {
    const from = this.at;
    const key = FLOW_KEY.exec(this.text.slice(from));
    if (!key) {
      const word = this.node();
      if (word.kind === "scalar") node.entries.push({ key: "", from, to: from, value: null, word: { ...word, partial: true } });
      return;
    }
    this.at += key[0].length;
    const entry = { key: plain(key[1]), from, to: from + key[1].length, value: null };
    node.entries.push(entry);
    this.space();
    if (!/[,}\]]/.test(this.text[this.at] ?? "}")) entry.value = this.node();
  }
}

/**
 * What stands at a place: {path, role, from, to, word, tree, holder}.
 * role "key": a key of the mapping `holder`, being there or being typed; "value": the scalar at `path`;
 * null if the place is in a comment or a block of text.
 */
export function placeAt(text, position) {
  const start = text.lastIndexOf("\n", position - 1) + 1;
  const before = text.slice(start, position);
  if (/(^|\s)#/.test(before)) return null;
  const next = text[position] ?? "\n";
  const free = (/[\s,{[]$|^$/.test(before) || /(^|\s)-$/.test(before)) && /[\s,}\]]/.test(next);
  const marked = free ? text.slice(0, position) + MARK + text.slice(position) : text;
  const tree = parse(marked);
  const found = find(tree, [], position, tree);
  if (!found) return null;
  const { word } = found;
  const clean = word.replace(MARK, "");
  return { ...found, word: clean, to: found.from + clean.length, tree };
}

function find(node, path, at) {
  if (!node) return null;
  if (node.kind === "scalar") {
    if (at < node.from || at > node.to) return null;
    return { path, role: "value", from: node.from, word: node.text, holder: null };
  }
  if (node.kind === "seq") return first(node.items, (item, i) => inItem(item, [...path, i], at));
  return first(node.entries, (entry) => inEntry(node, entry, path, at));
}

function inItem(item, path, at) {
  const found = find(item, path, at);
  // a word that stands alone in an item may become a key
  return found && item.partial ? { ...found, holder: map(item.from), both: true } : found;
}

function inEntry(node, entry, path, at) {
  const { word } = entry;
  if (word) {
    if (at < word.from || at > word.to) return null;
    return { path, role: "key", from: word.from, word: word.text, holder: node, fresh: true };
  }
  if (at >= entry.from && at <= entry.to) {
    return { path, role: "key", from: entry.from, word: entry.key, holder: node, entry };
  }
  return find(entry.value, [...path, entry.key], at);
}

function first(list, look) {
  for (const [i, one] of list.entries()) {
    const found = look(one, i);
    if (found) return found;
  }
  return null;
}

/** The node behind a path, or undefined. */
export function nodeAt(tree, path) {
  let node = tree;
  for (const step of path) {
    node = node?.kind === "seq" ? node.items[step] : node?.entries?.find((entry) => entry.key === step)?.value;
  }
  return node ?? undefined;
}

/** The words of a mapping: key to text, scalars only. */
export function words(node) {
  const found = {};
  for (const { key, value } of node?.entries ?? []) if (value?.kind === "scalar") found[key] = plain(value.text);
  return found;
}

/** The keys of a mapping. */
export function keys(node) {
  return (node?.entries ?? []).map((entry) => entry.key).filter(Boolean);
}
