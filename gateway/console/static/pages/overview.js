// The whole gateway at a glance: is it well, what comes in, what goes out, what waits.

import {
  card,
  emptyState,
  figure,
  figures,
  facts,
  linkState,
  meter,
  note,
  pageHead,
  state,
} from "../components/basics.js";
import { chart } from "../components/chart.js";
import { icon } from "../components/icon.js";
import { h, list } from "../lib/dom.js";
import { byteRate, bytes, count, dateTime, duration, fixed, percent, rate, word } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { link } from "../lib/router.js";
import { computed } from "../lib/signal.js";

export const texts = ["overview"];
export const styles = ["overview"];

export function render(page) {
  const seen = page.live("overview");
  const of = (pick) => () => (seen.value ? pick(seen.value) : null);
  return h(
    "div",
    { class: "overview" },
    pageHead(t("shell.page_overview")),
    verdict(seen),
    card({}, keyFigures(of)),
    h("div", { class: "grid" }, trends(seen), links(seen), box(seen, of), clock(of), attention(seen)),
  );
}

function verdict(seen) {
  const reasons = computed(() => (seen.value?.reasons ?? []).join("\n"));
  const health = computed(() => seen.value?.health ?? "");
  return h("div", { class: "verdict live", "aria-live": "polite" }, () => {
    if (!health.value) return null;
    if (health.value === "ok") return h("p", { class: "verdict-ok" }, icon("circle"), t("overview.all_well"));
    const lines = reasons.value.split("\n").filter(Boolean);
    return note(
      health.value === "failing" ? "bad" : "warn",
      h("strong", {}, t(`overview.health_${health.value}`)),
      h(
        "ul",
        { class: "reasons" },
        lines.map((line) => h("li", {}, line)),
      ),
    );
  });
}

const keyFigures = (of) =>
  figures(
    figure(
      t("overview.in"),
      of((o) => rate(o.rates.in_samples)),
      { note: of((o) => t("overview.in_note", { bytes: byteRate(o.rates.in_json_bytes) })) },
    ),
    figure(
      t("overview.out"),
      of((o) => rate(o.rates.out_samples)),
      { note: of((o) => t("overview.out_note", { bytes: byteRate(o.rates.out_bytes) })) },
    ),
    figure(
      t("overview.saved"),
      of((o) => bytes(Math.max(0, o.totals.in_json_bytes - o.totals.out_bytes))),
      { note: of(savedNote) },
    ),
    figure(
      t("overview.waiting"),
      of((o) => count(o.spool.samples)),
      {
        note: of((o) =>
          o.spool.samples
            ? t("overview.waiting_note", { bytes: bytes(o.spool.bytes), age: duration(o.spool.oldest_s) })
            : t("overview.nothing_waits"),
        ),
      },
    ),
    figure(
      t("overview.points"),
      of((o) => count(o.points)),
      { note: of((o) => (o.spool.lost ? t("overview.lost", { n: o.spool.lost }) : t("overview.nothing_lost"))) },
    ),
  );

const savedNote = (o) =>
  o.totals.ratio ? t("overview.saved_note", { ratio: fixed(o.totals.ratio, 1) }) : t("overview.nothing_sent");

function trends(seen) {
  const series = computed(() => seen.value?.series ?? null);
  const column =
    (...names) =>
    () =>
      series.value ? [series.value.times_ms.map((ms) => ms / 1000), ...names.map((name) => series.value[name])] : [[]];
  const range = () => {
    const times = series.peek()?.times_ms ?? [];
    const last = (times.at(-1) ?? Date.now()) / 1000;
    const span = times.length ? last - times[0] / 1000 : 0;
    return [last - Math.max(60, span), last]; // a minute at least, so that it does not stretch
  };
  return card(
    { title: t("overview.trends"), aside: t("overview.trends_note"), class: "trends" },
    h("h3", { class: "chart-title" }, t("overview.samples_s")),
    chart({
      label: t("overview.samples_s"),
      height: 196,
      zero: true,
      range,
      format: count,
      data: column("in_samples", "out_samples"),
      series: [
        { label: t("overview.in"), color: "chart-1", fill: true, format: rate },
        { label: t("overview.out"), color: "chart-2", format: rate },
      ],
    }),
    h(
      "div",
      { class: "chart-pair" },
      h(
        "div",
        {},
        h("h3", { class: "chart-title" }, t("overview.sent")),
        chart({
          label: t("overview.sent"),
          height: 130,
          zero: true,
          range,
          format: bytes,
          legend: false,
          data: column("out_bytes"),
          series: [{ label: t("overview.sent"), color: "chart-2", fill: true, format: byteRate }],
        }),
      ),
      h(
        "div",
        {},
        h("h3", { class: "chart-title" }, t("overview.cpu_trend")),
        chart({
          label: t("overview.cpu_trend"),
          height: 130,
          zero: true,
          range,
          format: (value) => percent(value, 0),
          legend: false,
          data: column("cpu_percent"),
          series: [{ label: t("overview.cpu"), color: "chart-3", fill: true, format: percent }],
        }),
      ),
    ),
  );
}

const PLACES = {
  adapter: (name) => link("devices", { adapter: name }),
  uplink: (name) => link("spool", name),
  broker: () => link("devices"),
};

