// One point: its newest value in words, its trend, what is known of it.

import { Scope, onEnd, signal } from "../lib/signal.js";
import { address, get } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count, dateTime, measured, unit, word } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { followPoints, gatewayNow } from "../lib/live.js";
import { link } from "../lib/router.js";
import { ageOf, button, errorText, facts, note, quality } from "./basics.js";
import { chart } from "./chart.js";

const MOST = 600; // places in the trend; the gateway makes buckets of more
const SPANS = [
  [300, "5_min"],
  [3600, "1_h"],
  [21600, "6_h"],
  [86400, "24_h"],
  [604800, "7_d"],
];

/** What stands in the column of values: the state's text where there is one, else the number; why there is none. */
export function valueText(now) {
  if (now.time_ms === null || now.time_ms === undefined) return "–";
  if (now.text) return now.text;
  return now.value === null ? "–" : measured(now.value);
}

/** What is shown of a point by name; `name` does not change. Made in a scope, as content of a drawer. */
export function pointDetail(name) {
  const scope = new Scope();
  const box = h("div", { class: "point-detail" });
  const problem = signal(null);
  get("point", { name }).then(
    (point) => box.replaceChildren(...scope.run(() => parts(point))),
    (error) => {
      problem.value = error;
      box.replaceChildren(note("warn", errorText(error)));
    },
  );
  return box;
}

function parts(point) {
  const now = signal(point);
  const trend = trendOf(point);
  followPoints((update) => {
    now.value = update;
    trend.add(update);
  })([point.id]);
  return [
    h(
      "div",
      { class: "point-now" },
      h(
        "div",
        { class: "point-value live" },
        () => valueText(now.value),
        h("span", { class: "point-unit" }, unit(point.unit)),
      ),
      h(
        "div",
        { class: "row" },
        () => (now.value.time_ms === null ? t("points.never") : quality(now.value.quality, now.value.reason)),
        h(
          "span",
          { class: "muted live" },
          ageOf(() => now.value.time_ms),
        ),
      ),
    ),
    trend.element,
    facts([
      [
        t("points.adapter"),
        point.adapter ? h("a", { href: link("devices", { adapter: point.adapter }) }, point.adapter) : "",
      ],
      [t("points.time"), h("span", { class: "live" }, () => dateTime(now.value.time_ms, { millis: true }))],
      [
        t("points.unit"),
        point.unit ? (unit(point.unit) === point.unit ? point.unit : `${unit(point.unit)} (${point.unit})`) : "",
      ],
      [t("points.kind"), word("kind", point.kind)],
      [
        t("points.limits"),
        point.limits ? point.limits.map((one) => (one === null ? "–" : measured(one))).join(" … ") : "",
      ],
      [t("points.resolution"), point.resolution ? measured(point.resolution) : ""],
      [t("points.merge"), point.merge],
      [
        t("points.labels"),
        Object.entries(point.labels ?? {}).map(([key, value]) => h("span", { class: "tag" }, `${key}: ${value}`)),
      ].map((part) => (Array.isArray(part) && !part.length ? "" : part)),
      [
        t("points.taken_by"),
        point.pipelines?.length
          ? h(
              "span",
              { class: "row" },
              point.pipelines.map((one) => h("a", { href: link("pipelines", one) }, one)),
            )
          : t("points.nobody"),
      ],
      [
        t("points.derived"),
        point.derived?.length
          ? h(
              "span",
              { class: "row" },
              point.derived.map((one) => h("a", { href: link("points", one) }, one.slice(one.indexOf("#")))),
            )
          : "",
      ],
      [t("points.number"), count(point.id)],
    ]),
  ];
}

const nothing = () => null;

/** The trend with its choice of spans: {element, add(update)}. */
function trendOf(point) {
  const span = signal(SPANS[0][0]);
  const data = signal([[], [], [], []]);
  const said = signal("");
  const scope = new Scope();
  let turn = 0;
  let timer = null;
  const load = async (mine = (turn += 1)) => {
    try {
      const until = Math.ceil(gatewayNow());
      const found = await get("history", {
        name: point.name,
        since_ms: until - span.peek() * 1000,
        until_ms: until,
        max: MOST,
      });
      if (mine !== turn) return;
      const band = found.thinned ? [found.max, found.min] : [found.values.map(nothing), found.values.map(nothing)];
      data.value = [found.times_ms.map((ms) => ms / 1000), found.values, ...band];
      said.value = found.times_ms.length
        ? found.thinned
          ? t("points.thinned", { n: found.times_ms.length })
          : t("points.samples", { n: found.times_ms.length })
        : t("points.no_history");
    } catch (error) {
      if (mine === turn) said.value = errorText(error);
    }
  };
  load();
  onEnd(() => clearInterval(timer));
  timer = setInterval(() => span.peek() > 3600 && load(), 60000); // buckets of long spans are made anew
  const add = ({ time_ms, value }) => {
    const [times, ...rest] = data.peek();
    if (times.length && time_ms / 1000 <= times.at(-1)) return;
    const from = Math.max(
      0,
      times.findIndex((one) => one >= gatewayNow() / 1000 - span.peek()),
    );
    const news = [value, null, null];
    data.value = [
      [...times.slice(from), time_ms / 1000],
      ...rest.map((column, index) => [...column.slice(from), news[index]]),
    ];
  };
  const element = h(
    "section",
    { class: "point-trend" },
    h(
      "div",
      { class: "toolbar" },
      h(
        "div",
        { class: "segments", role: "group", "aria-label": t("points.span") },
        SPANS.map(([seconds, key]) =>
          h(
            "button",
            {
              type: "button",
              class: "segment",
              "aria-pressed": () => String(span.value === seconds),
              onClick: () => {
                span.value = seconds;
                load();
              },
            },
            t(`points.span_${key}`),
          ),
        ),
      ),
      h("div", { class: "toolbar-end" }, exportLink(point, span)),
    ),
    scope.run(() => trendChart(point, data, span)),
    h("p", { class: "muted small", "aria-live": "polite" }, () => said.value),
  );
  return { element, add };
}

function trendChart(point, data, span) {
  const of = (value) => measured(value);
  return chart({
    label: t("points.trend_of", { name: point.name }),
    height: 240,
    stepped: Boolean(point.text),
    format: of,
    range: () => {
      const until = Math.max(gatewayNow() / 1000, data.peek()[0].at(-1) ?? 0);
      return [until - span.peek(), until];
    },
    data: () => data.value,
    series: [
      { label: `${t("points.value")}${point.unit ? ` (${unit(point.unit)})` : ""}`, color: "chart-1", format: of },
      { label: t("points.max"), color: "chart-1", width: 0, format: of, band: true },
      { label: t("points.min"), color: "chart-1", width: 0, format: of },
    ],
  });
}

/** The file begins where the trend does when it is asked for. */
function exportLink(point, span) {
  const made = button(t("points.export"), {
    icon: "download",
    small: true,
    href: "#",
    download: `${point.name.replace(/[^\w.-]+/g, "_")}.csv`,
  });
  made.addEventListener("click", () => {
    const until = Math.ceil(gatewayNow());
    made.href = address("history.csv", { q: point.name, since_ms: until - span.peek() * 1000, until_ms: until });
  });
  return made;
}
