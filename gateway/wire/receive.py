"""Messages of the format ``frame`` back to batches: the inverse of gateway.wire.message. A leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgpack

from gateway.batch import Batch, Link, Loss, record_id
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame
from gateway.wire import columns
from gateway.wire.directories import MOST_POINTS, Described, Directories
from gateway.wire.envelope import unseal
from gateway.wire.record import TimeFormat, record_of

VERSION: Final = 2
MAX_SAMPLES: Final = 1 << 20
"""Samples a message may hold; gateways send far fewer."""
_MAX_HEAD: Final = 1 << 16
_ID_FIELDS: Final = ("gateway", "epoch", "seq", "pipeline", "historical")


@dataclass(frozen=True, slots=True)
class Received:
    """A batch as the other side sent it."""

    gateway: str
    batch: Batch
    """With the sender's point ids; ``created_ns`` is 0, for it does not travel."""
    points: dict[int, Any]
    """What is said of each id: a map with ``name``, ``unit``, ``kind`` and, if there are any, ``states``, ``limits``,
    ``resolution``, ``merge`` and ``labels``. Not checked. Empty for a loss marker."""

    @property
    def id(self) -> str:
        """The record id as text."""
        return record_id(self.gateway, self.batch.epoch, self.batch.seq)


class FrameDecoder:
    """Decodes the messages of any number of gateways; learns their directories as they come."""

    def __init__(
        self, time: TimeFormat = TimeFormat.RFC3339, most_samples: int = MAX_SAMPLES, most_points: int = MOST_POINTS
    ) -> None:
        self._time = time
        self._most_samples = most_samples
        self._directories = Directories(most_points)

    def received(self, message: Any) -> Received | None:
        """The batch of a message (as msgpack gave it), or None: a directory message, which is learned, or a receipt.

        Raises:
            PayloadError: it is no frame message (``bad-message``), of a newer version (``bad-version``), is
                damaged, or (``unknown-directory``) its directory never came.
        """
        match message:
            case {"onpath": 2, "h": bytes(head), "c": bytes(coded)}:
                return self._batch(head, coded)
            case {"onpath": 2, "h": bytes(head)} if "c" not in message:
                return self._batch(head, None)
            case {"onpath": 2, "directory": str(name), "base": str(base), "points": bytes(sealed)}:
                self._directories.learn_sealed(name, base, sealed)
                return None
            case {"onpath": int(version)} if version > VERSION:
                raise PayloadError("bad-version", f"message of version {version}; this one reads up to {VERSION}")
            case {"onpath": 1 | 2, "receipt": True}:
                return None
            case {"onpath": 1}:
                return self._version_1(message)
            case _:
                raise PayloadError("bad-message", f"{message!r:.80}")

    def decode(self, message: Any) -> dict[str, Any] | None:
        """One ``json`` record, or None for a message without a batch.

        Raises:
            PayloadError: as for :meth:`received`; or (``bad-directory``) what is said of a point is not usable.
        """
        received = self.received(message)
        if received is None:
            return None
        names = Described(received.points, received.batch.frame)
        return record_of(received.batch, received.gateway, names, self._time)

    def frame(self, message: Any) -> tuple[Frame, dict[int, Any]] | None:
        """The samples of a message by the sender's ids, and what is said of each id; None if it has no samples.

        Raises:
            PayloadError: as for :meth:`received`.
        """
        received = self.received(message)
        return None if received is None or received.batch.loss else (received.batch.frame, received.points)

    def _batch(self, sealed: bytes, coded: bytes | None) -> Received:
        head = _unpacked(unseal(sealed, _MAX_HEAD))
        match head:
            case [
                str(gateway),
                int(epoch),
                int(seq),
                str(pipeline),
                bool(historical),
                bytes(directory),
                int(chain),
                int(back),
                *more,
            ]:
                bounds, loss = _more(more[0] if more else {})
            case _:
                raise PayloadError("bad-message", f"head: {head!r:.80}")
        if (coded is None) != (loss is not None):
            raise PayloadError("bad-message", "a batch has either columns or a loss")
        link: Link | None = (chain, seq - back if back else 0) if chain else None
        points = {} if coded is None else self._directories.of(directory.hex())  # first, so that waiting is cheap
        frame = EMPTY if coded is None else columns.decode(coded, self._most_samples)
        batch = Batch(seq, pipeline, 0, frame, loss, historical, coded or b"", bounds, epoch, link)
        return Received(gateway, batch, points)

    def _version_1(self, message: dict[str, Any]) -> Received | None:
        match message:
            case {"directory": str(name), "base": str(base), "points": dict(points)}:
                self._directories.learn(name, base, points)
                return None
            case {"columns": bytes(raw), "directory": str(name)}:
                points = self._directories.of(name)
                return _record_1(message, columns.decode(raw, self._most_samples), None, points)
            case {"loss": dict(told)}:
                return _record_1(message, EMPTY, _loss(told), {})
            case _:
                raise PayloadError("bad-message", f"{message!r:.80}")


def _unpacked(raw: bytes) -> Any:
    try:
        return msgpack.unpackb(raw, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise PayloadError("bad-message", str(error) or type(error).__name__) from error


def _more(more: Any) -> tuple[tuple[Any, ...], Loss | None]:
    """Bounds and loss of a head."""
    match more:
        case {"loss": dict(told)}:
            return _bounds(more), _loss(told)
        case dict():
            return _bounds(more), None
        case _:
            raise PayloadError("bad-message", f"head: {more!r:.80}")


def _bounds(message: dict[str, Any]) -> tuple[Any, ...]:
    bounds = message.get("bounds") or ()
    if not isinstance(bounds, list | tuple):
        raise PayloadError("bad-message", f"bounds: {bounds!r:.80}")
    return tuple(bounds)


def _loss(told: dict[str, Any]) -> Loss:
    match told:
        case {"from": int(first), "to": int(last), "count": int(count), "reason": str(reason)} if (
            min(first, last) >= -(1 << 63) and max(first, last) < 1 << 63
        ):
            match told:
                case {"first_seq": int(first_seq), "last_seq": int(last_seq)}:
                    return Loss(first, last, count, reason, first_seq, last_seq)
            return Loss(first, last, count, reason)
    raise PayloadError("bad-message", f"loss: {told!r:.80}")


def _record_1(message: dict[str, Any], frame: Frame, loss: Loss | None, points: dict[int, Any]) -> Received:
    match message:
        case {
            "gateway": str(gateway),
            "epoch": int(epoch),
            "seq": int(seq),
            "pipeline": str(pipeline),
            "historical": bool(historical),
        }:
            batch = Batch(seq, pipeline, 0, frame, loss, historical, bounds=_bounds(message), epoch=epoch)
            return Received(gateway, batch, points)
    missing = next((repr(field) for field in _ID_FIELDS if field not in message), "a record id of the right types")
    raise PayloadError("bad-message", f"without {missing}")
