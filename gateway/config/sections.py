"""Parts of the configuration that concern the whole gateway: discovery and the embedded broker."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from gateway.errors import FieldError
from gateway.units import Size


class FindingKind(enum.StrEnum):
    """How something was found."""

    COAP_CORE = "coap-core"
    """A CoAP server answered to ``/.well-known/core``."""
    COAP_DIRECTORY = "coap-directory"
    """An endpoint registered at the gateway's resource directory."""
    LWM2M = "lwm2m"
    """A LwM2M client registered."""
    SUNSPEC = "sunspec"
    """A Modbus unit has a SunSpec map."""
    MODBUS_IDENTITY = "modbus-identity"
    """A Modbus unit told its maker and model (function 43)."""
    SPARKPLUG = "sparkplug"
    """A Sparkplug edge node or device published its birth."""
    HOME_ASSISTANT = "home-assistant"
    """A device published its configuration for Home Assistant."""
    MQTT_TOPIC = "mqtt-topic"
    """Messages came by a topic that no subscription names."""
    GATEWAY = "gateway"
    """Another gateway sent a batch by a topic that a frame adapter takes."""


class DiscoveryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the devices that introduce themselves join without being asked for."""

    accept: list[FindingKind] = []
    """Kinds that are trusted: what is found that way becomes part of the configuration at run time, and stays
    over restarts. ``onpath discover`` shows everything else."""
    max_devices: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 100
    """How many may join; then one line is logged, and the rest only shown."""


class BrokerUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may log in at the embedded broker, and what for."""

    password: Annotated[str, msgspec.Meta(min_length=1)]
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    publish: list[str] = msgspec.field(default_factory=lambda: ["#"])
    """Topic filters that may be published to; ``[]`` for none."""
    subscribe: list[str] = msgspec.field(default_factory=lambda: ["#"])
    """Topic filters that may be subscribed to; ``[]`` for none."""

    def __post_init__(self) -> None:
        for field in ("publish", "subscribe"):
            for number, text in enumerate(getattr(self, field)):
                _check_filter((field, number), text)


class BrokerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An MQTT broker inside the gateway, for sites without one: nats-server with its MQTT listener (3.1.1)."""

    listen: str = "127.0.0.1:1883"
    """Address and port for devices; ``0.0.0.0:1883`` lets the whole network in and needs ``users``. Port 0
    takes a free one."""
    users: dict[str, BrokerUser] = {}
    """Who may log in, by name. Left out: everybody who can reach it, which is this machine only."""
    cert: str = ""
    """File with the broker's certificate: devices connect by TLS, and ``key`` is its private key."""
    key: str = ""
    """File with the private key of ``cert``."""
    client_ca: str = ""
    """File with the authorities that devices' own certificates must come from; none are asked for otherwise."""
    max_store: Size = Size(2**30)
    """Bytes on disk for sessions, retained messages and what is not delivered yet."""

    def __post_init__(self) -> None:
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise FieldError("listen", f'{self.listen!r} is not an address; write "127.0.0.1:1883" or "0.0.0.0:1883"')
        if bool(self.cert) != bool(self.key):
            raise FieldError("cert" if self.cert else "key", "cert and key go together")
        if self.client_ca and not self.cert:
            raise FieldError("client_ca", "needs TLS: give cert and key")
        if not self.is_local and not self.users:
            raise FieldError("users", f"{host} can be reached from outside: name the users that may log in")
        for name in self.users:
            if not name or not name.isprintable():
                raise FieldError(("users", name), "is not a user's name")

    @property
    def host(self) -> str:
        """The address, IPv6 without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port; 0 for a free one."""
        return int(self.listen.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in {"127.0.0.1", "::1", "localhost"}


class BrokerWord(enum.StrEnum):
    """The short form."""

    EMBEDDED = "embedded"
    """An embedded broker with all its defaults."""


def _check_filter(path: tuple[str | int, ...], text: str) -> None:
    parts = text.split("/")
    if not text or any(part != "#" and "#" in part for part in parts) or "#" in parts[:-1]:
        raise FieldError(path, f"{text!r} is not a topic filter; # stands alone and last")
    if any(part != "+" and "+" in part for part in parts):
        raise FieldError(path, f"{text!r} is not a topic filter; + stands alone between slashes")
    if any(c in text for c in "*> \t\0"):
        raise FieldError(path, f"{text!r}: * and > and blanks are not possible in a topic here")
