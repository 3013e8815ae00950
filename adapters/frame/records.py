"""Messages as batches, whatever their format: ``frame`` or ``json``, told apart by their first byte. No I/O.

Both give a :class:`gateway.wire.receive.Received`: columns by the sender's ids (of JSON: by the order of appearance),
and what is said of each id. JSON says nothing of units and kinds, so its points have a ``name`` only.
"""

from __future__ import annotations

import math
import re
import zlib
from typing import Any, Final, NamedTuple

import msgpack
import msgspec
import numpy as np

from adapters.payloads.times import parse_time
from gateway import quality as q
from gateway.batch import Batch, Loss
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Times
from gateway.wire.receive import FrameDecoder, Received

MAX_DIRECTORIES: Final = 4096
"""Directory messages that are known to be kept; more than that are kept again when they come again."""
MAX_TEXT: Final = 512
"""Characters of a gateway's or a point's name."""
_REASONS = {reason.text: float(q.no_value(reason)) for reason in q.Reason if reason}
_REASONS |= {"infinity": math.inf, "-infinity": -math.inf}
_NOT_A_NUMBER = q.no_value(q.Reason.NOT_A_NUMBER)
_MISSING: Final = re.compile(r"directory ([0-9a-f]+)")
_LIMITS: Final = {"max_str_len": 1 << 20, "max_array_len": 1 << 20, "max_map_len": 1 << 20, "max_ext_len": 0}


class _Sample(msgspec.Struct):
    point: str
    time: str | int
    value: float | str | bool | None
    quality: str = "good"
    reason: str = ""


class _Loss(msgspec.Struct, rename={"first": "from", "last": "to"}):
    first: str | int
    last: str | int
    count: int
    reason: str
    first_seq: int | None = None
    last_seq: int | None = None


class _Head(msgspec.Struct):
    """A ``json`` record without a look into its samples."""

    gateway: str
    epoch: int
    seq: int
    pipeline: str = ""
    historical: bool = False
    chain: int | None = None
    prev: int = 0
    bounds: list[dict[str, Any]] = []
    loss: _Loss | None = None


class _Whole(_Head):
    samples: list[_Sample] = []


class _Uncut(msgspec.Struct):
    samples: msgspec.Raw = msgspec.Raw(b"")


_UNCUT = msgspec.json.Decoder(_Uncut)
_WHOLE = msgspec.json.Decoder(_Whole)


class UnknownDirectoryError(PayloadError):
    """A batch whose directory message, named here, has not come yet."""

    def __init__(self, name: str) -> None:
        super().__init__("unknown-directory", name)
        self.name = name


