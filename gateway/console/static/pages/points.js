// All points: found by the gateway, shown by pages, alive while they are on the screen.

import {
  ageOf,
  button,
  card,
  choice,
  emptyState,
  errorText,
  iconButton,
  note,
  pageHead,
  quality,
  searchField,
} from "../components/basics.js";
import { drawer } from "../components/dialog.js";
import { pointDetail, valueText } from "../components/point.js";
import { table } from "../components/table.js";
import { address, get } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count, unit } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { followPoints } from "../lib/live.js";
import { link } from "../lib/router.js";
import { Scope, computed, effect, onEnd, signal, untracked } from "../lib/signal.js";

export const texts = ["points"];
export const styles = ["points"];

const PAGE = 100;
const WAIT_MS = 50;

export function render(page) {
  const asked = signal(fromAddress(page.route.peek().params));
  const answer = signal(null);
  const problem = signal(null);
  const alive = new Map(); // id -> signal of its newest sample
  const watch = followPoints((update) => {
    const one = alive.get(update.id);
    if (one) one.value = update;
  });
  search(page, asked, answer, problem, alive, watch);
  keepAddress(page, asked);
  details(page, asked);
  return h(
    "div",
    { class: "points" },
    pageHead(t("shell.page_points"), { actions: [exportButton(asked)] }),
    toolbar(asked, answer),
    () => (problem.value ? note("bad", errorText(problem.value)) : null),
    card({ pad: false }, grid(page, asked, answer), pager(asked, answer)),
  );
}

const fromAddress = (params) => ({
  q: params.get("q") ?? "",
  device: params.get("device") ?? "",
  quality: params.get("quality") ?? "",
  state: params.get("state") ?? "",
  sort: params.get("sort") ?? "name",
  descending: params.get("descending") === "true",
  offset: Math.max(0, Number.parseInt(params.get("offset") ?? "0", 10) || 0),
});

const toAddress = ({ sort, offset, ...rest }) => ({ ...rest, sort: sort === "name" ? "" : sort, offset: offset || "" });

/** Ask whenever what is asked changes; an answer that was overtaken is not shown. */
function search(page, asked, answer, problem, alive, watch) {
  let under = null;
  const ask = async () => {
    under?.abort();
    const mine = (under = new AbortController());
    try {
      const found = await get("points", { ...asked.peek(), limit: PAGE }, { signal: mine.signal });
      if (mine.signal.aborted) return;
      for (const row of found.rows) row.now = fresh(alive, row);
      const shown = new Set(found.rows.map((row) => row.id));
      for (const id of alive.keys()) if (!shown.has(id)) alive.delete(id);
      watch([...shown]);
      problem.value = null;
      answer.value = found;
    } catch (error) {
      if (error.name !== "AbortError") problem.value = error;
    }
  };
  effect(() => {
    void asked.value;
    untracked(ask);
  });
  onEnd(() => under?.abort());
}

function fresh(alive, { id, value, text, time_ms, quality: bits, reason }) {
  const now = { id, value, text, time_ms, quality: bits, reason };
  const known = alive.get(id);
  if (known) known.value = now;
  else alive.set(id, signal(now));
  return alive.get(id);
}

/** What is asked and the address say the same, whichever changes. */
function keepAddress(page, asked) {
  let written = "";
  const text = (query) => JSON.stringify(toAddress(query));
  effect(() => {
    const query = toAddress(asked.value);
    untracked(() => {
      written = text(asked.peek());
      page.address(page.route.peek().path, query);
    });
  });
  effect(() => {
    const found = fromAddress(page.route.value.params);
    untracked(() => {
      if (text(found) !== written) asked.value = found;
    });
  });
}

/** The drawer of a point follows the address. */
function details(page, asked) {
  let shown = null;
  const name = computed(() => page.route.value.path[0] ?? "");
  const scope = new Scope();
  effect(() => {
    const wanted = name.value;
    untracked(() => {
      const before = shown;
      shown = null;
      before?.close();
      if (!wanted) return;
      const mine = (shown = scope.run(() =>
        drawer({
          title: wanted,
          content: () => pointDetail(wanted),
          onClose: () => {
            if (shown !== mine) return;
            shown = null;
            if (page.route.peek().path[0] === wanted) page.address([], toAddress(asked.peek()));
          },
        }),
      ));
    });
  });
}

function toolbar(asked, answer) {
  const change = (part) => (asked.value = { ...asked.peek(), offset: 0, ...part });
  const chosen = (key) => [computed(() => asked.value[key]), { onChange: (value) => change({ [key]: value }) }];
  const [bits, onBits] = chosen("quality");
  const [stale, onStale] = chosen("state");
  return h(
    "div",
    { class: "toolbar" },
    searchField(t("points.search"), {
      id: "points-search",
      value: () => asked.value.q,
      wait: WAIT_MS,
      take: (q) => change({ q }),
    }),
    choice(
      t("points.quality"),
      [
        ["", t("points.any_quality")],
        ...["good", "questionable", "invalid"].map((one) => [one, t(`words.validity_${one}`)]),
      ],
      bits,
      onBits,
    ),
    choice(
      t("points.state"),
      [
        ["", t("points.any_state")],
        ["stale", t("points.stale")],
      ],
      stale,
      onStale,
    ),
    () =>
      asked.value.device
        ? button(t("points.only_device", { name: asked.value.device }), {
            icon: "close",
            small: true,
            title: t("points.all_devices"),
            onClick: () => change({ device: "" }),
          })
        : null,
    h("span", { class: "toolbar-end muted points-count", "aria-live": "polite", id: "points-count" }, () =>
      answer.value ? t("points.matched", { n: answer.value.matched, total: count(answer.value.total) }) : "",
    ),
  );
}

