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
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import msgspec

from gateway.units import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from gateway.finding import Finding
    from gateway.frame import Frame, Mask
    from gateway.point import Point


Tokens: TypeAlias = "npt.NDArray[np.uint64]"


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of every adapter's options. A subclass repeats ``frozen=True, kw_only=True`` and sets ``tag``."""

    stale_after: Duration | None = None
    """A device of which nothing valid was heard for so long is stale: its points become invalid with the
    reason ``stale``, and one log line says so. Left out: three times the period at which it is asked or has
    promised to speak; where nobody knows that, ten times the longest of its last gaps, and 60 s at least. ``0``
    turns it off."""

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
    folder: Path
    """A folder of the adapter's own below the state folder, for what must be on disk before it is used, such as
    the sequence numbers of a cipher; it exists."""

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

    def expect(self, device: str, period_s: float) -> None:
        """Say how often a device is asked or has promised to speak; 0: nothing is known of that any more.

        An infinite period says that the device may be silent for as long as it likes. A device that is silent
        beyond its period becomes stale (:mod:`gateway.liveness`), whatever its protocol. One whose link the adapter
        has said to be down is left alone, for its points are bad already.
        """

    def reject(self, reason: str, where: str, payload: bytes = b"", detail: str = "") -> None:
        """Count a wire unit that cannot be used, and keep it a while for ``onpath tap --rejected``.

        ``reason`` is a short, countable word; ``where`` the topic, path or register it came by.
        """

    def found(self, finding: Finding) -> None:
        """Say that something is there which is not configured; saying it again costs nothing."""

    def view(self, globs: Sequence[str]) -> View:
        """The gateway's latest values of the points that fit, of this adapter and all others."""


class Latest(NamedTuple):
    """The latest sample of a point, by the time of its source."""

    name: str
    unit: str
    time_ns: int
    value: float
    quality: int
    text: str | None
    """What the value stands for, if the point is a state."""


class View(Protocol):
    """The latest values of a selection of points. Only what is on disk is seen."""

    def rows(self) -> list[Latest]:
        """All that have a value, by name."""

    def get(self, name: str) -> Latest | None:
        """That of one point; None if it has none yet or is not part of the selection."""

    async def changed(self) -> set[str]:
        """Wait until points have news; their names. What happens meanwhile is joined for the next call."""

    def close(self) -> None:
        """Stop following; a view that nobody closes costs a little with each commit."""


class Stats:
    """What one adapter counts, in the same words for all of them."""

    __slots__ = ("devices", "link", "messages", "reasons", "repeated", "samples", "stale")

    def __init__(self) -> None:
        self.samples = 0
        """Samples handed over, good or bad."""
        self.messages = 0
        """Wire units taken: responses, notifications, packets."""
        self.repeated = 0
        """Wire units that a sender repeated though they were durable; they are acknowledged and not taken."""
        self.reasons: Counter[str] = Counter()
        """Errors by reason: ``timeout``, ``unparsable`` ... A rejected message counts here."""
        self.stale = 0
        """Devices that are silent beyond their limit now."""
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
            "stale": self.stale,
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

    async def reconfigure(self, config: AdapterConfig) -> bool:
        """Go on with other options without giving up the link; whether that was possible.

        Called while ``run`` is active. An adapter that returns False is left as it was, stopped, and started
        with the new options. The default does just that.
        """
        del config
        return False

    def plan(self) -> list[dict[str, Any]] | None:
        """What is asked of each device in a cycle, for people; None where a protocol has no such plan.

        ``{"device", "unit", "requests": [{"table", "address", "count", "every_s", "points": [ids], "places": [[address,
        width]]}], "refused": [ids]}`` with ids of points as the directory gives them, and where each of them lies.
        """
        return None

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
