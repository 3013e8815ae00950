"""Options of the MQTT adapter. Light: imports no protocol library."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, NamedTuple
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

EMBEDDED = "embedded"
"""As a URL: the gateway's own broker; the gateway puts its address and login in place of it."""


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
    """``mqtt://host:1883``, ``mqtts://host:8883`` for TLS, or over WebSockets ``ws://host/mqtt`` and
    ``wss://host/mqtt``."""
    version: Version = "3.1.1"
    """Version of the protocol: ``"5"`` or ``"3.1.1"``."""
    client_id: str = ""
    """The name by which the broker knows the session; it must stay the same and be used once only. Default:
    ``onpath-<gateway>-<adapter>``."""
    username: str = ""
    """Name to log in with."""
    password: str = ""
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    ca: str | None = None
    """File with the certificates to trust, read at each connection; if it is missing or empty there is no
    connection. Default: those of the system."""
    cert: str | None = None
    """File with the client's own certificate, read at each connection."""
    key: str | None = None
    """File with the private key of ``cert``."""
    keepalive: Duration = Duration(15)
    """A silent connection is probed this often, and given up after one and a half times as long."""
    timeout: Duration = Duration(10)
    """How long a connection, log-in and subscription may take together."""
    session: SessionOptions = SessionOptions()
    """Persistent unless said otherwise."""
    receive_maximum: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """How many messages of QoS 1 the broker may send before the first of them is acknowledged: the most that waits
    for the disk. MQTT 5 only; ``0`` leaves it to the broker."""
    topic_alias_maximum: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """How many topics the broker may give a number, to send that instead. MQTT 5 only."""
    state_topic: str = ""
    """Where to say whether this adapter is connected, retained: ``online`` and ``offline`` as JSON. The broker
    itself says so when the link is lost. May name ``{gateway}`` and ``{adapter}``. Default: nowhere."""
    linger: Duration = Duration(0.005)
    """While messages keep coming they are gathered for so long; each hand-over costs its fixed part. The first
    message after a pause goes at once, and so do bursts."""
    max_payload: Size = Size(256 * 1024)
    """A larger payload is not decoded but counted as ``oversize``, and acknowledged."""
    discover: list[str] = msgspec.field(default_factory=list)
    """Topic filters below which to look for topics that no subscription takes: ``["site/#"]``. What they carry, and
    how a subscription to them would read, is shown by ``onpath discover``; no samples are made of it."""
    subscribe: list[Subscribe] = msgspec.field(default_factory=list)
    """What to subscribe to. A topic that fits several patterns belongs to the first of them."""

    def __post_init__(self) -> None:
        check_broker_url(self.url)
        check_tls(self.url, self.ca, self.cert, self.key)
        if not 1 <= self.keepalive <= 65_535:
            raise FieldError("keepalive", "between 1s and 65535s")
        if self.timeout <= 0:
            raise FieldError("timeout", "must be above 0")
        if not 0 <= self.linger <= 1:
            raise FieldError("linger", "between 0 and 1s")
        if not 1 <= self.max_payload <= 0x0FFF_FFFF:
            raise FieldError("max_payload", "between 1B and 268435455B, the most that MQTT can carry")
        if self.password and not self.username:
            raise FieldError("password", "a password needs a username")
        check_state_topic(self.state_topic, {"gateway", "adapter"})
        if self.state_topic and any(entry.sparkplug is not None and entry.sparkplug.host for entry in self.subscribe):
            raise FieldError(
                "state_topic", "a connection has one will, and the Sparkplug host needs it; use an adapter of its own"
            )
        if self.version != "5":
            self._check_version()
        self._check_filters()
        self._check_hosts()

    def _check_version(self) -> None:
        for field in ("receive_maximum", "topic_alias_maximum"):
            if getattr(self, field):
                raise FieldError(field, f'MQTT 3.1.1 has no such thing; set version: "5", or leave {field} out')
        for number, entry in enumerate(self.subscribe):
            if entry.needs_properties:
                raise FieldError(
                    ("subscribe", number, "labels"), 'user properties (prop:) need version: "5"; 3.1.1 has none'
                )
            if entry.share:
                raise FieldError(
                    ("subscribe", number, "share"),
                    'shared subscriptions need version: "5"; a broker of 3.1.1 may take $share/... for an '
                    "ordinary topic, on which nothing ever comes",
                )

    def _check_filters(self) -> None:
        if not self.subscribe and not self.discover:
            raise FieldError("subscribe", "name a topic to subscribe to, or one to look for others: discover")
        seen: dict[str, int] = {}
        for number, entry in enumerate(self.subscribe):
            first = seen.setdefault(topics.parse(entry.topic).filter, number)
            if first != number:
                raise FieldError(
                    ("subscribe", number, "topic"),
                    f"takes the same topics as subscription {first + 1} of the list",
                )
        for number, text in enumerate(self.discover):
            try:
                pattern = topics.parse(text)
            except ValueError as error:
                raise FieldError(("discover", number), str(error)) from None
            if pattern.names or pattern.filter in seen:
                why = "named parts say nothing here; write +" if pattern.names else "is subscribed to already"
                raise FieldError(("discover", number), why)

    def _check_hosts(self) -> None:
        """A connection has one will, and a Sparkplug host needs it."""
        hosts = [n for n, s in enumerate(self.subscribe) if s.sparkplug is not None and s.sparkplug.host]
        if len(hosts) > 1:
            where = ("subscribe", hosts[1], "sparkplug", "host")
            raise FieldError(where, "one connection is one host; leave this out, or use a second adapter")

    @property
    def starts_clean(self) -> bool:
        """Whether a connection begins with a clean session: a Sparkplug host has to (3.0, 5.2)."""
        return self.session.clean or any(s.sparkplug is not None and s.sparkplug.host for s in self.subscribe)

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


