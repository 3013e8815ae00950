"""The machine and the system's own account of processes (Linux)."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_VOLATILE = {"tmpfs", "ramfs"}


def cpu_s(pid: int) -> float:
    """User and system time of all threads of a process, in seconds; the kernel counts in 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def memory_mb(pid: int, kind: str = "VmRSS") -> float:
    """Resident memory of a process now, or at its peak (``VmHWM``), in MB of 10**6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(kind + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(kind)


def file_system(path: Path) -> str:
    """Type of the file system that holds a path."""
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if len(mount) >= len(best) and path.resolve().is_relative_to(mount):
            best, kind = mount, found
    return kind


def on_disk(candidates: Sequence[Path] = (Path(tempfile.gettempdir()), Path("/var/tmp"), ROOT)) -> Path:
    """The first of these folders that does not live in memory."""
    for folder in candidates:
        if folder.is_dir() and os.access(folder, os.W_OK) and file_system(folder) not in _VOLATILE:
            return folder
    raise FileNotFoundError(f"none of {', '.join(map(str, candidates))} is on a disk; set TMPDIR")


def fsync_ms(folder: Path, repeats: int = 20) -> float:
    """Median time of an append of 4 KiB with fsync."""
    taken = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(repeats):
            file.write(os.urandom(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return 1000 * median(taken)


def describe(folder: Path, fsync: float) -> dict[str, str | float | int]:
    """What the figures were measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(int(total.split()[1]) / 1e6, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "disk": file_system(folder),
        "fsync_ms": round(fsync, 3),
        "load": round(os.getloadavg()[0], 2),
    }
