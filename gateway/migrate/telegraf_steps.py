"""Processors and aggregators of Telegraf that have a counterpart among the operators.

Source: the READMEs below plugins/processors and plugins/aggregators (influxdata/telegraf).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.migrate.draft import Draft, Table, fit, seconds, span

Steps = list[dict[str, Any]]

_STATS: Final = {
    "count": "count", "min": "min", "max": "max", "mean": "mean", "stdev": "stddev", "sum": "sum", "first": "first",
    "last": "last",
}  # fmt: skip
_SELECTORS: Final = ("namepass", "namedrop", "fieldpass", "fielddrop", "fieldinclude", "fieldexclude", "tagpass",
                     "tagdrop", "taginclude", "tagexclude", "metricpass")  # fmt: skip


def fields(names: Any) -> list[str]:
    """Names or globs of fields as globs of points of any device."""
    return [f"*/{name}" for name in names or []]


def _points(names: Any) -> dict[str, list[str]]:
    globs = fields(names)
    return {"points": globs} if globs and globs != ["*/*"] else {}


def _scale(plugin: Table, _draft: Draft) -> Steps:
    steps: Steps = []
    for scaling in plugin.tables("scaling"):
        factor, offset = scaling.number("factor", 1.0), scaling.number("offset")
        if "input_minimum" in scaling:
            low, high = scaling.number("input_minimum"), scaling.number("input_maximum", 1.0)
            first, last = scaling.number("output_minimum"), scaling.number("output_maximum", 1.0)
            factor = (last - first) / (high - low) if high != low else 1.0
            offset = first - low * factor
        steps.append({"scale": {"factor": factor, "offset": offset} | _points(scaling.take("fields"))})
    return steps


def _enum(plugin: Table, draft: Draft) -> Steps:
    steps: Steps = []
    for mapping in plugin.tables("mapping"):
        pairs = mapping.take("value_mappings") or {}
        numbers = {str(key): value for key, value in pairs.items() if _is_whole(key)}
        if not numbers:
            draft.left(mapping.where, "maps texts to numbers; texts are states here and need no numbers")
            mapping.ignore("field", "fields", "dest", "default", "tag", "tags")
            continue
        names = mapping.take("fields") or [mapping.text("field", "*")]
        dest = mapping.text("dest")
        suffix = f"#{fit(dest)}" if dest else "#state"
        draft.changed(mapping.where, f"the text is a point of its own, with {suffix} behind the name")
        mapping.ignore("default", "tag", "tags")
        texts = {int(key): str(value) for key, value in numbers.items()}
        steps.append({"enum": {"map": texts, "suffix": suffix} | _points(names)})
    return steps


def _is_whole(key: Any) -> bool:
    return str(key).lstrip("-").isdecimal()


def _rename(plugin: Table, draft: Draft) -> Steps:
    names: dict[str, str] = {}
    for replace in plugin.tables("replace"):
        field, dest = replace.text("field"), replace.text("dest")
        if field and dest:
            names[f"*/{field}"] = f"{{device}}/{fit(dest)}"
        else:
            draft.left(replace.where, "only fields have a counterpart; a point has no measurement, labels stay")
            replace.ignore("measurement", "tag")
    return [{"rename": {"names": names}}] if names else []


def _dedup(plugin: Table, _draft: Draft) -> Steps:
    return [{"dedup": {"window": span(seconds(plugin.take("dedup_interval"), 600.0))}}]


def _round(plugin: Table, _draft: Draft) -> Steps:
    digits = int(plugin.number("precision"))
    return [{"round": {"step": 10.0**-digits} | _points(plugin.take("include_fields"))}]


def _top_k(plugin: Table, draft: Draft) -> Steps:
    by = "lowest" if plugin.take("bottomk") else "value"
    if plugin.text("aggregation", "mean") != "mean":
        draft.changed(plugin.where, "points are ranked by what they are worth over the period, not by an aggregation")
    plugin.ignore("group_by", "aggregation")
    every = span(seconds(plugin.take("period"), 10.0))
    return [{"top_k": {"k": int(plugin.number("k", 10.0)), "every": every, "by": by} | _points(plugin.take("fields"))}]


def _converter(plugin: Table, _draft: Draft) -> Steps:
    plugin.ignore("fields", "tags")  # a sample is a number, or a state with a text: there is nothing to convert
    return []


def _window(plugin: Table, draft: Draft) -> Steps:
    asked = plugin.take("stats") or ["count", "min", "max", "mean", "stdev"]
    stats = [_STATS[stat] for stat in asked if stat in _STATS]
    missing = [stat for stat in asked if stat not in _STATS]
    if missing:
        draft.left(f"{plugin.where}.stats", "no counterpart: " + ", ".join(missing))
    if not plugin.take("drop_original", False):
        draft.changed(plugin.where, "the originals are not passed on beside the statistics; use a second pipeline")
    plugin.ignore("delay", "grace")
    return [{"window": {"every": span(seconds(plugin.take("period"), 30.0)), "stats": stats or ["mean"]}}]


def _min_max(plugin: Table, draft: Draft) -> Steps:
    plugin.ignore("stats")
    steps = _window(plugin, draft)
    steps[0]["window"]["stats"] = ["min", "max"]
    return steps


def _final(plugin: Table, draft: Draft) -> Steps:
    plugin.ignore("series_timeout", "output_strategy", "keep_original_field_names")
    steps = _window(plugin, draft)
    steps[0]["window"]["stats"] = ["last"]
    return steps


PROCESSORS: Final[dict[str, Callable[[Table, Draft], Steps]]] = {
    "scale": _scale, "enum": _enum, "rename": _rename, "dedup": _dedup, "round": _round, "topk": _top_k,
    "converter": _converter,
}  # fmt: skip
AGGREGATORS: Final[dict[str, Callable[[Table, Draft], Steps]]] = {
    "basicstats": _window, "minmax": _min_max, "final": _final,
}  # fmt: skip


def steps_of(kind: str, plugin: Table, draft: Draft) -> Steps:
    """The steps that do what a processor or aggregator did; none if it has no counterpart."""
    make = (PROCESSORS | AGGREGATORS).get(kind)
    if make is None:
        draft.left(plugin.where, "has no counterpart")
        return []
    selection = _selection(plugin, draft)
    steps = make(plugin, draft)
    for step in steps:
        for options in step.values():
            if selection and "points" not in options and "names" not in options:
                options["points"] = selection
    plugin.ignore("order", "alias", "drop_original")
    plugin.leave_rest(draft)
    return steps


def _selection(plugin: Table, draft: Draft) -> list[str]:
    """``fieldpass`` (newer: ``fieldinclude``) as globs; other selectors are left out."""
    globs = fields(plugin.take("fieldpass")) + fields(plugin.take("fieldinclude"))
    for key in _SELECTORS:
        if plugin.take(key) and key not in {"fieldpass", "fieldinclude"}:
            draft.left(f"{plugin.where}.{key}", "write points: with globs instead")
    return globs
