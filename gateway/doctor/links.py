"""What a configuration wants to reach and where it wants to listen, read from the options of any plug-in. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from adapters.mqtt.config import EMBEDDED
from gateway.config import GatewayConfig

Protocol = Literal["tcp", "udp"]
_SCHEMES: Final[dict[str, tuple[int, bool, Protocol]]] = {
    "mqtt": (1883, False, "tcp"), "mqtts": (8883, True, "tcp"), "ws": (80, False, "tcp"), "wss": (443, True, "tcp"),
    "nats": (4222, False, "tcp"), "http": (80, False, "tcp"), "https": (443, True, "tcp"),
    "tcp": (502, False, "tcp"), "rtu+tcp": (502, False, "tcp"), "ascii+tcp": (502, False, "tcp"),
    "udp": (502, False, "udp"), "coap": (5683, False, "udp"), "coaps": (5684, False, "udp"),
    "coap+tcp": (5683, False, "tcp"), "tls": (4222, True, "tcp"),
}  # fmt: skip
"""Default port, whether TLS is spoken from the first byte, and what carries it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Somebody to connect to."""

    owner: str
    """``uplink cloud``."""
    path: str
    """``uplinks.cloud``."""
    host: str
    port: int
    protocol: Protocol = "tcp"
    tls: bool = False
    options: Any


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A place to listen at."""

    owner: str
    host: str
    port: int
    protocol: Protocol


@dataclass(frozen=True, kw_only=True)
class Line:
    """A serial device."""

    owner: str
    device: str


def _owned(config: GatewayConfig) -> Iterator[tuple[str, str, Any]]:
    for section, word in (("adapters", "adapter"), ("uplinks", "uplink")):
        for name, options in getattr(config, section).items():
            yield f"{word} {name}", f"{section}.{name}", options


def urls(options: Any) -> list[str]:
    """All URLs of an adapter or uplink, those of devices too; a proxy stands for what is behind it."""
    proxy = getattr(options, "proxy", "")
    if isinstance(proxy, str) and proxy not in {"", "env"}:
        return [proxy]
    found = getattr(options, "url", None)
    urls = [found] if isinstance(found, str) else [*found] if isinstance(found, list | tuple) else []
    devices = getattr(options, "devices", None)
    if isinstance(devices, dict):
        urls += [one.url for one in devices.values() if isinstance(getattr(one, "url", None), str)]
    return [url for url in urls if url != EMBEDDED]


def targets(config: GatewayConfig) -> list[Target]:
    """Each host and port of each owner once."""
    found: dict[tuple[str, str, int], Target] = {}
    for owner, path, options in _owned(config):
        for url in urls(options):
            target = _target(owner, path, options, url)
            if target is not None:
                found.setdefault((owner, target.host, target.port), target)
        for server in getattr(options, "servers", None) or () if _tag(options) == "kafka" else ():
            host, _, port = server.rpartition(":")
            target = Target(
                owner=owner, path=path, host=host.strip("[]"), port=int(port), tls=options.tls, options=options
            )
            found.setdefault((owner, target.host, target.port), target)
    return list(found.values())


def _target(owner: str, path: str, options: Any, url: str) -> Target | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or not host:
        return None
    usual, tls, protocol = _SCHEMES[parts.scheme]
    if parts.scheme == "tls" and _tag(options) == "modbus":
        usual = 802
    return Target(owner=owner, path=path, host=host, port=port or usual, protocol=protocol, tls=tls, options=options)


def shakes_hands_first(target: Target) -> bool:
    """Whether TLS begins with the first byte; a NATS server greets in the clear before."""
    return target.tls and (tag(target) == "modbus" or not any(url.startswith("tls://") for url in urls(target.options)))


def listeners(config: GatewayConfig) -> list[Listener]:
    """Where the configuration wants to listen; those with port 0 take what is free."""
    found: list[Listener] = []
    if config.console is not None:
        found.append(Listener(owner="console", host=config.console.host, port=config.console.port, protocol="tcp"))
    broker = config.broker_options
    if broker is not None:
        found.append(Listener(owner="broker", host=broker.host, port=broker.port, protocol="tcp"))
    for owner, _, options in _owned(config):
        found += _listening(owner, options)
    unique = {(one.host, one.port, one.protocol): one for one in found if one.port}
    return list(unique.values())


def _listening(owner: str, options: Any) -> Iterator[Listener]:
    url = getattr(options, "url", None)
    if isinstance(url, str) and url.startswith("listen+tcp://"):
        parts = urlsplit(url)
        yield Listener(owner=owner, host=parts.hostname or "", port=parts.port or 502, protocol="tcp")
    serve = getattr(options, "serve", None)
    for name in ("listen", "secure_listen"):
        address = getattr(serve, name, None)
        if isinstance(address, str) and address:
            host, _, port = address.rpartition(":")
            if port.isdecimal():
                yield Listener(owner=owner, host=host.strip("[]"), port=int(port), protocol="udp")


def lines(config: GatewayConfig) -> list[Line]:
    """Serial devices."""
    found = []
    for owner, _, options in _owned(config):
        url = getattr(options, "url", None)
        if isinstance(url, str) and url.partition("://")[0] in {"rtu", "ascii"}:
            found.append(Line(owner=owner, device=urlsplit(url).path))
    return found


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Files with certificates of one owner."""

    owner: str
    ca: str | None
    cert: str | None
    key: str | None


def identities(config: GatewayConfig) -> list[Identity]:
    """Every owner that names such files."""
    owners: list[tuple[str, Any]] = [(owner, options) for owner, _, options in _owned(config)]
    owners += [("console", config.console), ("broker", config.broker_options)]
    found = []
    for owner, options in owners:
        names = [getattr(options, name, None) or None for name in ("ca", "cert", "key")]
        ca = names[0] or getattr(options, "client_ca", None) or None
        if isinstance(options, msgspec.Struct) and any((ca, *names[1:])):
            found.append(Identity(owner=owner, ca=ca, cert=names[1], key=names[2]))
    return found


def _tag(options: Any) -> str:
    return str(options.__struct_config__.tag)


def tag(target: Target) -> str:
    """The type of the adapter or uplink."""
    return _tag(target.options)
