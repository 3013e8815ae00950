"""Options of the MQTT adapter. Light: imports no protocol library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec

from adapters.base import AdapterConfig
from adapters.mqtt import topics
from adapters.mqtt.subscribe import Subscribe
from gateway.errors import FieldError
from gateway.units import Duration, Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.base import Adapter

Version = Annotated[str, msgspec.Meta(pattern=r"^(3\.1\.1|5)$")]


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
