// Charts by uPlot, if it was there when the console was built; without it a line says so and everything else works.

import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { effect, onEnd } from "../lib/signal.js";
import { loadStyle } from "../lib/style.js";
import { theme, token } from "../lib/theme.js";

let library;

/** uPlot, or null without it. */
const load = () =>
  (library ??= Promise.all([import("uplot"), loadStyle("/static/vendor/uplot/dist/uPlot.min.css")]).then(
    ([found]) => found.default,
    () => null,
  ));

/**
 * A chart over time. `series`: [{label, color: "chart-1", format(value) -> text, fill, dash, band: [upper, lower]}];
 * `data()` gives [times in s, values, values ...] (null for a gap) and is run again when its signals change. `height` in px,
 * `label` for those who cannot see it, `zero` begins the axis at 0, `format` writes the axis.
 */
export function chart({
  label,
  series,
  data,
  height = 180,
  zero = false,
  format = String,
  legend = true,
  stepped = false,
  range,
}) {
  const box = h("div", { class: "chart live", role: "img", "aria-label": label });
  box.style.minBlockSize = `${height}px`; // a legend may take a second line on a phone
  let plot = null;
  let ended = false;
  onEnd(() => {
    ended = true;
    watching.disconnect();
    plot?.destroy();
  });
  const draw = (UPlot) => {
    plot?.destroy();
    box.replaceChildren();
    plot = new UPlot(
      options({ UPlot, series, height, zero, format, legend, stepped, range, width: box.clientWidth || 300 }),
      columns(data(), series),
      box,
    );
  };
  const watching = new ResizeObserver(
    () => plot && box.clientWidth && plot.setSize({ width: box.clientWidth, height: plotHeight(height, legend) }),
  );
  load().then((UPlot) => {
    if (ended) return;
    if (!UPlot) return box.replaceChildren(h("p", { class: "muted small" }, t("shell.no_charts")));
    effectIn(() => {
      void theme.value;
      draw(UPlot);
    });
    effectIn(() => {
      const next = columns(data(), series);
      plot.setData(next);
    });
    watching.observe(box);
  });
  const ends = [];
  const effectIn = (work) => ends.push(effect(work));
  onEnd(() => ends.forEach((end) => end()));
  return box;
}

const columns = (given, series) => (given?.[0]?.length ? given : [[], ...series.map(() => [])]);
const plotHeight = (height, legend) => height - (legend ? 26 : 0);

function options({ UPlot, series, height, zero, format, legend, stepped, range, width }) {
  const [muted, grid] = [token("muted"), token("chart-grid")];
  const font = `11px ${token("font")}`;
  const axis = { stroke: muted, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  return {
    width,
    height: plotHeight(height, legend),
    padding: [8, 8, 0, 0],
    cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false, setScale: true } },
    legend: { show: legend, live: true },
    scales: { x: range ? { range: () => range() } : {}, y: { range: (_, low, high) => span(low, high, zero) } },
    axes: [
      { ...axis, size: 26, space: 70, values: timeLabels },
      {
        ...axis,
        size: (_, labels) => Math.max(36, ...(labels ?? []).map((one) => one.length * 6.6 + 12)),
        space: 32,
        values: (_, ticks) => ticks.map((one) => format(one)),
      },
    ],
    series: [
      { value: (_, seconds) => (seconds === null ? "" : clockText(seconds, true)), label: t("shell.time") },
      ...series.map((one) => ({
        label: one.label,
        stroke: token(one.color ?? "chart-1"),
        width: one.width ?? 1.75,
        dash: one.dash,
        fill: one.fill ? `color-mix(in srgb, ${token(one.color ?? "chart-1")} 14%, transparent)` : undefined,
        points: { show: one.points ?? false },
        spanGaps: false,
        paths: stepped ? UPlot.paths.stepped({ align: 1 }) : undefined,
        value: (_, value) => (value === null || value === undefined ? "–" : (one.format ?? format)(value)),
      })),
    ],
    bands: series.flatMap((one, index) =>
      one.band
        ? [{ series: [index + 1, index + 2], fill: `color-mix(in srgb, ${token(one.color)} 16%, transparent)` }]
        : [],
    ),
  };
}

function span(low, high, zero) {
  if (low === null || high === null) return [0, 1];
  if (zero) return [Math.min(0, low), high > 0 ? high * 1.12 : 1];
  const room = (high - low) * 0.1 || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

const two = (value) => String(value).padStart(2, "0");

function clockText(seconds, full) {
  const at = new Date(seconds * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}${full ? `:${two(at.getSeconds())}` : ""}`;
}

function timeLabels(_, ticks, _axis, _space, step) {
  return ticks.map((seconds) => {
    const at = new Date(seconds * 1000);
    if (step >= 86400 || (at.getHours() === 0 && at.getMinutes() === 0 && step >= 3600))
      return `${at.getMonth() + 1}-${two(at.getDate())}`;
    return clockText(seconds, step < 60);
  });
}
