"""systemd: the unit, how it is kept running and locked in, and whether the log survives."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.patient import Patient

COMMAND_S: Final = 2.5
RESTARTS: Final = 3
EXPOSED: Final = 2.0
NOTIFY_RELOAD: Final = 253
"""The first version of systemd that knows it."""
RUNNING: Final = Path("/run/systemd/system")
JOURNAL: Final = Path("/var/log/journal")
_ASKED: Final = "LoadState,ActiveState,SubState,UnitFileState,NRestarts,Type,WatchdogUSec,FragmentPath,DropInPaths"


def check_service(patient: Patient) -> Iterator[Diagnosis]:
    """The unit as systemd has it."""
    if patient.within:
        return  # its sandbox shows nothing of systemd
    if not RUNNING.is_dir():
        yield found("systemd-absent", "systemd does not run here", "", **patient.words)
        return
    shown = properties(said("systemctl", "show", patient.unit, f"--property={_ASKED}"))
    yield from judge(patient, shown, systemd_version())


def properties(text: str) -> dict[str, str]:
    """``KEY=value`` a line."""
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines()) if name}


def judge(patient: Patient, shown: dict[str, str], version: int) -> Iterator[Diagnosis]:
    """What a unit's properties say."""
    unit, words = patient.unit, patient.words
    if shown.get("LoadState") != "loaded":
        yield found("unit-missing", f"there is no unit {unit}", unit, **words)
        return
    state = shown.get("ActiveState", "")
    if state == "failed":
        yield found("unit-failed", f"{unit} has failed ({shown.get('SubState')})", unit, **words)
    elif state not in {"active", "reloading", "activating"}:
        yield found("unit-inactive", f"{unit} is {state}", unit, **words)
    else:
        yield fine("service", f"{unit} is {state} ({shown.get('SubState')})", unit)
    if shown.get("UnitFileState") not in {"enabled", "enabled-runtime", "static", "indirect", ""}:
        yield found("unit-disabled", f"{unit} is {shown.get('UnitFileState')}", unit, **words)
    restarts = int(shown.get("NRestarts") or 0)
    if restarts >= RESTARTS:
        yield found("unit-restarts", f"systemd has started it again {restarts} times", unit, **words)
    if shown.get("WatchdogUSec") in {"0", "", "infinity", None}:
        yield found("unit-no-watchdog", f"{unit} has no WatchdogSec=", unit, **words)
    if _type_of(shown) == "notify-reload" and version < NOTIFY_RELOAD:
        yield found("unit-type", f"{unit} has Type=notify-reload, and this is systemd {version}", unit, **words)
    if shown.get("DropInPaths"):
        yield found("unit-drop-ins", f"drop-ins: {shown['DropInPaths']}", unit, **words)


def _type_of(shown: dict[str, str]) -> str:
    """As the unit's file has it: a systemd that does not know the type shows another."""
    try:
        text = Path(shown.get("FragmentPath", "")).read_text("utf-8")
    except OSError:
        return shown.get("Type", "")
    types = re.findall(r"^Type=(\S+)", text, re.MULTILINE)
    return types[-1] if types else shown.get("Type", "")


def systemd_version() -> int:
    """The number; 0 if it does not say."""
    match = re.match(r"systemd (\d+)", said("systemctl", "--version"))
    return int(match[1]) if match else 0


def check_exposure(patient: Patient) -> Iterator[Diagnosis]:
    """How much the unit may do, by systemd's own scale of 0 to 10."""
    if patient.within:
        return
    unit = unit_file(patient.unit)
    if unit is None:
        return
    score = exposure(unit)
    if score is None:
        return
    text = f"systemd-analyze gives {patient.unit} an exposure of {score:g} of 10"
    if score > EXPOSED:
        yield found("unit-exposed", text, patient.unit, **patient.words)
    else:
        yield fine("service", text, patient.unit)


def unit_file(unit: str) -> Path | None:
    """The file of a unit, of an instance its template's."""
    names = [f"{unit}.service", f"{unit.partition('@')[0]}@.service"] if "@" in unit else [f"{unit}.service"]
    folders = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system")
    return next((path for folder in folders for name in names if (path := Path(folder, name)).is_file()), None)


def exposure(unit: Path) -> float | None:
    """The score of a unit's file; None where it cannot be had."""
    text = said("systemd-analyze", "security", "--offline=true", "--no-pager", str(unit))
    match = re.search(r"exposure level for \S+: ([\d.]+)", text)
    return float(match[1]) if match else None


def check_journal(patient: Patient) -> Iterator[Diagnosis]:
    """The log outlives a restart of the box."""
    if patient.within or not RUNNING.is_dir():
        return
    if JOURNAL.is_dir():
        yield fine("service", f"the journal is kept in {JOURNAL}")
    else:
        yield found("journal-volatile", f"there is no {JOURNAL}")


def said(*command: str) -> str:
    """What a command prints; nothing where it is not there or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603  names of programs are ours
            command, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
