"""``onpath service explain FILE``: the plan of a service that is not applied yet."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.nodes import facts_of_network
from gateway.errors import ConfigError, FieldError, OnpathError
from gateway.network.advert import Advert
from gateway.network.chain import chain_of
from gateway.network.controller.view import Wanted
from gateway.network.facts import Facts
from gateway.network.foresee import Assumed, Foreseen, foresee
from gateway.network.reading import read_service, service_of

LIVE: Final = "live"


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    file: Path
    nodes: str
    """A file as ``onpath nodes --json`` prints it, or ``live``."""
    carrier: str | None
    config: Path | None
    assumed: Assumed


class _Nodes(msgspec.Struct, frozen=True):
    nodes: list[Advert]


def foreseen(asked: Asked) -> Foreseen:
    """The plan, as it would be.

    Raises:
        ConfigError: the service is not usable.
        OnpathError: the nodes cannot be read, or there are none; the network cannot be reached.
    """
    service = read_service(asked.file)
    for warning in service.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    facts = Facts()
    if asked.nodes == LIVE:
        facts = asyncio.run(facts_of_network(asked.carrier, asked.config))
        adverts = facts.adverts
    else:
        adverts = {one.node: one for one in _of_file(Path(asked.nodes))}
    if not adverts:
        raise OnpathError("there are no nodes that could run it")
    record = facts.services.get(service.config.service)
    wanted = Wanted(chain_of(service.config), 1 if record is None else record.version + 1, service.text)
    found = foresee(wanted, _applied(facts), adverts, asked.assumed, time.time_ns() // 1_000_000)
    if found.assumed:
        each = f"{asked.assumed.points} points with {asked.assumed.rate:g} samples a second each"
        print(f"note: assumed at {len(found.assumed)} access nodes: {each} (--points, --rate)", file=sys.stderr)
    return found


def _of_file(path: Path) -> list[Advert]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Nodes).nodes
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OnpathError(f"{path}: is not what onpath nodes --json prints: {error}") from error


def _applied(facts: Facts) -> list[Wanted]:
    """The other services, as far as this version of onpath can read them."""
    found = []
    for name, record in facts.services.items():
        if not record.removed:
            try:
                found.append(Wanted(chain_of(service_of(record.yaml, name).config), record.version, record.yaml))
            except (ConfigError, FieldError) as error:
                print(f"note: {name} is left out: {error}", file=sys.stderr)
    return found
