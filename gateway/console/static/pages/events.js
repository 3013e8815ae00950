// What happened: the gateway's log as it comes, and what devices sent that could not be used.

import {
  button,
  card,
  choice,
  emptyState,
  errorText,
  level,
  note,
  pageHead,
  searchField,
  tabs,
} from "../components/basics.js";
import { dialog } from "../components/dialog.js";
import { table } from "../components/table.js";
import { get } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { bytes, count, dateTime, timeOfDay, word } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { computed, effect, onEnd, signal, untracked } from "../lib/signal.js";

export const texts = ["events"];
export const styles = ["events"];

const KEPT = 2000;
const SHOWN = 300;
const LEVELS = ["debug", "info", "warning", "error"];
const LOOK_MS = 2000;

export function render(page) {
  const chosen = signal(page.route.peek().path[0] ?? "log");
  return h(
    "div",
    {},
    pageHead(t("shell.page_events")),
    tabs(
      t("shell.page_events"),
      [
        ["log", t("events.log"), () => log(page)],
        ["rejected", t("events.rejected"), () => rejected(page)],
      ],
      chosen,
    ),
  );
}

function log(page) {
  const all = signal([]);
  const paused = signal(false);
  const least = signal("debug");
  const wanted = signal("");
  collect(page, all, paused);
  const rows = computed(() => filtered(all.value, least.value, wanted.value.toLowerCase()));
  return h(
    "div",
    {},
    h(
      "div",
      { class: "toolbar" },
      searchField(t("events.search"), { take: (text) => (wanted.value = text.trim()) }),
      choice(
        t("events.level"),
        LEVELS.map((name) => [
          name,
          name === "debug" ? t("events.all_levels") : t("events.from_level", { level: word("level", name) }),
        ]),
        least,
      ),
      h("div", { class: "toolbar-end" }, () =>
        button(paused.value ? t("events.go_on") : t("events.pause"), {
          icon: paused.value ? "play" : "pause",
          onClick: () => (paused.value = !paused.peek()),
        }),
      ),
    ),
    card(
      { pad: false },
      table({
        label: t("events.log"),
        class: "log",
        columns: [
          {
            id: "time",
            label: t("events.time"),
            class: "log-time",
            cell: (row) =>
              h("time", { title: dateTime(row.peek().time_ms, { millis: true }) }, logTime(row.peek().time_ms)),
          },
          { id: "level", label: t("events.level"), class: "log-level", cell: (row) => level(row.peek().level) },
          { id: "source", label: t("events.source"), class: "log-source", cell: (row) => row.peek().source },
          { id: "text", label: t("events.text"), class: "log-text", cell: (row) => row.peek().text },
        ],
        rows: () => rows.value,
        key: (row) => row.number,
        empty: () =>
          emptyState({
            icon: "events",
            title: all.peek().length ? t("events.no_match") : t("events.nothing"),
            text: all.peek().length ? t("events.no_match_text") : t("events.nothing_text"),
          }),
      }),
      () =>
        rows.value.length === SHOWN ? h("p", { class: "muted small log-more" }, t("events.shown", { n: SHOWN })) : null,
    ),
  );
}

const logTime = (ms) =>
  new Date(ms).toDateString() === new Date().toDateString() ? timeOfDay(ms, { millis: true }) : dateTime(ms);

/** Lines of the stream, by their number: a stream that begins anew repeats lines, a gateway that does begins at 1. */
function collect(page, all, paused) {
  const stream = page.live("events");
  let last = 0;
  effect(() => {
    const news = stream.value;
    const held = paused.value;
    if (!news || held) return;
    untracked(() => {
      if (news.last < last) last = 0;
      const fresh = news.events.filter((event) => event.number > last);
      if (!fresh.length) return;
      const kept = last ? all.peek() : [];
      last = fresh.at(-1).number;
      all.value = [...fresh.reverse(), ...kept].slice(0, KEPT);
    });
  });
  effect(() => {
    if (paused.value || !last) return;
    get("events", { after: last }, { signal: page.abort }).then(
      (missed) => (stream.value = missed),
      () => {},
    ); // what came during the pause
  });
}

