"""What the server offers: the gateway's latest values, one point or a pack, to read and to observe.

A resource is known by its path; its representation is made when it is asked for, or once for all observers
when a point changes. Values that are not to be used have none: a SenML record without a value, and 5.03 as
text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from aiocoap.numbers import codes

from adapters.base import Context, Latest
from adapters.coap.directory.links import Link
from adapters.coap.options.offer import OfferFormat, OfferOptions
from adapters.coap.serving.refusal import RefusedError
from adapters.coap.serving.representation import Representation
from adapters.coap.serving.values_out import TEXT, encode_pack, encode_text, is_usable

MAX_LISTED: Final = 1024
"""Resources of one pattern that ``/.well-known/core`` lists."""

_DEFAULTS: Final = {OfferFormat.TEXT: TEXT, OfferFormat.SENML: 110, OfferFormat.SENML_CBOR: 112}
_SENML: Final = frozenset({110, 112})


class Offered(NamedTuple):
    """One resource: an offer and what its path says."""

    offer: Offer
    device: str
    """Out of ``{device}``; empty: all."""
    point: str
    """The whole name of a single point; empty: a pack."""

    def concerns(self, names: set[str]) -> bool:
        """Whether one of these points is part of it."""
        if self.point:
            return self.point in names
        return not self.device or any(name.startswith(f"{self.device}/") for name in names)


class Offer:
    """One path or pattern of ``serve.offer``."""

    def __init__(self, pattern: str, options: OfferOptions, ctx: Context) -> None:
        self.options = options
        self.pattern = pattern
        self._parts = pattern[1:].split("/")
        self._single = self._parts[-1] == "{point}"
        self._view = ctx.view(options.points)

    def close(self) -> None:
        """Stop following the values."""
        self._view.close()

    async def changed(self) -> set[str]:
        """Wait for points to change; their names."""
        return await self._view.changed()

    def match(self, path: Sequence[str]) -> Offered | None:
        """The resource of a path, or None. That of a point which has no value yet is one too."""
        parts = self._parts[:-1] if self._single else self._parts
        if len(path) < len(self._parts) or (not self._single and len(path) > len(parts)):
            return None
        device = ""
        for part, given in zip(parts, path, strict=False):
            if part == "{device}":
                device = given
            elif part != given:
                return None
        rest = "/".join(path[len(parts) :])
        return Offered(self, device, f"{device}/{rest}" if device and rest else rest)

    def represent(self, offered: Offered, accept: int | None) -> Representation:
        """The state of a resource now.

        Raises:
            RefusedError: 4.04, 4.06, or 5.03 for a text without a value.
        """
        wanted = self._format(accept)
        max_age = round(self.options.max_age)
        rows = self._rows(offered)
        if offered.point and not rows:
            raise RefusedError(codes.NOT_FOUND, "no such point, or it has no value yet")
        if wanted != TEXT:
            return Representation(encode_pack(rows, self.options.base_name, cbor=wanted == 112), wanted, max_age)
        row = rows[0]
        if not is_usable(row):
            raise RefusedError(codes.SERVICE_UNAVAILABLE, encode_text(row).decode())
        return Representation(encode_text(row), TEXT, max_age)

    def _format(self, accept: int | None) -> int:
        if accept is not None:
            if accept in _SENML or (accept == TEXT and self._single):
                return int(accept)
            raise RefusedError(codes.NOT_ACCEPTABLE, "there is 0 (one point), 110 and 112")
        return _DEFAULTS.get(self.options.format, TEXT if self._single else 110)

    def _rows(self, offered: Offered) -> list[Latest]:
        if offered.point:
            row = self._view.get(offered.point)
            return [row] if row is not None else []
        rows = self._view.rows()
        return [row for row in rows if not offered.device or row.name.startswith(f"{offered.device}/")]

    def links(self) -> Iterator[Link]:
        """What ``/.well-known/core`` lists: each resource that has a value now."""
        if not self._single and "{device}" not in self._parts:
            yield _link(self.pattern, "onpath.pack", "110 112")
            return
        rows = self._view.rows()
        if self._single:
            drop = 1 if "{device}" in self._parts else 0
            for row in rows[:MAX_LISTED]:
                device, _, rest = row.name.partition("/")
                path = self.pattern.replace("{device}", device).replace("{point}", rest if drop else row.name)
                yield _link(path, "onpath.value", "0 110 112")
        else:
            for device in sorted({row.name.partition("/")[0] for row in rows})[:MAX_LISTED]:
                yield _link(self.pattern.replace("{device}", device), "onpath.pack", "110 112")


def _link(path: str, rt: str, formats: str) -> Link:
    return Link(path, (("rt", rt), ("ct", formats), ("obs", None)))


async def watch(offer: Offer, tell: Callable[[Offer, set[str]], None]) -> None:
    """Say what has changed, for ever, at most once in ``min_interval``; what changes meanwhile is joined."""
    while True:
        tell(offer, await offer.changed())
        await asyncio.sleep(offer.options.min_interval)