class Reader:
    """Reads messages; learns directories as they come."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._known: dict[str, None] = {}
        self.fresh: dict[str, bytes] = {}
        """Directory messages by hash, as they came, until somebody takes them out."""

    def read(self, payload: bytes) -> Received | None:
        """The batch of a message, or None for a directory message, which is learned.

        Raises:
            UnknownDirectoryError: not yet.
            PayloadError: it cannot be used.
        """
        if payload[:1] == b"{":
            return _from_json(_decoded(_WHOLE, payload))
        message = unpacked(payload)
        try:
            received = self._decoder.received(message)
        except PayloadError as error:
            missing = _MISSING.search(str(error)) if error.reason == "unknown-directory" else None
            if missing is None:
                raise
            raise UnknownDirectoryError(missing[1]) from error
        except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
            raise PayloadError("bad-message", f"{type(error).__name__}: {error}") from error
        if received is None:
            self._learn(message, payload)
            return None
        _check(received.gateway, received.batch)
        return received

    def _learn(self, message: dict[str, Any], payload: bytes) -> None:
        name = message.get("directory")
        if isinstance(name, str) and name not in self._known:
            self._known[name] = None
            self.fresh[name] = payload
            while len(self._known) > MAX_DIRECTORIES:
                del self._known[next(iter(self._known))]

    def learn(self, payload: bytes) -> None:
        """Learn a directory message that was kept from before.

        Raises:
            PayloadError: it is none.
        """
        if self.read(payload) is not None:
            raise PayloadError("bad-message", "is no directory message")
        self.fresh.clear()


class Line(NamedTuple):
    """A ``json`` message that goes on as it came."""

    gateway: str
    batch: Batch
    """Without samples."""
    samples: int
    crc: int
    """Of the samples as they stand."""


def line(payload: bytes) -> Line:
    """What a ``json`` message says; its samples are checked and not made columns of.

    Raises:
        PayloadError: it is not one.
    """
    found = _decoded(_WHOLE, payload)
    raw = _decoded(_UNCUT, payload).samples
    return Line(found.gateway, _batch(found, EMPTY), len(found.samples), zlib.crc32(raw))


def unpacked(payload: bytes) -> Any:
    """A ``frame`` message as msgpack gives it, with bounds on what it may claim to hold.

    Raises:
        PayloadError: ``bad-message``.
    """
    try:
        return msgpack.unpackb(payload, strict_map_key=False, max_bin_len=len(payload), **_LIMITS)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise PayloadError("bad-message", str(error) or type(error).__name__) from error


def _decoded(decoder: Any, payload: bytes) -> Any:
    try:
        found = decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError("bad-message", str(error)) from error
    return found


def _check(gateway: str, batch: Batch) -> None:
    if not gateway or len(gateway) > MAX_TEXT or not gateway.isprintable() or len(batch.pipeline) > MAX_TEXT:
        raise PayloadError("bad-message", f"gateway {gateway!r:.60}, pipeline {batch.pipeline!r:.60}")
    numbers = (batch.epoch, batch.seq, *(batch.chain or ()))
    if not all(0 <= number < 1 << 63 for number in numbers):
        raise PayloadError("bad-message", "a number of the record is out of range")
    if not all(isinstance(bound, dict) for bound in batch.bounds):
        raise PayloadError("bad-message", "bounds are not maps")
    loss = batch.loss
    if loss is not None and not (0 <= loss.count < 1 << 53 and max(abs(loss.first_ns), abs(loss.last_ns)) < 1 << 63):
        raise PayloadError("bad-message", "a number of the loss marker is out of range")


def _batch(found: _Head, frame: Frame) -> Batch:
    loss = None
    if found.loss is not None:
        told = found.loss
        first, last = _time(told.first), _time(told.last)
        loss = Loss(first, last, told.count, told.reason, told.first_seq, told.last_seq)
    chain = None if found.chain is None else (found.chain, found.prev)
    bounds = tuple(found.bounds)
    batch = Batch(found.seq, found.pipeline, 0, frame, loss, found.historical, b"", bounds, found.epoch, chain)
    _check(found.gateway, batch)
    return batch


def _from_json(found: _Whole) -> Received:
    ids: dict[str, int] = {}
    samples: list[_Sample] = found.samples
    points = [ids.setdefault(one.point, len(ids)) for one in samples]
    facts: dict[int, Any] = {number: {"name": name} for name, number in ids.items()}
    values = [_value(one, facts[number]) for one, number in zip(samples, points, strict=True)]
    for described in facts.values():
        if "states" in described:
            described["states"] = list(described["states"])
    try:
        frame = Frame(
            np.array(points, np.int32),
            _times([one.time for one in samples]),
            np.array(values, np.float64),
            np.array([_word(one.quality) for one in samples], np.uint16),
        )
    except (ValueError, OverflowError) as error:
        raise PayloadError("bad-message", str(error)) from error
    return Received(found.gateway, _batch(found, frame), facts)


def _value(one: _Sample, facts: dict[str, Any]) -> float:
    value = one.value
    if value is None:
        return _REASONS.get(one.reason, _NOT_A_NUMBER)
    if isinstance(value, str):
        states: dict[str, int] = facts.setdefault("states", {})
        return float(states.setdefault(value, len(states)))
    return float(value)


_words: dict[str, int] = {}


def _word(text: str) -> int:
    found = _words.get(text)
    if found is None:
        try:
            found = q.from_text(text)
        except ValueError as error:
            raise PayloadError("bad-message", str(error)) from error
        if len(_words) < 4096:
            _words[text] = found
    return found


def _time(value: str | int) -> int:
    return value if isinstance(value, int) else parse_time(value)


def _times(values: list[str | int]) -> Times:
    """Integers as they are; RFC 3339 as the uplinks write it all at once, anything else one by one."""
    if all(isinstance(value, int) for value in values):
        return np.array(values, np.int64)
    texts = np.array([str(value) for value in values])
    try:
        if np.char.endswith(texts, "Z").all():
            plain = np.char.rstrip(texts, "Z")
            times, seconds = plain.astype("datetime64[ns]").astype(np.int64), plain.astype("datetime64[s]")
            if (times // 1_000_000_000 == seconds.astype(np.int64)).all():  # else it is out of range, or NaT
                return times
    except ValueError:
        pass
    return np.array([_time(value) for value in values], np.int64)
