"""``reduction:`` in YAML. Light: imports no protocol library."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration, Size

LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


class ReductionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sums of many workers, added on their way. Without this section it is not there, and costs nothing."""

    listen: str = "127.0.0.1:8440"
    """Address and port for workers, and for nodes below this one. Port 0 takes a free one."""
    parent: list[str] = []
    """Addresses of nodes that sums go up to, the preferred one first; none: this node is the root. A node may not be
    above itself."""
    token: str = ""
    """What workers and nodes must know to join, the same in the whole tree; write ``${credential:name}`` rather than
    the token itself. It proves who they are and does not travel."""
    max_jobs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 16
    """How many jobs may be there at once; more are refused."""
    max_workers: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256
    """How many workers a job may have."""
    max_length: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 16_777_216
    """How many numbers a vector may have."""
    max_memory: Size = Size(2**30)
    """Bytes for the vectors of all jobs together: a job takes 48 bytes a number."""
    slot: Size = Size(2**20)
    """The longest slot, in bytes. Workers choose how long theirs are (64 KiB); shorter ones are added earlier."""
    timeout: Duration = Duration(5)
    """A parent that is silent for so long is taken for dead, and the next address is tried."""

    def __post_init__(self) -> None:
        host, _ = _address("listen", self.listen)
        if host not in LOCAL and not self.token:
            raise FieldError("listen", f"{host} can be reached from outside: give a token")
        for at, parent in enumerate(self.parent):
            _, port = _address(("parent", at), parent)
            if not port:
                raise FieldError(("parent", at), f"{parent!r} has no port")
        if not 0.1 <= self.timeout <= 600:
            raise FieldError("timeout", "between 100ms and 10min")
        if not 8 <= self.slot <= 2**26:
            raise FieldError("slot", "between 8B and 64MiB")

    @property
    def address(self) -> tuple[str, int]:
        """Where to listen."""
        return _address("listen", self.listen)

    @property
    def parents(self) -> list[tuple[str, int]]:
        """Where sums go."""
        return [_address("parent", parent) for parent in self.parent]


def _address(field: str | tuple[str | int, ...], text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise FieldError(field, f'{text!r} is not an address; write "10.0.0.5:8440"')
    return host.strip("[]"), int(port)
