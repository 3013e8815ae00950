// What discovery has found: who it is, what it offers, and letting it join.

import { button, card, emptyState, errorText, facts, note, pageHead, searchField, spinner, state, tabs } from "../components/basics.js";
import { drawer, toast } from "../components/dialog.js";
import { table } from "../components/table.js";
import { get, mayChange, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { age, count, dateTime } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { gatewayNow } from "../lib/live.js";
import { link } from "../lib/router.js";
import { computed, effect, signal } from "../lib/signal.js";

export const texts = ["findings"];
export const styles = ["findings"];

const OFFERS = 4; // shown in the table

export function render(page) {
  const live = page.live("findings");
  const all = computed(() => live.value && [...(live.value.findings ?? live.value)].reverse());
  const chosen = signal(new Set());
  const words = signal("");
  const part = signal(page.route.peek().params.get("show") ?? "new");
  const rows = computed(() => all.value && all.value.filter((one) => fits(one, part.value, words.value)));
  effect(() => {
    // what has joined meanwhile is not chosen any more
    const left = new Set([...chosen.peek()].filter((key) => all.value?.some((one) => one.key === key && acceptable(one))));
    if (left.size !== chosen.peek().size) chosen.value = left;
  });
  const accept = (keys) => acceptAll(keys, all.peek(), () => (chosen.value = new Set()));
  const number = (name) => computed(() => all.value?.filter((one) => fits(one, name, "")).length ?? 0);
  const parts = ["new", "joined", "all"].map((name) => {
    const n = number(name);
    return [name, h("span", {}, t(`findings.tab_${name}`), " ", h("span", { class: "tag" }, () => count(n.value))), () => listing(rows, chosen, part, accept, all)];
  });
  return h("div", {},
    pageHead(t("shell.page_findings"), { text: t("findings.text") }),
    () => (all.value ? null : spinner()),
    h("div", { class: () => (all.value?.length ? "" : "hidden") },
      h("div", { class: "toolbar" }, searchField(t("findings.search"), { take: (text) => (words.value = text.trim().toLowerCase()) }), acceptBar(chosen, accept)),
      tabs(t("shell.page_findings"), parts, part)),
    () => (all.value && !all.value.length ? card({}, nothing()) : null));
}

const acceptable = (one) => !one.joined && !one.taken && Object.keys(one.config ?? {}).length > 0;

function fits(one, part, words) {
  if (part === "new" && (one.joined || one.taken)) return false;
  if (part === "joined" && !(one.joined || one.taken)) return false;
  return !words || `${one.device} ${one.identity} ${one.address} ${one.kind} ${one.offers.join(" ")}`.toLowerCase().includes(words);
}

const nothing = () => emptyState({ icon: "findings", title: t("findings.none"), text: t("findings.none_text"), action: button(t("findings.to_config"), { href: link("config"), icon: "config" }) });

function acceptBar(chosen, accept) {
  return h("div", { class: "toolbar-end" }, () =>
    mayChange() ? button(t("findings.accept_chosen", { n: chosen.value.size }), { kind: "primary", icon: "plus", disabled: !chosen.value.size, onClick: () => accept([...chosen.peek()]) }) : h("span", { class: "muted small" }, t("findings.only_admin")));
}

function listing(rows, chosen, part, accept, all) {
  const columns = [
    { label: t("findings.device"), cell: (row) => h("div", { class: "finding-name" }, mayChange() ? check(row, chosen) : null, h("div", {}, h("button", { type: "button", class: "as-link strong", onClick: () => details(row.peek(), accept, all) }, row.peek().device), h("div", { class: "small muted break" }, () => row.value.identity))) },
    { label: t("findings.kind"), cell: (row) => h("div", {}, h("div", {}, kindText(row.peek().kind)), h("div", { class: "small muted" }, t("findings.by", { adapter: row.peek().adapter }))) },
    { label: t("findings.address"), cell: (row) => h("span", { class: "mono small break" }, () => row.value.address) },
    { label: t("findings.offers"), cell: (row) => h("div", { class: "offers" }, () => offers(row.value.offers)) },
    { label: t("findings.seen"), class: "live nowrap", cell: (row) => () => age((gatewayNow() - row.value.last_ns / 1e6) / 1000) },
    { label: t("findings.state"), cell: (row) => () => standing(row.value) },
  ];
  const empty = () => emptyState({ icon: "circle", title: part.value === "new" ? t("findings.no_new") : t("findings.none_fit"), text: part.value === "new" ? t("findings.no_new_text") : "" });
  return card({ pad: false }, table({ label: t("shell.page_findings"), columns, rows: () => rows.value, key: (row) => row.key, open: (row) => details(row, accept, all), empty, class: "findings-table" }));
}

const KINDS = ["coap-core", "coap-directory", "lwm2m", "sunspec", "modbus-identity", "sparkplug", "home-assistant", "mqtt-topic", "gateway"];
const kindText = (kind) => (KINDS.includes(kind) ? t(`findings.kind_${kind}`) : kind);

function check(row, chosen) {
  const flip = (event) => {
    const next = new Set(chosen.peek());
    if (event.target.checked) next.add(row.peek().key);
    else next.delete(row.peek().key);
    chosen.value = next;
  };
  return h("span", { class: "finding-check" }, () => (acceptable(row.value) ? h("input", { type: "checkbox", "aria-label": t("findings.choose", { device: row.value.device }), checked: () => chosen.value.has(row.value.key), onChange: flip }) : null));
}

const offers = (all) => [all.slice(0, OFFERS).map((one) => h("span", { class: "tag" }, one)), all.length > OFFERS ? h("span", { class: "small muted" }, t("findings.more", { n: all.length - OFFERS })) : null];

function standing(one) {
  if (one.joined) return state("ok", t("findings.joined"));
  if (one.taken) return state("ok", t("findings.taken"));
  if (!acceptable(one)) return state("warn", t("findings.by_hand"));
  return state("info", t("findings.new"));
}

async function acceptAll(keys, all, done) {
  try {
    const { accepted } = await post("findings/accept", { keys });
    const names = accepted.map((key) => all?.find((one) => one.key === key)?.device ?? key);
    if (accepted.length) toast(t("findings.have_joined", { n: accepted.length, names: names.slice(0, 5).join(", ") }));
    if (accepted.length < keys.length) toast(t("findings.not_all", { n: keys.length - accepted.length }), "bad");
    done();
    return true;
  } catch (error) {
    toast(errorText(error), "bad");
    return false;
  }
}

/** All about one finding, with the block of configuration that it would become. */
function details(one, accept, all) {
  const yaml = signal(null);
  if (Object.keys(one.config ?? {}).length) get("findings/yaml", { key: one.key }).then((found) => (yaml.value = found.yaml), (error) => (yaml.value = `# ${errorText(error)}`));
  const { close } = drawer({ title: one.device, content: () => inside(one, yaml, all, async (keys) => (await accept(keys)) && close()) });
}

function inside(one, yaml, all, accept) {
  const now = () => all.value?.find((each) => each.key === one.key) ?? one;
  return h("div", { class: "stack" },
    h("div", { class: "row" }, () => standing(now())),
    facts([
      [t("findings.identity"), one.identity], [t("findings.kind"), kindText(one.kind)], [t("findings.address"), h("span", { class: "mono small" }, one.address)], [t("findings.found_by"), one.adapter],
      [t("findings.first"), dateTime(one.first_ns / 1e6)], [t("findings.last"), dateTime(one.last_ns / 1e6)], [t("findings.times"), count(one.seen)],
    ]),
    one.offers.length ? h("div", {}, h("h3", {}, t("findings.offers")), h("div", { class: "offers all-offers" }, one.offers.map((each) => h("span", { class: "tag" }, each)))) : null,
    block(one, yaml),
    () => (acceptable(now()) && mayChange() ? h("div", { class: "row" }, button(t("findings.accept"), { kind: "primary", icon: "plus", onClick: () => accept([one.key]) }), h("span", { class: "small muted" }, t("findings.accept_text"))) : null),
    () => (now().joined || now().taken ? h("p", {}, h("a", { href: link("devices", { q: one.device }) }, t("findings.to_device"))) : null));
}

function block(one, yaml) {
  if (!Object.keys(one.config ?? {}).length) return note("warn", t("findings.by_hand_text"));
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(yaml.peek());
      toast(t("findings.copied"));
    } catch {
      toast(t("findings.not_copied"), "bad");
    }
  };
  return h("div", {},
    h("div", { class: "row block-head" }, h("h3", {}, t("findings.yaml")), button(t("findings.copy"), { small: true, icon: "copy", onClick: copy })),
    h("pre", { class: "yaml-block", tabindex: "0" }, () => yaml.value ?? t("shell.loading")));
}