function filtered(events, least, wanted) {
  const rank = LEVELS.indexOf(least);
  const fits = (event) =>
    (LEVELS.indexOf(event.level) + 1 || LEVELS.length + 1) > rank &&
    (!wanted || `${event.source} ${event.text}`.toLowerCase().includes(wanted));
  return events.filter(fits).slice(0, SHOWN);
}

function rejected(page) {
  const all = signal(null);
  const problem = signal(null);
  const wanted = signal("");
  let last = 0;
  const look = async () => {
    if (document.visibilityState === "hidden") return;
    try {
      const found = await get("rejected", { after: last }, { signal: page.abort });
      if (found.last < last) all.value = [];
      last = found.last;
      if (found.rejected.length || all.peek() === null)
        all.value = [...found.rejected.reverse(), ...(all.peek() ?? [])].slice(0, KEPT);
      problem.value = null;
    } catch (error) {
      if (error.name !== "AbortError" && error.status) problem.value = error;
    }
  };
  look();
  const timer = setInterval(look, LOOK_MS);
  onEnd(() => clearInterval(timer));
  const rows = computed(
    () =>
      all.value &&
      all.value
        .filter(
          (one) =>
            !wanted.value ||
            `${one.adapter} ${one.reason} ${one.where} ${one.detail}`.toLowerCase().includes(wanted.value),
        )
        .slice(0, SHOWN),
  );
  return h(
    "div",
    {},
    h("p", { class: "muted events-intro" }, t("events.rejected_text")),
    h(
      "div",
      { class: "toolbar" },
      searchField(t("events.search_rejected"), { take: (text) => (wanted.value = text.trim().toLowerCase()) }),
    ),
    () => (problem.value ? note("bad", errorText(problem.value)) : null),
    card(
      { pad: false },
      table({
        label: t("events.rejected"),
        columns: [
          {
            id: "time",
            label: t("events.time"),
            class: "log-time",
            cell: (row) => logTime(row.peek().time_ms ?? row.peek().time_ns / 1e6),
          },
          { id: "adapter", label: t("events.adapter"), cell: (row) => row.peek().adapter },
          { id: "reason", label: t("events.reason"), cell: (row) => word("reason", row.peek().reason) },
          {
            id: "where",
            label: t("events.where"),
            class: "break",
            cell: (row) => [h("div", {}, row.peek().where), h("div", { class: "muted small" }, row.peek().detail)],
          },
          { id: "size", label: t("events.size"), num: true, cell: (row) => bytes(row.peek().size) },
          {
            id: "payload",
            label: t("events.payload"),
            class: "payload-cell",
            cell: (row) =>
              h(
                "button",
                { type: "button", class: "payload", onClick: () => showPayload(row.peek()) },
                payloadText(row.peek()).slice(0, 40) || t("events.empty"),
              ),
          },
        ],
        rows: () => rows.value,
        key: (row) => row.number,
        empty: () =>
          emptyState({ icon: "circle", title: t("events.none_rejected"), text: t("events.none_rejected_text") }),
      }),
    ),
  );
}

const payloadText = (one) => one.payload ?? spaced(one.payload_hex ?? "");
const spaced = (digits) => digits.replace(/(..)(?=.)/g, "$1 ");

function showPayload(one) {
  dialog({
    title: t("events.payload_of", { where: one.where || one.adapter }),
    wide: true,
    content: () =>
      h(
        "div",
        { class: "stack" },
        h("p", {}, word("reason", one.reason), one.detail ? `: ${one.detail}` : ""),
        h("pre", { class: "payload-full", tabindex: "0" }, h("code", {}, payloadText(one))),
        one.size > 1024 ? h("p", { class: "muted" }, t("events.cut", { all: count(one.size) })) : null,
      ),
  });
}
