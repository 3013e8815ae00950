// What flows where: adapters, pipelines and uplinks, with what passes on each edge now.

import { card, emptyState, linkState, pageHead } from "../components/basics.js";
import { h, s } from "../lib/dom.js";
import { byteRate, rate, word } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { layered, place } from "../lib/layers.js";
import { link } from "../lib/router.js";
import { computed, signal } from "../lib/signal.js";

export const texts = ["graph"];
export const styles = ["graph"];

const BOX = { boxWidth: 232, boxHeight: 62, gap: 18, lane: 14 };
const WIDE = 1120;
const MARGIN = 12;
const PLACES = {
  adapter: (name) => link("devices", { adapter: name }),
  pipeline: (name) => link("pipelines", name),
  uplink: (name) => link("spool", name),
};

export function render(page) {
  const graph = page.live("graph");
  const shape = computed(() =>
    graph.value
      ? JSON.stringify([
          graph.value.nodes.map(({ id, kind, name, type, steps }) => ({ id, kind, name, type, steps })),
          graph.value.edges.map(({ from, to }) => ({ from, to })),
        ])
      : "",
  );
  const near = signal(""); // the node under the pointer or with the focus: what it has nothing to do with fades
  return h(
    "div",
    {},
    pageHead(t("shell.page_graph"), { text: t("graph.text") }),
    card({ pad: false, class: "graph-card" }, () => {
      if (!shape.value) return null;
      const [nodes, edges] = JSON.parse(shape.value);
      if (!nodes.length)
        return emptyState({
          icon: "graph",
          title: t("graph.none"),
          text: t("graph.none_text"),
          action: h("a", { class: "button", href: link("config") }, t("shell.page_config")),
        });
      return drawing(graph, nodes, edges, near);
    }),
  );
}

function drawing(graph, nodes, edges, near) {
  const { curves, boxes, width, height } = laidOut(nodes, edges);
  const nodeOf = (id) => computed(() => graph.value?.nodes.find((one) => one.id === id));
  const edgeOf = (edge) =>
    computed(() => graph.value?.edges.find((one) => one.from === edge.from && one.to === edge.to));
  const most = computed(() => Math.max(1, ...(graph.value?.edges ?? []).map((one) => one.samples_s)));
  const labels = labelPlaces(curves);
  const far = (...ids) =>
    near.value &&
    !ids.includes(near.value) &&
    !edges.some(
      ({ from, to }) => (from === near.value && ids.includes(to)) || (to === near.value && ids.includes(from)),
    );
  const view = `${-MARGIN} ${-MARGIN} ${width + 2 * MARGIN} ${height + 2 * MARGIN}`;
  const svg = s(
    "svg",
    {
      class: "graph",
      viewBox: view,
      width: width + 2 * MARGIN,
      height: height + 2 * MARGIN,
      role: "group",
      "aria-label": t("shell.page_graph"),
    },
    edges.map((edge, index) => edgeLine(edge, edgeOf(edge), curves[index], most, near)),
    edges.map((edge, index) => edgeLabel(edge, edgeOf(edge), labels[index], near)),
    nodes.map((node) => nodeBox(node, nodeOf(node.id), boxes.get(node.id), near, far)),
  );
  return h("div", { class: "graph-scroll", tabindex: "0", role: "region", "aria-label": t("graph.picture") }, svg);
}

/** Where boxes stand, and the curves of each edge: one, or more if it passes other columns. */
function laidOut(nodes, edges) {
  const { columns, ways } = layered(nodes, edges);
  const room = (WIDE - columns.length * BOX.boxWidth) / Math.max(1, columns.length - 1);
  const placed = place(columns, { ...BOX, between: Math.min(220, Math.max(110, room)) });
  const curves = edges.map((edge, index) => {
    const stops = [edge.from, ...ways[index], edge.to].map((id) => ({
      ...placed.boxes.get(id),
      passed: id.startsWith("~"),
    }));
    return stops.slice(1).map((to, at) => curve(stops[at], to));
  });
  return { ...placed, curves };
}

/** From the right side of one stop to the left side of the next, with the distance of the control points. */
function curve(from, to) {
  const middle = ({ y, passed }) => (passed ? y : y + BOX.boxHeight / 2);
  const [x1, y1, x2, y2] = [from.x + BOX.boxWidth, middle(from), to.x, middle(to)];
  return { x1, y1, x2, y2, bend: Math.max(40, (x2 - x1) / 2) };
}

