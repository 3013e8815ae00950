// Alerts: what is raised now, what was, and by which rules.

import { ageOf, button, card, emptyState, errorText, pageHead, severity, state, tabs } from "../components/basics.js";
import { toast } from "../components/dialog.js";
import { table } from "../components/table.js";
import { mayChange, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count, dateTime, measured } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { link } from "../lib/router.js";
import { computed, signal } from "../lib/signal.js";

export const texts = ["alerts"];
export const styles = ["alerts"];

const RANK = { critical: 0, warning: 1, info: 2 };

export function render(page) {
  const board = page.live("alerts");
  const chosen = signal(page.route.peek().path[0] ?? "active");
  const label = (name, rows) => () =>
    `${t(`alerts.tab_${name}`)}${board.value ? ` (${count(rows(board.value).length)})` : ""}`;
  return h(
    "div",
    {},
    pageHead(t("shell.page_alerts")),
    tabs(
      t("shell.page_alerts"),
      [
        ["active", label("active", (b) => b.active), () => active(board)],
        ["recent", label("recent", (b) => b.recent), () => recent(board)],
        ["rules", label("rules", (b) => b.rules), () => rules(board)],
      ],
      chosen,
    ),
  );
}

const pointLink = (name) => (name ? h("a", { href: link("points", name) }, name) : "");
const whole = (value) => (typeof value === "number" ? measured(value) : (value ?? "–"));

function active(board) {
  const rows = computed(
    () =>
      board.value &&
      [...board.value.active].sort(
        (a, b) => (RANK[a.severity] ?? 9) - (RANK[b.severity] ?? 9) || b.since_ms - a.since_ms,
      ),
  );
  return card(
    { pad: false },
    table({
      label: t("alerts.tab_active"),
      columns: [
        { id: "severity", label: t("alerts.severity"), cell: (row) => () => severity(row.value.severity) },
        {
          id: "text",
          label: t("alerts.text"),
          class: "alert-text",
          cell: (row) => [
            h("div", { class: "strong" }, () => row.value.text),
            h("div", { class: "muted small" }, () => row.value.rule),
          ],
        },
        { id: "point", label: t("alerts.point"), class: "break", cell: (row) => pointLink(row.peek().point) },
        {
          id: "value",
          label: t("alerts.value"),
          num: true,
          cell: (row) => h("span", { class: "live" }, () => whole(row.value.value)),
        },
        {
          id: "since",
          label: t("alerts.since"),
          num: true,
          cell: (row) =>
            h(
              "span",
              { class: "live", title: dateTime(row.peek().since_ms) },
              ageOf(() => row.value.since_ms),
            ),
        },
        { id: "state", label: t("alerts.state"), cell: (row) => acknowledgement(row) },
      ],
      rows: () => rows.value,
      key: (row) => `${row.rule} ${row.point}`,
      empty: () =>
        board.peek()?.rules.length
          ? emptyState({
              icon: "circle",
              title: t("alerts.quiet"),
              text: t("alerts.quiet_text", { n: board.peek().rules.length }),
            })
          : noRules(),
    }),
  );
}

function acknowledgement(row) {
  const busy = signal(false);
  const take = async () => {
    busy.value = true;
    try {
      await post("alerts/acknowledge", { rule: row.peek().rule, point: row.peek().point });
      toast(t("alerts.acknowledged_now"));
    } catch (error) {
      toast(errorText(error), "bad");
    }
    busy.value = false;
  };
  return () => {
    if (row.value.state === "pending") return state("idle", t("alerts.pending"));
    if (row.value.acknowledged) return state("ok", t("alerts.acknowledged"));
    return mayChange()
      ? button(t("alerts.acknowledge"), { small: true, icon: "check", onClick: take, disabled: () => busy.value })
      : state("warn", t("alerts.raised"));
  };
}

const noRules = () =>
  emptyState({
    icon: "alerts",
    title: t("alerts.no_rules"),
    text: t("alerts.no_rules_text"),
    action: h(
      "div",
      {},
      h("pre", { class: "example" }, h("code", {}, EXAMPLE)),
      h("a", { class: "button", href: link("config") }, t("shell.page_config")),
    ),
  });

const EXAMPLE = `alerts:
  hot:
    points: "*/temperature"
    above: 80
    for: 30s
    severity: critical`;

function recent(board) {
  const rows = computed(() => board.value && [...board.value.recent].sort((a, b) => b.time_ms - a.time_ms));
  return card(
    { pad: false },
    table({
      label: t("alerts.tab_recent"),
      columns: [
        { id: "time", label: t("alerts.time"), class: "nowrap", cell: (row) => dateTime(row.peek().time_ms) },
        {
          id: "state",
          label: t("alerts.state"),
          cell: (row) =>
            row.peek().state === "cleared" ? state("ok", t("alerts.cleared")) : state("warn", t("alerts.raised")),
        },
        { id: "severity", label: t("alerts.severity"), cell: (row) => severity(row.peek().severity) },
        {
          id: "text",
          label: t("alerts.text"),
          class: "alert-text",
          cell: (row) => [h("div", {}, row.peek().text), h("div", { class: "muted small" }, row.peek().rule)],
        },
        { id: "point", label: t("alerts.point"), class: "break", cell: (row) => pointLink(row.peek().point) },
        { id: "value", label: t("alerts.value"), num: true, cell: (row) => whole(row.peek().value) },
      ],
      rows: () => rows.value,
      key: (row) => `${row.time_ms} ${row.rule} ${row.point} ${row.state}`,
      empty: () => emptyState({ icon: "clock", title: t("alerts.none_recent"), text: t("alerts.none_recent_text") }),
    }),
  );
}

function rules(board) {
  return card(
    { pad: false },
    table({
      label: t("alerts.tab_rules"),
      columns: [
        {
          id: "rule",
          label: t("alerts.rule"),
          cell: (row) => h("span", { class: "strong" }, () => row.value.rule ?? row.value.name),
        },
        { id: "severity", label: t("alerts.severity"), cell: (row) => () => severity(row.value.severity) },
        {
          id: "points",
          label: t("alerts.points"),
          class: "break",
          cell: (row) => h("code", {}, () => [row.value.points].flat().join(", ")),
        },
        { id: "condition", label: t("alerts.condition"), cell: (row) => h("span", {}, () => row.value.condition) },
        {
          id: "text",
          label: t("alerts.text"),
          class: "alert-text",
          cell: (row) => h("span", { class: "muted" }, () => row.value.text),
        },
      ],
      rows: () => board.value?.rules,
      key: (row) => row.rule ?? row.name,
      empty: noRules,
    }),
  );
}