SECURE = frozenset({"mqtts", "wss"})
WEB = frozenset({"ws", "wss"})
_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class Address(NamedTuple):
    """Where a broker is."""

    host: str
    port: int
    secure: bool
    path: str
    """Path and query for WebSockets, ``/mqtt`` if the URL has none; empty for plain MQTT."""
    authority: str
    """Host and port as they stand in the URL, for an HTTP request."""


def address(url: str) -> Address:
    """The parts of a broker's URL, which was checked before."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    path = (parts.path if parts.path not in {"", "/"} else "/mqtt") + query if parts.scheme in WEB else ""
    port = parts.port or _PORTS[parts.scheme]
    return Address(parts.hostname or "", port, parts.scheme in SECURE, path, parts.netloc)


def check_broker_url(url: str) -> None:
    """Refuse a URL that is not that of an MQTT broker, nor :data:`EMBEDDED`.

    Raises:
        FieldError: naming ``url``.
    """
    if url == EMBEDDED:
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FieldError("url", f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise FieldError(
            "url",
            f"{url!r} is not a broker's URL; write mqtt://host:1883, mqtts://host:8883, ws://host/mqtt "
            "or wss://host/mqtt",
        )
    if parts.username is not None or parts.fragment:
        raise FieldError("url", f"{url!r}: a login has keys of its own, username and password, and # has no place")
    if parts.scheme not in WEB and (parts.query or parts.path not in {"", "/"}):
        raise FieldError("url", f"{url!r}: a broker's URL has a host and a port only; a path goes with ws and wss")


def check_tls(url: str, ca: str | None, cert: str | None, key: str | None) -> None:
    """Refuse files of certificates that do not go together, or that would not be used.

    Raises:
        FieldError: naming ``ca``, ``cert`` or ``key``.
    """
    files = {"ca": ca, "cert": cert, "key": key}
    for field, file in files.items():
        if file == "":
            raise FieldError(field, "the name of the file is empty; leave the key out to do without it")
    if (cert is None) != (key is None):
        raise FieldError("key" if cert is None else "cert", "cert and key go together")
    used = next((field for field, file in files.items() if file is not None), None)
    if used and url != EMBEDDED and urlsplit(url).scheme not in SECURE:
        raise FieldError(used, "certificates need TLS: write mqtts:// or wss:// in the url")


def check_state_topic(topic: str, known: set[str]) -> None:
    """Refuse a topic for the gateway's own state that is none.

    Raises:
        FieldError: naming ``state_topic``.
    """
    try:
        named = {field for _, field, _, _ in string.Formatter().parse(topic) if field is not None}
    except ValueError as error:
        raise FieldError("state_topic", f"{topic!r}: {error}") from None
    if unknown := named - known:
        raise FieldError(
            "state_topic", f"{{{min(unknown)}}} is unknown; known: {', '.join(f'{{{one}}}' for one in sorted(known))}"
        )
    if any(char in topic for char in "+#\0") or topic.startswith("$"):
        raise FieldError("state_topic", "a topic to publish to has no + or # and does not begin with $")
