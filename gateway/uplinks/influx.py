"""Batches as InfluxDB's line protocol. Pure: no I/O.

One line for all samples of a batch that share measurement, tags and time::

    meters,device=m1,gateway=feeder-7 power=5.25,voltage=230.1,mode="auto" 1769860800250000000

Numbers are floats unless options say otherwise, states with texts are strings. Line protocol knows no missing value:
what has none is left out, and counted; its quality is still told. A loss marker is a line of the measurement
``onpath_loss``. Source: InfluxDB, "Line protocol reference".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from gateway import quality
from gateway.batch import Batch, Loss
from gateway.directory import Directory
from gateway.point import Kind, Point
from gateway.uplinks.http_config import InfluxOptions, InfluxQuality, Precision

LOSS: Final = "onpath_loss"
"""Measurement of loss markers."""
NS_PER: Final = {Precision.NS: 1, Precision.US: 1_000, Precision.MS: 1_000_000, Precision.S: 1_000_000_000}
_INT64: Final = 2.0**63
# Of what may not stand in a key, only these can be escaped. A backslash before them, or at an end, cannot be told from
# an escape, and a line end ends the line: both are exchanged.
_MEASUREMENT: Final = str.maketrans({",": r"\,", " ": r"\ ", "\\": "/", "\n": r"\ ", "\r": r"\ ", "\t": r"\ "})
_KEY: Final = _MEASUREMENT | str.maketrans({"=": r"\="})
_STRING: Final = str.maketrans({'"': r"\"", "\\": r"\\", "\n": " ", "\r": " "})


def measurement(text: str) -> str:
    """A measurement, escaped; ``#`` at its start would make a comment of the line."""
    return ("_" + text[1:] if text.startswith("#") else text).translate(_MEASUREMENT)


def key(text: str) -> str:
    """A tag key, tag value or field key, escaped."""
    return text.translate(_KEY)


def field_key(text: str) -> str:
    """A field key, escaped; ``time`` belongs to the server."""
    return "time_" if text == "time" else key(text)


def string(text: str) -> str:
    """A string value of a field."""
    return f'"{text.translate(_STRING)}"'


@dataclass(frozen=True, slots=True)
class _Series:
    """How the samples of one point are written."""

    head: str
    """Measurement and tags."""
    field: str
    texts: list[str] | None
    whole: bool
    """Integers."""


class LineEncoder:
    """Batches to lines; remembers how each point is written until something else is known of it."""

    def __init__(self, options: InfluxOptions, gateway: str, directory: Directory) -> None:
        self._options = options
        self._gateway = gateway
        self._directory = directory
        self._edition = directory.edition
        self._known: dict[tuple[str, int], _Series] = {}
        self._unit = NS_PER[options.precision]

    def encode(self, batch: Batch) -> tuple[bytes, int]:
        """Lines with their ends, and how many samples had no value that can be written."""
        if batch.loss is not None:
            return self._loss(batch.loss, batch.pipeline).encode(), 0
        if (edition := self._directory.edition) != self._edition:
            self._known.clear()
            self._edition = edition
        lines: dict[tuple[str, int], dict[str, str]] = {}
        left_out = 0
        frame = batch.frame
        columns = (frame.point.tolist(), (frame.time // self._unit).tolist(), frame.value.tolist())
        for point, time, value, word in zip(*columns, frame.quality.tolist(), strict=True):
            series = self._known.get((batch.pipeline, point)) or self._learn(batch.pipeline, point)
            text = _value(series, value)
            left_out += text is None
            self._add(lines, series, time, text, word)
        texts = [f"{head} {','.join(map('='.join, fields.items()))} {time}\n" for (head, time), fields in lines.items()]
        return "".join(texts).encode(), left_out

    def _add(
        self, lines: dict[tuple[str, int], dict[str, str]], series: _Series, time: int, text: str | None, word: int
    ) -> None:
        how, head = self._options.quality, series.head
        if how is InfluxQuality.TAG:
            head += f",quality={key(quality.to_text(word))}"
        told = how is InfluxQuality.FIELD and word != quality.GOOD
        if text is None and not told:
            return
        fields = lines.setdefault((head, time), {})
        if text is not None:
            fields[series.field] = text
        if told:
            fields[series.field + "_quality"] = string(quality.to_text(word))

    def _learn(self, pipeline: str, point_id: int) -> _Series:
        options, point = self._options, self._directory.point(point_id)
        device, _, name = point.name.rpartition("/") if "/" not in point.name else point.name.partition("/")
        facts = {
            "gateway": self._gateway, "pipeline": pipeline, "point": point.name, "device": device, "name": name,
        }  # fmt: skip
        tags = {tag: template.format(**facts) for tag, template in options.tags.items()}
        tags |= {label: point.labels[label] for label in options.labels if label in point.labels}
        texts = self._directory.states(point_id)
        series = _Series(
            _head(options.measurement.format(**facts), tags),
            field_key(options.field.format(**facts) or point.name),
            texts,
            options.integers and not texts and _is_whole(point),
        )
        self._known[pipeline, point_id] = series
        return series

    def _loss(self, loss: Loss, pipeline: str) -> str:
        head = _head(LOSS, {"gateway": self._gateway, "pipeline": pipeline, "reason": loss.reason})
        first, last = loss.first_ns // self._unit, loss.last_ns // self._unit
        return f"{head} count={loss.count}i,from={first}i,to={last}i {last}\n"


def _head(name: str, tags: dict[str, Any]) -> str:
    """Measurement and tags, those sorted by key, which the server likes best."""
    written = [f",{key(tag)}={key(value)}" for tag, value in sorted(tags.items()) if value]
    return measurement(name) + "".join(written)


def _is_whole(point: Point) -> bool:
    if "#" in point.name:  # a mean of whole numbers is not whole
        return False
    whole = point.resolution is not None and point.resolution % 1 == 0
    return point.kind is Kind.STATE or (point.kind is Kind.COUNTER and whole)


def _value(series: _Series, value: float) -> str | None:
    """The value of a field; None where there is none."""
    if not math.isfinite(value):
        return None
    if series.texts is not None:
        known = value.is_integer() and 0 <= value < len(series.texts)
        return string(series.texts[int(value)] if known else repr(value))
    if not series.whole:
        return repr(value)
    return f"{int(value)}i" if value.is_integer() and -_INT64 <= value < _INT64 else None
