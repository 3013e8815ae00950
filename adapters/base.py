"""The contract between an adapter and the gateway.

An adapter connects, decodes, and calls ``await ctx.emit(frame)``. It raises :class:`LinkError` (or lets
an ``OSError`` through) when its link is gone; the supervisor logs, waits with jitter and calls ``run``
again. An adapter never retries by itself and never swallows what it does not know.
"""

from __future__ import annotations

import abc
import enum
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from gateway.frame import Frame, Mask
    from gateway.point import Point


Tokens: TypeAlias = "npt.NDArray[np.uint64]"


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of every adapter's options. A subclass repeats ``frozen=True, kw_only=True`` and sets ``tag``."""

    def create(self) -> Adapter:
        """The adapter for these options. Imports its module here, so that unused protocols cost nothing."""
        raise NotImplementedError

    def devices_named(self) -> Sequence[str]:
        """Names of the devices that the options declare; the loader refuses one name in two adapters."""
        return ()

    def devices_appear(self) -> bool:
        """Whether devices beyond those may appear while running; if not, a glob that fits none is a slip."""
        return True


class Receipt(Protocol):
    """Proof of what became of an emitted frame."""

    async def durable(self) -> int:
        """Wait until the frame is on disk; the journal position that holds it.

        Raises:
            StoreError: it will never be; do not acknowledge.
        """


class Points(Protocol):
    """The directory as an adapter sees it."""

    def add(self, point: Point) -> int:
        """The dense id of the point, new or known; what is said of a known one is brought up to date.

        Raises:
            TooManyPointsError: the bound on points is reached.
        """

    def state(self, point: int, text: str) -> float:
        """The number that stands for ``text`` in the point's table of states; appended when new.

        Raises:
            TooManyPointsError: the table is full (1,024 texts a point).
        """


class Context(Protocol):
    """What the gateway offers to a running adapter. Call it on the event loop only."""

    gateway: str
    """The gateway's own name."""
    name: str
    """The adapter's name."""
    points: Points
    log: logging.LoggerAdapter[logging.Logger]
    stats: Stats

    def now_ns(self) -> int:
        """UTC ns since 1970, from the wall clock anchored to the monotonic one."""

    async def emit(self, frame: Frame, tokens: Tokens | None = None) -> Receipt:
        """Hand over samples; waits while the gateway is full. A receipt costs nothing until it is asked.

        ``tokens``, uint64 [messages], name the wire messages that the frame came from, where a sender that
        missed our acknowledgement repeats them; they become durable with the frame.
        """

    def known(self, tokens: Tokens) -> Mask:
        """Which messages are durable already, perhaps since before a restart, [n]: acknowledge, do not emit."""

    def remember(self, key: str, value: bytes) -> None:
        """Keep what the adapter has learned of its devices, also across restarts; written with a next commit."""

    def recall(self, key: str) -> bytes | None:
        """What was remembered under a key, or None."""

    def link(self, device: str, *, up: bool, detail: str = "") -> None:
        """Say that a link (``""`` is the adapter's own, else a device's) is up or down; logs changes only."""


class Stats:
    """What one adapter counts, in the same words for all of them."""

    __slots__ = ("devices", "link", "messages", "reasons", "repeated", "samples")

    def __init__(self) -> None:
        self.samples = 0
        """Samples handed over, good or bad."""
        self.messages = 0
        """Wire units taken: responses, notifications, packets."""
        self.repeated = 0
        """Wire units that a sender repeated though they were durable; they are acknowledged and not taken."""
        self.reasons: Counter[str] = Counter()
        """Errors by reason: ``timeout``, ``unparsable`` ... A rejected message counts here."""
        self.link = "down"
        self.devices: dict[str, dict[str, Any]] = {}
        """State of each device: ``link``, ``detail``, and whatever the protocol adds (period achieved ...)."""

    @property
    def errors(self) -> int:
        """All errors together."""
        return sum(self.reasons.values())

    def as_dict(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        return {
            "samples": self.samples,
            "messages": self.messages,
            "repeated": self.repeated,
            "errors": self.errors,
            "reasons": dict(self.reasons),
            "link": self.link,
            "devices": self.devices,
        }


class WriteResult(enum.StrEnum):
    """What became of a write."""

    DONE = "done"
    """The device has it: it shows the value, or, where it is not to be asked, has said so."""
    REFUSED = "refused"
    """The device said no; it is as it was."""
    UNKNOWN = "unknown"
    """Sent, but nobody knows whether it was carried out. Never repeat it blindly: read, or ask a person."""
    MISMATCH = "mismatch"
    """The device was read afterwards and shows another value."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """The result of a write."""

    result: WriteResult
    sent: float | str
    """The value after rounding to the step of the device."""
    seen: float | str | None = None
    """What the device showed afterwards; None if it was not read, or could not be."""
    why: str = ""
    """A short, countable word for what was not as it should be: ``illegal-data-value``, ``timeout`` ..."""


class Adapter(abc.ABC):
    """A southbound protocol."""

    @abc.abstractmethod
    async def run(self, ctx: Context) -> None:
        """Serve until cancelled.

        Raises:
            LinkError: the link is gone or cannot be made; the supervisor calls ``run`` again later.
        """

    async def write(self, point: str, value: float | str) -> Written:
        """Write a value to a device, once: the contract of the command path, never part of telemetry.

        What this raises was never sent, or was sent to nobody: the device is as it was. Anything else is said
        by the result. A write that was cancelled while it was under way is as good as UNKNOWN.

        Raises:
            NotImplementedError: this adapter cannot write.
            PayloadError: the point may not be written, or the value does not fit it.
            LinkError: there is no connection.
        """
        raise NotImplementedError(f"{type(self).__name__} does not write ({point} = {value})")

    async def check(self, point: str) -> Written:
        """Read a point that was written, and say what became of the last write; nothing is written.

        For a write whose result was :attr:`WriteResult.UNKNOWN`; it stays so if the point cannot be read.

        Raises:
            NotImplementedError: this adapter cannot write.
            PayloadError: the point was not written since the adapter was made.
            LinkError: there is no connection.
        """
        raise NotImplementedError(f"{type(self).__name__} does not write ({point})")
