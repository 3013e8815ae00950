"""Memory, limits of the kernel, and what is installed."""

from __future__ import annotations

import importlib.metadata
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import psutil

from gateway import __version__
from gateway.broker import find_nats_server
from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.patient import Patient
from gateway.errors import OnpathError

LOW_BYTES: Final = 64 << 20
LOW_PART: Final = 0.05
BASE_BYTES: Final = 60 << 20
POINT_BYTES: Final = 1024
"""A gateway with 60,000 points, windows over them included, took 121 MB (docs/benchmarks.md)."""
BESIDE_FILES: Final = 128
"""Descriptors beside those of links: store, sockets, libraries."""
UDP_BYTES: Final = 1 << 20
OLDEST_PYTHON: Final = (3, 11)
OLDEST_SQLITE: Final = (3, 51, 3)


def check_memory(patient: Patient) -> Iterator[Diagnosis]:
    """What is free, what may be used, and what the settings could take."""
    memory = psutil.virtual_memory()
    text = f"{memory.available >> 20} of {memory.total >> 20} MiB are available"
    if memory.available < max(LOW_BYTES, LOW_PART * memory.total):
        yield found("memory-low", text)
    else:
        yield fine("memory", text)
    wanted = BASE_BYTES + POINT_BYTES * (patient.config.max_points if patient.config is not None else 0)
    if wanted > memory.total / 2:
        what = f"max_points allows for about {wanted >> 20} MiB, and the box has {memory.total >> 20} MiB"
        yield found("memory-settings", what, "max_points", **patient.words)
    limit = cgroup_limit(patient.pid)
    if limit is not None and limit < wanted:
        what = f"the service may use {limit >> 20} MiB, and the settings allow for about {wanted >> 20} MiB"
        yield found("memory-limit", what, patient.unit, **patient.words)


def cgroup_limit(pid: int | None, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> int | None:
    """Bytes that the control group of a process may use; None for no bound, or where that cannot be seen."""
    if pid is None:
        return None
    try:
        line = next(
            one for one in (proc / str(pid) / "cgroup").read_text("utf-8").splitlines() if one.startswith("0::")
        )
        text = (root / line[3:].lstrip("/") / "memory.max").read_text("ascii").strip()
    except (OSError, StopIteration):
        return None
    return int(text) if text.isdecimal() else None


def check_limits(patient: Patient) -> Iterator[Diagnosis]:
    """Descriptors for all links, and the kernel's buffers for datagrams."""
    soft = _open_files(patient.pid)
    wanted = BESIDE_FILES + _links(patient)
    if soft < wanted:
        yield found(
            "open-files", f"{soft} files may be open, and about {wanted} are wanted", patient.unit, **patient.words
        )
    else:
        yield fine("limits", f"{soft} files may be open")
    yield from _udp(patient)


def _open_files(pid: int | None) -> int:
    if pid is not None:
        try:
            text = Path(f"/proc/{pid}/limits").read_text("ascii")
            return int(re.findall(r"Max open files\s+(\d+)", text)[0])
        except (OSError, IndexError):
            pass
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _links(patient: Patient) -> int:
    if patient.config is None:
        return 0
    devices = sum(len(adapter.devices_named()) for adapter in patient.config.adapters.values())
    return devices + 4 * (len(patient.config.adapters) + len(patient.config.uplinks))


def _udp(patient: Patient) -> Iterator[Diagnosis]:
    config = patient.config
    serves = config is not None and any(getattr(one, "serve", None) is not None for one in config.adapters.values())
    largest = _number(Path("/proc/sys/net/core/rmem_max"))
    if not serves or largest is None:
        return
    dropped = udp_dropped()
    text = f"the kernel keeps at most {largest >> 10} KiB for a socket"
    if dropped or largest < UDP_BYTES // 8:
        more = f", and has dropped {dropped} datagrams since it began" if dropped else ""
        yield found("udp-buffers", text + more)
    else:
        yield fine("limits", text)


def udp_dropped(snmp: Path = Path("/proc/net/snmp")) -> int:
    """Datagrams of all programs that found the buffer full."""
    try:
        names, values = (line.split() for line in snmp.read_text("ascii").splitlines() if line.startswith("Udp:"))
        return int(dict(zip(names, values, strict=True))["RcvbufErrors"])
    except (OSError, ValueError, KeyError):
        return 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


def check_software(patient: Patient) -> Iterator[Diagnosis]:
    """Python, libraries, and the broker's program."""
    if sys.version_info < OLDEST_PYTHON:  # an installation that was copied below another interpreter
        yield found("python-old", f"Python {sys.version.split()[0]}")
    missing = [text for text in map(_unmet, _requirements()) if text]
    if missing:
        yield found("library-missing", "; ".join(missing))
    else:
        yield fine(
            "software", f"onpath {__version__}, Python {sys.version.split()[0]}, SQLite {apsw.sqlite_lib_version()}"
        )
    sqlite = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if sqlite < OLDEST_SQLITE:
        yield found("sqlite-old", f"SQLite {apsw.sqlite_lib_version()}")
    if patient.config is not None and patient.config.broker_options is not None:
        try:
            yield fine("software", f"the broker's program is {find_nats_server()}")
        except OnpathError as error:
            yield found("broker-program-missing", str(error))


def _requirements() -> list[str]:
    try:
        found = importlib.metadata.requires("onpath") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [one for one in found if "extra ==" not in one]


def _unmet(requirement: str) -> str:
    """What is wrong with one, such as ``apsw>=3.51.3``; empty if it is met."""
    name = re.split(r"[<>=!~; \[]", requirement, maxsplit=1)[0]
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is not installed"
    for sign, wanted in re.findall(r"(>=|<)\s*([\d.]+)", requirement.partition(";")[0]):
        have, bound = _parts(version), _parts(wanted)
        if (sign == ">=" and have < bound) or (sign == "<" and have >= bound):
            return f"{name} {version} is installed, {requirement} is wanted"
    return ""


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
