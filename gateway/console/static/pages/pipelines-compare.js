// Original against reduced: what goes into a pipeline for one point, and what leaves it, drawn together.

import { card, emptyState, figure, figures, note } from "../components/basics.js";
import { chart } from "../components/chart.js";
import { allowed, columns, largest, merged } from "../components/compare.js";
import { takes } from "../components/glob.js";
import { address, get } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { age, bytes, count, measured, percent, quantity, unit } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { follow, gatewayNow } from "../lib/live.js";
import { route } from "../lib/router.js";
import { computed, onEnd, signal, untracked } from "../lib/signal.js";

const BACK_S = 300; // kept of the past
const BEFORE_S = 90; // shown of the time before the page was opened
const DRAW_MS = 500;
const SETTLE_MS = 1500; // what comes in is told a little before what leaves
const OFFERED = 200; // points in the list of the picker
const STATISTICS = ["mean", "avg", "last", "p50", "median", "sum", "count"];
const LINEAR = new Set(["swinging_door", "piecewise_linear"]);

export function comparison(page, name, row) {
  const chosen = computed(() => page.route.value.params.get("point") ?? "");
  const choose = (point) => route.peek().id === page.id && route.peek().path[0] === name && page.address([name], { point });
  const globs = untracked(() => row.value?.from ?? []);
  offer(globs).then((points) => chosen.peek() || !points.length || choose(preferred(points)), () => {});
  return card({ title: t("pipelines.compare"), aside: h("span", {}, t("pipelines.compare_text")) },
    picker(globs, chosen, choose),
    () => (chosen.value ? untracked(() => drawn(page, name, chosen.peek(), row)) : emptyState({ icon: "points", text: t("pipelines.compare_choose") })));
}

const preferred = (points) => points.find((one) => one.kind === "gauge" && typeof one.value === "number")?.name ?? points[0].name;

/** Points that go into the pipeline and have the words of a query in their names. */
async function offer(globs, query = "") {
  const wanted = query || (globs.length ? globs : [""]);
  const lists = await Promise.all([wanted].flat().slice(0, 4).map((q) => get("points", { q, limit: OFFERED })));
  const rows = lists.flatMap((one) => one.rows);
  const fitting = rows.filter((one) => !globs.length || takes(globs, one.name));
  return [...new Map(fitting.map((one) => [one.name, one])).values()].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })).slice(0, OFFERED);
}

function picker(globs, chosen, choose) {
  const known = signal([]);
  const id = "compare-points";
  let timer;
  const look = (query) => offer(globs, query).then((found) => (known.value = found), () => {});
  look("");
  const typed = (event) => {
    const text = event.target.value.trim();
    if (known.peek().some((one) => one.name === text)) return choose(text);
    clearTimeout(timer);
    timer = setTimeout(() => look(text), 200);
  };
  onEnd(() => clearTimeout(timer));
  return h("div", { class: "toolbar" },
    h("label", { class: "compare-label", for: "compare-point" }, t("pipelines.point")),
    h("input", { class: "input compare-input mono", id: "compare-point", list: id, value: () => chosen.value, autocomplete: "off", spellcheck: "false", placeholder: t("pipelines.point_hint"), onInput: typed, onChange: typed, onFocus: (event) => event.target.select() }),
    h("datalist", { id }, () => known.value.map((one) => h("option", { value: one.name }))));
}

function drawn(page, pipeline, point, row) {
  const about = signal(null);
  const problem = signal("");
  get("point", { name: point }, { signal: page.abort }).then((found) => (about.value = found), (error) => error.name === "AbortError" || (problem.value = error.message));
  const lines = collect(page, pipeline, point, row, problem);
  const rules = computed(() => rulesOf(row.value, point, about.value));
  const view = computed(() => viewOf(lines.value, rules.value, point));
  const format = (value) => quantity(value, about.peek()?.unit);
  return h("div", { class: "stack" },
    () => (problem.value ? note("warn", problem.value) : null),
    () => sums(lines.value, view.value, rules.value, about.value),
    () => untracked(() => chart({
      label: t("pipelines.compare_chart", { point }),
      height: 300,
      stepped: !rules.peek().linear && !isWindow(row.peek()),
      format: measured,
      series: [
        { label: t("pipelines.original"), color: "muted", width: 1.25, format },
        { label: t("pipelines.reduced"), color: "chart-1", width: 2, points: true, format },
        { label: t("pipelines.upper"), color: "chart-2", width: 0.5, band: true, format },
        { label: t("pipelines.lower"), color: "chart-2", width: 0.5, format },
      ],
      range: () => [Math.max(gatewayNow() - BACK_S * 1000, lines.peek().since - BEFORE_S * 1000) / 1000, gatewayNow() / 1000],
      data: () => view.value.columns,
    })),
    h("p", { class: "small muted" }, () => explained(rules.value, about.value)));
}

const isWindow = (row) => Boolean(row?.steps.some((step) => step.aggregated || step.derived));

/** Bounds of the steps that work on this point, and how a receiver rebuilds what was left out. */
function rulesOf(row, point, about) {
  const steps = (row?.steps ?? []).filter((step) => step.bound && !step.dry_run && takes(step.points, point));
  return {
    steps: steps.map((step) => step.step),
    linear: steps.some((step) => LINEAR.has(step.step)),
    bounds: steps.map((step) => ({ ...step.bound, ofValue: /percent_of\W+value/.test(step.options) })),
    limits: about?.limits ?? null,
  };
}

