"""Options of the MQTT adapter. Light: imports no protocol library."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec

from adapters.base import AdapterConfig
from adapters.mqtt import topics
from adapters.payloads.pointer import parse_pointer
from gateway.errors import FieldError
from gateway.point import Name, PointOptions
from gateway.units import Duration, Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.base import Adapter

Version = Annotated[str, msgspec.Meta(pattern=r"^(3\.1\.1|5)$")]
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


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the broker keeps for the adapter while it is away."""

    clean: bool = False
    """Start afresh at every connection. What was sent while the gateway was away, and what it had taken
    and not yet acknowledged, is then lost."""
    expiry: Duration = Duration(3600)
    """How long the broker keeps the session after a disconnection. MQTT 5 only: under 3.1.1 the broker's own
    setting decides."""

    def __post_init__(self) -> None:
        if not 0 <= self.expiry <= 0xFFFF_FFFF:
            raise FieldError("expiry", "a session lasts between 0 and 4294967295 seconds")


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


class MqttConfig(AdapterConfig, frozen=True, kw_only=True, tag="mqtt"):
    """Subscribe at an MQTT broker."""

    url: str
    """``mqtt://host:1883``, or ``mqtts://host:8883`` for TLS."""
    version: Version = "3.1.1"
    """Version of the protocol: ``"5"`` or ``"3.1.1"``."""
    client_id: str = ""
    """The name by which the broker knows the session; it must stay the same and be used once only. Default:
    ``onpath-<gateway>-<adapter>``."""
    username: str = ""
    """Name to log in with."""
    password: str = ""
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    ca: str = ""
    """File with the certificates to trust. Default: those of the system."""
    cert: str = ""
    """File with the client's own certificate."""
    key: str = ""
    """File with the private key of ``cert``."""
    keepalive: Duration = Duration(15)
    """A silent connection is probed this often, and given up after one and a half times as long."""
    timeout: Duration = Duration(10)
    """How long a connection, log-in and subscription may take together."""
    session: SessionOptions = SessionOptions()
    """Persistent unless said otherwise."""
    max_payload: Size = Size(256 * 1024)
    """A larger payload is not decoded but counted as ``oversize``, and acknowledged."""
    subscribe: Annotated[list[Subscribe], msgspec.Meta(min_length=1)]
    """What to subscribe to. A topic that fits several patterns belongs to the first of them."""

    def __post_init__(self) -> None:
        check_broker_url(self.url)
        self._check_tls()
        if not 1 <= self.keepalive <= 65_535:
            raise FieldError("keepalive", "between 1s and 65535s")
        if self.timeout <= 0:
            raise FieldError("timeout", "must be above 0")
        if not 1 <= self.max_payload <= 0x0FFF_FFFF:
            raise FieldError("max_payload", "between 1B and 268435455B, the most that MQTT can carry")
        if self.password and not self.username:
            raise FieldError("password", "a password needs a username")
        self._check_filters()

    def _check_tls(self) -> None:
        if bool(self.cert) != bool(self.key):
            raise FieldError("cert" if self.cert else "key", "cert and key go together")
        if (self.ca or self.cert) and not self.url.startswith("mqtts:"):
            raise FieldError("ca" if self.ca else "cert", "certificates need TLS: write mqtts:// in the url")

    def _check_filters(self) -> None:
        seen: dict[str, int] = {}
        for number, entry in enumerate(self.subscribe):
            first = seen.setdefault(topics.parse(entry.topic).filter, number)
            if first != number:
                raise FieldError(
                    ("subscribe", number, "topic"),
                    f"takes the same topics as subscription {first + 1} of the list",
                )

    def devices_named(self) -> Sequence[str]:
        """See the base class: devices that a subscription names without a part of the topic."""
        return tuple(dict.fromkeys(s.device for s in self.subscribe if s.device and "{" not in s.device))

    def devices_appear(self) -> bool:
        """See the base class."""
        return any("{" in s.device_template for s in self.subscribe)

    def create(self) -> Adapter:
        """See the base class."""
        from adapters.mqtt.adapter import MqttAdapter

        return MqttAdapter(self)


def _check_pointer(path: tuple[str, ...], text: str) -> None:
    try:
        parse_pointer(text)
    except ValueError as error:
        raise FieldError(path, str(error)) from None


def check_broker_url(url: str) -> None:
    """Refuse a URL that is not that of an MQTT broker.

    Raises:
        FieldError: naming ``url``.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FieldError("url", f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or port == 0:
        raise FieldError("url", f"{url!r} is not a broker's URL; write mqtt://host:1883 or mqtts://host:8883")
    if parts.username is not None or parts.query or parts.fragment or parts.path not in {"", "/"}:
        raise FieldError("url", f"{url!r}: a broker's URL has a host and a port only")
