"""The verbs of ``onpath modbus`` that talk to a device by single requests, and ``plan``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.modbus.config import ModbusConfig
from adapters.modbus.place import Table, parse_at
from adapters.modbus.planning import Bus, plan_of
from adapters.modbus.secure import Certificates
from adapters.modbus.tools.probing import probe
from adapters.modbus.tools.reading import points_of, read_values
from adapters.modbus.tools.scanning import Found, Progress, describe, find_units, map_ranges, units_of
from adapters.modbus.tools.session import Session, UsageError, session
from gateway.cli import modbus_show as show
from gateway.config import load_checked
from gateway.units import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.modbus.config import ModbusPoint


def duration(option: str, text: str, *, zero: bool = False) -> float:
    """An option's duration in seconds.

    Raises:
        UsageError: it is none, or zero where that makes no sense.
    """
    try:
        seconds = float(Duration.parse(text))
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if seconds == 0 and not zero:
        raise UsageError(f"{option}: must be longer than zero")
    return seconds


@dataclass(frozen=True)
class Link:
    """How to reach the device, as the options say; ``tls``: ca, cert, key, server name."""

    url: str
    timeout: str
    pause: str
    tls: tuple[str, str, str, str]

    @property
    def timeout_s(self) -> float:
        """How long an answer may take."""
        return duration("--timeout", self.timeout)

    @property
    def pause_s(self) -> float:
        """Quiet time between an answer and the next request."""
        return duration("--pause", self.pause, zero=True)

    def open(self) -> AbstractAsyncContextManager[Session]:
        """The connection; see :func:`adapters.modbus.tools.session.session`."""
        certificates = Certificates(*self.tls) if all(self.tls[:3]) else None
        return session(self.url, timeout_s=self.timeout_s, pause_s=self.pause_s, certificates=certificates)


def place(at: str) -> tuple[Table, int]:
    """Table and address.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_at(at)
    except ValueError as error:
        raise UsageError(f"--at: {error}") from None


def run_read(
    link: Link, unit: int, options: dict[str, Any], count: int, *, every: str | None, times: int | None, as_json: bool
) -> None:
    """Print values, once or again and again."""
    if times is not None and every is None:
        raise UsageError("--times: says how often to read with --every")
    points = points_of(options, count)
    every_s = duration("--every", every) if every else None
    asyncio.run(_read(link, unit, points, every_s, times if every else 1, as_json=as_json))


async def _read(
    link: Link, unit: int, points: Sequence[ModbusPoint], every_s: float | None, times: int | None, *, as_json: bool
) -> None:
    loop = asyncio.get_running_loop()
    done = 0
    async with link.open() as opened:
        due = loop.time()
        while True:
            readings = await read_values(opened, unit, points)
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            if as_json:
                show.line({"time": now, "unit": unit, "values": [asdict(reading) for reading in readings]})
            else:
                show.readings(readings, now if every_s else "")
            done += 1
            if done == times:
                return
            due += every_s or 0.0
            await asyncio.sleep(max(due - loop.time(), 0.0))


def run_probe(link: Link, unit: int, at: str, *, expect: float | None, between: str, top: int, as_json: bool) -> None:
    """Print guesses; exit 1 if there are none."""
    table, address = place(at)
    between_s = duration("--between", between, zero=True)

    async def probed() -> bool:
        async with link.open() as opened:
            result = await probe(opened, unit, table, address, between_s=between_s, expect=expect)
        guesses = result.guesses[:top]
        if as_json:
            show.line({
                "unit": unit,
                "guesses": [_plain(guess) for guess in guesses],
                "refused": result.refused,
                "registers": result.registers,
            })  # fmt: skip
        else:
            show.guesses(guesses, result.refused, result.registers)
        return bool(guesses)

    if not asyncio.run(probed()):
        sys.exit(1)


def _plain(guess: Any) -> dict[str, Any]:
    return {
        "score": guess.score,
        "at": guess.at,
        "as": guess.form.type,
        "order": guess.form.order,
        "scale": guess.form.scale,
        "value": guess.value,
        "meaning": guess.meaning,
        "why": guess.why,
    }


def run_scan(link: Link, units: str, *, within: str | None, as_json: bool) -> None:
    """Print who is there; exit 1 if nobody is."""
    chosen = units_of(units)
    bounds = _bounds(within) if within else None
    with _progress() as progress:
        found, requests = asyncio.run(_scan(link, chosen, bounds, progress))
    if as_json:
        show.line(
            {"url": link.url, "asked": len(chosen), "requests": requests, "units": [asdict(one) for one in found]}
        )
    else:
        show.found(found, len(chosen), requests)
    if not found:
        sys.exit(1)


async def _scan(
    link: Link, units: Sequence[int], bounds: tuple[int, int] | None, progress: Progress
) -> tuple[list[Found], int]:
    async with link.open() as opened:
        found = await find_units(opened, units, progress)
        for one in found:
            await describe(opened, one)
            if bounds:
                await map_ranges(opened, one, tuple(Table), *bounds, progress)
        return found, opened.requests


def _bounds(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and dash and last.isdecimal() and int(first) <= int(last) <= 0xFFFF):
        raise UsageError(f"--within: {text!r} is not a range of addresses such as 0-511")
    return int(first), int(last)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on standard error if a person watches, else nothing."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield told


def run_plan(config: Path, *, turnaround: str, round_trip: str, baudrate: int, as_json: bool) -> None:
    """Print what each Modbus endpoint of a configuration is asked; exit 1 if a bus cannot hold its periods."""
    bus = Bus(
        turnaround_s=duration("--turnaround", turnaround, zero=True),
        round_trip_s=duration("--round-trip", round_trip, zero=True),
        baudrate=baudrate,
    )
    adapters = load_checked(config, os.environ).config.adapters
    plans = {name: plan_of(one, bus) for name, one in adapters.items() if isinstance(one, ModbusConfig)}
    if not plans:
        raise UsageError(f"{config}: there is no Modbus adapter in it")
    if as_json:
        show.line({name: {**msgspec.to_builtins(one), "holds": one.holds} for name, one in plans.items()})
    else:
        for name, one in plans.items():
            show.plan(name, one)
    if not all(one.holds for one in plans.values()):
        sys.exit(1)
