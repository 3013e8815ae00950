"""What changes the configuration of a running gateway, one change at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.config import Loaded
from gateway.editing.change import Change, ChangeRecord, undo
from gateway.editing.files import BadRequestError, ConfigFiles, NotWritableError, Texts, digest
from gateway.editing.overlay import Judged, judge, not_text, plain_files, unified, wanted
from gateway.editing.versions import Versions
from gateway.errors import OnpathError
from gateway.tasks import in_thread

if TYPE_CHECKING:
    from gateway.inside import Inside

log = logging.getLogger(__name__)

Files = list[tuple[str, str]]
"""Name and text of every file that there is to be."""
FROM_DISK: Final = "file"
OURSELVES: Final = "onpath"
MIN_CONFIRM_S: Final = 1.0
MAX_CONFIRM_S: Final = 86_400.0


class ConflictError(OnpathError):
    """Somebody else has changed the configuration meanwhile, or a change waits to be confirmed."""


class RefusedError(OnpathError):
    """The configuration is not usable; ``rows`` holds what is wrong with it, as plain JSON types."""

    exit_code = 78

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        lines = [f"{one['file']}:{one['line']}:{one['column']}: {one['path']}: {one['message']}" for one in rows]
        self.problems = lines
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class Made:
    """Who makes a change, and why."""

    by: str
    comment: str = ""
    always: bool = False
    """A version of its own, also if the newest is the same."""


@dataclass
class _Unconfirmed:
    """A change that runs and reverts by itself."""

    version: int
    change: Change
    until: float
    """Of the event loop's clock."""
    task: asyncio.Task[None] | None = None


