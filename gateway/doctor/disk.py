"""The disk below the state folder: room, kind, health, and how long a sync takes."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config import GatewayConfig
from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.patient import Patient
from gateway.store.database import FILE, WAL

FULL_BYTES: Final = 50 << 20
FULL_PART: Final = 0.01
INODES_PART: Final = 0.05
SLOW_S: Final = 0.1
SYNCS: Final = 5
SOON_S: Final = 7 * 86_400
WORN: Final = 8
"""Of 11 steps that an eMMC counts to the end of its life."""
NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "afs"}
)
VOLATILE: Final = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True)
class Mount:
    """What a folder lies on."""

    point: str
    type: str
    source: str
    read_only: bool


def check_disk(patient: Patient) -> Iterator[Diagnosis]:
    """Room, inodes, and what gives way when."""
    folder = existing(patient.state)
    mount, usage, stat = mount_of(folder), shutil.disk_usage(folder), os.statvfs(folder)
    words = {**patient.words, "mount": mount.point}
    if mount.read_only or stat.f_flag & os.ST_RDONLY:
        yield found("disk-read-only", f"{folder} is on a file system that is read-only", str(folder), **words)
    elif usage.free < max(FULL_BYTES, FULL_PART * usage.total):
        yield found("disk-full", f"{_size(usage.free)} of {_size(usage.total)} are free", str(folder), **words)
    else:
        yield fine("disk", f"{_size(usage.free)} of {_size(usage.total)} are free ({mount.type})", str(folder))
    if stat.f_files and stat.f_favail < INODES_PART * stat.f_files:
        yield found("disk-inodes", f"{stat.f_favail} of {stat.f_files} inodes are free", str(folder), **words)
    if patient.config is not None:
        yield from _bounds(patient, patient.config, usage.free, words)
    yield from _growth(patient, usage.free, words)


def _bounds(patient: Patient, config: GatewayConfig, free: int, words: dict[str, object]) -> Iterator[Diagnosis]:
    wanted = bounds_of(config)
    held = sum(file.stat().st_size for name in (FILE, WAL) if (file := patient.state / name).exists())
    if wanted > free + held:
        what = f"journal, spools and broker may take {_size(wanted)}, and there is room for {_size(free + held)}"
        yield found("disk-bounds", what, str(patient.state), **words)
    else:
        yield fine("disk", f"there is room for all bounds ({_size(wanted)})", str(patient.state))


def bounds_of(config: GatewayConfig) -> int:
    """Bytes that the state folder may grow to, by what the configuration says."""
    spools = sum(queue.bounds.max_size for queue in config.queues.values())
    broker = config.broker_options
    return int(config.store.journal.max_size + spools + (broker.max_store if broker is not None else 0))


def _growth(patient: Patient, free: int, words: dict[str, object]) -> Iterator[Diagnosis]:
    """How long the room lasts if all that comes in now waits."""
    if patient.overview is None:
        return
    rates = patient.overview.get("rates") or {}
    rate = float(rates.get("out_bytes") or 0.0)
    spool = patient.overview.get("spool") or {}
    if rate > 0 and spool.get("bytes") and free / rate < SOON_S and _all_down(patient):
        what = f"nothing is sent, and at {_size(int(rate))}/s the disk is full in {free / rate / 3600:.0f} h"
        yield found("disk-filling", what, str(patient.state), **words)


def _all_down(patient: Patient) -> bool:
    uplinks = (patient.status or {}).get("uplinks", {})
    return bool(uplinks) and all(one["link"] != "up" for one in uplinks.values())


def check_mount(patient: Patient) -> Iterator[Diagnosis]:
    """What kind of disk it is."""
    folder = existing(patient.state)
    mount = mount_of(folder)
    if mount.type in NETWORK:
        yield found(
            "disk-network", f"{folder} lies on {mount.type}, a network file system", str(folder), **patient.words
        )
    if mount.type in VOLATILE:
        yield found("disk-volatile", f"{folder} lies on {mount.type}, in memory", str(folder), **patient.words)
    device = Path(mount.source).name
    if not device.startswith("mmcblk"):
        return
    disk = device.partition("p")[0] if "p" in device[6:] else device
    config = patient.config
    if config is None or config.store.flash is None:
        what = f"{folder} lies on an SD card or eMMC ({disk}), and store.flash is not set"
        yield found("disk-flash", what, str(folder), **patient.words)
    worn = life_used(disk)
    if worn >= WORN:
        yield found("disk-worn", f"{disk} says that {worn * 10} % of its life are used", disk, device=disk)


def life_used(disk: str, root: Path = Path("/sys/block")) -> int:
    """Tenths of its life that an eMMC has used; 0 where it does not say."""
    try:
        words = (root / disk / "device" / "life_time").read_text("ascii").split()
        return max(int(word, 16) for word in words)
    except (OSError, ValueError):
        return 0


def check_sync(patient: Patient) -> Iterator[Diagnosis]:
    """How long a sync of a few bytes takes; needs a folder that we may write to."""
    if not (patient.state.is_dir() and os.access(patient.state, os.W_OK | os.X_OK)):
        return
    try:
        took = sync_s(patient.state)
    except OSError:
        return  # full or read-only: said elsewhere
    text = f"a sync takes {took * 1000:.1f} ms"
    if took > SLOW_S:
        yield found("disk-slow", text, str(patient.state))
    else:
        yield fine("disk", text, str(patient.state))


def sync_s(folder: Path) -> float:
    """The median of a few, s. The file has no name, so that nothing stays whatever happens."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for number in range(SYNCS):
            file.write(b"onpath doctor %d\n" % number)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def mount_of(folder: Path) -> Mount:
    """The file system below a folder, as /proc/self/mountinfo has it."""
    wanted = f"{folder.resolve()}/"
    best = Mount("/", "", "", read_only=False)
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
        left, _, right = line.partition(" - ")
        parts, kind = left.split(), right.split()
        point = parts[4].encode().decode("unicode_escape")
        if wanted.startswith(point.rstrip("/") + "/") and len(point) >= len(best.point):
            options = {*parts[5].split(","), *kind[2].split(",")} if len(kind) > 2 else set(parts[5].split(","))
            best = Mount(point, kind[0], kind[1], read_only="ro" in options)
    return best


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
