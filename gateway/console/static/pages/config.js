// The configuration: edit it with help, see what a change does, bring it into effect, go back; and what holds now.

import { button, errorText, note, pageHead, tabs } from "../components/basics.js";
import { confirm, toast } from "../components/dialog.js";
import { mayChange, post, session } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { now } from "../lib/live.js";
import { route } from "../lib/router.js";
import { computed, effect, onEnd, signal, untracked } from "../lib/signal.js";
import { Draft } from "./config-draft.js";
import { editing } from "./config-edit.js";
import { effectiveRows } from "./config-effective.js";
import { review } from "./config-review.js";
import { versionList } from "./config-versions.js";

export const texts = ["config"];
export const styles = ["config"];

const LOOK_MS = 15000;

let draft = new Draft();
let draftOf = null; // the session that it belongs to

addEventListener("beforeunload", (event) => {
  if (draft.info.peek() && draft.changed()) event.preventDefault();
});

export function render(page) {
  if (draftOf !== session.peek()?.gateway) [draft, draftOf] = [new Draft(), session.peek()?.gateway];
  const admin = session.peek()?.role === "admin";
  const part = signal(page.route.peek().path[0] ?? (admin ? "edit" : "effective"));
  effect(() => {
    const wanted = page.route.value.path[0] ?? (admin ? "edit" : "effective");
    untracked(() => route.peek().id === page.id && (part.value = wanted));
  });
  let first = true;
  effect(() => {
    const path = part.value === "edit" ? [] : [part.value];
    if (!first) untracked(() => page.address(path));
    first = false;
  });
  let jump = null;
  const changed = computed(() => draft.changedNames());
  const parts = [
    ...(admin ? [["edit", t("config.tab_edit"), null], ["versions", t("config.tab_versions"), () => versionList(page, draft)]] : []),
    ["effective", t("config.tab_effective"), () => effectiveRows(page, jump)],
  ];
  if (!admin) return h("div", {}, pageHead(t("shell.page_config")), note("info", t("config.only_admin")), tabs(t("shell.page_config"), parts, part));
  const shelf = look(page);
  const editor = editing(page, draft);
  parts[0][2] = () => editor.element;
  jump = (place) => {
    part.value = "edit";
    editor.jump(place);
  };
  return h("div", { class: "config" },
    pageHead(t("shell.page_config"), { actions: actions(changed) }),
    h("div", { class: "banners" }, shelf, unconfirmed(), readOnly()),
    tabs(t("shell.page_config"), parts, part));
}

/** Ask for what is on disk, and again now and then: somebody else may change it. */
function look(page) {
  const problem = signal("");
  const clashes = signal([]);
  const ask = async () => {
    try {
      const found = await draft.load({ abort: page.abort });
      if (found.clashes.length) clashes.value = found.clashes;
      problem.value = "";
    } catch (error) {
      if (error.name !== "AbortError") problem.value = errorText(error);
    }
  };
  ask();
  const timer = setInterval(() => document.visibilityState === "visible" && ask(), LOOK_MS);
  onEnd(() => clearInterval(timer));
  return h("div", {},
    () => (problem.value ? note("bad", problem.value) : null),
    () => (clashes.value.length ? note("warn", t("config.clash", { names: clashes.value.join(", ") }), " ", button(t("config.understood"), { small: true, onClick: () => (clashes.value = []) })) : null),
    () => (draft.info.value && !draft.info.value.running ? note("warn", t("config.not_running")) : null));
}

/** A change that is undone by itself: how long it still has, keep it or take it back. */
function unconfirmed() {
  const decide = async (keep) => {
    try {
      await post("config/confirm", { keep });
      toast(keep ? t("config.kept") : t("config.taken_back"));
    } catch (error) {
      toast(errorText(error), "bad");
    }
    await draft.load().catch(() => {});
  };
  const waits = computed(() => draft.undoneAt.value !== null);
  effect(() => {
    if (draft.undoneAt.value !== null && now.value > draft.undoneAt.value + 1000) untracked(() => {
      draft.undoneAt.value = null;
      draft.load().catch(() => {});
    });
  });
  return () => waits.value
    ? note("warn", h("strong", {}, () => t("config.unconfirmed", { left: duration(Math.max(0, ((draft.undoneAt.value ?? 0) - now.value) / 1000)) })), " ", t("config.unconfirmed_text"),
        h("div", { class: "row banner-actions" }, button(t("config.keep"), { kind: "primary", small: true, onClick: () => decide(true) }), button(t("config.take_back"), { small: true, onClick: () => decide(false) })))
    : null;
}

/** Why nothing can be applied from here. */
function readOnly() {
  return () => {
    const info = draft.info.value;
    if (!info) return null;
    if (session.value?.read_only) return note("info", h("strong", {}, t("config.console_read_only")), ` ${t("config.console_read_only_text")}`);
    if (info.writable) return null;
    return note("info", h("strong", {}, t("config.read_only")), ` ${info.why_not}`, info.instead && !info.why_not.includes(info.instead) ? h("pre", { class: "instead" }, info.instead) : null);
  };
}

function actions(changed) {
  const able = () => mayChange() && draft.info.value?.writable;
  const drop = async () => {
    if (await confirm({ title: t("config.discard"), text: t("config.discard_text"), yes: t("config.discard"), kind: "danger" })) draft.discard();
  };
  return [
    () => (changed.value.length ? button(t("config.discard"), { icon: "undo", onClick: drop }) : null),
    () => button(able() || !draft.info.value ? t("config.review") : t("config.see_diff"), { kind: "primary", icon: "check", disabled: !changed.value.length, onClick: () => review(draft, { able: able() }) }),
  ];
}
