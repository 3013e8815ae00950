// Before a change is made: what differs in the text, what a reload would touch, why it is done.

import { button, card, errorText, field, note, spinner } from "../components/basics.js";
import { changesView, diffView } from "../components/diff.js";
import { dialog, toast } from "../components/dialog.js";
import { post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { signal } from "../lib/signal.js";

const WAITS = [0, 60, 300, 900];

/** Show what a draft changes, and bring it into effect if that is wanted and possible. */
export function review(draft, { able }) {
  compare({
    title: able ? t("config.review") : t("config.see_diff"),
    files: draft.files.peek(),
    able,
    yes: t("config.apply"),
    act: (comment, confirm_s) => draft.apply(comment, confirm_s),
    done: () => draft.load({ keep: false }),
    conflict: () => draft.load(),
    refused: (problems) => draft.told(problems),
  });
}

/** Show what it would mean to go back to a version, and do it. */
export function goBack(draft, version, files, { able }) {
  compare({
    title: t("config.back_to", { version }),
    files,
    able,
    yes: t("config.roll_back"),
    act: (comment, confirm_s) => post("config/rollback", { version, comment, ...(confirm_s ? { confirm_s } : {}) }),
    done: () => draft.load({ keep: false }),
    conflict: () => draft.load(),
    refused: () => {},
  });
}

function compare({ title, files, able, yes, act, done, conflict, refused }) {
  const found = signal(null);
  const problem = signal(null);
  const busy = signal(false);
  const look = () => post("config/diff", { files }).then((answer) => (found.value = answer), (error) => (problem.value = { text: errorText(error) }));
  look();
  const comment = h("input", { class: "input", maxlength: 500, autocomplete: "off", placeholder: t("config.comment_hint") });
  const wait = h("select", { class: "select" }, WAITS.map((seconds) => h("option", { value: String(seconds) }, seconds ? t("config.undo_after", { n: seconds / 60 }) : t("config.undo_never"))));
  const errors = () => (found.value?.problems ?? []).filter((one) => one.severity !== "warning");
  const ready = () => able && found.value && !errors().length && (found.value.diff || found.value.changes) && !busy.value;
  const send = async (close) => {
    busy.value = true;
    try {
      const { version } = await act(comment.value.trim(), Number(wait.value));
      await done();
      close();
      toast(t("config.runs", { version }));
    } catch (error) {
      problem.value = { text: errorText(error), conflict: error.status === 409 };
      if (error.problems?.length) {
        refused(error.problems);
        problem.value = { text: errorText(error), problems: error.problems };
      }
    }
    busy.value = false;
  };
  const again = async (close) => {
    await conflict().catch(() => {});
    close();
  };
  dialog({
    title,
    wide: true,
    content: () => h("div", { class: "stack review" },
      () => trouble(problem.value),
      () => (found.value || problem.value ? null : spinner()),
      () => (found.value ? whatChanges(found.value, errors()) : null),
      able ? h("div", { class: "review-form" }, field(t("config.comment"), comment), field(t("config.undo"), wait, { hint: t("config.undo_hint") })) : note("info", t("config.not_from_here"))),
    actions: (close) => [
      () => (problem.value?.conflict ? button(t("config.load_theirs"), { onClick: () => again(close) }) : button(able ? t("shell.cancel") : t("shell.close"), { onClick: close })),
      able ? () => button(busy.value ? t("config.applying") : yes, { kind: "primary", icon: "check", disabled: !ready() || problem.value?.conflict, onClick: () => send(close) }) : null,
    ].filter(Boolean).map((one) => (typeof one === "function" ? h("span", {}, one) : one)),
  });
}

function trouble(problem) {
  if (!problem) return null;
  return note(problem.conflict ? "warn" : "bad", h("strong", {}, problem.text), problem.conflict ? ` ${t("config.conflict_text")}` : "", problem.problems ? lines(problem.problems) : null);
}

const lines = (problems) => h("ul", { class: "small mono" }, problems.map((one) => h("li", {}, `${one.file}:${one.line}:${one.column}: ${one.path}: ${one.message}`)));

function whatChanges({ diff, changes }, errors) {
  return h("div", { class: "stack" },
    errors.length ? note("bad", h("strong", {}, t("config.cannot_apply", { n: errors.length })), lines(errors)) : null,
    changes ? card({ title: t("config.touches") }, changesView(changes)) : null,
    h("div", {}, h("h3", { class: "review-head" }, t("config.text_changes")), diffView(diff)));
}
