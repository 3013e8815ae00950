"""The head of ``onpath top``: the gateway and its box at a glance. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from gateway.cli.figures import bar, clock, count, rate, size, span, spark
from gateway.cli.top_table import Segment, Spans
from gateway.cli.top_views import TONES

BAR: Final = 10
REASONS: Final = 3
"""Reasons for bad health that are shown."""


@dataclass
class Seen:
    """What is known of the gateway."""

    topics: dict[str, Any] = field(default_factory=dict)
    """The newest payload of each topic, and what :data:`gateway.cli.top_views.Payloads` says."""
    gone: str = ""
    """Why there is no connection to the gateway."""
    gone_s: float = 0.0
    """For how long."""


def header(seen: Seen, width: int) -> list[Spans]:
    """The first lines of the screen."""
    found = seen.topics.get("overview")
    if seen.gone:
        for_ = f" for {span(seen.gone_s)}" if seen.gone_s >= 1 else ""
        lines: list[Spans] = [[(f"no answer from the gateway{for_}: {seen.gone}; trying again", "bad")]]
        return lines if found is None else [*lines, *_glance(found, width)[1:]]
    return _glance(found, width) if found else [[("waiting for the gateway", "dim")]]


def _glance(found: dict[str, Any], width: int) -> list[Spans]:
    reasons: list[Spans] = [[(f"     {reason}", TONES[found["health"]])] for reason in found["reasons"][:REASONS]]
    return [_name(found), _box(found["box"]), _own(found), *_flow(found, width), _waiting(found), *reasons]


def _name(found: dict[str, Any]) -> Spans:
    return [
        (found["gateway"], "bold"),
        (f"  onpath {found['version']}", "dim"),
        (f"  up {span(found['uptime_s'])}  {count(found['points'])} points  ", ""),
        (f"● {found['health']}", TONES.get(found["health"], "")),
        (f"  {clock(found['clock']['now_ms'])} UTC", "dim"),
    ]


def _box(box: dict[str, Any]) -> Spans:
    memory = box["memory_bytes"] / (box["memory_total_bytes"] or 1)
    return [
        ("cpu  ", "title"),
        *_bar(box["cpu_percent"] / 100, f"{box['cpu_percent']:3.0f} %"),
        ("  memory ", "title"),
        *_bar(memory, f"{100 * memory:.0f} % of {size(box['memory_total_bytes'])}"),
        ("  disk ", "title"),
        (f"{size(box['disk_free_bytes'])} free", ""),
    ]


def _own(found: dict[str, Any]) -> Spans:
    box = found["box"]
    return [
        ("own  ", "title"),
        *_bar(box["own_cpu_percent"] / 100, f"{box['own_cpu_percent']:3.0f} %"),
        ("  memory ", "title"),
        (f"{size(box['own_memory_bytes']):<{BAR + 3}}", ""),
        (f"load {box['load1']:.2f}  ", ""),
        ("clock ", "title"),
        _clock(found["clock"]),
    ]


def _flow(found: dict[str, Any], width: int) -> list[Spans]:
    """What comes in and goes out, with a curve of the newest seconds where there is room."""
    rates, series, ratio = found["rates"], found["series"], found["totals"]["ratio"]
    curve = max(0, min(30, width - 50))
    lines: list[Spans] = []
    for title, samples, bytes_, note in (
        ("in", "in_samples", rates["in_json_bytes"], "as JSON"),
        ("out", "out_samples", rates["out_bytes"], f"{rate(ratio)} x less" if ratio else ""),
    ):
        text = f"{rate(rates[samples]):>8}/s  {size(bytes_):>8}/s  "
        drawn = f"{spark(series[samples], curve):<{curve}}"
        lines.append([(f"{title:<5}", "title"), (text, ""), (f"{note:<14}  ", "dim"), (drawn, "accent")])
    return lines


def _waiting(found: dict[str, Any]) -> Spans:
    spool = found["spool"]
    old = "warn" if spool["oldest_s"] > 60 else ""
    line: Spans = [
        ("wait ", "title"),
        (f"{count(spool['samples']):>8}    {size(spool['bytes']):>8}    ", ""),
        (f"oldest {span(spool['oldest_s'])}   " if spool["samples"] else "", old),
        (f"lost {count(spool['lost'])}", "bad" if spool["lost"] else "dim"),
    ]
    line += [(f"   {number} {name}", TONES.get(name, "accent")) for name, number in found["alerts"].items() if number]
    return [*line, (f"   {found['findings']} findings" if found["findings"] else "", "dim")]


def _bar(share: float, text: str) -> Spans:
    tone = "bad" if share > 0.9 else "warn" if share > 0.7 else "good"
    return [("[", "dim"), (bar(share, BAR), tone), ("]", "dim"), (f" {text}", "")]


def _clock(found: dict[str, Any]) -> Segment:
    if not found["trusted"]:
        return "in doubt", "bad"
    return ("synchronised", "good") if found["synchronised"] else ("not synchronised", "warn")
