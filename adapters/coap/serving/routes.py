"""Served paths: patterns with named parts, and what a payload pushed there becomes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from adapters.coap.options.serve import ServedOptions
from adapters.coap.options.value import ValueOptions
from adapters.payloads.formats import encoding_of
from adapters.payloads.readings import Clock, Place, Reading, read
from gateway.point import PointOptions

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}", re.ASCII)
_PLAIN = PointOptions()


class Target(NamedTuple):
    """What a request's path says."""

    route: Route
    device: str
    point: str
    """Name from ``{point}``, or empty."""


class Route:
    """One pattern of ``serve.resources``."""

    def __init__(self, pattern: str, options: ServedOptions) -> None:
        self.pattern = pattern
        self._options = options
        self._parts = pattern[1:].split("/")
        self._clock = Clock.parse(options.time, options.time_unit)
        self._places = [self._place(name, point) for name, point in options.points.items()]
        self._named: dict[str, PointOptions] = {
            name: options.points[place.name]
            for place in self._places
            for name in (place.field.names if place.field is not None else [place.name])
        }
        self.has_layout = any(place.field is not None for place in self._places)
        """Whether it reads raw bytes."""

    def _place(self, name: str, point: ValueOptions) -> Place:
        clock = Clock.parse(point.time, point.time_unit) if point.time else self._clock
        return Place.parse(name, point.value, clock)

    def match(self, path: Sequence[str]) -> Target | None:
        """What the path means if it is one of this pattern, else None."""
        if len(path) != len(self._parts):
            return None
        named = {"{device}": self._options.device, "{point}": ""}
        for part, given in zip(self._parts, path, strict=True):
            if part in named:
                if _NAME.fullmatch(given) is None:
                    return None
                named[part] = given
            elif part != given:
                return None
        point = named["{point}"]
        if point and self._options.points and point not in self._options.points:
            return None
        return Target(self, named["{device}"], point)

    def point_options(self, name: str) -> PointOptions:
        """What the user said of a point, if anything."""
        return self._named.get(name, _PLAIN)

    def read(self, payload: bytes, content_format: int | None, now_ns: int, point: str) -> list[Reading]:
        """The readings of a payload; ``point`` is the name out of the path, or empty.

        Raises:
            PayloadError: it is not usable.
        """
        encoding = encoding_of(self._options.payload, content_format, payload)
        places = self._places
        if point:
            places = [place for place in places if place.name == point]
            places = places or [Place.parse(point, "", self._clock)]
        return read(payload, encoding, now_ns, places, clock=self._clock, base_names=self._options.base_names)


def find(routes: Sequence[Route], path: Sequence[str]) -> Target | None:
    """The target of the first pattern that matches, patterns without named parts first."""
    for route in routes:
        target = route.match(path)
        if target is not None:
            return target
    return None


def compile_routes(resources: dict[str, ServedOptions]) -> list[Route]:
    """The patterns in the order in which they are tried: the fewest named parts first."""
    return [Route(pattern, resources[pattern]) for pattern in sorted(resources, key=lambda p: p.count("{"))]
