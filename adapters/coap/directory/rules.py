"""From a registration to a device that the gateway asks, by the rules of the directory. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from adapters.coap.directory.links import Link, matches
from adapters.coap.directory.lookup import absolute
from adapters.coap.directory.registry import Registration
from adapters.coap.options.device import DeviceOptions, Resource, ResourceOptions
from adapters.coap.options.directory import RuleOptions
from gateway.finding import Finding
from gateway.units import Duration

_OTHER = re.compile(r"[^A-Za-z0-9_.\-]+")
_SHARED = frozenset(ResourceOptions.__struct_fields__) & frozenset(RuleOptions.__struct_fields__) - {"path"}


class Adopted(NamedTuple):
    """A device made of a registration."""

    name: str
    options: DeviceOptions


def adopt(one: Registration, rules: Sequence[RuleOptions]) -> Adopted | None:
    """The device that an endpoint becomes; None if no rule fits any of its links.

    Raises:
        FieldError: what it registered makes no usable device.
    """
    observe: dict[str, Resource] = {}
    poll: dict[str, Resource] = {}
    periods: list[Duration] = []
    device = ""
    for link in one.parsed:
        path, rule = _path(one, link), _rule(one, link, rules)
        if rule is None or not path:
            continue
        point = _name(rule.point, one, link, path)
        if point in observe or point in poll:
            continue  # two links of one name: the first, as the rules have it
        shared = {field: getattr(rule, field) for field in _SHARED}
        (observe if rule.observe else poll)[point] = ResourceOptions(path=path, **shared)
        periods.append(rule.every)
        device = device or _name(rule.device, one, link, path)
    if not device:
        return None
    return Adopted(device, DeviceOptions(url=one.base, observe=observe, poll=poll, every=min(periods)))


def _rule(one: Registration, link: Link, rules: Sequence[RuleOptions]) -> RuleOptions | None:
    path = _path(one, link)
    return next((rule for rule in rules if _fits(rule, one, link, path)), None)


def _fits(rule: RuleOptions, one: Registration, link: Link, path: str) -> bool:
    return (
        (not rule.rt or any(matches(word, rule.rt) for word in link.words("rt")))
        and (not rule.interface or any(matches(word, rule.interface) for word in link.words("if")))
        and (not rule.path or matches(path, rule.path))
        and (not rule.ep or matches(one.ep, rule.ep))
        and (not rule.d or matches(one.d, rule.d))
    )


def _path(one: Registration, link: Link) -> str:
    """The path and query of a link on the endpoint itself; empty for those elsewhere."""
    target = absolute(one.base, link.target)
    if not target.startswith(f"{one.base}/") or any(character.isspace() or character == "#" for character in target):
        return ""
    return target[len(one.base) :]


def _name(template: str, one: Registration, link: Link, path: str) -> str:
    bare = urlsplit(path).path.strip("/")
    values = {
        "{ep}": one.ep,
        "{d}": one.d,
        "{path}": bare.replace("/", "."),
        "{name}": bare.rpartition("/")[2],
        "{rt}": next(iter(link.words("rt")), ""),
    }
    for key, value in values.items():
        template = template.replace(key, value)
    return _OTHER.sub("-", template)[:128].strip("-") or "x"


def finding(one: Registration, adapter: str) -> Finding:
    """What is said of an endpoint that no rule fits: all its links as resources, those with ``obs`` observed."""
    name = _name("{ep}", one, Link("/"), "/")
    observe: dict[str, Any] = {}
    poll: dict[str, Any] = {}
    offers = []
    for link in one.parsed:
        path = _path(one, link)
        if not path or path.startswith("/.well-known/"):
            continue
        kind = " ".join(link.words("rt"))
        offers.append(f"{path} ({kind})" if kind else path)
        point = _name("{path}", one, link, path)
        if point not in observe and point not in poll:
            (observe if link.has("obs") else poll)[point] = path
    device = {key: value for key, value in (("url", one.base), ("observe", observe), ("poll", poll)) if value}
    config = {"adapters": {adapter: {"type": "coap", "devices": {name: device}}}} if observe or poll else {}
    identity = f"{one.ep}.{one.d}" if one.d else one.ep
    return Finding(
        kind="coap-directory",
        address=one.base,
        identity=identity,
        device=name,
        offers=tuple(offers),
        config=config,
    )
