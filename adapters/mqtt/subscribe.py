"""Options of one subscription: a topic pattern, what its messages carry, and the points in them. Light."""

from __future__ import annotations

import enum
import re
from typing import Annotated

import msgspec

from adapters.mqtt import topics
from adapters.payloads.pointer import parse_pointer
from gateway.errors import FieldError
from gateway.point import Name, PointOptions

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}\Z")


class Payload(enum.StrEnum):
    """What a message carries."""

    JSON = "json"
    """An object with one or more values."""
    TEXT = "text"
    """One plain value, such as ``21.5``, ``true`` or ``auto``."""


class MqttPoint(PointOptions, frozen=True, kw_only=True):
    """One value of a message."""

    value: str = ""
    """Where the value stands in a JSON payload: a pointer (RFC 6901) such as ``/meas/p``, or the key of a
    member of the payload itself. Default: the point's own name."""


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic pattern and what its messages mean."""

    topic: str
    """An MQTT topic filter with named parts: ``site/{device}/telemetry``. A named part is one level;
    ``+`` and a last ``#`` are allowed as well. ``{device}`` names the device, ``{point}`` the point of a text
    payload."""
    payload: Payload = Payload.JSON
    """``json``: an object with the values. ``text``: one plain value a message."""
    device: str = ""
    """The device's name; may use named parts of the topic: ``{area}-{device}``. Default: ``{device}``."""
    time: str = ""
    """Where a JSON payload has its source time: a pointer or the key of a member. Unix time in s, ms, us or
    ns (told apart by magnitude) or RFC 3339 text. Default, and where it is missing: the time of arrival."""
    qos: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1
    """1: the broker sends again what the gateway has not acknowledged, and the gateway acknowledges what is
    on disk. 0: what is lost on the way is lost. 2 is not supported."""
    points: dict[Name, MqttPoint] = {}
    """Points by name. Left out: each number, boolean and text of a payload becomes a point as it appears."""

    def __post_init__(self) -> None:
        if self.qos == 2:
            raise FieldError("qos", "QoS 2 is not supported; 1 loses nothing either, and doubles carry one time")
        try:
            pattern = topics.parse(self.topic)
        except ValueError as error:
            raise FieldError("topic", str(error)) from None
        self._check_device(pattern)
        if self.payload is Payload.TEXT:
            self._check_text(pattern)
        else:
            self._check_json(pattern)

    @property
    def device_template(self) -> str:
        """The device's name with the named parts that are still to be filled in."""
        return self.device or "{device}"

    def _check_device(self, pattern: topics.Pattern) -> None:
        wanted = topics.names_in(self.device_template)
        if not self.device and "device" not in pattern.names:
            raise FieldError("device", "the topic has no {device} part; name the device with this key")
        for name in wanted:
            if name not in pattern.names:
                raise FieldError("device", f"the topic has no part {{{name}}}")
        if not _NAME.match(topics.fill(self.device_template, dict.fromkeys(wanted, "x"))):
            raise FieldError("device", "a name has letters, digits, and . _ - only")

    def _check_text(self, pattern: topics.Pattern) -> None:
        if self.time:
            raise FieldError("time", "a text payload carries no time")
        if "point" not in pattern.names and len(self.points) != 1:
            raise FieldError("points", "a text payload is one value: name one point, or use {point} in the topic")
        for name, point in self.points.items():
            if point.value:
                raise FieldError(("points", name, "value"), "a text payload is the value itself")

    def _check_json(self, pattern: topics.Pattern) -> None:
        if "point" in pattern.names:
            raise FieldError("topic", "{point} goes with payload: text; a JSON payload names its points itself")
        for name, point in self.points.items():
            _check_pointer(("points", name, "value"), point.value)
        _check_pointer(("time",), self.time)


def _check_pointer(path: tuple[str, ...], text: str) -> None:
    try:
        parse_pointer(text)
    except ValueError as error:
        raise FieldError(path, str(error)) from None
