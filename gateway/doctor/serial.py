"""Serial devices: there, ours, and nobody else's."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.links import Line
from gateway.doctor.patient import Patient


def check_line(patient: Patient, line: Line) -> Iterator[Diagnosis]:
    """One device."""
    device = Path(line.device)
    words = {**patient.words, "device": line.device}
    try:
        status = device.stat()
    except OSError as error:
        yield found("serial-missing", f"{device}: {error.strerror}", line.owner, **words)
        return
    if not stat.S_ISCHR(status.st_mode):
        yield found("serial-missing", f"{device} is no serial device", line.owner, **words)
        return
    group = _group(status.st_gid)
    if not _may_open(patient, status):
        what = (
            f"{device} has the mode {stat.S_IMODE(status.st_mode):04o}, group {group}; {patient.user} may not open it"
        )
        yield found("serial-not-ours", what, line.owner, **words, group=group)
    holders = [pid for pid in users_of(device) if pid != patient.pid]
    if holders:
        names = ", ".join(f"{_command(pid)} (process {pid})" for pid in holders[:3])
        yield found("serial-in-use", f"{device} is open in {names}", line.owner, **words)
    if device.name.startswith("ttyUSB") and str(device.parent) == "/dev":
        yield found("serial-name", f"{device} is named by the order of plugging in", line.owner, **words)
    if _may_open(patient, status) and not holders:
        yield fine("serial", f"{device} is there and free", line.owner)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _may_open(patient: Patient, status: os.stat_result) -> bool:
    """By mode, for the user that the gateway runs as; a group of the unit counts as if it were the user's."""
    try:
        user = pwd.getpwnam(patient.user)
    except KeyError:
        return True
    if user.pw_uid == 0:
        return True
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & 0o600 == 0o600)
    groups = {*os.getgrouplist(user.pw_name, user.pw_gid), *_groups_of(patient.pid)}
    bits = 0o060 if status.st_gid in groups else 0o006
    return bool(status.st_mode & bits == bits)


def _groups_of(pid: int | None) -> set[int]:
    """Groups of a process, also those that only its unit gives it."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii", errors="replace")
    except OSError:
        return set()
    return {int(word) for line in text.splitlines() if line.startswith("Groups:") for word in line.split()[1:]}


def users_of(device: Path) -> list[int]:
    """Processes that have a device open, as far as /proc shows them to us."""
    wanted, found_ = device.resolve(), []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        try:
            if any(_leads_to(link, wanted) for link in (process / "fd").iterdir()):
                found_.append(int(process.name))
        except OSError:
            continue  # it has ended, or is not ours to look into
    return found_


def _leads_to(link: Path, wanted: Path) -> bool:
    try:
        return link.readlink() == wanted
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except OSError:
        return "a process"
