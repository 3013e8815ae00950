// What runs here: versions, plug-ins, and whose work it is built on.

import { card, errorText, facts, note, pageHead, spinner } from "../components/basics.js";
import { table } from "../components/table.js";
import { h } from "../lib/dom.js";
import { count, dateTime } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { signal } from "../lib/signal.js";

export const texts = ["about"];
export const styles = ["about"];

export function render(page) {
  const { data, error } = page.fetch("about");
  return h("div", {}, pageHead(t("shell.page_about")), () =>
    error.value ? note("bad", errorText(error.value)) : data.value ? content(data.value, page) : spinner(),
  );
}

function content(about, page) {
  return h(
    "div",
    { class: "grid" },
    card(
      { class: "about-what" },
      h(
        "div",
        { class: "about-brand" },
        h("img", { src: "/static/img/logo.svg", width: 48, height: 48, alt: "" }),
        h("div", {}, h("h2", {}, `onpath ${about.version}`), h("p", { class: "muted" }, t("about.licence"))),
      ),
      facts([
        [t("about.gateway"), about.gateway],
        [t("about.started"), dateTime(about.started_ms)],
        [t("about.config"), h("code", {}, about.config)],
        [t("about.state"), h("code", {}, about.state)],
        [t("about.python"), about.python],
        [t("about.platform"), about.platform],
        [t("about.api"), h("a", { href: "/api/openapi.json" }, "OpenAPI")],
      ]),
    ),
    card(
      { title: t("about.plugins"), class: "about-plugins" },
      ["adapters", "operators", "uplinks"].map((kind) => plugins(kind, about.plugins[kind] ?? [])),
    ),
    card({ title: t("about.licences"), class: "about-licences", pad: false }, licences(about.licences ?? [], page)),
  );
}

const plugins = (kind, rows) =>
  h(
    "details",
    { class: "about-kind", open: kind !== "operators" },
    h("summary", {}, t(`about.kind_${kind}`), " ", h("span", { class: "tag" }, count(rows.length))),
    h(
      "dl",
      {},
      rows.map((one) => h("div", {}, h("dt", {}, h("code", {}, one.name)), h("dd", {}, one.doc))),
    ),
  );

/** The packages of the gateway, and those of the console if it was built with npm. */
function licences(rows, page) {
  const all = signal(rows);
  fetch("/static/vendor/packages.json", { signal: page.abort })
    .then((answer) => (answer.ok ? answer.json() : []))
    .then(
      (more) => (all.value = [...rows, ...more.map((one) => ({ ...one, console: true }))]),
      () => {},
    );
  return table({
    label: t("about.licences"),
    class: "is-plain",
    columns: [
      {
        id: "name",
        label: t("about.package"),
        cell: (row) => [
          row.peek().name,
          row.peek().console ? h("span", { class: "tag about-tag" }, t("about.in_console")) : null,
        ],
      },
      { id: "version", label: t("about.version"), cell: (row) => row.peek().version },
      { id: "licence", label: t("about.licence_of"), class: "break", cell: (row) => row.peek().licence || "–" },
    ],
    rows: () => all.value,
    key: (row) => `${row.console ? "npm " : ""}${row.name}`,
  });
}
