// Versions of the configuration that have run: what they were, how they differ, going back to one.

import { button, card, emptyState, errorText, spinner, state } from "../components/basics.js";
import { toast } from "../components/dialog.js";
import { table } from "../components/table.js";
import { get, mayChange } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { age, dateTime } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { gatewayNow } from "../lib/live.js";
import { effect } from "../lib/signal.js";
import { goBack } from "./config-review.js";

export function versionList(page, draft) {
  const { data, error, again } = page.fetch("config/versions");
  let first = true;
  effect(() => {
    void draft.original.value; // another version may run now
    if (!first) again();
    first = false;
  });
  const compare = async (row) => {
    try {
      const { files } = await get("config/version", { version: row.version });
      goBack(draft, row.version, files, { able: mayChange() && Boolean(draft.info.peek()?.writable) && !row.running });
    } catch (problem) {
      toast(errorText(problem), "bad");
    }
  };
  const columns = [
    { label: t("config.version"), cell: (row) => h("span", { class: "row" }, h("span", { class: "strong" }, `#${row.peek().version}`), () => (row.value.running ? state("ok", t("config.running")) : null)) },
    { label: t("config.when"), cell: (row) => h("div", {}, h("div", { class: "nowrap" }, dateTime(row.peek().time_ms)), h("div", { class: "small muted" }, () => t("config.ago", { age: age((gatewayNow() - row.peek().time_ms) / 1000) }))) },
    { label: t("config.by"), cell: (row) => row.peek().by },
    { label: t("config.comment"), cell: (row) => h("span", { class: "break" }, row.peek().comment) },
    { label: t("config.files"), cell: (row) => h("span", { class: "small mono muted break" }, row.peek().files.join(", ")) },
    { label: "", cell: (row) => () => button(row.value.running ? t("config.show") : t("config.compare"), { small: true, icon: row.value.running ? "config" : "undo", onClick: () => compare(row.peek()) }) },
  ];
  const empty = () => emptyState({ icon: "clock", title: t("config.no_versions"), text: t("config.no_versions_text") });
  return h("div", {},
    () => (data.value || error.value ? null : spinner()),
    () => (error.value ? h("p", { class: "bad" }, errorText(error.value)) : null),
    card({ pad: false }, table({ label: t("config.tab_versions"), columns, rows: () => data.value, key: (row) => row.version, empty })));
}
