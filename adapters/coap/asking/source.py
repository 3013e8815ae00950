"""One resource of a device: its path, and what of its payload becomes which points."""

from __future__ import annotations

from typing import Any

from aiocoap import VALID

from adapters.coap.options.device import ResourceOptions
from adapters.payloads.formats import Format, encoding_of
from adapters.payloads.readings import Clock, Place, Reading, read


class Source:
    """A resource as the configuration describes it; reads payloads, knows no socket."""

    def __init__(self, name: str, options: ResourceOptions) -> None:
        self.name = name
        self.path = options.path
        self.options = options
        self._kept: Any = None
        """The last representation that has an entity tag."""
        self.points: dict[str, None] = {}
        """Names (within the device) of the points seen so far: those that a failure concerns."""
        self._clock = Clock.parse(options.time, options.time_unit)
        self._place = Place.parse(name, options.value, self._clock)
        if options.payload is not Format.SENML or options.value:
            self.points[name] = None

    @property
    def etag(self) -> bytes | None:
        """The entity tag of the representation that is known, to ask whether it is still current."""
        return self._kept.opt.etag if self._kept is not None else None

    def current(self, response: Any) -> Any:
        """What a response to a question with :attr:`etag` stands for: itself, or after a 2.03 what is known."""
        if response.code != VALID:
            self._kept = response if response.opt.etag is not None else None
            return response
        return self._kept

    def forget(self) -> None:
        """A device that was away may have restarted, and counts its entity tags from the beginning."""
        self._kept = None

    def read(self, payload: bytes, content_format: int | None, now_ns: int) -> list[Reading]:
        """The readings of a representation.

        SenML that was asked for without ``value`` names its points itself; so does a pack of several names
        that a device sent unasked, while one of a single name is the value of this point.

        Raises:
            PayloadError: it is not usable.
        """
        options = self.options
        encoding = encoding_of(options.payload, content_format, payload)
        if options.payload is Format.SENML or (options.payload is Format.AUTO and encoding.is_senml):
            places = (self._place,) if options.value else ()
            readings = read(payload, encoding, now_ns, places, base_names=options.base_names)
            if options.payload is Format.AUTO and len({reading.name for reading in readings}) == 1:
                readings = [reading._replace(name=self.name) for reading in readings]
            return readings
        return read(payload, encoding, now_ns, (self._place,))
