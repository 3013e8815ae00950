"""What of a subscription's options goes together, by payload. Light; used by :mod:`adapters.mqtt.subscribe` only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from adapters.mqtt import topics
from adapters.payloads.fields import field, parse_field
from adapters.payloads.pointer import Path, parse_path
from gateway.errors import FieldError

if TYPE_CHECKING:
    from adapters.mqtt.subscribe import Subscribe

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}\Z")
_DOCUMENT: Final = ("device_from", "records", "time", "point_from", "value_from")
_ALLOWED: Final = {
    "json": _DOCUMENT,
    "cbor": _DOCUMENT,
    "msgpack": _DOCUMENT,
    "senml": ("device_from",),
    "csv": ("device_from", "time", "point_from", "value_from", "columns", "separator", "decimal"),
    "bytes": ("time", "length"),
    "text": (),
    "home-assistant": (),
}
"""Options beyond topic, qos, device, labels and points, by payload."""
_DEFAULTS: Final[dict[str, object]] = dict.fromkeys(_DOCUMENT, "") | {
    "columns": [], "separator": ",", "decimal": ".", "length": 0,
}  # fmt: skip
_WHY: Final = {
    ("text", "time"): "a text payload carries no time",
    ("senml", "time"): "a SenML pack has its times itself",
    ("bytes", "device_from"): "raw bytes name no device: use a part of the topic",
}


def check(options: Subscribe) -> None:
    """Refuse what does not go together.

    Raises:
        FieldError: naming the option.
    """
    try:
        pattern = topics.parse(options.topic)
    except ValueError as error:
        raise FieldError("topic", str(error)) from None
    payload = options.payload.value
    if payload not in _ALLOWED:  # it has checks of its own
        return
    for name, default in _DEFAULTS.items():
        if name not in _ALLOWED[payload] and getattr(options, name) != default:
            why = _WHY.get((payload, name), f"goes with other payloads than {payload}")
            raise FieldError(name, why)
    if payload == "home-assistant":
        _check_discovery(options, pattern)
        return
    _check_device(options, pattern)
    _check_labels(options, pattern)
    if payload != "text" and "point" in pattern.names:
        raise FieldError("topic", "{point} goes with payload: text; other payloads name their points themselves")
    if payload != "bytes":
        _refuse_fields(options)
    _CHECKS[payload](options, pattern)


def _check_device(options: Subscribe, pattern: topics.Pattern) -> None:
    named = (*pattern.names, "device") if options.device_from else pattern.names
    if options.device_from and "device" in pattern.names:
        raise FieldError("device_from", "the topic has a {device} part already; call that part otherwise")
    wanted = topics.names_in(options.device_template)
    if not options.device and "device" not in named:
        raise FieldError("device", "the topic has no {device} part; name the device with this key")
    for name in wanted:
        if name not in named:
            raise FieldError("device", f"the topic has no part {{{name}}}")
    if options.device_from and "device" not in wanted:
        raise FieldError("device", "leaves out the {device} that device_from gives")
    if not _NAME.match(topics.fill(options.device_template, dict.fromkeys(wanted, "x"))):
        raise FieldError("device", "a name has letters, digits, and . _ - only")


def _check_labels(options: Subscribe, pattern: topics.Pattern) -> None:
    for label, text in options.labels.items():
        if text == "prop:":
            raise FieldError(("labels", label), "name the user property: prop:NAME")
        for name in () if text.startswith("prop:") else topics.names_in(text):
            if name not in pattern.names:
                raise FieldError(("labels", label), f"the topic has no part {{{name}}}")


def _refuse_fields(options: Subscribe) -> None:
    for name, point in options.points.items():
        if point.is_field:
            raise FieldError(
                ("points", name), "at, as, order, bits, repeat, step, scale and offset go with payload: bytes"
            )


def _check_text(options: Subscribe, pattern: topics.Pattern) -> None:
    if "point" not in pattern.names and len(options.points) != 1:
        raise FieldError("points", "a text payload is one value: name one point, or use {point} in the topic")
    for name, point in options.points.items():
        if point.value:
            raise FieldError(("points", name, "value"), "a text payload is the value itself")


def _check_document(options: Subscribe, _pattern: topics.Pattern) -> None:
    columns = _path(("time",), options.time).each
    for name in ("device_from", "point_from", "value_from"):
        if _path((name,), getattr(options, name)).each:
            raise FieldError(name, "[*] is many values, and here stands one")
    _path(("records",), options.records)
    _check_long(options)
    if columns and (options.records or options.point_from or not options.points):
        raise FieldError("time", "[*] here means columns, which go with points and without records and point_from")
    for name, point in options.points.items():
        if options.point_from and point.value:
            raise FieldError(("points", name, "value"), "the value stands where value_from says")
        if _path(("points", name, "value"), point.value).each != columns:
            raise FieldError(("points", name, "value"), "with columns the time and every point end in [*], else none")


def _check_long(options: Subscribe) -> None:
    if bool(options.point_from) != bool(options.value_from):
        raise FieldError("value_from" if options.point_from else "point_from", "point_from and value_from go together")


def _check_csv(options: Subscribe, _pattern: topics.Pattern) -> None:
    if not options.columns:
        raise FieldError("columns", "name the columns in their order: [ts, voltage, -, power]")
    named = [name for name in options.columns if name != "-"]
    if len(set(named)) != len(named):
        raise FieldError("columns", "a column stands twice")
    if options.separator == options.decimal.value or options.separator in '"\n\r':
        raise FieldError("separator", "is neither a quote, nor the end of a line, nor the decimal sign")
    _check_long(options)
    for name in ("time", "device_from", "point_from", "value_from"):
        if getattr(options, name) and getattr(options, name) not in named:
            raise FieldError(name, f"there is no column {getattr(options, name)!r}")
    for name, point in options.points.items():
        if options.point_from and point.value:
            raise FieldError(("points", name, "value"), "the value stands where value_from says")
        if not options.point_from and (point.value or name) not in named:
            raise FieldError(("points", name), f"there is no column {point.value or name!r}")


def _check_senml(options: Subscribe, _pattern: topics.Pattern) -> None:
    if options.device_from not in {"", "bn"}:
        raise FieldError("device_from", "bn, the base name, is what names a device in SenML")


def _check_bytes(options: Subscribe, _pattern: topics.Pattern) -> None:
    if not options.points:
        raise FieldError("points", "raw bytes need points that say where they are: {at: 0, as: uint16}")
    ends = [0]
    for name, point in options.points.items():
        if point.value and point.is_field:
            raise FieldError(("points", name, "value"), "either the whole field as one text, or its keys")
        try:
            ends.append((parse_field(name, point.value) if point.value else field(name, point)).end)
        except FieldError as error:
            raise FieldError(("points", name, *error.field), str(error)) from None
    if options.time:
        try:
            ends.append(parse_field("time", options.time).end)
        except FieldError as error:
            raise FieldError("time", str(error)) from None
    if options.length and max(ends) > options.length:
        raise FieldError("length", f"a point ends at byte {max(ends)}, behind the end")


def _check_discovery(options: Subscribe, pattern: topics.Pattern) -> None:
    if not options.topic.endswith("/#") or pattern.names:
        raise FieldError("topic", "the prefix of the discovery and /#, such as homeassistant/#")
    if options.points:
        raise FieldError("points", "devices that describe themselves name their points themselves")
    for name in topics.names_in(options.device_template):
        if name not in {"device", "id", "name", "node"}:
            raise FieldError("device", f"{{{name}}}: there are {{id}} (or {{device}}), {{name}} and {{node}}")
    _check_labels(options, pattern)


def _path(where: tuple[str, ...], text: str) -> Path:
    try:
        return parse_path(text)
    except ValueError as error:
        raise FieldError(where, str(error)) from None


_CHECKS: Final = {
    "json": _check_document,
    "cbor": _check_document,
    "msgpack": _check_document,
    "senml": _check_senml,
    "csv": _check_csv,
    "bytes": _check_bytes,
    "text": _check_text,
}
