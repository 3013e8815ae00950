// Pipelines: all of them, and one with its steps, its balance, and the original beside what leaves it.

import { button, card, emptyState, figure, figures, meter, pageHead, spinner, state } from "../components/basics.js";
import { Rates } from "../components/rates.js";
import { table } from "../components/table.js";
import { mayChange } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count, fixed, percent, rate } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { go, link } from "../lib/router.js";
import { computed, effect, signal } from "../lib/signal.js";
import { changeBound, boundText } from "./pipelines-bound.js";
import { comparison } from "./pipelines-compare.js";

export const texts = ["pipelines"];
export const styles = ["pipelines"];

const PARTS = ["out", "filtered", "aggregated", "dropped", "queued"];

export function render(page) {
  const live = page.live("pipelines");
  const all = computed(() => live.value && (live.value.pipelines ?? live.value));
  const rates = stepRates(all);
  const shown = computed(() => page.route.value.path[0] ?? "");
  return h("div", {}, () => (shown.value ? one(page, shown.value, all, rates) : overview(all)));
}

/** Rates of the counters of each step, by "pipeline/number/counter", renewed with each payload. */
function stepRates(all) {
  const rates = new Rates();
  const turn = signal(0);
  effect(() => {
    if (!all.value) return;
    const counters = {};
    for (const pipeline of all.value) {
      pipeline.steps.forEach((step, i) => {
        for (const name of ["in", "cpu_s", ...PARTS]) counters[`${pipeline.name}/${i}/${name}`] = step[name] ?? 0;
      });
      for (const name of ["in", ...PARTS]) counters[`${pipeline.name}//${name}`] = pipeline[name] ?? 0;
    }
    rates.see(counters);
    turn.value = turn.peek() + 1;
  });
  return (name) => {
    void turn.value;
    return rates.of(name);
  };
}

function overview(all) {
  const columns = [
    { label: t("pipelines.name"), cell: (row) => h("div", {}, h("a", { class: "strong", href: link("pipelines", row.peek().name) }, row.peek().name), h("div", { class: "small muted mono break" }, () => row.value.from.join("  "))) },
    { label: t("pipelines.steps"), cell: (row) => h("div", { class: "chain" }, () => chain(row.value.steps)) },
    { label: t("pipelines.in_rate"), num: true, class: "live", cell: (row) => () => rate(row.value.in_s) },
    { label: t("pipelines.out_rate"), num: true, class: "live", cell: (row) => () => rate(row.value.out_s) },
    { label: t("pipelines.kept"), num: true, class: "live", cell: (row) => share(row) },
    { label: capital(t("pipelines.part_dropped")), num: true, class: "live", cell: (row) => () => lossCount(row.value.dropped) },
    { label: capital(t("pipelines.to")), cell: (row) => h("div", { class: "row" }, () => row.value.to.map((name) => h("span", { class: "tag" }, name))) },
  ];
  const empty = () => emptyState({ icon: "pipelines", title: t("pipelines.none"), text: t("pipelines.none_text"), action: button(t("pipelines.to_config"), { href: link("config"), icon: "config" }) });
  return h("div", {},
    pageHead(t("shell.page_pipelines"), { text: t("pipelines.text") }),
    () => (all.value ? null : spinner()),
    card({ pad: false }, table({ label: t("shell.page_pipelines"), columns, rows: () => all.value, key: (row) => row.name, open: (row) => go("pipelines", row.name), empty })));
}

const chain = (steps) => (steps.length ? steps.map((step, i) => [i ? h("span", { class: "chain-arrow", "aria-hidden": "true" }, "›") : null, h("span", { class: "tag" }, step.step)]) : h("span", { class: "muted small" }, t("pipelines.passes")));

const capital = (text) => text[0].toUpperCase() + text.slice(1);

const kept = (row) => (row.in ? row.out / row.in : null);

function share(row) {
  return h("div", { class: "share" }, h("span", {}, () => percent(kept(row.value) === null ? null : kept(row.value) * 100)), meter(t("pipelines.kept"), () => kept(row.value), { warn: 9, bad: 9 }));
}