function grid(page, asked, answer) {
  const sort = computed(() => ({ id: asked.value.sort, descending: asked.value.descending }));
  effect(() => {
    const { id, descending } = sort.value;
    untracked(() => {
      const now = asked.peek();
      if (now.sort !== id || now.descending !== descending) asked.value = { ...now, sort: id, descending, offset: 0 };
    });
  });
  const address_ = (name) => link("points", name, toAddress(asked.peek()));
  const open = (row) => (location.hash = address_(row.name));
  return table({
    label: t("shell.page_points"),
    class: "points-table",
    columns: [
      {
        id: "name",
        label: t("points.name"),
        sortable: true,
        class: "points-name",
        cell: (row) =>
          h(
            "a",
            {
              href: address_(row.peek().name),
              onClick: (event) => {
                event.currentTarget.href = address_(row.peek().name);
              },
            },
            row.peek().name,
          ),
      },
      {
        id: "value",
        label: t("points.value"),
        sortable: true,
        num: true,
        class: "points-value",
        cell: (row) =>
          h(
            "span",
            { class: "live" },
            h("span", {}, () => valueText(row.value.now.value)),
            h("span", { class: "points-unit" }, () => unit(row.value.unit)),
          ),
      },
      {
        id: "quality",
        label: t("points.quality"),
        sortable: true,
        class: "points-quality",
        cell: (row) => h("span", { class: "live" }, qualityCell(row)),
      },
      {
        id: "age",
        label: t("points.age"),
        sortable: true,
        num: true,
        class: "points-age",
        cell: (row) =>
          h(
            "span",
            { class: "live" },
            ageOf(() => row.value.now.value.time_ms),
          ),
      },
      {
        id: "adapter",
        label: t("points.adapter"),
        class: "points-adapter",
        cell: (row) => h("span", { class: "muted" }, () => row.value.adapter ?? ""),
      },
    ],
    rows: () => answer.value?.rows,
    key: (row) => row.id,
    open,
    sort,
    empty: () => nothing(asked, answer),
  });
}

/** Made again only when the words change, not with each value. */
function qualityCell(row) {
  const said = computed(() => {
    const now = row.value.now.value;
    return now.time_ms === null ? "" : `${now.quality} ${now.reason ?? ""}`;
  });
  return () => {
    if (!said.value) return h("span", { class: "muted" }, t("points.never"));
    const [bits, ...reason] = said.value.split(" ");
    return quality(Number(bits), reason.join(" "));
  };
}

function nothing(asked, answer) {
  if (answer.peek()?.total === 0)
    return emptyState({
      icon: "points",
      title: t("points.none"),
      text: t("points.none_text"),
      action: h("a", { class: "button", href: link("config") }, t("shell.page_config")),
    });
  return emptyState({
    icon: "search",
    title: t("points.no_match"),
    text: t("points.no_match_text"),
    action: button(t("points.clear"), { onClick: () => (asked.value = fromAddress(new URLSearchParams())) }),
  });
}

function pager(asked, answer) {
  const matched = computed(() => answer.value?.matched ?? 0);
  const offset = computed(() => asked.value.offset);
  const to = (place) => () => {
    asked.value = { ...asked.peek(), offset: Math.max(0, place()) };
    scrollTo({ top: 0 });
  };
  const last = () => Math.max(0, Math.floor((matched.value - 1) / PAGE) * PAGE);
  const atStart = () => offset.value === 0;
  const atEnd = () => offset.value + PAGE >= matched.value;
  return h(
    "div",
    { class: () => ["pager", matched.value <= PAGE && offset.value === 0 && "hidden"] },
    iconButton("first", t("points.first_page"), { onClick: to(() => 0), disabled: atStart }),
    iconButton("left", t("points.page_before"), { onClick: to(() => offset.peek() - PAGE), disabled: atStart }),
    h("span", { class: "pager-text" }, () =>
      t("points.range", {
        from: count(Math.min(offset.value + 1, matched.value)),
        to: count(Math.min(offset.value + PAGE, matched.value)),
        all: count(matched.value),
      }),
    ),
    iconButton("right", t("points.page_after"), { onClick: to(() => offset.peek() + PAGE), disabled: atEnd }),
    iconButton("last", t("points.last_page"), { onClick: to(last), disabled: atEnd }),
  );
}

const exportButton = (asked) => {
  const made = button(t("points.export"), { icon: "download", href: "#", download: "points.csv" });
  effect(() => {
    const { q, device, quality: bits, state } = asked.value;
    made.href = address("points.csv", { q, device, quality: bits, state });
  });
  return made;
};
