"""Which CoAP devices there are and what they offer: ``/.well-known/core`` (RFC 6690) of hosts, or of all at once."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from adapters.coap.asking.exchange import Endpoint, ExchangeError
from adapters.coap.asking.multicast import GROUPS, PORT, ask_all
from adapters.coap.asking.proposals import finding_of
from adapters.coap.asking.turns import Turns
from adapters.coap.directory.links import Link, parse_links, select
from adapters.coap.options.device import DeviceOptions, check_url
from adapters.coap.transport import client_context
from gateway.errors import FieldError, OnpathError, PayloadError
from gateway.finding import Finding
from gateway.units import Duration

MULTICAST: Final = "multicast"
"""The target that means all CoAP nodes."""
CORE: Final = "/.well-known/core"
AT_ONCE: Final = 32
"""Hosts that are asked at the same time."""


class TargetError(OnpathError):
    """What is to be asked is not an address."""

    exit_code = 2


class Found(NamedTuple):
    """A host that was asked, or that answered all by itself."""

    url: str
    links: list[Link]
    """Those that fit the filter."""
    failed: str = ""
    """Why there are none; empty if it answered."""


async def discover(
    targets: Sequence[str],
    *,
    timeout_s: float,
    interface: str = "",
    rt: str = "",
    if_: str = "",
    adapter: str = "coap",
) -> list[Finding]:
    """A finding for each host that answered and has links that fit.

    Args:
        targets: hosts (``10.0.0.9``, ``[fd00::9]:61616``), URLs (``coap+tcp://host``); and multicast addresses
            (``224.0.1.187``), or ``multicast`` for those of all CoAP nodes, with a port if it is another.
        timeout_s: how long to wait for each host, and to listen after a multicast.
        interface: out of which a multicast goes; empty: of all.
        rt: resource type that links must have; a star at its end stands for anything.
        if_: interface description, likewise.
        adapter: name of the adapter in what is proposed.

    Raises:
        TargetError: a target is no address.
        LinkError: a multicast cannot be sent.
    """
    found = await look(targets, timeout_s=timeout_s, interface=interface, rt=rt, if_=if_)
    return [finding_of(one.url, one.links, adapter) for one in found if one.links]


async def look(
    targets: Sequence[str], *, timeout_s: float, interface: str = "", rt: str = "", if_: str = ""
) -> list[Found]:
    """All hosts that were named, and those that answered a multicast, with their links.

    Raises:
        TargetError, LinkError: as :func:`discover`.
    """
    urls = [url_of(target) for target in targets]
    groups = [url for url in urls if _groups(url)]
    filters = [f"{name}={value}" for name, value in (("rt", rt), ("if", if_)) if value]
    asked = [_ask([url for url in urls if url not in groups], filters, timeout_s)]
    asked += [_ask_all(url, filters, timeout_s, interface) for url in groups]
    known: dict[str, Found] = {}
    for found in await asyncio.gather(*asked):
        known |= {one.url: one for one in found if one.url not in known or not one.failed}
    return list(known.values())


def url_of(target: str) -> str:
    """The URL of a host, with its port.

    Raises:
        TargetError: it is none.
    """
    url = target if "://" in target else f"coap://{target}"
    try:
        parts = check_url(url.rstrip("/"))
    except FieldError as wrong:
        raise TargetError(str(wrong)) from None
    if parts.scheme == "coaps":
        raise TargetError("coaps:// needs a key; configure the device instead")
    return f"{parts.scheme}://{parts.netloc}" if parts.port else f"{parts.scheme}://{parts.netloc.rstrip(':')}:5683"


def _core(filters: Sequence[str]) -> str:
    """The path with its filter; a server takes one (RFC 6690, 4.1), the others are for us."""
    return f"{CORE}?{quote(filters[0], safe='=*.-_~:/')}" if filters else CORE


async def _ask(urls: Sequence[str], filters: Sequence[str], timeout_s: float) -> list[Found]:
    """Each host by itself."""
    devices = {url: options_for(url, timeout_s) for url in dict.fromkeys(urls)}
    if not devices:
        return []
    turns, at_once = Turns(), asyncio.Semaphore(AT_ONCE)
    context = await client_context(devices, _ignored, f"{__name__}.aiocoap")

    async def one(url: str) -> Found:
        async with at_once:
            try:
                response = await Endpoint(context, devices[url], turns).get(_core(filters))
            except ExchangeError as refusal:
                return Found(url, [], str(refusal))
            return _read(url, response, filters)

    try:
        return list(await asyncio.gather(*map(one, devices)))
    finally:
        await context.shutdown()


def options_for(url: str, timeout_s: float) -> DeviceOptions:
    """What it takes to ask a device once; sent again soon, for somebody waits for it."""
    return DeviceOptions(
        url=url, timeout=Duration(timeout_s), ack_timeout=Duration(min(1.0, timeout_s / 2)), poll={"core": CORE}
    )


def _ignored(_reason: str, _where: str, _payload: bytes) -> None:
    """Somebody who only looks around need not know what cannot be read."""


def _groups(url: str) -> Sequence[str]:
    """The multicast addresses that a URL stands for; none if it is of one host."""
    host = urlsplit(url).hostname or ""
    if host == MULTICAST:
        return GROUPS
    try:
        return [host] if ipaddress.ip_address(host).is_multicast else []
    except ValueError:
        return []


async def _ask_all(url: str, filters: Sequence[str], timeout_s: float, interface: str) -> list[Found]:
    """All nodes of a group; what did not fit into one message is fetched from each."""
    answers = await ask_all(
        urlsplit(_core(filters)),
        timeout_s=timeout_s,
        interface=interface,
        groups=_groups(url),
        port=urlsplit(url).port or PORT,
    )
    partial = {answer.url for answer in answers if _has_more(answer.message)}
    whole = {one.url: one for one in await _ask(sorted(partial), filters, timeout_s)}
    return [whole.get(answer.url) or _read(answer.url, answer.message, filters) for answer in answers]


def _has_more(message: Any) -> bool:
    return message.opt.block2 is not None and message.opt.block2.more


def _read(url: str, response: Any, filters: Sequence[str]) -> Found:
    if not response.code.is_successful():
        return Found(url, [], str(response.code))
    try:
        return Found(url, select(parse_links(response.payload), filters))
    except PayloadError as wrong:
        return Found(url, [], str(wrong))
