// What waits before the uplinks, how fast it goes, what was lost and why, and how the store is.

import { card, emptyState, figure, figures, linkState, meter, note, pageHead, spinner, state } from "../components/basics.js";
import { chart } from "../components/chart.js";
import { Rates } from "../components/rates.js";
import { table } from "../components/table.js";
import { get } from "../lib/api.js";
import { h, list } from "../lib/dom.js";
import { age, bytes, byteRate, count, dateTime, duration, rate } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { computed, effect, onEnd, signal } from "../lib/signal.js";

export const texts = ["spool"];
export const styles = ["spool"];

const KEPT = 300; // seconds in the chart
const LEAST_S = 60; // shown from the start
const STORE_MS = 3000;
const BEHIND_S = 5; // output that is older than this waits, younger is on its way
const COLOURS = ["chart-1", "chart-2", "chart-3", "chart-4", "chart-5"];

export function render(page) {
  const live = page.live("spool");
  const uplinks = computed(() => live.value?.uplinks ?? null);
  const store = storeOf(page);
  const rates = uplinkRates(uplinks);
  const cards = h("div", { class: "stack" });
  list(cards, () => uplinks.value, (one) => one.name, (one) => uplinkCard(one, rates));
  return h("div", {},
    pageHead(t("shell.page_spool"), { text: t("spool.text") }),
    () => (uplinks.value ? null : spinner()),
    h("div", { class: () => (uplinks.value ? "stack" : "hidden") },
      h("div", { class: "trouble" }, () => (store.value && !store.value.healthy ? note("bad", h("strong", {}, t("spool.failing", { for: duration(store.value.failing_s) })), ` ${store.value.failure ?? ""} ${store.value.detail ?? ""}`) : null)),
      totals(uplinks),
      waitingChart(uplinks),
      cards,
      () => (uplinks.value && !uplinks.value.length ? card({}, emptyState({ icon: "uplink", title: t("spool.no_uplinks"), text: t("spool.no_uplinks_text") })) : null),
      losses(live),
      storeCard(store)));
}

function storeOf(page) {
  const store = signal(null);
  const ask = () => get("status", {}, { signal: page.abort }).then((found) => (store.value = found.store), () => {});
  ask();
  const timer = setInterval(ask, STORE_MS);
  onEnd(() => clearInterval(timer));
  return store;
}

/** Rates by "uplink/what": sent samples and bytes, and how what waits grows (may be negative). */
function uplinkRates(uplinks) {
  const rates = new Rates(10000);
  const turn = signal(0);
  effect(() => {
    if (!uplinks.value) return;
    const counters = {};
    for (const one of uplinks.value) {
      counters[`${one.name}/samples`] = one.samples;
      counters[`${one.name}/bytes`] = one.bytes;
      counters[`±${one.name}/waiting`] = one.spool.samples;
    }
    rates.see(counters);
    turn.value = turn.peek() + 1;
  });
  return (name) => {
    void turn.value;
    return rates.of(name);
  };
}

const sum = (uplinks, of) => (uplinks ?? []).reduce((total, one) => total + of(one), 0);

function totals(uplinks) {
  const oldest = () => Math.max(0, ...(uplinks.value ?? []).map((one) => one.spool.oldest_s));
  return card({}, figures(
    figure(t("spool.waiting"), () => count(sum(uplinks.value, (one) => one.spool.samples)), { note: t("spool.samples") }),
    figure(t("spool.on_disk"), () => bytes(sum(uplinks.value, (one) => one.spool.bytes)), { note: h("span", {}, () => t("spool.rows", { n: sum(uplinks.value, (one) => one.spool.rows) })) }),
    figure(t("spool.oldest"), () => age(oldest()), { note: t("spool.oldest_text") }),
    figure(t("spool.lost"), () => lostText(sum(uplinks.value, (one) => one.spool.lost)), { note: t("spool.lost_text") }),
    figure(t("spool.thinned"), () => count(sum(uplinks.value, (one) => one.spool.thinned)), { note: t("spool.thinned_text") }),
  ));
}

const lostText = (n) => (n ? h("span", { class: "bad" }, count(n)) : count(0));

