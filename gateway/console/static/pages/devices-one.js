// One device: how it stands, what is asked of it, and its points with their values.

import { button, card, emptyState, facts, figure, figures, linkState, note, pageHead, quality, spinner, state } from "../components/basics.js";
import { table } from "../components/table.js";
import { get } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { age, count, dateTime, duration, quantity, rate, word } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { followPoints, gatewayNow } from "../lib/live.js";
import { link } from "../lib/router.js";
import { computed, onEnd, signal, untracked } from "../lib/signal.js";
import { requestPlan } from "./devices-plan.js";
import { achievedText, ageText, lag, lags } from "./devices-state.js";

const SHOWN = 300; // points in the table
const RENEW_MS = 10000;
const KNOWN = new Set(["adapter", "type", "device", "link", "detail", "stale", "period_asked_s", "period_achieved_s", "missed", "samples", "points", "bad", "last_error"]);

export function oneDevice(page, adapter, device, all, rates) {
  const row = computed(() => all.value?.find((one) => one.adapter === adapter && one.device === device) ?? null);
  const there = computed(() => all.value && row.value !== null); // behind row, which is set when this changes
  return h("div", {},
    pageHead(`${adapter} / ${device}`, { actions: [button(t("devices.all"), { icon: "left", small: true, href: link("devices", { adapter }) })] }),
    () => {
      if (there.value === null) return spinner();
      if (!there.value) return emptyState({ icon: "devices", title: t("devices.gone", { device }), text: t("devices.gone_text") });
      return untracked(() => {
        const points = pointsOf(page, adapter, device);
        return h("div", { class: "stack" }, trouble(row), summary(row, rates, points), requestPlan(page, adapter, device), pointsCard(device, points));
      });
    });
}

function trouble(row) {
  return h("div", { class: "trouble" }, () => {
    const now = row.value;
    if (!now) return null;
    const said = [];
    if (now.stale) said.push(note("bad", h("strong", {}, t("devices.is_stale")), ` ${t("devices.is_stale_text")}`));
    if (lags(now)) said.push(note("warn", h("strong", {}, t("devices.is_late", { times: lag(now) })), ` ${t("devices.is_late_text", { asked: duration(now.period_asked_s), achieved: achievedText(now.period_achieved_s) })}`));
    const { last_error: error } = now;
    if (error) said.push(note(now.link === "down" ? "bad" : "info", h("strong", {}, now.link === "down" ? t("devices.is_down") : t("devices.was_down")), ` ${error.text}`, h("div", { class: "small" }, `${dateTime(error.time_ms)} · `, () => ageText(error.time_ms))));
    return said;
  });
}

function summary(row, rates, points) {
  const heard = () => {
    const newest = points.newest.value;
    return newest ? age((gatewayNow() - newest) / 1000) : "–";
  };
  const now = () => row.value ?? {};
  const more = () => Object.entries(now()).filter(([name, value]) => !KNOWN.has(name) && ["string", "number", "boolean"].includes(typeof value) && value !== "");
  return card({},
    h("div", { class: "row device-head" }, () => (now().stale && now().link !== "down" ? state("bad", t("devices.state_stale")) : linkState(now().link)), h("span", { class: "tag" }, row.peek()?.type), h("span", { class: "muted break" }, () => now().detail)),
    figures(
      figure(t("devices.achieved"), () => (now().period_achieved_s ? achievedText(now().period_achieved_s) : "–"), { note: h("span", {}, () => (now().period_asked_s ? t("devices.asked", { asked: duration(now().period_asked_s) }) : t("devices.no_period"))) }),
      figure(t("devices.heard"), heard, { note: t("devices.heard_text") }),
      figure(t("devices.missed"), () => count(now().missed ?? 0), { note: t("devices.missed_text") }),
      figure(t("devices.rate"), () => rate(rates(now()))),
      figure(t("devices.points"), () => count(now().points), { note: h("span", {}, () => badText(now().bad)) }),
    ),
    () => {
      const rows = more();
      return rows.length ? facts(rows.map(([name, value]) => [name.replaceAll("_", " "), String(value)])) : null;
    });
}

const badText = (bad) => Object.entries(bad ?? {}).map(([reason, n]) => `${word("reason", reason)} ${count(n)}`).join(", ");

/** The points of a device with their newest values; asked again now and then, because points may appear. */
function pointsOf(page, adapter, device) {
  const rows = signal(null);
  const total = signal(0);
  const newest = signal(null);
  const seen = ({ id, name = rows.peek()?.find((one) => one.id === id)?.name ?? "", value, text, time_ms: ms }) => {
    if (ms && !name.includes("#") && // what a window makes of silence is no sign of life
       (value !== null || text) && ms > (newest.peek() ?? 0)) newest.value = ms;
  };
  const watch = followPoints((change) => {
    const at = rows.peek()?.findIndex((one) => one.id === change.id) ?? -1;
    if (at < 0) return;
    seen(change);
    const next = [...rows.peek()];
    next[at] = { ...next[at], ...change };
    rows.value = next;
  });
  const ask = async () => {
    try {
      const found = await get("points", { device, limit: 1000, sort: "name" }, { signal: page.abort });
      const own = found.rows.filter((one) => !one.adapter || one.adapter === adapter);
      own.forEach(seen);
      total.value = own.length;
      rows.value = own.slice(0, SHOWN);
      watch(rows.peek().map((one) => one.id));
    } catch (error) {
      if (error.name !== "AbortError" && rows.peek() === null) rows.value = [];
    }
  };
  ask();
  const timer = setInterval(ask, RENEW_MS);
  onEnd(() => clearInterval(timer));
  return { rows, total, newest };
}

function pointsCard(device, { rows, total }) {
  const columns = [
    { label: t("devices.point"), cell: (row) => h("a", { class: "mono", href: link("points", row.peek().name) }, row.peek().name) },
    { label: t("devices.value"), num: true, class: "live", cell: (row) => h("span", { class: "strong" }, () => row.value.text ?? quantity(row.value.value, row.value.unit)) },
    { label: t("devices.quality"), class: "live", cell: (row) => () => (row.value.time_ms === null ? h("span", { class: "muted" }, t("devices.never")) : quality(row.value.quality, row.value.reason)) },
    { label: t("devices.age"), num: true, class: "live", cell: (row) => () => (row.value.time_ms === null ? "–" : age((gatewayNow() - row.value.time_ms) / 1000)) },
  ];
  const empty = () => emptyState({ icon: "points", title: t("devices.no_points"), text: t("devices.no_points_text") });
  return card({ title: t("devices.points"), pad: false, aside: h("a", { href: link("points", { q: `${device}/**` }) }, t("devices.in_points")) },
    () => (rows.value ? null : spinner()),
    table({ label: t("devices.points"), columns, rows: () => rows.value, key: (row) => row.id, empty }),
    () => (total.value > SHOWN ? h("p", { class: "pager" }, t("devices.more_points", { n: total.value - SHOWN })) : null));
}
