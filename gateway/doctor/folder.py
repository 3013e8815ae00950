"""The state folder and the store in it, read-only."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import time
from collections.abc import Iterator
from typing import Final

import apsw

from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.patient import Patient, name_of
from gateway.editing.change import ChangeRecord
from gateway.errors import StoreError
from gateway.store.checking import check_store
from gateway.store.database import FILE
from gateway.store.reading import NoStateError, Reader

LOOK_S: Final = 2.0
"""How long the store is looked through."""
_STEPS: Final = 10_000


def check_state(patient: Patient) -> Iterator[Diagnosis]:
    """Whose it is, and who may enter."""
    folder = patient.state
    if not folder.is_dir():
        yield found("state-missing", f"{folder} is not there yet", str(folder), **patient.words)
        return
    try:
        status = folder.stat()
    except OSError as error:
        yield found("state-not-ours", f"{folder}: {error.strerror}", str(folder), **patient.words)
        return
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        yield found("state-open", f"{folder} has the mode {mode:04o}", str(folder), **patient.words)
    owner = name_of(status.st_uid)
    if not _may_write(patient, status):
        what = f"{folder} belongs to {owner}, and the gateway runs as {patient.user}"
        yield found("state-not-ours", what, str(folder), **patient.words)
    else:
        yield fine("state", f"belongs to {owner}, mode {mode:04o}", str(folder))
    aside = sorted(folder.glob("corrupt-*"))
    if aside:
        names = ", ".join(file.name for file in aside[:3])
        yield found("state-set-aside", f"{len(aside)} files of a damaged store: {names}", str(folder), **patient.words)
    if patient.status is None and ChangeRecord(folder).found() is not None:
        yield found("state-change-open", "a change of the configuration is not ended", str(folder), **patient.words)


def _may_write(patient: Patient, status: os.stat_result) -> bool:
    try:
        user = pwd.getpwnam(patient.user)
    except KeyError:
        return os.access(patient.state, os.W_OK | os.X_OK)
    if user.pw_uid in {0, status.st_uid}:
        return bool(user.pw_uid == 0 or status.st_mode & 0o300 == 0o300)
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    shift = 0o030 if status.st_gid in groups else 0o003
    return bool(status.st_mode & shift == shift)


def check_lock(patient: Patient) -> Iterator[Diagnosis]:
    """A process that holds the folder answers."""
    lock = patient.state / "lock"
    if patient.status is not None or not lock.exists():
        return
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = lock.read_text("ascii", errors="replace").strip() or "?"
        what = f"process {pid} holds {patient.state} and does not answer on its control socket"
        yield found("state-held", what, str(patient.state), pid=pid)
    finally:
        os.close(fd)


def check_store_health(patient: Patient) -> Iterator[Diagnosis]:
    """The rows of the store, as many as there is time for."""
    status = (patient.status or {}).get("store", {})
    if status and not status.get("healthy", True):
        what = f"the store fails: {status.get('detail') or 'a commit is overdue'}"
        yield found("store-failing", what, str(patient.state), **patient.words)
    if not (patient.state / FILE).is_file():
        return
    try:
        with Reader(patient.state) as reader:
            yield from _looked(reader, patient)
    except (NoStateError, StoreError) as error:
        yield found("store-unreadable", str(error), str(patient.state / FILE), **patient.words)


def _looked(reader: Reader, patient: Patient) -> Iterator[Diagnosis]:
    until = time.monotonic() + LOOK_S
    reader.db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    rows, damaged, where, whole = 0, 0, "", True
    for part in check_store(reader):
        cut = [line for line in part.where if apsw.InterruptError.__name__ in line]
        rows += part.rows
        damaged += part.damaged - len(cut)
        where = where or next((line for line in part.where if line not in cut), "")
        whole = whole and not cut
        if time.monotonic() > until:
            whole = False
            break
    name = str(patient.state / FILE)
    if damaged:
        yield found("store-damaged", f"{damaged} rows are damaged: {where}", name, **patient.words)
    elif not whole:
        yield found("store-partly-read", f"{rows} rows looked at in {LOOK_S:g} s, all whole", name, **patient.words)
    else:
        yield fine("store", f"{rows} rows and pages, all whole", name)
