// Tables whose rows stay in place while their values change; on a phone each row becomes a card.

import { h, list } from "../lib/dom.js";
import { computed } from "../lib/signal.js";
import { icon } from "./icon.js";

/**
 * `columns`: [{id, label, cell(row) -> text, node or function, num, class, sortable, wide}], where `row` is a signal of the
 * row; `rows()` gives the array and `key(row)` names one. `open(row)` is called for a press on a row (give the first cell
 * a link too, for the keyboard). `sort` is a signal of {id, descending} if columns can be sorted. `empty()` is shown instead
 * of no rows. `label` says what the table shows.
 */
export function table({ label, columns, rows, key, open, sort, empty, class: name = "" }) {
  const none = computed(() => rows()?.length === 0);
  const body = h("tbody", {});
  list(
    body,
    () => rows() ?? [],
    key,
    (row) => tableRow(columns, row, open),
  );
  const grid = h(
    "div",
    { class: () => ["table-wrap", none.value && empty && "hidden"] },
    h(
      "table",
      { class: ["table", open && "is-open", name], "aria-label": label },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((column) => head(column, sort)),
        ),
      ),
      body,
    ),
  );
  return empty ? [grid, () => (none.value ? empty() : null)] : grid;
}

function head(column, sort) {
  if (!column.sortable || !sort)
    return h("th", { scope: "col", class: [column.num && "num", column.class] }, column.label);
  const on = () => sort.value.id === column.id;
  return h(
    "th",
    {
      scope: "col",
      class: [column.num && "num", column.class],
      "aria-sort": () => (on() ? (sort.value.descending ? "descending" : "ascending") : "none"),
    },
    h(
      "button",
      {
        type: "button",
        class: "sort",
        onClick: () =>
          (sort.value = { id: column.id, descending: sort.peek().id === column.id ? !sort.peek().descending : false }),
      },
      column.label,
      h("span", { class: () => ["sort-mark", !on() && "is-off"] }, () =>
        icon(on() && sort.value.descending ? "down" : "up", { size: 12 }),
      ),
    ),
  );
}

const INTERACTIVE = "a, button, input, select, label";

function tableRow(columns, row, open) {
  return h(
    "tr",
    { onClick: (event) => open && !event.target.closest(INTERACTIVE) && !String(getSelection()) && open(row.peek()) },
    columns.map((column) =>
      h("td", { class: [column.num && "num", column.class], "data-label": column.label || null }, column.cell(row)),
    ),
  );
}

/** Sort an array by what `by(row)` gives: numbers or texts, nothing last. */
export function sorted(rows, by, descending) {
  const sign = descending ? -1 : 1;
  const empty = (value) => value === null || value === undefined || value === "";
  return [...rows].sort((one, other) => {
    const [a, b] = [by(one), by(other)];
    if (empty(a) || empty(b)) return Number(empty(a)) - Number(empty(b));
    return sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));
  });
}