/** Which of what leaves is drawn: the point itself, or one of its statistics with the range around it. */
function viewOf(lines, rules, point) {
  const { original, left } = lines;
  const own = left.get(point);
  if (own) return { kept: own, columns: columns(original, own, rules) };
  const statistic = STATISTICS.find((name) => left.has(`${point}#${name}`)) ?? null;
  const kept = (statistic && left.get(`${point}#${statistic}`)) || [...left.values()][0] || [];
  const [low, high] = [left.get(`${point}#min`), left.get(`${point}#max`)];
  const spread = low && high ? [low, high] : undefined;
  return { kept, statistic, columns: columns(original, kept, { ...rules, bounds: [], spread }) };
}

/** Follows the point on both sides: {original: [[s, value]], left: name -> [[s, value]], taken, passed, since}. */
function collect(page, pipeline, point, row, problem) {
  const since = Date.now();
  const lines = signal({ original: [], left: new Map(), taken: 0, passed: 0, since });
  const fresh = { in: [], out: [] };
  const oldest = () => gatewayNow() / 1000 - BACK_S;
  get("history", { name: point, since_ms: Math.round(gatewayNow() - BACK_S * 1000), max: 2000 }, { signal: page.abort }).then(
    (past) => (lines.value = { ...lines.peek(), original: merged(past.times_ms.map((ms, i) => [ms / 1000, past.values[i]]), lines.peek().original, oldest()) }),
    () => {}, // without a journal there is no past
  );
  const last = untracked(() => row.value?.steps.length ?? 0) - 1;
  const streams = [listen({ globs: point, made: 0 }, fresh.in, problem)];
  if (last >= 0) streams.push(listen({ globs: `${point},${point}#*`, after: `${pipeline}/${last}` }, fresh.out, problem));
  const timer = setInterval(() => {
    if (!fresh.in.length && !fresh.out.length) return;
    lines.value = taken(lines.peek(), fresh.in.splice(0), last < 0 ? [] : fresh.out.splice(0), oldest());
  }, DRAW_MS);
  onEnd(() => {
    clearInterval(timer);
    for (const stream of streams) stream.close();
  });
  return lines;
}

function taken(before, came, went, oldest) {
  const rows = (samples) => samples.map((one) => [Date.parse(one.time) / 1000, typeof one.value === "number" ? one.value : null]);
  const left = new Map(before.left);
  for (const name of new Set(went.map((one) => one.point))) {
    left.set(name, merged(left.get(name) ?? [], rows(went.filter((one) => one.point === name)), oldest));
  }
  return { ...before, original: merged(before.original, rows(came), oldest), left, taken: before.taken + came.length, passed: before.passed + went.length };
}

function listen(query, queue, problem) {
  const stream = new EventSource(address("tap", query));
  stream.onmessage = (event) => {
    const { samples } = JSON.parse(event.data);
    queue.push(...samples);
    if (queue.length > 5000) queue.splice(0, queue.length - 5000); // a tab in the background
  };
  stream.addEventListener("error", (event) => {
    if (event.data) problem.value = event.data;
  });
  return stream;
}

function sums(lines, view, rules, about) {
  const saved = lines.taken ? 1 - lines.passed / lines.taken : null;
  const overview = follow("overview").value;
  const json = overview?.totals?.in_samples ? overview.totals.in_json_bytes / overview.totals.in_samples : null;
  const sent = overview?.totals?.out_samples ? overview.totals.out_bytes / overview.totals.out_samples : null;
  const far = view.statistic === undefined ? largest(lines.original.filter(([time]) => time * 1000 >= lines.since && time * 1000 < gatewayNow() - SETTLE_MS), view.kept, rules) : null;
  return figures(
    figure(t("pipelines.came"), count(lines.taken), { note: t("pipelines.since", { age: age((Date.now() - lines.since) / 1000) }) }),
    figure(t("pipelines.left"), count(lines.passed), { note: lines.passed ? null : t("pipelines.nothing_left") }),
    figure(t("pipelines.saved"), percent(saved === null ? null : Math.max(0, saved) * 100), { note: json && sent && lines.taken ? t("pipelines.saved_bytes", { from: bytes(json * lines.taken), to: bytes(sent * lines.passed) }) : null }),
    far ? figure(t("pipelines.deviation"), quantity(far.deviation, about?.unit), deviationNote(far, about)) : null,
  );
}

function deviationNote(far, about) {
  if (far.allowed === null) return { note: t("pipelines.no_bound") };
  const kind = far.deviation > far.allowed * 1.000001 ? "warn" : "";
  return { kind, note: t("pipelines.of_allowed", { allowed: measured(far.allowed) + (about?.unit ? ` ${unit(about.unit)}` : "") }) };
}

function explained(rules, about) {
  if (!rules.bounds.length) return t("pipelines.no_bound_text");
  const room = allowed(rules.bounds, 0, rules.limits);
  const how = rules.linear ? t("pipelines.linear_text") : t("pipelines.held_text");
  return `${t("pipelines.band_text", { steps: rules.steps.join(", "), bound: room ? `±${measured(room)}${about?.unit ? ` ${unit(about.unit)}` : ""}` : "%" })} ${how}`;
}