class Editor:
    """One for the life of a daemon."""

    def __init__(self, inside: Inside, state: Path) -> None:
        self._inside = inside
        self._files = ConfigFiles(inside.path)
        self._record = ChangeRecord(state)
        self.versions = Versions(state)
        self._lock = asyncio.Lock()
        self._made: tuple[str, Made] | None = None
        """Hash of what is being applied, and who does it."""
        self._newest = 0
        self._unconfirmed: _Unconfirmed | None = None
        self._working: set[asyncio.Task[Any]] = set()

    @property
    def running(self) -> str:
        """The hash of what the gateway runs with."""
        return digest(self._inside.loaded.texts)

    async def took(self, loaded: Loaded) -> None:
        """The gateway runs with this from now on: keep it as a version."""
        name = digest(loaded.texts)
        made = Made(FROM_DISK, "read from disk")
        if self._made is not None and self._made[0] == name:
            (_, made), self._made = self._made, None
        now_ms = self._inside.clock.now_ns() // 1_000_000
        try:
            self._newest = await in_thread(
                self.versions.record, loaded.texts, comment=made.comment, by=made.by, time_ms=now_ms, always=made.always
            )
        except OSError as error:
            log.warning("this version of the configuration is not kept: %s", error.strerror)

    def announce(self, name: str, made: Made) -> None:
        """Somebody is about to have the gateway read from disk what has this hash, and says who he is."""
        self._made = name, made

    async def current(self) -> dict[str, Any]:
        """The files as they are on disk, and whether they can be changed from here."""
        texts, why_not = await in_thread(lambda: (self._files.read(), self._why_not()))
        base = digest(texts)
        return {
            "path": str(self._files.path),
            "folder": self._files.folder,
            "writable": not why_not,
            "why_not": why_not,
            "instead": self._files.command() if why_not else "",
            "base": base,
            "running": base == self.running,
            "unconfirmed": self._waiting(),
            "files": plain_files(texts),
        }

    def _why_not(self) -> str:
        if bad := not_text(self._files.read()):
            return f"{bad[0]} is not UTF-8; save it as UTF-8 by hand first"
        return self._files.why_not()

    def _waiting(self) -> dict[str, Any] | None:
        waits = self._unconfirmed
        if waits is None:
            return None
        left = max(0.0, waits.until - asyncio.get_running_loop().time())
        return {"version": waits.version, "remaining_s": round(left, 1)}

    def _judge(self, texts: Texts) -> Judged:
        joined = {key: finding.config for key, finding in self._inside.joining.findings.joined.items()}
        return judge(texts, self._inside.env, self._inside.config, joined)

    async def check(self, files: Files) -> dict[str, Any]:
        """All problems of files that need not be on disk; nothing is written."""
        self._files.check_names(name for name, _ in files)
        judged = await in_thread(self._judge, wanted(files, {}))
        return {"problems": judged.rows()}

    async def diff(self, files: Files) -> dict[str, Any]:
        """What differs from the files on disk, and what a reload would touch of what runs."""
        self._files.check_names(name for name, _ in files)

        def look() -> tuple[str, Judged]:
            now = self._files.read()
            texts = wanted(files, now)
            return unified(now, texts), self._judge(texts)

        difference, judged = await in_thread(look)
        changes = None if judged.changes is None else judged.changes.as_dict()
        return {"diff": difference, "changes": changes, "problems": judged.rows()}

    async def apply(self, files: Files, made: Made, *, base: str = "", confirm_s: float = 0.0) -> dict[str, Any]:
        """Bring files into effect: written, reloaded, and put back if the reload fails.

        Args:
            files: all files that there are to be; others are removed.
            made: who does it.
            base: the hash of what they were made from; empty for whatever is there.
            confirm_s: unless :meth:`confirm` is called within so many seconds, it is undone. 0: it stays.

        Raises:
            ConflictError, NotWritableError, RefusedError: nothing was changed.
            OnpathError: the reload failed, and the former files are back.
        """
        self._files.check_names(name for name, _ in files)
        return await self._alone(self._apply(files, made, base, confirm_s))

    async def rollback(self, version: int, made: Made, *, confirm_s: float = 0.0) -> dict[str, Any]:
        """Bring a former version into effect again, as :meth:`apply` does, as a version of its own.

        Raises:
            NoVersionError: there is none of this number.
        """
        texts = await in_thread(self.versions.texts, version)
        made = Made(made.by, made.comment or f"back to version {version}", always=True)
        files = [(one["name"], one["text"]) for one in plain_files(texts)]
        return await self.apply(files, made, confirm_s=confirm_s)

    async def _alone(self, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        """Run to its end whatever becomes of who asked: a browser that is closed cuts nothing off."""
        task = asyncio.create_task(work, name="config edit")
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return await asyncio.shield(task)

    async def _apply(self, files: Files, made: Made, base: str, confirm_s: float) -> dict[str, Any]:
        if confirm_s and not MIN_CONFIRM_S <= confirm_s <= MAX_CONFIRM_S:
            raise BadRequestError("confirm_s is between 1 s and a day")
        async with self._lock:
            if self._unconfirmed is not None:
                raise ConflictError(f"version {self._unconfirmed.version} waits to be confirmed; confirm or revert it")
            now = await in_thread(self._files.read)
            if base and base != digest(now):
                raise ConflictError("somebody else has changed the configuration meanwhile; look at it again")
            texts = wanted(files, now)
            judged = await in_thread(self._judge, texts)
            if judged.problems or judged.restart:
                raise RefusedError([one for one in judged.rows() if one["severity"] == "error"])
            assert judged.changes is not None
            if digest(texts) == digest(now) == self.running and not made.always:
                return {"version": self._newest, "changes": judged.changes.as_dict()}
            change = _change(self._files.path, now, texts)
            changes = await self._bring(change, texts, made, keep_record=confirm_s > 0)
            if confirm_s:
                self._wait(change, confirm_s)
            return {"version": self._newest, "changes": changes, "unconfirmed": self._waiting()}

    async def _bring(self, change: Change, texts: Texts, made: Made, *, keep_record: bool) -> dict[str, Any]:
        """Write, reload; back if that fails."""
        if why_not := await in_thread(self._why_not):
            raise NotWritableError(why_not)
        await in_thread(self._record.begin, change)
        self._made = digest(texts), made
        done = False
        try:
            await in_thread(self._files.put, change.after)
            changes = await self._inside.reload()
            done = True
        finally:
            self._made = None
            if not done:
                await self._put_back(change)
            if not (done and keep_record):
                await in_thread(self._record.end)
        log.info("configuration: version %d by %s%s", self._newest, made.by, made.comment and f": {made.comment}")
        return changes.as_dict()

    async def _put_back(self, change: Change) -> None:
        """The former files, and the gateway with them; what goes wrong is logged."""
        try:
            if await in_thread(undo, change, self._files):
                await self._inside.reload()
        except OnpathError as error:
            log.error("the former configuration could not be brought back: %s", error)  # noqa: TRY400  no traceback

    def _wait(self, change: Change, confirm_s: float) -> None:
        until = asyncio.get_running_loop().time() + confirm_s
        waits = self._unconfirmed = _Unconfirmed(self._newest, change, until)
        waits.task = asyncio.create_task(self._revert_after(waits, confirm_s), name="config confirm")
        log.info("version %d is undone in %g s unless it is confirmed", waits.version, confirm_s)

    async def _revert_after(self, waits: _Unconfirmed, confirm_s: float) -> None:
        await asyncio.sleep(confirm_s)
        async with self._lock:
            if self._unconfirmed is waits:
                await self._revert(waits, f"version {waits.version} was not confirmed within {confirm_s:g} s")

    async def _revert(self, waits: _Unconfirmed, why: str) -> None:
        log.warning("%s: the former configuration comes back", why)
        self._unconfirmed = None
        former = {name: text for name, text in waits.change.before.items() if text is not None}
        rest = {name: text for name, text in self._inside.loaded.texts.items() if name not in waits.change.before}
        self._made = digest({**rest, **former}), Made(OURSELVES, why, always=True)
        try:
            await self._put_back(waits.change)
        finally:
            self._made = None
            await in_thread(self._record.end)

    async def confirm(self, *, keep: bool = True) -> dict[str, Any]:
        """Keep the change that waits, or undo it now.

        Raises:
            ConflictError: none waits.
        """
        return await self._alone(self._confirm(keep=keep))

    async def _confirm(self, *, keep: bool) -> dict[str, Any]:
        async with self._lock:
            waits = self._unconfirmed
            if waits is None:
                raise ConflictError("no change waits to be confirmed")
            if waits.task is not None:
                waits.task.cancel()
            if keep:
                self._unconfirmed = None
                await in_thread(self._record.end)
                log.info("version %d is confirmed", waits.version)
            else:
                await self._revert(waits, f"version {waits.version} was taken back")
            return {"version": self._newest, "kept": keep}

    async def list_versions(self) -> list[dict[str, Any]]:
        """What is kept, newest first; ``running`` for the one that the gateway runs with."""
        heads = await in_thread(self.versions.heads)
        running = next((head.version for head in heads if head.hash == self.running), 0)
        fields = ("version", "time_ms", "comment", "by", "hash", "files")
        return [
            {**{field: getattr(head, field) for field in fields}, "running": head.version == running} for head in heads
        ]

    async def show_version(self, version: int) -> dict[str, Any]:
        """The files of a version.

        Raises:
            NoVersionError: there is none of this number.
        """
        return {"version": version, "files": plain_files(await in_thread(self.versions.texts, version))}

    async def stop(self) -> None:
        """The daemon ends: what waits to be confirmed is undone at the next start, before anything else."""
        tasks = [*self._working]
        if self._unconfirmed is not None and self._unconfirmed.task is not None:
            tasks.append(self._unconfirmed.task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _change(path: Path, now: Texts, texts: Texts) -> Change:
    names = [name for name in now.keys() | texts.keys() if now.get(name) != texts.get(name)]
    return Change(
        path=str(path.absolute()),
        before={name: now.get(name) for name in names},
        after={name: texts.get(name) for name in names},
    )
