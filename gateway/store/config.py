"""Options of the store, ``store:`` in YAML. Light: imports no database."""

from __future__ import annotations

import enum

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration, Size


class SpoolFull(enum.StrEnum):
    """What a spool does with a batch when it is full."""

    DROP_OLDEST = "drop_oldest"
    """Make room: the oldest batches go, counted, and leave a loss marker."""
    DROP_NEWEST = "drop_newest"
    """Keep what is there: the new batch goes, counted, and leaves a loss marker."""
    BLOCK = "block"
    """Stop taking input until the uplink has drained some of it."""


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
    """What gives way when a bound is reached."""

    def __post_init__(self) -> None:
        _check_bounds(self.max_size, self.max_age)


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

    def __post_init__(self) -> None:
        if not 0 < self.commit <= 10:
            raise FieldError("commit", "must be above 0 and at most 10s")
        if not 0 < self.receipt_commit <= self.commit:
            raise FieldError("receipt_commit", "must be above 0 and not longer than commit")
        if not 1 <= self.checkpoint <= 86400:
            raise FieldError("checkpoint", "must be between 1s and 24h")
