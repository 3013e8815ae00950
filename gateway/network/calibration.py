"""What operators cost here: a short run of each over the same samples, kept until the machine or onpath changes."""

from __future__ import annotations

import logging
import os
import platform
import time
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from gateway import __version__
from gateway.config.plugins import installed
from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.frame import Frame
from gateway.point import Point

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.base import OperatorConfig

log = logging.getLogger(__name__)

SAMPLES: Final = 4096
POINTS: Final = 64
ROUNDS: Final = 3
REFERENCE_US: Final = 0.02
"""CPU a sample of the reference pass (a sort and a grouped sum) on the reference machine, µs: ``speed`` 1.0."""
LEFT_OUT: Final = frozenset({"python", "infer"})
"""Users' own code and models: measured while they run, not run for a trial."""


class Calibration(msgspec.Struct, frozen=True):
    """What was measured."""

    key: str
    """Of machine and version."""
    speed: float
    """Of one core, in comparison to the reference."""
    operators: dict[str, float]
    """µs of CPU a sample."""


def calibrated(folder: Path) -> Calibration:
    """What is kept, or a fresh measurement of about a second. Call it in a thread."""
    path = folder / "calibration.json"
    key = f"{__version__} {platform.machine()} {platform.python_version()} {os.cpu_count()} {_model()}"
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Calibration)
        if kept.key == key:
            return kept
    except (OSError, msgspec.DecodeError):
        pass
    fresh = Calibration(key, _speed(), {name: _cost(name, cls) for name, cls in installed().operators.items()
                                        if name not in LEFT_OUT})  # fmt: skip
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(fresh))
    except OSError as error:
        log.warning("network: the calibration cannot be kept: %s", error)
    return fresh


def _model() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123  one line of a device file
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _frame(directory: Directory, first_ns: int) -> Frame:
    names = [f"m{number}/{what}" for number in range(POINTS // 4) for what in ("power", "voltage", "energy", "state")]
    ids = np.array([directory.add(Point(name=name, resolution=0.001)) for name in names], np.int32)
    each = SAMPLES // POINTS
    times = first_ns + np.arange(each, dtype=np.int64) * 1_000_000_000
    values = np.round(230 + 10 * np.sin(np.arange(SAMPLES) / 17), 3)
    return Frame(np.repeat(ids, each), np.tile(times, POINTS), values, np.zeros(SAMPLES, np.uint16))


def _cost(name: str, cls: type[OperatorConfig]) -> float:
    """µs of CPU a sample; 0 if it could not be measured."""
    try:
        directory = Directory()
        config = msgspec.convert(cls.EXAMPLES[0], cls, dec_hook=_hook) if cls.EXAMPLES else cls()
        operator = config.create(directory)
        start_ns = 1_700_000_000_000_000_000
        best = float("inf")
        for number in range(ROUNDS):
            frame = _frame(directory, start_ns + number * SAMPLES * 1_000_000_000)
            began = time.thread_time_ns()
            operator.process(frame)
            operator.tick(int(frame.time[-1]))
            best = min(best, (time.thread_time_ns() - began) / 1000 / len(frame))
    except (OnpathError, TypeError, ValueError, LookupError, ArithmeticError, msgspec.ValidationError) as error:
        log.debug("network: %s is not calibrated: %s", name, error)
        return 0.0
    return round(best, 4)


def _hook(kind: type, value: object) -> object:
    parse = getattr(kind, "parse", None)
    return kind(value) if parse is None or not isinstance(value, str) else parse(value)


def _speed() -> float:
    values, keys = np.random.default_rng(1).random(100_000), np.arange(100_000) % 1000
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        order = np.argsort(keys, kind="stable")
        np.add.reduceat(values[order], np.arange(0, 100_000, 100))
        best = min(best, (time.thread_time_ns() - began) / 1000 / 100_000)
    return round(REFERENCE_US / max(best, 1e-6), 3)