function links(seen) {
  const rows = computed(() => seen.value?.links ?? null);
  const items = h("ul", { class: "links" });
  list(
    items,
    () => rows.value ?? [],
    (one) => `${one.kind}:${one.name}`,
    linkRow,
  );
  const none = computed(() => rows.value?.length === 0);
  return card({ title: t("overview.links"), class: "links-card", pad: false }, items, () =>
    none.value
      ? emptyState({
          icon: "config",
          title: t("overview.no_links"),
          text: t("overview.no_links_text"),
          action: h("a", { class: "button", href: link("config") }, t("shell.page_config")),
        })
      : null,
  );
}

function linkRow(one) {
  const { kind, name } = one.peek();
  return h(
    "li",
    {},
    h(
      "a",
      { class: "link-row", href: PLACES[kind]?.(name) ?? link("graph") },
      h("span", { class: "link-icon" }, icon(kind, { label: word("kind", kind) })),
      h(
        "span",
        { class: "link-text" },
        h(
          "span",
          { class: "link-name" },
          name,
          " ",
          h("span", { class: "tag" }, () => one.value.type),
        ),
        h("span", { class: "link-detail" }, () => detail(one.value)),
      ),
      h("span", { class: "live" }, () => linkState(one.value.state)),
    ),
  );
}

function detail(one) {
  const said = [];
  if (one.devices)
    said.push(
      one.devices_down
        ? t("overview.devices_down", { n: one.devices, down: count(one.devices_down) })
        : t("overview.devices", { n: one.devices }),
    );
  if (one.detail) said.push(one.detail);
  return said.join(" · ");
}

function box(seen, of) {
  const row = (name, value, share, limits) =>
    h(
      "div",
      { class: "gauge" },
      h("span", { class: "gauge-name" }, name),
      h("span", { class: "gauge-value live" }, value),
      meter(name, share, limits),
    );
  const b = () => seen.value?.box;
  return card(
    { title: t("overview.box"), class: "box-card" },
    row(
      t("overview.cpu"),
      of((o) => percent(o.box.cpu_percent)),
      () => (b()?.cpu_percent ?? 0) / 100,
    ),
    row(
      t("overview.memory"),
      of((o) => t("overview.of", { part: bytes(o.box.memory_bytes), all: bytes(o.box.memory_total_bytes) })),
      () => b() && b().memory_bytes / b().memory_total_bytes,
      { warn: 0.85 },
    ),
    row(
      t("overview.disk"),
      of((o) => t("overview.free_of", { part: bytes(o.box.disk_free_bytes), all: bytes(o.box.disk_total_bytes) })),
      () => b() && 1 - b().disk_free_bytes / b().disk_total_bytes,
      { warn: 0.85, bad: 0.97 },
    ),
    h(
      "p",
      { class: "box-own muted small live" },
      of((o) =>
        t("overview.own", {
          cpu: percent(o.box.own_cpu_percent),
          memory: bytes(o.box.own_memory_bytes),
          load: fixed(o.box.load1, 2),
        }),
      ),
    ),
  );
}

function clock(of) {
  const said = (o) =>
    o.clock.trusted === false
      ? state("warn", t("overview.clock_doubt"))
      : o.clock.synchronised
        ? state("ok", t("overview.clock_synchronised"))
        : o.clock.synchronised === null
          ? state("idle", t("overview.clock_unknown"))
          : state("warn", t("overview.clock_free"));
  return card(
    { title: t("overview.clock"), class: "clock-card" },
    facts([
      [
        t("overview.time"),
        h(
          "span",
          { class: "live" },
          of((o) => dateTime(o.clock.now_ms)),
        ),
      ],
      [t("overview.clock_state"), h("span", {}, of(said))],
      [
        t("overview.steps"),
        h(
          "span",
          {},
          of((o) => count(o.clock.steps)),
        ),
      ],
      [
        t("overview.uptime"),
        h(
          "span",
          { class: "live" },
          of((o) => duration(o.uptime_s)),
        ),
      ],
      [
        t("overview.process"),
        h(
          "span",
          {},
          of((o) => t("overview.process_text", { pid: String(o.pid), version: o.version })),
        ),
      ],
    ]),
  );
}

function attention(seen) {
  const alerts = computed(() => JSON.stringify(seen.value?.alerts ?? null));
  const findings = computed(() => seen.value?.findings ?? 0);
  return card(
    { title: t("overview.attention"), class: "attention-card" },
    () => {
      const all = JSON.parse(alerts.value);
      if (!all) return null;
      const rows = [
        ["critical", "bad"],
        ["warning", "warn"],
        ["info", "info"],
      ].filter(([name]) => all[name]);
      return rows.length
        ? h(
            "ul",
            { class: "attention" },
            rows.map(([name, kind]) =>
              h(
                "li",
                {},
                state(kind, t(`words.severity_${name}`)),
                h("a", { href: link("alerts") }, t("overview.alerts", { n: all[name] })),
              ),
            ),
          )
        : h("p", { class: "muted" }, t("overview.no_alerts"));
    },
    () =>
      findings.value
        ? h(
            "p",
            { class: "attention-findings" },
            icon("findings", { size: 18 }),
            h("a", { href: link("findings") }, t("overview.findings", { n: findings.value })),
          )
        : null,
  );
}
