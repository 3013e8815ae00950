"""The clock: whether it is right, and what keeps it so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.patient import Patient
from gateway.timesync import kernel_synchronised

EARLIEST: Final = 2024
RTC_OFF_S: Final = 60.0
RTC: Final = Path("/sys/class/rtc/rtc0/since_epoch")
KEEPERS: Final = frozenset({"systemd-timesyncd", "systemd-timesyn", "chronyd", "ntpd", "ntpsec", "ptp4l", "phc2sys"})
"""Names of processes that keep a clock right; the kernel cuts them at 15 characters."""


def check_clock(patient: Patient) -> Iterator[Diagnosis]:
    """The wall clock, the kernel's word on it, and its steps."""
    now = datetime.now(UTC)
    if now.year < EARLIEST:
        yield found("clock-implausible", f"it is {now:%Y-%m-%d} here")
    synchronised = kernel_synchronised()
    if synchronised is None:
        yield found("clock-unknown", "whether the clock is synchronised cannot be seen from here")
    elif not synchronised:
        yield found("clock-not-synchronised", "the kernel says that the clock is not synchronised")
    else:
        yield fine("clock", f"synchronised, {now:%Y-%m-%d %H:%M:%S} UTC")
    steps = 0 if patient.status is None else int(patient.status["clock"].get("steps", 0))
    if steps:
        yield found("clock-steps", f"the running gateway has seen {steps} steps of the wall clock", "", **patient.words)


def check_rtc(patient: Patient) -> Iterator[Diagnosis]:
    """The clock that goes on while the box is off."""
    if patient.within:
        return
    try:
        off_s = abs(int(RTC.read_text("ascii")) - time.time())
    except (OSError, ValueError):
        yield found("clock-no-rtc", "the box has no real-time clock, or it cannot be read")
        return
    if off_s > RTC_OFF_S:
        yield found("clock-rtc-off", f"the real-time clock is {off_s:.0f} s off")
    else:
        yield fine("clock", "the real-time clock agrees")


def check_keeper(patient: Patient) -> Iterator[Diagnosis]:
    """A service that synchronises."""
    if patient.within:
        return  # ProtectProc= hides it
    names = {str(process.info["name"]) for process in psutil.process_iter(["name"])}
    keeping = sorted(names & KEEPERS)
    if keeping:
        yield fine("clock", f"{keeping[0]} runs")
    elif kernel_synchronised():
        yield fine("clock", "synchronised from outside: no service here, and the kernel says that it is")
    else:
        yield found("ntp-missing", "no service runs that synchronises the clock")
