// The frame around all pages, and what puts a page into it.

import { pageContext } from "./page.js";
import { icon } from "./components/icon.js";
import { button, emptyState, spinner, state } from "./components/basics.js";
import { post, session } from "./lib/api.js";
import { h } from "./lib/dom.js";
import { age, timeOfDay } from "./lib/format.js";
import { LANGUAGES, language, loadTexts, setLanguage, t } from "./lib/i18n.js";
import { connection, follow, gatewayNow, heardAt, now, reconnectNow, resetLive } from "./lib/live.js";
import { HOME, link, route } from "./lib/router.js";
import { Scope, computed, effect, signal, untracked } from "./lib/signal.js";
import { loadStyle } from "./lib/style.js";
import { theme, toggleTheme } from "./lib/theme.js";
import { GROUPS, PAGES } from "./pages.js";

export function shell() {
  const overview = follow("overview");
  const menuOpen = signal(false);
  const main = h("main", { class: "main", id: "main", tabindex: "-1" });
  effect(() => {
    document.documentElement.dataset.connection = connection.value;
  });
  showPages(main, menuOpen);
  return h(
    "div",
    {
      class: "shell",
      "data-menu": () => (menuOpen.value ? "open" : "closed"),
      onKeydown: (event) => event.key === "Escape" && (menuOpen.value = false),
    },
    h("a", { class: "skip", href: "#main", onClick: skip(main) }, t("shell.skip")),
    navigation(overview, menuOpen),
    () =>
      menuOpen.value
        ? h("button", {
            class: "nav-backdrop",
            "aria-label": t("shell.close_menu"),
            tabindex: "-1",
            onClick: () => (menuOpen.value = false),
          })
        : null,
    h("div", { class: "column" }, bar(overview, menuOpen), main),
    lostNote(),
  );
}

const skip = (main) => (event) => {
  event.preventDefault();
  main.focus();
};

function navigation(overview, menuOpen) {
  const counts = {
    alerts: computed(() => alertCount(overview.value?.alerts)),
    findings: computed(() => ({ n: overview.value?.findings ?? 0, level: "" })),
  };
  return h(
    "nav",
    { class: "nav", id: "nav", "aria-label": t("shell.navigation") },
    h(
      "div",
      { class: "nav-brand" },
      h("a", { href: link(HOME) }, h("img", { src: "/static/img/logo.svg", width: 30, height: 30, alt: "" }), "onpath"),
    ),
    GROUPS.map((group) =>
      h(
        "div",
        { class: "nav-group" },
        h("h2", {}, t(`shell.group_${group}`)),
        h(
          "ul",
          {},
          PAGES.filter((page) => page.group === group).map((page) =>
            h("li", {}, navLink(page, counts[page.id], menuOpen)),
          ),
        ),
      ),
    ),
    h("p", { class: "nav-foot" }, () => (session.value ? `onpath ${session.value.version}` : "")),
  );
}

function navLink(page, counted, menuOpen) {
  return h(
    "a",
    {
      class: "nav-link",
      href: link(page.id),
      "aria-current": () => (route.value.id === page.id ? "page" : null),
      onClick: () => {
        menuOpen.value = false;
      },
    },
    icon(page.icon),
    t(`shell.page_${page.id}`),
    () =>
      counted?.value.n
        ? h(
            "span",
            { class: ["nav-count", counted.value.level && `is-${counted.value.level}`] },
            counted.value.n > 99 ? "99+" : counted.value.n,
          )
        : null,
  );
}

const alertCount = (alerts) => ({
  n: (alerts?.info ?? 0) + (alerts?.warning ?? 0) + (alerts?.critical ?? 0),
  level: alerts?.critical ? "bad" : alerts?.warning ? "warn" : "",
});

