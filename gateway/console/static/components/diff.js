// A difference as `diff -u` has it, to look at: files, places, lines that go and come.

import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/** [{name, kind: "changed" | "added" | "removed", hunks: [{lines: [{sign, text, before, after}]}]}] of a unified diff. */
export function parseDiff(text) {
  const files = [];
  let file = null;
  let hunk = null;
  let [before, after] = [0, 0];
  for (const line of text.split("\n")) {
    const place = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/.exec(line);
    if (line.startsWith("--- ") && (!hunk || hunk.done)) {
      file = { from: line.slice(4), name: "", kind: "changed", hunks: [] };
      files.push(file);
      hunk = null;
    } else if (line.startsWith("+++ ") && file && !file.name) {
      named(file, line.slice(4));
    } else if (place && file) {
      hunk = { lines: [] };
      file.hunks.push(hunk);
      [before, after] = [Number(place[1]), Number(place[2])];
      Object.assign(hunk, { left: count(line, "-"), right: count(line, "+") });
      hunk.done = !hunk.left && !hunk.right;
    } else if (hunk && !hunk.done && /^[ +-]/.test(line)) {
      const sign = line[0];
      hunk.lines.push({ sign, text: line.slice(1), before: sign === "+" ? null : before, after: sign === "-" ? null : after });
      if (sign !== "+") [before, hunk.left] = [before + 1, hunk.left - 1];
      if (sign !== "-") [after, hunk.right] = [after + 1, hunk.right - 1];
      hunk.done = !hunk.left && !hunk.right;
    }
  }
  return files;
}

function named(file, to) {
  const [from, name] = [file.from.replace(/^a\//, "").trim(), to.replace(/^b\//, "").trim()];
  file.kind = from === "/dev/null" ? "added" : name === "/dev/null" ? "removed" : "changed";
  file.name = file.kind === "removed" ? from : name;
}

/** How many lines of one side a place has: "-12,3" has three, "-12" one. */
function count(line, sign) {
  const found = new RegExp(`\\${sign}\\d+(?:,(\\d+))?`).exec(line);
  return found[1] === undefined ? 1 : Number(found[1]);
}

/** The difference drawn; a word says so if there is none. */
export function diffView(text) {
  const files = parseDiff(text);
  if (!files.length) return h("p", { class: "muted" }, t("config.no_difference"));
  return h("div", { class: "diff" }, files.map(oneFile));
}

function oneFile(file) {
  const lines = file.hunks.flatMap((hunk) => hunk.lines);
  const [gone, come] = ["-", "+"].map((sign) => lines.filter((line) => line.sign === sign).length);
  return h("section", { class: "diff-file", "aria-label": file.name },
    h("header", { class: "diff-head" }, h("span", { class: "mono strong break" }, file.name), file.kind === "changed" ? null : h("span", { class: "tag" }, t(`config.file_${file.kind}`)), h("span", { class: "diff-sum" }, h("span", { class: "ok" }, `+${come}`), " ", h("span", { class: "bad" }, `−${gone}`))),
    h("div", { class: "diff-body", tabindex: "0" }, h("table", { class: "diff-table" }, file.hunks.map((hunk, i) => h("tbody", {}, i ? h("tr", {}, h("td", { class: "diff-skip", colspan: 4 }, "⋯")) : null, hunk.lines.map(oneLine))))));
}

const CLASSES = { "+": "is-come", "-": "is-gone", " ": "" };

const oneLine = ({ sign, text, before, after }) =>
  h("tr", { class: CLASSES[sign] },
    h("td", { class: "diff-number" }, before ?? ""), h("td", { class: "diff-number" }, after ?? ""),
    h("td", { class: "diff-sign" }, sign === "-" ? "−" : sign.trim(), sign === " " ? null : h("span", { class: "visually-hidden" }, sign === "+" ? t("config.line_added") : t("config.line_removed"))),
    h("td", { class: "diff-text" }, text));

const SECTIONS = ["adapters", "pipelines", "uplinks"];

/** What a reload touches: {adapters: {added, changed, removed}, ...}, in words. */
export function changesView(changes) {
  const rows = Object.entries(changes ?? {}).flatMap(([section, kinds]) => ["added", "changed", "removed"].filter((kind) => kinds[kind]?.length).map((kind) => ({ section, kind, names: kinds[kind] })));
  if (!rows.length) return h("p", { class: "muted" }, t("config.touches_nothing"));
  return h("div", { class: "changes" },
    h("ul", {}, rows.map(({ section, kind, names }) => h("li", {}, h("span", { class: ["change-kind", `is-${kind}`] }, t(`config.change_${kind}`)), h("span", { class: "muted" }, SECTIONS.includes(section) ? t(`config.kind_${section}`) : section), names.map((name) => h("span", { class: "tag mono" }, name))))),
    h("p", { class: "small muted" }, t("config.touches_rest")));
}
