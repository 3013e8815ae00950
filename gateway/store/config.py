"""Options of the store, ``store:`` in YAML. Light: imports no database."""

from __future__ import annotations

import enum

import msgspec

from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import Duration, Size


class SpoolFull(enum.StrEnum):
    """What a spool does with a batch when it is full."""

    DROP_OLDEST = "drop_oldest"
    """Make room: the oldest batches go, counted, and leave a loss marker."""
    DROP_NEWEST = "drop_newest"
    """Keep what is there: the new batch goes, counted, and leaves a loss marker."""
    BLOCK = "block"
    """Stop taking input until the uplink has drained some of it."""
    THIN = "thin"
    """Make room: the oldest samples are replaced by aggregates of each point and window, counted and told by a
    loss marker; counts and sums survive exactly. Only what cannot be thinned further goes."""


class JournalFull(enum.StrEnum):
    """What the journal does when it is full."""

    DROP_OLDEST = "drop_oldest"
    """Forget the oldest history; never what the last checkpoint still needs."""


def _check_bounds(max_size: Size, max_age: Duration) -> None:
    if max_size < 2**20:
        raise FieldError("max_size", "must be at least 1MiB")
    if max_age <= 0:
        raise FieldError("max_age", "must be above 0")


class JournalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the input journal, which is also the local history."""

    max_size: Size = Size(256 * 2**20)
    """Bytes of compressed input that are kept."""
    max_age: Duration = Duration(24 * 3600)
    """How long input is kept."""
    when_full: JournalFull = JournalFull.DROP_OLDEST
    """What gives way when a bound is reached."""

    def __post_init__(self) -> None:
        _check_bounds(self.max_size, self.max_age)


class SpoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the disk queue before each uplink; every uplink has its own."""

    max_size: Size = Size(2**30)
    """Bytes of unsent output that are kept for one uplink."""
    max_age: Duration = Duration(30 * 86400)
    """How long unsent output is kept."""
    when_full: SpoolFull = SpoolFull.DROP_OLDEST
    """What gives way when a bound is reached: ``drop_oldest``, ``drop_newest``, ``block`` (no input is taken), or
    ``thin`` (the oldest become aggregates of windows)."""
    thin_window: Duration = Duration(900)
    """The windows of ``thin``; they become longer as more room is needed, up to a day."""

    def __post_init__(self) -> None:
        _check_bounds(self.max_size, self.max_age)
        _check_window(self.thin_window)


def _check_window(window: Duration) -> None:
    if not 1 <= window <= 86400:
        raise FieldError("thin_window", "must be between 1s and 1d")


class StreamBounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of what waits of one pipeline, within those of its uplink."""

    max_size: Size | None = None
    """Bytes that are kept; left out: only the uplink's bound counts."""
    max_age: Duration | None = None
    """How long it is kept; left out: as long as the uplink says."""
    when_full: SpoolFull | None = None
    """What gives way at ``max_size``; left out: as the uplink says."""

    def __post_init__(self) -> None:
        _check_some(self.max_size, self.max_age)


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the disk queue before one uplink; what is left out is as in ``store.spool``."""

    max_size: Size | None = None
    """Bytes of unsent output that are kept."""
    max_age: Duration | None = None
    """How long unsent output is kept."""
    when_full: SpoolFull | None = None
    """What gives way when a bound is reached: ``drop_oldest``, ``drop_newest``, ``block`` or ``thin``."""
    thin_window: Duration | None = None
    """The windows of ``thin``."""
    pipelines: dict[Name, StreamBounds] = {}
    """Closer bounds by pipeline, so that one cannot take the place of all others."""

    def __post_init__(self) -> None:
        _check_some(self.max_size, self.max_age)
        if self.thin_window is not None:
            _check_window(self.thin_window)


def _check_some(max_size: Size | None, max_age: Duration | None) -> None:
    _check_bounds(Size(2**20) if max_size is None else max_size, Duration(1) if max_age is None else max_age)


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds before one uplink as they hold, everything resolved."""

    bounds: SpoolConfig = SpoolConfig()
    streams: dict[str, StreamBounds] = {}
    keep_ns: int = 0
    """How long a row stays after it was delivered."""
    priority: tuple[str, ...] = ()
    """Pipelines whose rows give way last, the most important first."""

    @classmethod
    def of(cls, default: SpoolConfig, own: QueueConfig, keep: Duration, priority: tuple[str, ...]) -> Queue:
        """What ``store.spool`` says, but for what the uplink says itself."""
        names = ("max_size", "max_age", "when_full", "thin_window")
        said = {name: value for name in names if (value := getattr(own, name)) is not None}
        bounds = msgspec.structs.replace(default, **said)
        return cls(bounds=bounds, streams=own.pipelines, keep_ns=keep.ns, priority=priority)

    def rank(self, pipeline: str) -> int:
        """0 for the most important; what is not named comes last."""
        return self.priority.index(pipeline) if pipeline in self.priority else len(self.priority)

    def rule(self, pipeline: str) -> SpoolFull:
        """What gives way when a bound of this pipeline alone is reached."""
        stream = self.streams.get(pipeline)
        return self.bounds.when_full if stream is None or stream.when_full is None else stream.when_full


class FlashConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sparing flash memory that wears out: less is written, and a kill or power cut costs more."""

    window: Duration = Duration(60)
    """While every uplink is up and takes what there is, the disk is written this seldom. What is acknowledged in
    between is in memory only: a kill or a power cut loses what of it is not upstream, and the input of open windows."""

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 3600:
            raise FieldError("window", "must be between 1s and 1h")


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway keeps on disk what it has taken in and not yet delivered."""

    commit: Duration = Duration(0.05)
    """The longest that input waits to be written when nobody waits for its receipt."""
    receipt_commit: Duration = Duration(0.005)
    """The same while somebody waits for a receipt, such as a broker for an acknowledgement."""
    checkpoint: Duration = Duration(60)
    """How often the operators' state is saved; what came after it is replayed at a start."""
    journal: JournalConfig = JournalConfig()
    """The input journal and local history."""
    spool: SpoolConfig = SpoolConfig()
    """The queue before each uplink."""
    flash: FlashConfig | None = None
    """Spare flash memory; left out: an acknowledgement means on disk."""

    def __post_init__(self) -> None:
        if not 0 < self.commit <= 10:
            raise FieldError("commit", "must be above 0 and at most 10s")
        if not 0 < self.receipt_commit <= self.commit:
            raise FieldError("receipt_commit", "must be above 0 and not longer than commit")
        if not 1 <= self.checkpoint <= 86400:
            raise FieldError("checkpoint", "must be between 1s and 24h")
