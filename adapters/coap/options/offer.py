"""Options of what the server offers: the gateway's latest values, to read and to observe. Light."""

from __future__ import annotations

import enum
import re

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration

_BASE_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9\-:./_]{0,127})?", re.ASCII)


class OfferFormat(enum.StrEnum):
    """What a request without Accept gets."""

    AUTO = "auto"
    TEXT = "text"
    SENML = "senml"
    SENML_CBOR = "senml-cbor"


class OfferOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Points behind one path, or one path pattern."""

    points: list[str] = []
    """Globs of the points offered, of this adapter and all others: ``[m1/**]``."""
    format: OfferFormat = OfferFormat.AUTO
    """What is given if a request does not ask by Accept: ``text`` (one point only), ``senml``,
    ``senml-cbor``; ``auto`` is text for one point and SenML in JSON for a pack."""
    base_name: str = ""
    """What SenML records have before the names of points (``bn``), such as ``feeder-7/``."""
    min_interval: Duration = Duration(1)
    """Least time between two notifications to an observer; what changes meanwhile is in the next one."""
    max_age: Duration = Duration(60)
    """How long an answer may be taken as fresh (Max-Age); an observer without news is told again then."""
    max_observers: int = 64
    """Observers of this path or pattern; further ones are answered and not told of changes."""

    def __post_init__(self) -> None:
        if not self.points:
            raise FieldError("points", 'no points; "**" offers all')
        if self.min_interval < 0.05:
            raise FieldError("min_interval", "must be at least 50ms")
        if self.max_age < 1:
            raise FieldError("max_age", "must be at least 1s")
        if not 0 <= self.max_observers <= 4096:
            raise FieldError("max_observers", "must lie between 0 and 4096")
        if _BASE_NAME.fullmatch(self.base_name) is None:
            raise FieldError(
                "base_name", "may hold letters, digits and -:./_ only, and begins with one of the first two"
            )


def check_offer(where: tuple[str, ...], pattern: str, options: OfferOptions) -> None:
    """Refuse a pattern that cannot be served, or not in the format asked for.

    Raises:
        FieldError: for ``where``.
    """
    parts = pattern[1:].split("/")
    named = [part for part in parts if "{" in part or "}" in part]
    if "" in parts:
        raise FieldError(where, "a part of a path is a word, {device}, or {point} at the end")
    if any(part not in {"{device}", "{point}"} or named.count(part) > 1 for part in named):
        raise FieldError(where, "the parts with names are {device} and {point}, each once")
    if "{point}" in parts[:-1]:
        raise FieldError(
            where, "{point} is the last part: it takes all that follows, as names of points have parts too"
        )
    if "{point}" not in parts and options.format is OfferFormat.TEXT:
        raise FieldError((*where, "format"), "text holds one value; end the path with {point}, or take senml")
