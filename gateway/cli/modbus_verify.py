"""The verbs of ``onpath modbus`` that are about profiles: ``verify`` and ``simulate``."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from adapters.modbus.config import SUNSPEC, ModbusConfig, ModbusDevice, ModbusPoint
from adapters.modbus.profile import resolve
from adapters.modbus.sunspec_points import map_of
from adapters.modbus.tools.faults import parse_fault
from adapters.modbus.tools.plausible import Check, Shown, Verdict, check_points, check_relations
from adapters.modbus.tools.scanning import sunspec_chain, units_of
from adapters.modbus.tools.serving import serving
from adapters.modbus.tools.session import UsageError, plain
from adapters.modbus.tools.simulator import Simulator, played
from gateway.cli import modbus_show as show
from gateway.cli.collect import Collector, collect
from gateway.cli.modbus_run import Link, duration
from gateway.errors import FieldError, LinkError
from gateway.quality import INVALID, VALIDITY, Reason
from gateway.units import Duration

_DEVICE = "device"


def run_verify(
    link: Link, unit: int, profile: str, *, profiles: str, params: Sequence[str], patience: str, as_json: bool
) -> None:
    """Read through the adapter itself, check, print; exit 1 if something failed."""
    config = _config(link, unit, profile, profiles, params)
    patience_s = duration("--patience", patience)
    points, samples = asyncio.run(_points_and_samples(link, config, patience_s))
    shown = {name: [_shown(one) for one in rows] for name, rows in samples.items()}
    checks = judged(points, shown)
    values = {name: _value(points, name, rows) for name, rows in shown.items()}
    rows = [(check, values.get(check.name, "")) for check in checks]
    if as_json:
        counts = {str(word): sum(check.verdict is word for check in checks) for word in Verdict}
        table = [{**asdict(check), "value": value} for check, value in rows]
        show.line({"profile": profile, "unit": unit, "counts": counts, "checks": table})
    else:
        show.checks(rows, "")
    if any(check.verdict is Verdict.FAILED for check in checks):
        sys.exit(1)


def judged(points: Mapping[str, ModbusPoint], shown: Mapping[str, Sequence[Shown]]) -> list[Check]:
    """All checks: of each point, and between points whose values are good."""
    good = {
        name: rows[-1].value
        for name, rows in shown.items()
        if rows and rows[-1].quality & VALIDITY != INVALID and math.isfinite(rows[-1].value) and not rows[-1].text
    }
    return [*check_points(points, shown), *check_relations(points, good)]


def _config(link: Link, unit: int, profile: str, profiles: str, params: Sequence[str]) -> ModbusConfig:
    ca, cert, key, server_name = link.tls
    try:
        device = ModbusDevice(unit=unit, profile=profile, params=_params(params), every=Duration(1))
        return ModbusConfig(
            url=link.url, timeout=Duration(link.timeout_s), request_delay=Duration(link.pause_s), profiles=profiles,
            ca=ca, cert=cert, key=key, server_name=server_name, devices={_DEVICE: device},
        )  # fmt: skip
    except FieldError as error:
        raise UsageError(str(error)) from None


def _params(texts: Sequence[str]) -> dict[str, float]:
    params = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            params[name] = float(number)
        except ValueError:
            raise UsageError(f"--param: {text!r} is not NAME=NUMBER, such as ct=40") from None
        if not params[name] > 0:
            raise UsageError(f"--param: {name} must be more than zero")
    return params


async def _points_and_samples(
    link: Link, config: ModbusConfig, patience_s: float
) -> tuple[Mapping[str, ModbusPoint], Mapping[str, Sequence[Any]]]:
    """The points of the profile, or those that a SunSpec device says that it has; and their samples."""
    device, found = config.devices[_DEVICE], resolve(config, _DEVICE)
    points = dict(found.points)
    if device.profile == SUNSPEC:
        async with link.open() as opened:
            points |= map_of(await sunspec_chain(opened, device.unit), found.max_registers).points
    return points, await _samples(link.url, config, len(points), patience_s)


async def _samples(url: str, config: ModbusConfig, count: int, patience_s: float) -> Mapping[str, Sequence[Any]]:
    """Samples by the point's own name: one of each at least, and two of those with the shortest period."""

    def enough(collector: Collector) -> bool:
        numbers = [len(rows) for rows in collector.samples.values()]
        return len(numbers) >= max(count, 1) and max(numbers) >= 2

    try:
        collector = await collect(config, enough, patience_s)
    except LinkError as error:
        told = str(error)
        raise LinkError(told if told.startswith(url) else f"{url}: {told}") from error
    except OSError as error:
        raise LinkError(f"{url}: {plain(error)}") from error
    return {name.removeprefix(f"{_DEVICE}/"): rows for name, rows in collector.samples.items()}


def _shown(sample: Any) -> Shown:
    known = sample.reason in {reason.value for reason in Reason}
    return Shown(sample.value, sample.quality, Reason(sample.reason) if known else Reason.NONE, sample.text)


def _value(points: Mapping[str, ModbusPoint], name: str, rows: Sequence[Shown]) -> str:
    if not rows or math.isnan(rows[-1].value):
        return ""
    unit = points[name].unit if name in points else ""
    return rows[-1].text or f"{rows[-1].value:.6g} {'' if unit == '1' else unit}".rstrip()


def run_simulate(
    profile: str, listen: str, units: str, faults: Sequence[str], *, seed: int, profiles: str,
    params: Sequence[str], for_: str | None,
) -> None:  # fmt: skip
    """Play until stopped."""
    found = played(profile, profiles, _params(params))
    chosen = units_of(units)
    simulator = Simulator(found, profile, chosen, [parse_fault(text) for text in faults], seed)
    for_s = duration("--for", for_) if for_ else None
    asyncio.run(_simulate(simulator, listen, {"profile": profile, "units": chosen, "points": len(found.points)}, for_s))


async def _simulate(simulator: Simulator, listen: str, about: dict[str, Any], for_s: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with serving(simulator, listen) as url:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        port = url.rpartition(":")[2]
        show.line({"url": url, **({"port": int(port)} if port.isdecimal() else {}), **about})
        try:
            async with asyncio.timeout(for_s):
                await stop.wait()
        except TimeoutError:
            return