/** What waits by uplink, for as long as the page is open. */
function waitingChart(uplinks) {
  const seen = signal([]);
  effect(() => {
    if (uplinks.value) seen.value = [...seen.peek().slice(-KEPT), { at: Date.now() / 1000, by: Object.fromEntries(uplinks.value.map((one) => [one.name, one.spool.samples])) }];
  });
  const names = computed(() => (uplinks.value ?? []).map((one) => one.name).slice(0, COLOURS.length).join("\n"));
  return card({ title: t("spool.chart"), aside: h("span", {}, t("spool.chart_text")) }, () => {
    const shown = names.value.split("\n").filter(Boolean);
    if (!shown.length) return null;
    return chart({
      label: t("spool.chart"), zero: true, height: 190, format: count,
      range: () => [Math.min(seen.peek()[0]?.at ?? Infinity, Date.now() / 1000 - LEAST_S), Date.now() / 1000],
      series: shown.map((label, i) => ({ label, color: COLOURS[i], fill: shown.length === 1 })),
      data: () => [seen.value.map((one) => one.at), ...shown.map((name) => seen.value.map((one) => one.by[name] ?? null))],
    });
  });
}

const behind = (one) => one.spool.oldest_s > BEHIND_S || one.lanes.behind;

function uplinkCard(uplink, rates) {
  const now = () => uplink.value;
  const { name, type } = uplink.peek();
  return h("section", { class: "card card-pad" },
    h("header", { class: "card-head" }, h("h2", {}, name), h("span", { class: "tag" }, type), () => linkState(now().link), () => (now().lanes.budget?.exhausted ? state("warn", t("spool.budget_spent")) : null)),
    figures(
      figure(t("spool.waiting"), () => count(now().spool.samples), { note: h("span", {}, () => `${t("spool.rows", { n: now().spool.rows })} · ${bytes(now().spool.bytes)}`) }),
      figure(t("spool.oldest"), () => age(now().spool.oldest_s)),
      figure(t("spool.sent"), () => rate(rates(`${name}/samples`)), { note: h("span", {}, () => `${byteRate(rates(`${name}/bytes`))} · ${t("spool.messages", { n: now().messages })}`) }),
      figure(t("spool.drained"), () => drainText(now(), rates(`±${name}/waiting`)), { note: h("span", {}, () => drainNote(now())) }),
      figure(t("spool.lost"), () => lostText(now().spool.lost), { note: h("span", {}, () => (now().spool.thinned ? t("spool.thinned_n", { n: now().spool.thinned }) : "")) }),
    ),
    h("div", { class: "lanes" }, lane("live", now), lane("backlog", now)),
    () => (now().lanes.budget ? budget(now) : null),
    byPipeline(uplink));
}

/** When everything has gone, at the pace at which it shrinks now. */
function drainText(one, growth) {
  if (!behind(one)) return t("spool.up_to_date");
  if (one.link !== "up") return t("spool.when_back");
  if (growth === null) return "–";
  if (growth >= -0.05) return growth > 0.5 ? t("spool.growing") : t("spool.steady");
  return t("spool.in_about", { time: duration(one.spool.samples / -growth) });
}

const drainNote = (one) => (behind(one) && one.lanes.backlog_rate ? t("spool.backlog_rate", { rate: rate(one.lanes.backlog_rate) }) : "");

function lane(which, now) {
  const lanes = () => now().lanes;
  if (which === "live") return h("div", { class: "lane" }, h("h3", {}, t("spool.lane_live")), h("p", { class: "small muted" }, t("spool.lane_live_text")), h("p", { class: "live" }, () => t("spool.in_flight", { n: lanes().live_in_flight })));
  return h("div", { class: "lane" }, h("h3", {}, t("spool.lane_backlog")), h("p", { class: "small muted" }, t("spool.lane_backlog_text")),
    h("p", { class: "live" }, () => (lanes().behind || lanes().backlog_samples ? `${t("spool.in_backlog", { n: lanes().backlog_samples })} · ${t("spool.in_flight", { n: lanes().backlog_in_flight })} · ${t("spool.window", { n: lanes().backlog_window })}` : t("spool.nothing_behind"))));
}

