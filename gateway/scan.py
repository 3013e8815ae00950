"""Looks at targets that a user names, and says what is there: one entry for the protocols' own ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from gateway.errors import OnpathError
from gateway.finding import Finding

MODBUS: Final = frozenset({"tcp", "udp", "tls", "rtu", "ascii", "rtu+tcp", "ascii+tcp"})
COAP: Final = frozenset({"coap", "coap+tcp"})
MQTT: Final = frozenset({"mqtt", "mqtts", "ws", "wss"})
_BUS_UNITS: Final = "1-247"
_HOST_UNITS: Final = "1-10,247,255,0"
"""A device with an address of its own answers as one of these nearly always."""


class TargetError(OnpathError):
    """A target cannot be looked at."""

    exit_code = 2


async def scan(targets: Sequence[str], *, topics: Sequence[str], for_s: float) -> list[Finding]:
    """What is found at all targets, looked at side by side.

    Raises:
        TargetError: a target is none.
        LinkError: one does not answer.
    """
    looks = [_look(target)(target, topics, for_s) for target in targets]
    results = await asyncio.gather(*looks, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors and len(errors) == len(results):
        raise errors[0]
    return [finding for result in results if not isinstance(result, BaseException) for finding in result]


Look = Callable[[str, Sequence[str], float], Coroutine[Any, Any, list[Finding]]]


def _look(target: str) -> Look:
    scheme = urlsplit(target).scheme
    if scheme in MODBUS:
        return _modbus
    if scheme in COAP:
        return _coap
    if scheme in MQTT:
        return _mqtt
    raise TargetError(f"{target}: not a target; write tcp://HOST:502, rtu:///dev/ttyUSB0, coap://HOST or mqtt://BROKER")


async def _modbus(url: str, _topics: Sequence[str], for_s: float) -> list[Finding]:
    """SunSpec maps and device identifications of the units of a bus."""
    from adapters.modbus.profile import available
    from adapters.modbus.tools.findings import finding_of
    from adapters.modbus.tools.scanning import describe, find_units
    from adapters.modbus.tools.session import session
    from adapters.modbus.unit_ranges import parse_units

    units = parse_units(_BUS_UNITS if urlsplit(url).scheme in {"rtu", "ascii"} else _HOST_UNITS)
    timeout_s = min(1.0, max(0.2, for_s / len(units)))
    async with session(url, timeout_s=timeout_s, pause_s=0.0, certificates=None) as opened:
        found = await find_units(opened, units, lambda _what, _done, _total: None)
        for one in found:
            await describe(opened, one)
    profiles = list(available(""))
    return [finding_of(url, _adapter_name(url, "modbus"), one, profiles) for one in _one_per_device(found)]


def _one_per_device(found: list[Any]) -> list[Any]:
    """A device behind an address of its own often answers to any unit: the same identity and map is one device."""
    seen: dict[tuple[Any, ...], Any] = {}
    for one in found:
        facts = (*sorted(one.identity.items()), str(one.sunspec))
        seen.setdefault(facts if one.identity or one.sunspec else (one.unit,), one)
    return list(seen.values())


async def _coap(url: str, _topics: Sequence[str], for_s: float) -> list[Finding]:
    """Resources of ``/.well-known/core``; a multicast address asks everybody."""
    from adapters.coap.asking.discovery import discover

    return await discover([url], timeout_s=for_s)


async def _mqtt(url: str, topics: Sequence[str], for_s: float) -> list[Finding]:
    """Home Assistant configurations, Sparkplug births, and the topics that come by."""
    from adapters.mqtt.config import MqttConfig
    from adapters.mqtt.subscribe import Payload, Subscribe
    from gateway.cli.collect import collect

    config = MqttConfig(
        url=url,
        client_id=f"onpath-discover-{id(topics):x}",
        subscribe=[
            Subscribe(topic="spBv1.0/+/+/+/#", payload=Payload.SPARKPLUG),
            Subscribe(topic="homeassistant/#", payload=Payload.HOME_ASSISTANT),
        ],
        discover=list(topics),
    )
    name = _adapter_name(url, "mqtt")
    found = (await collect(config, lambda _collector: False, for_s, name=name)).findings
    return [msgspec.structs.replace(one, config=_complete(one.config, name, url), taken=False) for one in found]


def _complete(config: dict[str, Any], name: str, url: str) -> dict[str, Any]:
    """A block for an adapter that there is not yet."""
    block = config.get("adapters", {}).get(name)
    return {"adapters": {name: {"type": "mqtt", "url": url, **block}}} if block else config


def _adapter_name(url: str, protocol: str) -> str:
    parts = urlsplit(url)
    where = parts.hostname or parts.path.rpartition("/")[2]
    return f"{protocol}-" + "".join(c if c.isalnum() else "-" for c in where)
