// The look of the editor: all colours are the design tokens, so that it follows the theme by itself.

import { HighlightStyle } from "@codemirror/language";
import { EditorView } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const mark = (name) => ({
  borderBottom: `2px wavy var(--${name})`,
  backgroundImage: "none",
  backgroundColor: `color-mix(in srgb, var(--${name}) 14%, transparent)`,
  textDecoration: `underline wavy var(--${name}) 1.5px`,
  textUnderlineOffset: "3px",
  borderBottomWidth: "0",
});

const said = (name) => ({ borderLeft: `4px solid var(--${name})` });

export const look = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "var(--editor-size, 13.5px)" },
  "&.cm-focused": { outline: "2px solid var(--focus)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", overflow: "auto" },
  ".cm-content": { caretColor: "var(--text)", padding: "8px 0" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--text)", borderLeftWidth: "2px" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "color-mix(in srgb, var(--accent) 28%, transparent)",
  },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--accent) 6%, transparent)" },
  ".cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--accent) 10%, transparent)", color: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--raised)", color: "var(--muted)", borderRight: "1px solid var(--line)" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 8px 0 6px" },
  ".cm-foldPlaceholder": { background: "var(--sunken)", border: "1px solid var(--line-strong)", color: "var(--muted)" },
  ".cm-selectionMatch": { backgroundColor: "color-mix(in srgb, var(--nav-accent) 26%, transparent)" },
  ".cm-searchMatch": { backgroundColor: "color-mix(in srgb, var(--nav-accent) 40%, transparent)", outline: "1px solid var(--warn)" },
  ".cm-searchMatch-selected": { backgroundColor: "color-mix(in srgb, var(--nav-accent) 75%, transparent)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "color-mix(in srgb, var(--ok) 24%, transparent)", outline: "1px solid var(--ok)" },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: "var(--bad-soft)" },
  ".cm-panels": { backgroundColor: "var(--raised)", color: "var(--text)" },
  ".cm-panels.cm-panels-top": { borderBottom: "1px solid var(--line)" },
  ".cm-panels.cm-panels-bottom": { borderTop: "1px solid var(--line)" },
  ".cm-panel.cm-search": { padding: "8px 32px 8px 10px", fontFamily: "var(--font)" },
  ".cm-panel.cm-search label": { fontSize: "13px" },
  ".cm-textfield": { backgroundColor: "var(--surface)", border: "1px solid var(--line-strong)", borderRadius: "5px", padding: "4px 8px", color: "var(--text)", fontSize: "13px" },
  ".cm-button": { background: "var(--surface)", backgroundImage: "none", border: "1px solid var(--line-strong)", borderRadius: "5px", padding: "4px 10px", color: "var(--text)", fontSize: "13px" },
  ".cm-panel.cm-search [name=close]": { color: "var(--text)", fontSize: "18px" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", border: "1px solid var(--line-strong)", borderRadius: "8px", boxShadow: "var(--shadow-high)", color: "var(--text)" },
  ".cm-tooltip.cm-tooltip-hover, .cm-tooltip-lint": { overflow: "hidden" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { borderRadius: "7px", fontFamily: "var(--mono)", maxHeight: "18em", minWidth: "min(260px, 70vw)", maxWidth: "min(520px, 86vw)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "4px 10px", lineHeight: "1.5", display: "flex", alignItems: "baseline", gap: "6px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--accent)", color: "var(--on-accent)" },
  ".cm-completionDetail": { marginLeft: "auto", paddingLeft: "1.5em", fontStyle: "normal", fontSize: "12px", fontFamily: "var(--font)", color: "var(--muted)", whiteSpace: "nowrap" },
  "li[aria-selected] .cm-completionDetail": { color: "var(--on-accent)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionIcon": { display: "none" },
  ".cm-tooltip.cm-completionInfo": { padding: "8px 12px", maxWidth: "min(400px, 80vw)", fontFamily: "var(--font)", fontSize: "13px", lineHeight: "1.45" },
  ".cm-hint": { padding: "8px 12px", maxWidth: "min(460px, 86vw)", fontFamily: "var(--font)", fontSize: "13px", lineHeight: "1.5" },
  ".cm-hint-head": { display: "flex", flexWrap: "wrap", gap: "4px 10px", alignItems: "baseline" },
  ".cm-hint-key": { fontFamily: "var(--mono)", fontWeight: "700" },
  ".cm-hint-kind": { color: "var(--muted)", fontSize: "12px" },
  ".cm-hint-need": { color: "var(--warn)", fontSize: "12px", fontWeight: "600" },
  ".cm-hint p": { margin: "4px 0 0" },
  ".cm-completionInfo p": { margin: "0" },
  ".cm-completionInfo p + p": { marginTop: "6px" },
  ".cm-hint code, .cm-completionInfo code": { fontFamily: "var(--mono)", fontSize: "12px", background: "var(--sunken)", padding: "0 4px", borderRadius: "3px" },
  ".cm-lintRange-error": mark("bad"),
  ".cm-lintRange-warning": mark("warn"),
  ".cm-gutter-lint": { width: "20px" },
  ".cm-gutter-lint .cm-gutterElement": { padding: "3px 3px 0" },
  ".cm-lint-marker": { width: "13px", height: "13px", borderRadius: "50%", content: "none" },
  ".cm-lint-marker-error": { backgroundColor: "var(--bad)" },
  ".cm-lint-marker-warning": { backgroundColor: "var(--warn)", borderRadius: "3px", transform: "rotate(45deg) scale(0.8)" },
  ".cm-diagnostic": { padding: "8px 12px", fontFamily: "var(--font)", fontSize: "13px", whiteSpace: "pre-wrap", maxWidth: "min(520px, 86vw)" },
  ".cm-diagnostic-error": said("bad"),
  ".cm-diagnostic-warning": said("warn"),
});

export const colours = HighlightStyle.define([
  { tag: [tags.definition(tags.propertyName), tags.propertyName], color: "var(--accent)" },
  { tag: [tags.string, tags.special(tags.string), tags.attributeValue], color: "var(--ok)" },
  { tag: tags.content, color: "var(--text)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.labelName, tags.typeName, tags.keyword, tags.meta], color: "var(--info)" },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], color: "var(--muted)" },
]);
