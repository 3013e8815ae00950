"""From a payload to readings: which values it holds, under which names, for which times.

Either the user has said which points there are and where (:class:`Place`), or the payload names them itself:
SenML by its records, a JSON or CBOR map by its members.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from adapters.payloads.documents import decode_cbor, decode_json
from adapters.payloads.fields import Field, is_field, parse_field
from adapters.payloads.formats import Encoding
from adapters.payloads.layout import Layout, compile_layout
from adapters.payloads.pointer import Pointer, parse_pointer, resolve
from adapters.payloads.senml import Record, decode_senml
from adapters.payloads.text import decode_number, decode_text
from adapters.payloads.times import TimeUnit, parse_time
from adapters.payloads.values import Value, to_value
from gateway.errors import PayloadError
from gateway.quality import Reason

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}", re.ASCII)


class Clock(NamedTuple):
    """Where a JSON or CBOR document says its time."""

    pointer: Pointer
    """Empty: nowhere."""
    unit: TimeUnit

    @classmethod
    def parse(cls, text: str, unit: TimeUnit) -> Clock:
        """From the options ``time`` and ``time_unit``."""
        return cls(parse_pointer(text), unit)

    def read(self, document: Any) -> int | None:
        """The time in ns, or None if none is asked for.

        Raises:
            PayloadError: ``missing``, ``bad-time``.
        """
        return parse_time(resolve(document, self.pointer), self.unit) if self.pointer else None


NO_CLOCK = Clock((), TimeUnit.AUTO)


class Place(NamedTuple):
    """A point and where its value is."""

    name: str
    record: str
    """Name of a SenML record, as the user wrote it; empty: the one of the point's name, or the only one."""
    pointer: Pointer
    """Empty: the member of the point's name in a map, the document itself if it is no map."""
    clock: Clock
    field: Field | None = None
    """Where it is in raw bytes."""

    @classmethod
    def parse(cls, name: str, value: str, clock: Clock) -> Place:
        """From the option ``value``."""
        if is_field(value):
            return cls(name, "", (), clock, parse_field(name, value))
        return cls(name, value.removeprefix("/"), parse_pointer(value), clock)


class Reading(NamedTuple):
    """One value out of a payload."""

    name: str
    value: Value | Reason
    """A reason where the payload says that there is no value."""
    unit: str
    """What the payload says of its unit; mostly nothing."""
    time_ns: int | None
    """None: the time of arrival."""


def read(
    payload: bytes,
    encoding: Encoding,
    now_ns: int,
    places: Sequence[Place] = (),
    *,
    clock: Clock = NO_CLOCK,
    base_names: bool = False,
) -> list[Reading]:
    """The readings of one payload, at least one.

    Args:
        payload: as it came.
        encoding: what it is.
        now_ns: what relative SenML times refer to, UTC ns.
        places: the points to take; none given: those that the payload names.
        clock: the time of points that the payload names.
        base_names: whether names out of SenML keep their base name.

    Raises:
        PayloadError: the payload as a whole is not usable; ``reason`` is one of those of the decoders.
    """
    match encoding:
        case Encoding.TEXT:
            return [_single(decode_text(payload), places)]
        case Encoding.UNKNOWN:
            number = decode_number(payload)
            if number is not None:
                return [_single(number, places)]
            return _from_document(decode_json(payload), places, clock)
        case Encoding.JSON | Encoding.CBOR:
            decode = decode_json if encoding is Encoding.JSON else decode_cbor
            return _from_document(decode(payload), places, clock)
        case Encoding.OCTETS:
            return _from_octets(payload, tuple(place.field for place in places if place.field is not None))
        case Encoding.SENML_JSON | Encoding.SENML_CBOR:
            records = decode_senml(payload, encoding, now_ns)
            return _from_records(records, places, base_names=base_names)


def _from_octets(payload: bytes, fields: tuple[Field, ...]) -> list[Reading]:
    if not fields:
        raise PayloadError("unsupported-format", "Content-Format 42 is read by fields (@0 uint16), and there are none")
    return [Reading(name, value, "", None) for name, value in _layout(fields).read(payload)]


@lru_cache(maxsize=1024)
def _layout(fields: tuple[Field, ...]) -> Layout:
    return compile_layout(fields)


def _single(value: Value, places: Sequence[Place]) -> Reading:
    if len(places) != 1 or places[0].pointer:
        raise PayloadError("no-place", "a single value, and no single point that is a whole payload")
    return Reading(places[0].name, value, "", None)


def _from_document(document: Any, places: Sequence[Place], clock: Clock) -> list[Reading]:
    if not places:
        return _members(document, clock)
    if len(places) > 1 and not isinstance(document, (dict, list)):
        raise PayloadError("no-place", "a single value for several points")
    readings: list[Reading] = []
    absent: PayloadError | None = None
    for place in places:
        try:
            found = _find(document, place)
        except PayloadError as error:  # a payload may carry some of its points only
            absent = error
            continue
        readings.append(Reading(place.name, _value(found), "", place.clock.read(document)))
    if absent is not None and not readings:
        raise absent
    return readings


def _find(document: Any, place: Place) -> Any:
    if not place.pointer and isinstance(document, dict):
        return resolve(document, (place.name,))
    return resolve(document, place.pointer)


def _members(document: Any, clock: Clock) -> list[Reading]:
    if not isinstance(document, dict):
        raise PayloadError("no-place", "not a map of names and values, and no points are given")
    time_ns = clock.read(document)
    timed = clock.pointer[0] if len(clock.pointer) == 1 else None
    readings: list[Reading] = []
    for key, found in document.items():
        name = str(key) if isinstance(key, int) and abs(key) < 2**64 else key
        if name == timed or isinstance(found, (dict, list)):
            continue
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise PayloadError("bad-name", f"{name[:60]!r}" if isinstance(name, str) else "a name of no text")
        readings.append(Reading(name, _value(found), "", time_ns))
    if not readings:
        raise PayloadError("no-values", "no member is a value")
    return readings


def _value(found: Any) -> Value | Reason:
    return Reason.MISSING if found is None else to_value(found)


def _from_records(records: list[Record], places: Sequence[Place], *, base_names: bool) -> list[Reading]:
    if not places:
        readings = [_reading(record, _name(record, keep=base_names)) for record in records]
        bases = {record.name.removesuffix(record.local) for record in records if record.local}
        if not base_names and len(bases) > 1:
            raise PayloadError("several-base-names", "set base_names to tell them apart")
    else:
        readings = [
            _reading(record, place.name)
            for place in places
            for record in _records_of(place, records, alone=len(places) == 1)
        ]
    if not readings:
        raise PayloadError("missing" if places else "no-values", "no such record in the pack")
    return readings


def _records_of(place: Place, records: list[Record], *, alone: bool) -> list[Record]:
    wanted = place.record or place.name
    found = [record for record in records if wanted in {record.name, record.local}]
    if not found and alone and not place.record and len({record.name for record in records}) == 1:
        return records  # the pack is one signal, whatever it calls it
    return found


def _name(record: Record, *, keep: bool) -> str:
    return record.name if keep or not record.local else record.local


def _reading(record: Record, name: str) -> Reading:
    value = Reason.NOT_IMPLEMENTED if record.value is None else record.value
    return Reading(name.strip("/"), value, record.unit, record.time_ns)
