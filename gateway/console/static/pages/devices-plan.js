// The request plan of a device: which addresses one request reads, where its points lie, and what is read along.

import { card, state } from "../components/basics.js";
import { h } from "../lib/dom.js";
import { count, duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { computed } from "../lib/signal.js";

/** A card with the plan; nothing where the protocol has none. */
export function requestPlan(page, adapter, device) {
  const { data } = page.fetch("plan", { adapter });
  const plan = computed(() => data.value?.devices?.find((one) => one.device === device) ?? null);
  return h("div", { class: () => (plan.value ? "" : "hidden") }, () => (plan.value ? drawn(plan.value) : null));
}

function drawn(plan) {
  const requests = [...plan.requests].sort((a, b) => a.table.localeCompare(b.table) || a.address - b.address);
  const read = requests.reduce((sum, one) => sum + one.count, 0);
  const needed = requests.reduce((sum, one) => sum + used(one).filter(Boolean).length, 0);
  return card({ title: t("devices.plan"), aside: h("span", {}, t("devices.plan_sum", { n: requests.length, unit: plan.unit })) },
    h("p", { class: "small muted plan-text" }, t("devices.plan_text", { read: count(read), along: count(read - needed) })),
    h("ol", { class: "plan" }, requests.map(oneRequest)),
    plan.refused.length ? h("div", { class: "plan-refused" }, state("warn", t("devices.refused", { n: plan.refused.length })), h("span", { class: "small mono break" }, plan.refused.join(", "))) : null);
}

/** For each address of a request, the points that lie on it; null where it is only read along. */
function used(request) {
  const cells = new Array(request.count).fill(null);
  request.points.forEach((name, i) => {
    const [address, width] = request.places?.[i] ?? [request.address, request.count];
    for (let at = address; at < address + width; at += 1) {
      const place = at - request.address;
      if (place >= 0 && place < cells.length) cells[place] = cells[place] ? `${cells[place]}, ${name}` : name;
    }
  });
  return cells;
}

function oneRequest(request) {
  const cells = used(request);
  const along = cells.filter((one) => one === null).length;
  const last = request.address + request.count - 1;
  const { table, address, every_s: every } = request;
  return h("li", { class: "plan-request" },
    h("div", { class: "plan-head" },
      h("span", { class: "strong mono" }, `${table}:${address}${last > address ? `–${last}` : ""}`),
      h("span", { class: "muted small" }, t("devices.plan_registers", { n: request.count })),
      h("span", { class: "muted small" }, t("devices.plan_every", { every: duration(every) })),
      h("span", { class: "muted small" }, t("devices.plan_points", { n: request.points.length })),
      along ? h("span", { class: "muted small" }, t("devices.plan_along", { n: along })) : null),
    h("div", { class: "plan-strip", role: "img", "aria-label": t("devices.plan_label", { n: request.count, points: request.points.length, along }) }, strip(request, cells)));
}

/** Neighbouring addresses with the same point are one piece. */
function strip(request, cells) {
  const pieces = [];
  cells.forEach((name, i) => {
    const open = pieces.at(-1);
    if (open && open.name === name) open.width += 1;
    else pieces.push({ name, at: request.address + i, width: 1 });
  });
  return pieces.map(({ name, at, width }) => {
    const element = h("span", { class: ["plan-piece", name === null && "is-along"], title: `${at}${width > 1 ? `–${at + width - 1}` : ""}: ${name ?? t("devices.along")}` });
    element.style.flexGrow = String(width);
    return element;
  });
}
