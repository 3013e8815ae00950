"""From the links of a device (``/.well-known/core``) to a proposal of how to ask it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.coap.directory.links import Link
from gateway.finding import Finding

MAX_RESOURCES: Final = 256
"""Resources that are proposed of one device."""
READABLE: Final = frozenset({"0", "50", "60", "110", "111", "112", "113"})
"""Content-Formats that are decoded here."""
UNITS: Final = {
    "temperature-c": "Cel",
    "temperature-f": "[degF]",
    "light-lux": "lx",
    "humidity-p": "%",
    "pressure-pa": "Pa",
}
"""Units of resource types that are in use; ``ucum.Cel`` says its own."""

_UNIT = re.compile(r"ucum\.([A-Za-z0-9%./*\[\]_{}'-]{1,32})")
_PATH = re.compile(r"/[^\s#\x00-\x1f]{0,255}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.\-]+", re.ASCII)
_DEFAULT_PORTS: Final = {"coap": 5683, "coap+tcp": 5683, "coaps": 5684}


def finding_of(url: str, links: Sequence[Link], adapter: str = "coap") -> Finding:
    """What a device offers, with the YAML that would ask it.

    Observable resources (``obs``) are observed, the others polled. Left out are those whose Content-Formats are
    not decoded here, lists of links and directories. A device that offers nothing of use is a finding without
    a configuration.

    Args:
        url: the device's, without a path.
        links: what it says.
        adapter: name of the adapter that the device would belong to.
    """
    device = device_name(url)
    observe: dict[str, Any] = {}
    poll: dict[str, Any] = {}
    for link in links:
        if _useful(link) and len(observe) + len(poll) < MAX_RESOURCES:
            name = _free(point_name(link.target), observe.keys() | poll.keys())
            (observe if link.has("obs") else poll)[name] = _resource(link)
    asked = {"url": url} | ({"observe": observe} if observe else {}) | ({"poll": poll} if poll else {})
    proposal = {"adapters": {adapter: {"type": "coap", "devices": {device: asked}}}}
    return Finding(
        kind="coap-core",
        address=url,
        device=device,
        offers=tuple(_offer(link) for link in links[:MAX_RESOURCES]),
        config=proposal if observe or poll else {},
    )


def _useful(link: Link) -> bool:
    formats = link.words("ct")
    if link.target.startswith("/.well-known/") or _PATH.fullmatch(path_of(link)) is None:
        return False
    if any(word.startswith("core.") for word in link.words("rt")) or "core.ll" in link.words("if"):
        return False
    return not formats or not READABLE.isdisjoint(formats)


def path_of(link: Link) -> str:
    """The path of a link on its own host; empty if it leads elsewhere."""
    if "://" in link.target:
        return ""
    return link.target if link.target.startswith("/") else f"/{link.target}"


def _resource(link: Link) -> str | dict[str, str]:
    unit = unit_of(link)
    return {"path": path_of(link), "unit": unit} if unit else path_of(link)


def unit_of(link: Link) -> str:
    """The unit that a resource type stands for; empty if it says none."""
    for word in link.words("rt"):
        said = _UNIT.fullmatch(word)
        if said is not None or word in UNITS:
            return said[1] if said is not None else UNITS[word]
    return ""


def _offer(link: Link) -> str:
    facts = [*link.words("rt"), *(["observable"] if link.has("obs") else [])]
    return f"{link.target} ({', '.join(facts)})"[:128] if facts else link.target[:128]


def point_name(target: str) -> str:
    """``/sensors/temp?u=c`` becomes ``sensors.temp-u-c``."""
    name = _NOT_IN_NAMES.sub("-", target.strip("/").replace("/", ".")).strip("-")
    return name[:120] or "root"


def device_name(url: str) -> str:
    """``coap://10.0.0.9:61616`` becomes ``10-0-0-9-61616``; a port that goes without saying is left out."""
    parts = urlsplit(url)
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"-{parts.port}"
    host = parts.hostname or "device"
    shown = host.replace(".", "-") if re.fullmatch(r"[0-9.]+", host) else host
    return (_NOT_IN_NAMES.sub("-", shown).strip("-")[:120] or "device") + port


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken."""
    number, found = 2, name
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found
