"""SenML packs (RFC 8428) in JSON and CBOR to resolved records.

A pack is an array of maps. Base fields (``bn bt bu bv bs bver``) hold for their record and those after it
until given again; a record's name is base name + name, its time base time + time, and so on. Times below
2**28 s are relative to now. CBOR writes labels as small integers (section 6).

A sum (``s``) becomes a record of its own, its name ending in ``.sum``, so that it never mixes with values.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from adapters.payloads.documents import decode_cbor, decode_json
from adapters.payloads.formats import Encoding
from adapters.payloads.times import seconds_to_ns
from adapters.payloads.values import Value, checked_text, to_value
from gateway.errors import PayloadError

VERSION = 10
"""The SenML version of RFC 8428; a pack of a later one must not be interpreted."""

_LABELS = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_VALUES = ("v", "vs", "vb", "vd")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,255}", re.ASCII)
_PATH = re.compile(r"/?[A-Za-z0-9][A-Za-z0-9\-:./_]{0,255}", re.ASCII)
_RELATIVE_NS = 2**28 * 1_000_000_000
_LAST_NS = 2**63 - 1


class Record(NamedTuple):
    """One resolved record."""

    name: str
    """Base name and name together."""
    local: str
    """The name without the base name."""
    value: Value | None
    """None for opaque data (``vd``), which is no sample."""
    unit: str
    time_ns: int | None
    """UTC ns since 1970; None if the pack says no time, which means now."""


def decode_senml(payload: bytes, encoding: Encoding, now_ns: int, *, paths: bool = False) -> list[Record]:
    """The records of a pack, in its order.

    Args:
        payload: the pack.
        encoding: ``SENML_JSON`` or ``SENML_CBOR``.
        now_ns: what relative times refer to, UTC ns.
        paths: whether names may begin with a slash, as those of LwM2M do against RFC 8428.

    Raises:
        PayloadError: ``unparsable``, ``too-deep``, ``bad-record``, ``bad-time``, ``unsupported-version``.
            One bad record makes the pack bad, because what it says of its successors is not known.
    """
    document = decode_cbor(payload) if encoding is Encoding.SENML_CBOR else decode_json(payload)
    if not isinstance(document, list):
        raise PayloadError("bad-record", "a SenML pack is an array")
    base: dict[str, Any] = {}
    records: list[Record] = []
    for item in document:
        if not isinstance(item, dict):
            raise PayloadError("bad-record", "a SenML record is a map")
        fields = {_LABELS.get(key, key) if isinstance(key, int) else key: item[key] for key in item}
        _update_base(base, fields)
        records += _resolve(base, fields, now_ns, _PATH if paths else _NAME)
    return records


def _update_base(base: dict[str, Any], fields: dict[Any, Any]) -> None:
    for label in ("bn", "bu"):
        if label in fields:
            base[label] = _text(fields[label], label)
    for label in ("bt", "bv", "bs", "bver"):
        if label in fields:
            base[label] = _number(fields[label], label)
    if base.get("bver", VERSION) > VERSION:
        raise PayloadError("unsupported-version", f"bver is above {VERSION}")
    for label in fields:
        if isinstance(label, str) and label.endswith("_"):
            raise PayloadError("bad-record", f"{label[:60]!r} must be understood and is not")


def _resolve(base: dict[str, Any], fields: dict[Any, Any], now_ns: int, form: re.Pattern[str]) -> list[Record]:
    given = [label for label in _VALUES if label in fields]
    if len(given) > 1:
        raise PayloadError("bad-record", f"several values: {', '.join(given)}")
    if not given and "s" not in fields:
        return []  # only base fields, for the records behind it
    local = _text(fields["n"], "n") if "n" in fields else ""
    name = base.get("bn", "") + local
    if form.fullmatch(name) is None:
        raise PayloadError("bad-record", f"{name[:60]!r} is not a SenML name")
    unit = _text(fields["u"], "u") if "u" in fields else base.get("bu", "")
    time_ns = _time(base, fields, now_ns)
    records: list[Record] = []
    if given:
        records.append(Record(name, local, _value(given[0], base, fields), unit, time_ns))
    if "s" in fields:
        total = _number(fields["s"], "s") + base.get("bs", 0.0)
        records.append(Record(name + ".sum", local + ".sum", float(total), "", time_ns))
    return records


def _value(label: str, base: dict[str, Any], fields: dict[Any, Any]) -> Value | None:
    found = fields[label]
    if label == "v":
        return float(_number(found, "v") + base.get("bv", 0.0))
    if label == "vs":
        return _text(found, "vs")
    if label == "vb":
        if not isinstance(found, bool):
            raise PayloadError("bad-record", "vb is not a boolean")
        return found
    return None


def _time(base: dict[str, Any], fields: dict[Any, Any], now_ns: int) -> int | None:
    if "t" not in fields and "bt" not in base:
        return None
    offset = _number(fields["t"], "t") if "t" in fields else 0
    total = seconds_to_ns(base.get("bt", 0)) + seconds_to_ns(offset)
    if total < _RELATIVE_NS:
        total += now_ns
    if not 0 <= total <= _LAST_NS:
        raise PayloadError("bad-time", "a time outside 1970 to 2262")
    return total


def _text(found: Any, label: str) -> str:
    if not isinstance(found, str):
        raise PayloadError("bad-record", f"{label} is not a text")
    return checked_text(found)


def _number(found: Any, label: str) -> float:
    """Integers stay integers, so that times lose nothing."""
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**64:
        return found
    value = to_value(found) if not isinstance(found, str) else found
    if isinstance(value, (bool, str)):
        raise PayloadError("bad-record", f"{label} is not a number")
    return value
