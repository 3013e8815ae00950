"""What a client's payload says of an object instance: from bytes in any of LwM2M's formats to typed values. Pure.

Content-Formats: TLV 11542, JSON of LwM2M 1.0 11543, text 0, SenML in JSON 110 and CBOR 112 (LwM2M 1.1), and
1541 to 1543, which drafts had for text, TLV and JSON. Opaque values (42, 1544) are no measurements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from adapters.coap.lwm2m import tlv
from adapters.coap.lwm2m.objects import Resource, Type, resources_of
from adapters.payloads.documents import decode_json
from adapters.payloads.formats import Encoding
from adapters.payloads.senml import decode_senml
from adapters.payloads.times import seconds_to_ns
from adapters.payloads.values import Value, checked_text
from gateway.errors import PayloadError
from gateway.quality import Reason

Path = tuple[int, ...]
"""Object, instance, resource, resource instance; as many as are said."""

TEXT, TLV, JSON, SENML_JSON, SENML_CBOR, LINKS, OPAQUE = 0, 11542, 11543, 110, 112, 40, 42
_DRAFTS: Final = {1541: TEXT, 1542: TLV, 1543: JSON, 1544: OPAQUE}
_NUMERALS = re.compile(r"\d{1,5}(?:/\d{1,5}){0,3}", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?", re.ASCII)
_RELATIVE_S = 2**28
_LAST_NS = 2**63 - 1


class Item(NamedTuple):
    """One value of a resource."""

    instance: int
    resource: int
    nth: int | None
    """The resource instance, of a resource that has several values."""
    value: Value | Reason
    """A reason if it is not of the resource's type."""
    unit: str = ""
    time_ns: int | None = None
    """UTC ns since 1970, if the payload says it."""


def parse_path(text: str) -> Path:
    """``/3303/0/5700``, with or without the first slash.

    Raises:
        PayloadError: ``bad-path``.
    """
    text = text.removeprefix("/").removesuffix("/")
    if _NUMERALS.fullmatch(text) is None:
        raise PayloadError("bad-path", f"{text[:40]!r} is not the path of an object")
    path = tuple(map(int, text.split("/")))
    if max(path) > 65_535:
        raise PayloadError("bad-path", f"{text!r} has a number of more than 16 bits")
    return path


def path_text(path: Path) -> str:
    """The inverse of :func:`parse_path`."""
    return "".join(f"/{part}" for part in path)


def read(path: Path, payload: bytes, content_format: int | None, now_ns: int) -> list[Item]:
    """The values of a response to a request for ``path`` (an object instance, or one resource of it).

    Resources that our table does not have are left out; so are texts with no use as a value.

    Raises:
        PayloadError: ``unparsable``, ``bad-path`` (it speaks of other objects), ``unsupported-format`` and those
            of the formats.
    """
    table = resources_of(path[0])
    kind = TLV if content_format is None and len(path) < 3 else content_format or TEXT
    kind = _DRAFTS.get(kind, kind)
    if kind == TLV:
        return _from_tlv(path, table, payload)
    if kind == TEXT and len(path) >= 3:
        known = table.get(path[2])
        return [_item(path, known, _parse_text(known, payload))] if known else []
    if kind in {SENML_JSON, SENML_CBOR}:
        return _from_senml(path, table, payload, kind, now_ns)
    if kind == JSON:
        return _from_json(path, table, payload, now_ns)
    raise PayloadError("unsupported-format", f"Content-Format {int(kind)} for {path_text(path)}")


def read_all(payload: bytes, content_format: int | None, now_ns: int) -> dict[Path, list[Item]]:
    """The values of a SenML pack of several objects, by object and instance.

    Raises:
        PayloadError: as :func:`read`.
    """
    if content_format not in {SENML_JSON, SENML_CBOR}:
        raise PayloadError("unsupported-format", "values of several objects come in SenML (110, 112)")
    found: dict[Path, list[Item]] = {}
    encoding = Encoding.SENML_CBOR if content_format == SENML_CBOR else Encoding.SENML_JSON
    for record in decode_senml(payload, encoding, now_ns, paths=True):
        path = parse_path(record.name)
        known = resources_of(path[0]).get(path[2]) if len(path) > 2 else None
        if known is not None and record.value is not None:
            item = _item(path, known, _typed(known, record.value), record.unit, record.time_ns)
            found.setdefault(path[:2], []).append(item)
    return found


def _item(path: Path, known: Resource, value: Value | Reason, unit: str = "", time_ns: int | None = None) -> Item:
    nth = path[3] if len(path) > 3 else None
    return Item(path[1], path[2], nth, value, unit or known.unit, time_ns)


# TLV

_DECODERS: Final[dict[Type, Callable[[bytes], Value]]] = {
    Type.INTEGER: tlv.integer,
    Type.FLOAT: tlv.floating,
    Type.BOOLEAN: tlv.boolean,
    Type.TEXT: lambda value: checked_text(tlv.text(value)),
    Type.TIME: tlv.integer,
}