const lossCount = (value) => (value ? h("span", { class: "bad strong" }, count(value)) : count(0));

function one(page, name, all, rates) {
  const back = button(t("pipelines.all"), { icon: "left", small: true, href: link("pipelines") });
  const row = computed(() => all.value?.find((each) => each.name === name) ?? null);
  const there = computed(() => (all.value ? row.value !== null : null)); // behind row, which is set when this changes
  return h("div", {},
    pageHead(name, { actions: [back] }),
    () => {
      if (there.value === null) return spinner();
      if (!there.value) return emptyState({ icon: "pipelines", title: t("pipelines.gone", { name }), text: t("pipelines.gone_text") });
      return h("div", { class: "stack" }, summary(row), balance(row), steps(name, row, rates), comparison(page, name, row));
    });
}

function ends(row) {
  const tag = (text, href) => (href ? h("a", { class: "tag mono", href }, text) : h("span", { class: "tag mono" }, text));
  return h("div", { class: "ends" },
    h("span", { class: "muted small" }, t("pipelines.from")), () => (row.value?.from.length ? row.value.from.map((glob) => tag(glob, link("points", { q: glob }))) : tag(t("pipelines.from_pipelines"))),
    h("span", { class: "chain-arrow", "aria-hidden": "true" }, "→"),
    h("span", { class: "muted small" }, t("pipelines.to")), () => (row.value?.to.length ? row.value.to.map((target) => tag(target)) : tag(t("pipelines.to_nobody"))));
}

function summary(row) {
  const of = (key) => () => row.value?.[key] ?? 0;
  return card({},
    ends(row),
    figures(
      figure(t("pipelines.in_rate"), () => rate(of("in_s")())),
      figure(t("pipelines.out_rate"), () => rate(of("out_s")())),
      figure(t("pipelines.kept"), () => percent(row.value && kept(row.value) !== null ? kept(row.value) * 100 : null), { note: h("span", {}, () => fewer(row.value)) }),
      figure(capital(t("pipelines.part_queued")), () => count(of("queued")()), { note: t("pipelines.queued_note") }),
      figure(t("pipelines.cpu"), () => percent(row.value?.steps.reduce((sum, step) => sum + (step.cpu_percent ?? 0), 0), 2), { note: t("pipelines.cpu_note") }),
    ));
}

function fewer(row) {
  if (!row?.out || !row.in || row.in <= row.out) return "";
  return t("pipelines.fewer", { times: fixed(row.in / row.out, 1) });
}

/** Where samples went: a bar of shares, and the sum that has to come out. */
function balance(row) {
  const total = () => (row.value ? row.value.in + (row.value.derived ?? 0) : 0);
  const parts = PARTS.map((name) => {
    const element = h("span", { class: ["balance-part", `is-${name}`] });
    effect(() => {
      element.style.flexGrow = String(total() ? (row.value?.[name] ?? 0) / total() : 0);
      element.classList.toggle("hidden", !row.value?.[name]);
    });
    return element;
  });
  const legend = PARTS.map((name) => h("li", { class: () => (row.value?.[name] || name === "out" ? "" : "is-none") },
    h("span", { class: ["balance-mark", `is-${name}`], "aria-hidden": "true" }), h("span", {}, t(`pipelines.part_${name}`)),
    h("strong", { class: "live" }, () => count(row.value?.[name] ?? 0)), h("span", { class: "muted" }, () => percent(total() ? ((row.value?.[name] ?? 0) / total()) * 100 : null)),
    h("span", { class: "muted small balance-what" }, t(`pipelines.about_${name}`))));
  const sum = () => PARTS.reduce((all, name) => all + (row.value?.[name] ?? 0), 0);
  const even = computed(() => row.value === null || sum() === total());
  return card({ title: t("pipelines.balance"), aside: h("span", { class: "live" }, () => (even.value ? state("ok", t("pipelines.even")) : state("bad", t("pipelines.uneven")))) },
    h("div", { class: "balance-bar", role: "img", "aria-label": () => PARTS.map((name) => `${t(`pipelines.part_${name}`)} ${row.value?.[name] ?? 0}`).join(", ") }, parts),
    h("p", { class: "balance-sum live" }, () => equation(row.value)),
    h("ul", { class: "balance-legend" }, legend));
}

