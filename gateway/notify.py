"""systemd's notify protocol (sd_notify(3)): one datagram a message, silent where nobody listens."""

from __future__ import annotations

import os
import socket
import time


def notify(*assignments: str) -> None:
    """Send ``READY=1``, ``RELOADING=1``, ``STOPPING=1``, ``WATCHDOG=1``, ``STATUS=...``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto("\n".join(assignments).encode(), address)
        except OSError:
            return  # the service manager is restarting itself; it asks again by its own time-out


def reloading() -> None:
    """RELOADING=1 with the monotonic time that Type=notify-reload wants."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval_s() -> float | None:
    """How often to feed the watchdog (half of WATCHDOG_USEC), or None where there is none."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or not int(usec) or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6