function budget(now) {
  const of = () => now().lanes.budget;
  return h("div", { class: "budget" },
    h("span", {}, () => t("spool.budget", { spent: bytes(of()?.spent), size: bytes(of()?.size), per: of()?.per ?? "" })),
    meter(t("spool.budget_name"), () => (of() ? of().spent / of().size : 0)),
    h("span", { class: "small muted" }, () => (of()?.until_ns ? t("spool.budget_until", { time: dateTime(of().until_ns / 1e6) }) : "")));
}

function byPipeline(uplink) {
  const rows = () => Object.entries(uplink.value.spool.pipelines ?? {}).filter(([, one]) => one.rows).map(([name, one]) => ({ name, ...one }));
  const columns = [
    { label: t("spool.pipeline"), cell: (row) => row.peek().name },
    { label: t("spool.samples"), num: true, class: "live", cell: (row) => () => count(row.value.samples) },
    { label: t("spool.batches"), num: true, class: "live", cell: (row) => () => count(row.value.rows) },
    { label: t("spool.size"), num: true, class: "live", cell: (row) => () => bytes(row.value.bytes) },
    { label: t("spool.oldest"), num: true, class: "live", cell: (row) => () => age(row.value.oldest_s) },
  ];
  const some = computed(() => behind(uplink.value) && rows().length > 0);
  return () => (some.value ? h("div", { class: "by-pipeline" }, table({ label: t("spool.by_pipeline"), columns, rows, key: (row) => row.name, class: "is-plain" })) : null);
}

const REASONS = ["thinned", "spool-full", "spool-age", "spool-damaged", "store-full", "store-damaged", "refused"];
const reasonText = (reason) => (REASONS.includes(reason) ? t(`spool.reason_${reason}`) : reason);

function losses(live) {
  const columns = [
    { label: t("spool.uplink"), cell: (row) => h("span", {}, row.peek().uplink, h("span", { class: "muted" }, ` · ${row.peek().pipeline}`)) },
    { label: t("spool.reason"), cell: (row) => reasonText(row.peek().reason) },
    { label: t("spool.samples"), num: true, cell: (row) => count(row.peek().count) },
    { label: t("spool.range"), cell: (row) => h("span", { class: "nowrap" }, `${dateTime(row.peek().from_ms)} – ${dateTime(row.peek().until_ms)}`) },
    { label: t("spool.told"), cell: (row) => dateTime(row.peek().told_ms) },
  ];
  const rows = () => live.value?.losses?.map((row, i, all) => ({ ...row, key: `${row.uplink} ${row.pipeline} ${row.told_ms} ${row.from_ms} ${all.length - i}` }));
  const empty = () => emptyState({ icon: "circle", title: t("spool.no_losses"), text: t("spool.no_losses_text") });
  return card({ title: t("spool.losses"), pad: false }, table({ label: t("spool.losses"), columns, rows, key: (row) => row.key, empty }));
}

function storeCard(store) {
  const now = () => store.value ?? {};
  const journal = () => now().journal ?? {};
  return card({ title: t("spool.store"), aside: h("span", {}, () => (store.value ? (now().healthy ? state("ok", t("spool.healthy")) : state("bad", t("spool.unhealthy"))) : null)) },
    figures(
      figure(t("spool.journal"), () => bytes(journal().bytes), { note: h("span", {}, () => t("spool.position", { n: journal().position ?? 0 })) }),
      figure(t("spool.replay"), () => count(Math.max(0, (journal().position ?? 0) - (journal().checkpoint ?? 0))), { note: t("spool.replay_text") }),
      figure(t("spool.commits"), () => count(now().commits), { note: h("span", {}, () => t("spool.in_memory", { n: now().waiting ?? 0 })) }),
      figure(t("spool.failures"), () => lostText(now().failures), { note: h("span", {}, () => (now().lost_samples ? t("spool.lost_samples", { n: now().lost_samples }) : t("spool.nothing_lost"))) }),
      figure(t("spool.damaged"), () => lostText((now().damaged ?? 0) + (journal().damaged ?? 0)), { note: t("spool.damaged_text") }),
    ),
    () => (now().salvaged ? note("warn", t("spool.salvaged", { reason: now().salvaged.reason, n: now().salvaged.lost_samples })) : null));
}