def _from_tlv(path: Path, table: Mapping[int, Resource], payload: bytes) -> list[Item]:
    items = []
    for entry in tlv.decode(payload):
        resource = path[2] if entry.resource is None and len(path) > 2 else entry.resource
        instance = path[1] if entry.instance is None else entry.instance
        if resource is None or instance != path[1] or (len(path) > 2 and resource != path[2]):
            raise PayloadError("bad-path", f"a TLV for {path_text(path)} holds something else")
        known = table.get(resource)
        if known is not None:
            at = (path[0], instance, resource) if entry.nth is None else (path[0], instance, resource, entry.nth)
            items.append(_item(at, known, _decoded(known, entry.value)))
    return items


def _decoded(known: Resource, value: bytes) -> Value | Reason:
    try:
        return _DECODERS[known.type](value)
    except PayloadError:
        return Reason.UNPARSABLE


# text, and values that come with a type of their own


def _parse_text(known: Resource, payload: bytes) -> Value | Reason:
    """A single value as LwM2M writes it in text: ``21.5``, ``1``, ``0``."""
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        return Reason.UNPARSABLE
    if known.type is Type.TEXT:
        return text if len(text) <= 256 else Reason.UNPARSABLE
    if known.type is Type.BOOLEAN:
        return {"0": False, "1": True, "false": False, "true": True}.get(text, Reason.UNPARSABLE)
    form = _NUMBER if known.type is Type.FLOAT else _INTEGER
    return float(text) if form.fullmatch(text) else Reason.UNPARSABLE


def _typed(known: Resource, value: Value) -> Value | Reason:
    """A value whose format has types, if it is of the resource's."""
    if known.type is Type.TEXT:
        return value if isinstance(value, str) else Reason.UNPARSABLE
    if isinstance(value, str):
        return Reason.UNPARSABLE
    if known.type is Type.BOOLEAN:
        return bool(value) if value in {0, 1} else Reason.UNPARSABLE
    return Reason.UNPARSABLE if isinstance(value, bool) else float(value)


def _within(path: Path, base: str, name: str) -> Path | None:
    """The path that a record's names say, absolute or below the path asked; None if that is no resource.

    coap-node leaves out the slash between a base that is the path asked and the name.
    """
    text = f"{base}/{name}" if name and base == path_text(path) else base + name
    found = path + parse_path(text) if text and not text.startswith("/") else (parse_path(text) if text else path)
    if found[: len(path)] != path and found[: len(path)] != path[: len(found)]:
        raise PayloadError("bad-path", f"{text[:40]!r} is not below {path_text(path)}")
    return found if 3 <= len(found) <= 4 else None


def _from_senml(path: Path, table: Mapping[int, Resource], payload: bytes, kind: int, now_ns: int) -> list[Item]:
    encoding = Encoding.SENML_CBOR if kind == SENML_CBOR else Encoding.SENML_JSON
    items = []
    for record in decode_senml(payload, encoding, now_ns, paths=True):
        at = _within(path, record.name.removesuffix(record.local), record.local)
        known = table.get(at[2]) if at is not None else None
        if at is not None and known is not None and record.value is not None:
            items.append(_item(at, known, _typed(known, record.value), record.unit, record.time_ns))
    return items


def _from_json(path: Path, table: Mapping[int, Resource], payload: bytes, now_ns: int) -> list[Item]:
    """The JSON of LwM2M 1.0 (6.4.4): ``{"bn": "/3303/0/", "bt": ..., "e": [{"n": "5700", "v": 21.5, "t": 0}]}``."""
    document = decode_json(payload)
    entries = document.get("e") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > tlv.MAX_ENTRIES:
        raise PayloadError("bad-record", "no list of entries, or one too long")
    base, since = document.get("bn", ""), document.get("bt", 0)
    items = []
    for entry in entries:
        name = entry.get("n", "") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(base, str):
            raise PayloadError("bad-record", "an entry is not a map with a name")
        at = _within(path, base, name)
        known = table.get(at[2]) if at is not None else None
        if at is not None and known is not None:
            value = next((entry[label] for label in ("v", "bv", "sv") if label in entry), None)
            if isinstance(value, (bool, int, float, str)):
                time_ns = _json_time(since, entry.get("t", 0), now_ns)
                items.append(_item(at, known, _typed(known, _bounded(value)), "", time_ns))
    return items


def _bounded(value: Value) -> Value:
    if isinstance(value, str):
        return checked_text(value)
    if isinstance(value, int) and abs(value) >= 2**64:
        raise PayloadError("out-of-range", "an integer of more than 64 bits")
    return value


def _json_time(base: Any, offset: Any, now_ns: int) -> int | None:
    """Seconds since 1970, or, when small, since now; None if nothing is said."""
    if any(isinstance(part, bool) or not isinstance(part, (int, float)) for part in (base, offset)):
        raise PayloadError("bad-time", "a time is not a number")
    if base == 0 and offset == 0:
        return None
    total = seconds_to_ns(base) + seconds_to_ns(offset) + (now_ns if base + offset < _RELATIVE_S else 0)
    if not 0 <= total <= _LAST_NS:
        raise PayloadError("bad-time", "a time outside 1970 to 2262")
    return total