const drawn = (curves) =>
  curves
    .map(
      ({ x1, y1, x2, y2, bend }, at) =>
        `${at ? "L" : "M"}${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`,
    )
    .join("");

function edgeLine(edge, now, curves, most, near) {
  const share = () => Math.log1p(now.value?.samples_s ?? 0) / Math.log1p(most.value);
  return s("path", {
    class: () => [
      "edge",
      !now.value?.samples_s && "is-still",
      isFar(edge, near) && "is-far",
      isNear(edge, near) && "is-near",
    ],
    d: drawn(curves),
    "stroke-width": () => (1.25 + 4.5 * share()).toFixed(2),
  });
}

const isNear = (edge, near) => near.value && (edge.from === near.value || edge.to === near.value);
const isFar = (edge, near) => near.value && !isNear(edge, near);

function edgeLabel(edge, now, at, near) {
  const text = () => (now.value ? rate(now.value.samples_s) : "");
  return s(
    "text",
    {
      class: () => ["edge-label live", isFar(edge, near) && "is-far"],
      x: at.x,
      y: at.y,
      "text-anchor": "middle",
      "dominant-baseline": "middle",
    },
    s("title", {}, () => edgeTitle(now.value)),
    text,
  );
}

const nameOf = (id) => id.slice(id.indexOf(":") + 1);

const edgeTitle = (edge) =>
  edge
    ? `${nameOf(edge.from)} → ${nameOf(edge.to)}: ${[rate(edge.samples_s), edge.bytes_s === undefined ? "" : byteRate(edge.bytes_s)].filter(Boolean).join(", ")}`
    : "";

/** Where on its first curve each label stands, so that none lies on another. */
function labelPlaces(every) {
  const taken = [];
  return every.map(([{ x1, y1, x2, y2, bend }]) => {
    const at = (u) => {
      const v = 1 - u;
      return {
        x: v ** 3 * x1 + 3 * v * v * u * (x1 + bend) + 3 * v * u * u * (x2 - bend) + u ** 3 * x2,
        y: v ** 3 * y1 + 3 * v * v * u * y1 + 3 * v * u * u * y2 + u ** 3 * y2,
      };
    };
    const free =
      [0.5, 0.4, 0.6, 0.3, 0.7, 0.25, 0.75]
        .map(at)
        .find((one) => taken.every((other) => Math.abs(one.x - other.x) > 62 || Math.abs(one.y - other.y) > 15)) ??
      at(0.5);
    taken.push(free);
    return free;
  });
}

function nodeBox(node, now, at, near, far) {
  const show = (id) => () => (near.value = id);
  return s(
    "a",
    {
      class: () => ["node", `is-${node.kind}`, stateClass(now.value?.state), far(node.id) && "is-far"],
      href: PLACES[node.kind](node.name),
      "aria-label": () => nodeLabel(node, now.value),
      onMouseenter: show(node.id),
      onFocus: show(node.id),
      onMouseleave: show(""),
      onBlur: show(""),
      transform: `translate(${at.x} ${at.y})`,
    },
    s("title", {}, () =>
      [word("kind", node.kind), node.name, now.value?.detail, (node.steps ?? []).join(" → ")]
        .filter(Boolean)
        .join("\n"),
    ),
    s("rect", { class: "node-box", width: BOX.boxWidth, height: BOX.boxHeight, rx: 8 }),
    s("rect", { class: "node-side", width: 5, height: BOX.boxHeight, rx: 2.5 }),
    s(
      "foreignObject",
      { x: 5, y: 0, width: BOX.boxWidth - 5, height: BOX.boxHeight },
      h(
        "div",
        { class: "node-text" },
        h("div", { class: "node-head" }, h("span", { class: "node-name" }, node.name), () =>
          node.kind === "pipeline" && now.value?.state === "up" ? null : linkState(now.value?.state),
        ),
        h(
          "div",
          { class: "node-foot" },
          h("span", { class: "node-type" }, node.kind === "pipeline" ? stepsText(node.steps) : node.type),
          h("span", { class: "node-rate live" }, () => rate(now.value?.samples_s)),
        ),
      ),
    ),
  );
}

const stepsText = (steps) => (steps?.length ? steps.join(" → ") : t("graph.no_steps"));
const stateClass = (value) =>
  value === "up" ? "is-up" : value === "down" || value === "failing" ? "is-down" : "is-other";
const nodeLabel = (node, now) =>
  `${word("kind", node.kind)} ${node.name}, ${word("link", now?.state ?? "unknown")}, ${rate(now?.samples_s)}`;