function equation(row) {
  if (!row) return "";
  const left = row.derived ? `${count(row.in)} ${t("pipelines.part_in")} + ${count(row.derived)} ${t("pipelines.part_derived")}` : `${count(row.in)} ${t("pipelines.part_in")}`;
  return `${left} = ${PARTS.filter((name) => row[name] || name === "out").map((name) => `${count(row[name])} ${t(`pipelines.part_${name}`)}`).join(" + ")}`;
}

function steps(name, row, rates) {
  const numbered = () => row.value?.steps.map((step, number) => ({ ...step, number })) ?? null;
  const columns = [
    { label: t("pipelines.step"), cell: stepCell },
    counted(name, "in", rates),
    counted(name, "out", rates),
    ...["filtered", "aggregated"].map((each) => counted(name, each, rates)),
    { label: capital(t("pipelines.part_dropped")), num: true, class: "live", cell: (step) => h("div", {}, () => lossCount(step.value.dropped), () => reasons(step.value.reasons)) },
    { label: capital(t("pipelines.part_queued")), num: true, class: "live", cell: (step) => () => count(step.value.queued) },
    { label: t("pipelines.time"), num: true, class: "live", cell: (step) => h("div", {}, h("div", { class: "nowrap" }, () => each(step.value)), h("div", { class: "small muted nowrap" }, () => percent(step.value.cpu_percent, 2))) },
    { label: t("pipelines.bound"), num: true, cell: (step) => boundCell(name, step) },
  ];
  const empty = () => emptyState({ icon: "right", title: t("pipelines.passes"), text: t("pipelines.passes_text") });
  return card({ title: t("pipelines.steps"), pad: false, class: "steps" }, table({ label: t("pipelines.steps"), columns, rows: numbered, key: (step) => `${step.number} ${step.step}`, empty }));
}

function stepCell(step) {
  return h("div", { class: "step-name" },
    h("span", { class: "step-number", "aria-hidden": "true" }, String(step.peek().number + 1)),
    h("div", {},
      h("div", { class: "row" }, h("span", { class: "strong" }, step.peek().step), () => (step.value.dry_run ? state("info", t("pipelines.dry_run")) : null), () => (step.value.failures ? state("bad", t("pipelines.failures", { n: step.value.failures })) : null)),
      h("div", { class: "small muted mono break step-options" }, () => step.value.options || t("pipelines.defaults")),
      () => (step.value.dry_run ? h("div", { class: "small" }, t("pipelines.dry_would", { out: count(step.value.dry_run.out), in: count(step.value.dry_run.in) })) : null)));
}

const counted = (pipeline, name, rates) => ({
  label: capital(t(`pipelines.part_${name}`)),
  num: true,
  class: "live",
  cell: (step) => h("div", {}, h("div", { "data-counter": name }, () => count(step.value[name])), h("div", { class: "small muted nowrap" }, () => (step.value[name] ? rate(rates(`${pipeline}/${step.value.number}/${name}`)) : ""))),
});

const reasons = (found) => Object.entries(found ?? {}).map(([reason, n]) => h("div", { class: "small muted nowrap" }, `${reason} ${count(n)}`));

const each = (step) => (step.in ? `${fixed((step.cpu_s / step.in) * 1e6, 2)}\u202fµs` : "–");

function boundCell(pipeline, step) {
  return h("div", { class: "bound" }, () => {
    if (!step.value.bound) return h("span", { class: "muted" }, "–");
    return [h("span", { class: "strong nowrap" }, boundText(step.value.bound)), mayChange() ? button(t("pipelines.change"), { small: true, icon: "edit", onClick: () => changeBound(pipeline, step.peek()) }) : null];
  });
}

