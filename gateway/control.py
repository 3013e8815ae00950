"""The control socket: ``<state>/control.sock``, newline-delimited JSON, one request and one answer a line.

``{"verb": "status"}`` is answered ``{"ok": true, "status": {...}}``; ``{"verb": "reload"}`` likewise with
``"reload"``; what went wrong is ``{"ok": false, "error": "...", "problems": [...]}``. Only who may enter the
state folder can connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.errors import OnpathError

SOCKET = "control.sock"
MAX_LINE = 1 << 24

Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class NotRunningError(OnpathError):
    """No daemon answers for the state folder."""

    exit_code = 69  # EX_UNAVAILABLE


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """A path to the socket that fits the 107 bytes of sun_path, however deep the folder lies."""
    path = folder / SOCKET
    if len(os.fsencode(path)) <= 107:
        yield str(path)
        return
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}"
    finally:
        os.close(fd)


@contextlib.asynccontextmanager
async def serving(folder: Path, verbs: Mapping[str, Verb]) -> AsyncIterator[None]:
    """Answer requests while the block runs."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, ValueError):
                while line := await reader.readline():
                    writer.write(json.dumps(await _answer(line, verbs)).encode() + b"\n")
                    await writer.drain()
        finally:
            writer.close()  # also after a defect in a verb: who asked may not wait for ever

    (folder / SOCKET).unlink(missing_ok=True)  # of a process that was killed; the lock is ours
    with _reachable(folder) as path:
        server = await asyncio.start_unix_server(handle, path, limit=MAX_LINE)
    (folder / SOCKET).chmod(0o600)
    try:
        yield
    finally:
        server.close()
        (folder / SOCKET).unlink(missing_ok=True)


async def _answer(line: bytes, verbs: Mapping[str, Verb]) -> dict[str, Any]:
    try:
        request = json.loads(line)
        verb = verbs[request["verb"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"ok": False, "error": f"unknown request; verbs: {', '.join(sorted(verbs))}"}
    try:
        return {"ok": True, **await verb(request)}
    except OnpathError as error:
        problems = [str(problem) for problem in getattr(error, "problems", [])]
        return {"ok": False, "error": str(error), "problems": problems, "exit_code": error.exit_code}


async def ask(state: Path, verb: str, **fields: Any) -> dict[str, Any]:
    """Send one request to the daemon of a state folder; its answer.

    Raises:
        NotRunningError: nobody answers.
    """
    try:
        with _reachable(state) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
    except OSError as error:
        raise NotRunningError(f"no onpath daemon answers for {state} ({error.strerror or error})") from error
    try:
        writer.write(json.dumps({"verb": verb, **fields}).encode() + b"\n")
        line = await reader.readline()
    except OSError as error:
        raise NotRunningError(f"the daemon of {state} went away: {error}") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not line.endswith(b"\n"):
        raise NotRunningError(f"the daemon of {state} closed the connection")
    answer: dict[str, Any] = json.loads(line)
    return answer
