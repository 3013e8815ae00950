"""``onpath service apply`` and ``remove``."""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
import sys
from pathlib import Path
from typing import Any

import typer

from gateway.network.facts import planners
from gateway.network.lookup import carrier_config, opened
from gateway.network.reading import ReadService, read_service
from gateway.network.records import Applied, apply_text, remove


def apply_service(file: Path, url: str | None, config: Path | None, *, as_json: bool) -> None:
    """Check it, write it, and say what happens now.

    Raises:
        ConfigError: the service is not usable.
        OnpathError: the network cannot be reached, or somebody else changed the service at the same moment.
    """
    service = read_service(file)
    for warning in service.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    done, planned = asyncio.run(_apply(service, url, config))
    _tell(service.config.service, done, planned, as_json=as_json)


async def _apply(service: ReadService, url: str | None, config: Path | None) -> tuple[Applied, bool]:
    async with opened(carrier_config(url, config), make=True) as carrier:
        done = await apply_text(carrier, service.config.service, service.text, _who())
        return done, await planners(carrier)


def remove_service(name: str, url: str | None, config: Path | None, *, yes: bool, as_json: bool) -> None:
    """Mark it as removed, and say what happens now.

    Raises:
        OnpathError: there is no such service, or the network cannot be reached.
        typer.Abort: the user has changed his mind.
    """
    if not yes:
        typer.confirm(f"Remove {name} from the network? Results that there are stay for a week.", abort=True, err=True)
    done, planned = asyncio.run(_remove(name, url, config))
    _tell(name, done, planned, as_json=as_json)


async def _remove(name: str, url: str | None, config: Path | None) -> tuple[Applied, bool]:
    async with opened(carrier_config(url, config)) as carrier:
        done = await remove(carrier, name, _who())
        return done, await planners(carrier)


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = "?"
    return f"{user}@{socket.gethostname()}"


def _tell(name: str, done: Applied, planned: bool, *, as_json: bool) -> None:
    record = done.record
    if as_json:
        told: dict[str, Any] = {"service": name, "version": record.version, "changed": done.changed}
        print(json.dumps(told | {"removed": record.removed, "planned": planned}))
        return
    if not done.changed:
        print(f"{name}: version {record.version} is {'removed' if record.removed else 'the same'} already")
    elif record.removed:
        print(f"{name}: removed; nodes give what they hold, and then stop")
    else:
        print(f"{name}: version {record.version} applied" + (f", in place of {done.before}" if done.before else ""))
    if not planned:
        print("note: no controller runs, so nobody plans it now: onpath controller", file=sys.stderr)
