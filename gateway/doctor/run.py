"""All checks, side by side and each with a limit of its own, so that one that hangs holds up nothing."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import psutil

from gateway.control import NotRunningError, ask
from gateway.doctor import (
    brokers,
    certificates,
    clock,
    disk,
    folder,
    links,
    machine,
    nats,
    reach,
    running,
    serial,
    service,
)
from gateway.doctor.diagnosis import Diagnosis, Severity, found
from gateway.doctor.patient import Patient, read
from gateway.errors import OnpathError

if TYPE_CHECKING:
    from gateway.inside import Inside

LIMIT_S: Final = 3.0
"""Of one check."""
WHOLE_S: Final = 30.0
"""Of all of them; what has not begun by then is told."""
WORKERS: Final = 24
_LOOK_S: Final = 0.05
ORDER: Final = (
    "gateway", "config", "service", "clock", "disk", "state", "store", "memory", "limits", "ports", "reach",
    "brokers", "certificates", "serial", "software", "doctor",
)  # fmt: skip
_BY_BAD: Final = [Severity.PROBLEM, Severity.WARNING, Severity.NOTE, Severity.OK]
_FROM_WITHIN: Final = ("reach", "brokers", "certificates", "serial")
"""Checks that the service sees better than who is at a terminal: its network, its secrets, its rights."""


@dataclass(frozen=True)
class Job:
    """One check, to be run in a thread."""

    check: str
    name: str
    run: Callable[[], Iterable[Diagnosis]]


def jobs(patient: Patient, without: Iterable[str] = ()) -> list[Job]:
    """All checks of a patient."""
    general: tuple[tuple[str, Callable[[Patient], Iterable[Diagnosis]]], ...] = (
        ("gateway", running.check_gateway), ("config", running.check_config), ("config", running.check_credentials),
        ("service", service.check_service), ("service", service.check_exposure), ("service", service.check_journal),
        ("clock", clock.check_clock), ("clock", clock.check_rtc), ("clock", clock.check_keeper),
        ("disk", disk.check_disk), ("disk", disk.check_mount), ("disk", disk.check_sync),
        ("state", folder.check_state), ("state", folder.check_lock), ("store", folder.check_store_health),
        ("memory", machine.check_memory), ("limits", machine.check_limits), ("software", machine.check_software),
    )  # fmt: skip
    made = [Job(check, check, partial(call, patient)) for check, call in general]
    if patient.config is not None:
        made += _of_links(patient)
    left_out = set(without)
    return [job for job in made if job.check not in left_out]


def _of_links(patient: Patient) -> list[Job]:
    """Those of what the configuration names."""
    config = patient.config
    assert config is not None
    made = [
        Job("ports", f"{one.owner}, port {one.port}", partial(reach.check_listener, patient, one))
        for one in links.listeners(config)
    ]
    clusters: dict[str, list[links.Target]] = {}
    for target in links.targets(config):
        name = f"{target.owner}, {target.host}:{target.port}"
        made.append(Job("reach", name, partial(reach.check_target, target)))
        if links.tag(target) == "nats":
            clusters.setdefault(target.owner, []).append(target)
        elif links.tag(target) in brokers.TYPES and not getattr(target.options, "is_nats", False):
            made.append(Job("brokers", name, partial(brokers.check_broker, patient, target)))
    made += [Job("brokers", one, partial(nats.check_nats, patient, all_)) for one, all_ in clusters.items()]
    made += [
        Job("certificates", one.owner, partial(certificates.check_identity, one)) for one in links.identities(config)
    ]
    made += [Job("serial", one.device, partial(serial.check_line, patient, one)) for one in links.lines(config)]
    return made


def run_all(wanted: list[Job], words: Mapping[str, object]) -> list[Diagnosis]:
    """Run checks side by side; the worst of each kind of check first. Takes a while: not for an event loop."""
    results = _Round(wanted, words).run()
    return sorted(results, key=lambda one: (ORDER.index(one.check), _BY_BAD.index(one.severity), one.subject, one.what))


class _Round:
    """One run of all checks, in threads that nobody waits for longer than it was said."""

    def __init__(self, wanted: list[Job], words: Mapping[str, object]) -> None:
        self._words = words
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in wanted:
            self._waiting.put(job)
        self._open = dict.fromkeys(wanted)
        self._begun: dict[Job, float] = {}
        self._done: queue.SimpleQueue[tuple[Job, list[Diagnosis]]] = queue.SimpleQueue()

    def run(self) -> list[Diagnosis]:
        for _ in range(min(WORKERS, len(self._open))):
            self._start()
        results: list[Diagnosis] = []
        until = time.monotonic() + WHOLE_S
        while self._open and time.monotonic() < until:
            try:
                job, diagnoses = self._done.get(timeout=_LOOK_S)
            except queue.Empty:
                results += self._overdue()
                continue
            if job in self._open:
                del self._open[job]
                results += diagnoses
        return results + [_late(job, self._words) for job in self._open]

    def _start(self) -> None:
        # Daemonic: one that hangs in a name server's silence may not keep the process from ending
        threading.Thread(target=self._work, name="doctor", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._begun[job] = time.monotonic()
            self._done.put((job, list(_guarded(job, self._words))))

    def _overdue(self) -> list[Diagnosis]:
        """Those that are not waited for any longer; each gets another thread in its place."""
        now = time.monotonic()
        late = [job for job in self._open if now - self._begun.get(job, now) > LIMIT_S]
        for job in late:
            del self._open[job]
            self._start()
        return [_late(job, self._words) for job in late]


def _guarded(job: Job, words: Mapping[str, object]) -> Iterable[Diagnosis]:
    """What a check finds, and what it could not look at."""
    try:
        yield from job.run()
    except (OSError, OnpathError, psutil.Error, ValueError, subprocess.SubprocessError) as error:
        text = f"{job.name}: {str(error) or type(error).__name__}"
        yield found("check-failed", text, job.check, **words)


def _late(job: Job, words: Mapping[str, object]) -> Diagnosis:
    return found("check-overdue", f"{job.name} took longer than {LIMIT_S:g} s", job.check, **words)


_under_way: WeakKeyDictionary[Any, asyncio.Task[list[dict[str, Any]]]] = WeakKeyDictionary()


async def examine(inside: Inside) -> list[dict[str, Any]]:
    """The running gateway examines itself, off its event loop; who asks meanwhile gets the same answer."""
    task = _under_way.get(inside)
    if task is None or task.done():
        task = asyncio.create_task(_examined(inside), name="doctor")
        _under_way[inside] = task
    return await asyncio.shield(task)


async def _examined(inside: Inside) -> list[dict[str, Any]]:
    status, current = await inside.status(), await inside.editing.current()
    overview = dict(await inside.views.overview())
    state = Path(inside.config.state)

    def look() -> list[dict[str, Any]]:
        patient = read(inside.path, inside.env, state, status=status, current=current, overview=overview, within=True)
        return [one.as_dict() for one in run_all(jobs(patient), patient.words)]

    return await asyncio.to_thread(look)


def examine_from_outside(path: Path, env: Mapping[str, str], state: Path | None) -> list[dict[str, Any]]:
    """A person examines: the box as it is seen from here, and what the service sees better as it sees it."""
    patient = read(path, env, state)
    answers = asyncio.run(_asked(patient.state))
    if answers is None:
        return [one.as_dict() for one in run_all(jobs(patient), patient.words)]
    patient = read(path, env, patient.state, **answers)
    theirs = asyncio.run(_examination(patient.state))
    rows = [one.as_dict() for one in run_all(jobs(patient, _FROM_WITHIN if theirs else ()), patient.words)]
    rows += [row for row in theirs or [] if row["check"] in _FROM_WITHIN]
    return sorted(rows, key=lambda row: ORDER.index(row["check"]))


async def _asked(state: Path) -> dict[str, Any] | None:
    """What the running gateway says of itself; None if there is none. Older ones do not know all verbs."""
    try:
        async with asyncio.timeout(LIMIT_S):
            status = await ask(state, "status")
            current = await ask(state, "config")
            overview = await ask(state, "overview")
    except (NotRunningError, TimeoutError):
        return None
    if not status["ok"]:
        return None
    return {
        "status": status["status"],
        "current": current if current["ok"] else None,
        "overview": overview.get("overview") if overview["ok"] else None,
    }


async def _examination(state: Path) -> list[dict[str, Any]] | None:
    try:
        async with asyncio.timeout(WHOLE_S + LIMIT_S):
            answer = await ask(state, "doctor")
    except (NotRunningError, TimeoutError):
        return None
    rows: list[dict[str, Any]] | None = answer["doctor"] if answer["ok"] else None
    return rows
