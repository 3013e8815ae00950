// Signing in: by the code of a link (`onpath console url`), or by the password.

import { button, errorText, field } from "./components/basics.js";
import { icon } from "./components/icon.js";
import { get, post, session } from "./lib/api.js";
import { h } from "./lib/dom.js";
import { t } from "./lib/i18n.js";
import { resetLive } from "./lib/live.js";
import { signal } from "./lib/signal.js";
import { languageTool } from "./shell.js";
import { theme, toggleTheme } from "./lib/theme.js";

const CODE = /^#code=([\w-]+)/;

export function signIn() {
  const problem = signal("");
  const busy = signal(false);
  const enter = async (with_) => {
    busy.value = true;
    problem.value = "";
    try {
      await post("login", with_);
      session.value = await get("session");
      resetLive();
    } catch (error) {
      problem.value = words(error, with_);
      busy.value = false;
    }
  };
  const code = CODE.exec(location.hash)?.[1];
  if (code) {
    history.replaceState(null, "", location.pathname); // a code works once and does not belong into the history
    enter({ code });
  }
  return h(
    "main",
    { class: "sign-in" },
    h("div", { class: "sign-in-card" }, brand(), form(problem, busy, enter), help(), tools()),
  );
}

/** In the reader's language where that says it all; else as the gateway says it (that no password is set yet). */
function words(error, given) {
  if (error.status === 429) return t("sign_in.too_many");
  if (error.status === 401 && given.code) return t("sign_in.bad_code");
  if (error.status === 401 && error.message === "wrong password") return t("sign_in.bad_password");
  return errorText(error);
}

const brand = () =>
  h(
    "div",
    { class: "sign-in-brand" },
    h("img", { src: "/static/img/logo.svg", width: 44, height: 44, alt: "" }),
    h("div", {}, h("h1", {}, "onpath"), h("p", { class: "muted" }, t("sign_in.subtitle"))),
  );

function form(problem, busy, enter) {
  const input = h("input", {
    class: "input",
    type: "password",
    name: "password",
    autocomplete: "current-password",
    required: true,
    autofocus: true,
    "aria-invalid": () => (problem.value ? "true" : null),
    "aria-describedby": "sign-in-problem",
  });
  const submit = async (event) => {
    event.preventDefault();
    await enter({ password: input.value });
    if (problem.peek()) input.select();
  };
  queueMicrotask(() => input.focus());
  return h(
    "form",
    { onSubmit: submit },
    h("input", {
      class: "hidden",
      type: "text",
      name: "username",
      autocomplete: "username",
      value: "onpath",
      tabindex: "-1",
      "aria-hidden": "true",
    }),
    field(t("sign_in.password"), input),
    h("p", { class: "form-problem", id: "sign-in-problem", role: "alert" }, () => problem.value),
    button(t("sign_in.enter"), { kind: "primary", type: "submit", disabled: () => busy.value }),
  );
}

const help = () =>
  h(
    "details",
    {},
    h("summary", {}, t("sign_in.no_password")),
    h("p", {}, t("sign_in.on_the_box")),
    h("pre", {}, h("code", {}, "onpath console url\nonpath console password --set")),
  );

function tools() {
  const toggle = h(
    "button",
    {
      class: "tool",
      type: "button",
      "aria-label": () => t(theme.value === "dark" ? "shell.to_light" : "shell.to_dark"),
      onClick: toggleTheme,
    },
    () => icon(theme.value === "dark" ? "sun" : "moon"),
  );
  return h("div", { class: "sign-in-tools" }, languageTool(), toggle);
}