function bar(overview, menuOpen) {
  return h(
    "header",
    { class: "top" },
    h(
      "button",
      {
        class: "tool menu-button",
        type: "button",
        "aria-label": t("shell.menu"),
        "aria-controls": "nav",
        "aria-expanded": () => String(menuOpen.value),
        onClick: () => openMenu(menuOpen),
      },
      icon("menu"),
    ),
    h(
      "div",
      { class: "top-state" },
      h("span", { class: "top-gateway", title: t("shell.gateway") }, () => session.value?.gateway ?? ""),
      health(overview),
    ),
    h(
      "div",
      { class: "top-tools" },
      h("span", { class: "top-clock live", title: t("shell.clock") }, () => timeOfDay(gatewayNow())),
      languageTool(),
      h(
        "button",
        {
          class: "tool",
          type: "button",
          "aria-label": () => t(theme.value === "dark" ? "shell.to_light" : "shell.to_dark"),
          title: () => t(theme.value === "dark" ? "shell.to_light" : "shell.to_dark"),
          onClick: toggleTheme,
        },
        () => icon(theme.value === "dark" ? "sun" : "moon"),
      ),
      h(
        "button",
        {
          class: "tool",
          type: "button",
          "aria-label": t("shell.sign_out"),
          title: t("shell.sign_out"),
          onClick: signOut,
        },
        icon("leave"),
      ),
    ),
  );
}

function openMenu(menuOpen) {
  menuOpen.value = !menuOpen.peek();
  if (menuOpen.peek())
    requestAnimationFrame(() => document.querySelector(".nav-link[aria-current], .nav-link")?.focus());
}

/** The other language is one press away. */
export function languageTool() {
  const other = Object.keys(LANGUAGES).find((name) => name !== language.peek());
  return h(
    "button",
    {
      class: "tool tool-text",
      type: "button",
      lang: other,
      title: LANGUAGES[other],
      onClick: () => setLanguage(other),
    },
    icon("language"),
    h("span", {}, LANGUAGES[other]),
  );
}

function health(overview) {
  return h("a", { class: "health live", href: link(HOME), "aria-live": "polite" }, () => {
    const at = overview.value?.health;
    return at
      ? state(
          { ok: "ok", degraded: "warn", failing: "bad" }[at] ?? "idle",
          h("span", { class: "chip-text-long" }, t(`words.health_${at}`)),
        )
      : null;
  });
}

async function signOut() {
  try {
    await post("logout");
  } finally {
    session.value = null;
    resetLive();
  }
}

function lostNote() {
  return h("div", { "aria-live": "assertive" }, () =>
    connection.value === "lost"
      ? h(
          "div",
          { class: "lost", role: "alert" },
          icon("warning"),
          h("span", {}, () => t("shell.lost", { age: age((now.value - heardAt.value) / 1000) })),
          button(t("shell.try_now"), { small: true, onClick: reconnectNow }),
        )
      : null,
  );
}

/** Put the page of the route into `main`; what a page made ends with it. */
function showPages(main, menuOpen) {
  const inside = new Scope();
  let turn = 0;
  let first = true;
  let shown = "";
  effect(() => {
    const { id } = route.value;
    if (id === shown) return;
    shown = id;
    untracked(async () => {
      const mine = (turn += 1);
      menuOpen.value = false;
      const entry = PAGES.find((page) => page.id === id);
      const waiting = setTimeout(() => mine === turn && main.replaceChildren(spinner()), 250);
      try {
        const page = entry ? await prepare(entry) : null;
        if (mine !== turn) return;
        inside.clear();
        main.replaceChildren(inside.run(() => (page ? page.render(pageContext(id)) : missing())));
      } catch (error) {
        if (mine !== turn) return;
        console.warn(error);
        inside.clear();
        main.replaceChildren(failed(() => location.reload()));
      } finally {
        clearTimeout(waiting);
      }
      main.dataset.page = id;
      document.title = `${entry ? t(`shell.page_${id}`) : t("shell.missing")} · ${session.peek()?.gateway ?? ""} · onpath`;
      scrollTo(0, 0);
      if (!first) main.querySelector("h1")?.focus({ preventScroll: true });
      first = false;
    });
  });
}

async function prepare(entry) {
  const page = await entry.load();
  await Promise.all([loadTexts(...(page.texts ?? [])), ...(page.styles ?? []).map(loadStyle)]);
  return page;
}

const missing = () =>
  emptyState({
    icon: "search",
    title: t("shell.missing"),
    text: t("shell.missing_text"),
    action: h("a", { class: "button", href: link(HOME) }, t("shell.page_overview")),
  });

const failed = (again) =>
  emptyState({
    icon: "warning",
    title: t("shell.failed"),
    text: t("shell.failed_text"),
    action: button(t("shell.reload"), { onClick: again }),
  });
