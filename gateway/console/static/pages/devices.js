// Devices: all of them by adapter, and one with its request plan and its points.

import { button, card, choice, emptyState, linkState, pageHead, searchField, spinner, state } from "../components/basics.js";
import { Rates } from "../components/rates.js";
import { sorted, table } from "../components/table.js";
import { h } from "../lib/dom.js";
import { count, duration, rate, word } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { go, link } from "../lib/router.js";
import { computed, effect, signal, untracked } from "../lib/signal.js";
import { oneDevice } from "./devices-one.js";
import { achievedText, ageText, lag, lags, standing } from "./devices-state.js";

export const texts = ["devices"];
export const styles = ["devices"];

const RANK = { down: 0, stale: 1, late: 2, partly: 3, unknown: 4, up: 5 };
const MOST = 500; // rows in the table at once

export function render(page) {
  const live = page.live("devices");
  const all = computed(() => live.value && (live.value.devices ?? live.value));
  const rates = sampleRates(all);
  const chosen = computed(() => page.route.value.path.join("\n"));
  return h("div", {}, () => {
    const [adapter, device] = chosen.value.split("\n");
    return adapter && device ? oneDevice(page, adapter, device, all, rates) : overview(page, all, rates);
  });
}

function sampleRates(all) {
  const rates = new Rates();
  const turn = signal(0);
  effect(() => {
    if (!all.value) return;
    rates.see(Object.fromEntries(all.value.filter((row) => row.samples !== null).map((row) => [`${row.adapter}/${row.device}`, row.samples])));
    turn.value = turn.peek() + 1;
  });
  return (row) => {
    void turn.value;
    return rates.of(`${row.adapter}/${row.device}`);
  };
}

function overview(page, all, rates) {
  const params = page.route.peek().params;
  const words = signal(params.get("q") ?? "");
  const adapter = signal(params.get("adapter") ?? "");
  const only = signal(params.get("state") ?? "");
  const sort = signal({ id: "state", descending: false });
  let first = true;
  effect(() => {
    const query = { q: words.value, adapter: adapter.value, state: only.value };
    if (!first) untracked(() => page.address([], query));
    first = false;
  });
  const shown = computed(() => all.value && ordered(filtered(all.value, words.value, adapter.value, only.value), sort.value));
  const empty = () => (all.value.length ? emptyState({ icon: "search", title: t("devices.none_fit"), text: t("devices.none_fit_text") }) : emptyState({ icon: "devices", title: t("devices.none"), text: t("devices.none_text"), action: h("div", { class: "row" }, button(t("devices.to_config"), { href: link("config"), icon: "config" }), button(t("devices.to_findings"), { href: link("findings"), icon: "findings" })) }));
  return h("div", {},
    pageHead(t("shell.page_devices"), { text: t("devices.text") }),
    h("div", { class: "toolbar" },
      searchField(t("devices.search"), { value: words.peek(), take: (text) => (words.value = text.trim()) }),
      () => choice(t("devices.adapter"), [["", t("devices.all_adapters")], ...adapters(all.value).map((name) => [name, name])], adapter),
      chips(all, only)),
    () => (all.value ? null : spinner()),
    card({ pad: false }, table({ label: t("shell.page_devices"), columns: columns(rates), rows: () => shown.value?.slice(0, MOST), key: (row) => `${row.adapter}\n${row.device}`, open: (row) => go("devices", row.adapter, row.device), sort, empty, class: "devices-table" }),
      () => (shown.value?.length > MOST ? h("p", { class: "pager" }, t("devices.more", { n: shown.value.length - MOST })) : null)));
}

const adapters = (rows) => [...new Set((rows ?? []).map((row) => row.adapter))];

function filtered(rows, words, adapter, only) {
  const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => (!adapter || row.adapter === adapter) && (!only || standing(row) === only) && parts.every((part) => `${row.adapter}/${row.device} ${row.type} ${row.detail}`.toLowerCase().includes(part)));
}

const BY = {
  device: (row) => row.device,
  adapter: (row) => row.adapter,
  state: (row) => RANK[standing(row)],
  period: (row) => row.period_asked_s,
  missed: (row) => row.missed,
  points: (row) => row.points,
};

const ordered = (rows, { id, descending }) => sorted(sorted(rows, BY.device, false), BY[id], descending);

/** How many devices stand how; each a switch that shows only these. */
function chips(all, only) {
  const names = ["down", "stale", "late", "partly", "up"];
  return h("div", { class: "filter-chips", role: "group", "aria-label": t("devices.by_state") }, names.map((name) => {
    const n = computed(() => all.value?.filter((row) => standing(row) === name).length ?? 0);
    return h("button", { type: "button", class: () => ["filter-chip", `is-${name}`, !n.value && only.value !== name && "hidden"], "aria-pressed": () => String(only.value === name), onClick: () => (only.value = only.peek() === name ? "" : name) }, h("strong", { class: "live" }, () => count(n.value)), ` ${t(`devices.state_${name}`)}`);
  }));
}

const columns = (rates) => [
  { id: "device", sortable: true, label: t("devices.device"), cell: (row) => h("a", { class: "strong", href: link("devices", row.peek().adapter, row.peek().device) }, row.peek().device) },
  { id: "adapter", sortable: true, label: t("devices.adapter"), cell: (row) => h("span", {}, row.peek().adapter, " ", h("span", { class: "tag" }, row.peek().type)) },
  { id: "state", sortable: true, label: t("devices.state"), class: "live", cell: (row) => h("div", { class: "device-state" }, () => (row.value.stale && row.value.link !== "down" ? state("bad", t("devices.state_stale")) : linkState(row.value.link))) },
  { id: "period", sortable: true, num: true, label: t("devices.period"), class: "live", cell: (row) => periodCell(row) },
  { id: "missed", sortable: true, num: true, label: t("devices.missed"), class: "live", cell: (row) => () => (row.value.missed ? h("span", { class: "warn strong" }, count(row.value.missed)) : count(0)) },
  { id: "points", sortable: true, num: true, label: t("devices.points"), class: "live", cell: (row) => h("div", {}, h("div", {}, () => count(row.value.points)), () => without(row.value)) },
  { label: t("devices.rate"), num: true, class: "live", cell: (row) => () => rate(rates(row.value)) },
  { label: t("devices.last_error"), class: "device-error", cell: (row) => () => errorCell(row.value) },
];

function without(row) {
  const n = Object.values(row.bad ?? {}).reduce((sum, each) => sum + each, 0);
  return n ? h("div", { class: "small warn nowrap" }, t("devices.without", { n })) : null;
}

/** "1.0 s of 500 ms asked", with a sign when it lags. */
function periodCell(row) {
  return h("div", { class: "period" }, () => {
    const { period_asked_s: asked, period_achieved_s: achieved } = row.value;
    if (!asked) return h("span", { class: "muted" }, "–");
    const late = lags(row.value);
    return [
      h("div", { class: "nowrap" }, h("span", { class: late ? "warn strong" : "" }, achieved ? achievedText(achieved) : "–"), h("span", { class: "muted" }, ` / ${duration(asked)}`)),
      late ? state("warn", t("devices.lags", { times: lag(row.value) })) : null,
    ];
  });
}

function errorCell(row) {
  if (!row.last_error) return row.detail ? h("span", { class: "muted" }, row.detail) : h("span", { class: "muted" }, "–");
  return [h("div", { class: "break" }, word("reason", row.last_error.reason)), h("div", { class: "small muted" }, ageText(row.last_error.time_ms))];
}
