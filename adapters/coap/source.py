"""One resource of a device: its path, and what of its payload becomes which points."""

from __future__ import annotations

from adapters.coap.device_options import ResourceOptions
from adapters.payloads.formats import Format, encoding_of
from adapters.payloads.readings import Clock, Place, Reading, read


class Source:
    """A resource as the configuration describes it; reads payloads, knows no socket."""

    def __init__(self, name: str, options: ResourceOptions) -> None:
        self.name = name
        self.path = options.path
        self.options = options
        self.points: dict[str, None] = {}
        """Names (within the device) of the points seen so far: those that a failure concerns."""
        self._clock = Clock.parse(options.time, options.time_unit)
        self._place = Place.parse(name, options.value, self._clock)
        if options.payload is not Format.SENML or options.value:
            self.points[name] = None

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
