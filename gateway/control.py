"""The control socket: ``<state>/control.sock``, newline-delimited JSON, one request and one answer a line.

``{"verb": "status"}`` is answered ``{"ok": true, "status": {...}}``; ``{"verb": "reload"}`` likewise with
``"reload"``; what went wrong is ``{"ok": false, "error": "...", "problems": [...]}``. A verb that streams, such as
``tap``, gives a line an answer until the asker closes. Only who may enter the state folder can connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.errors import OnpathError

SOCKET = "control.sock"
MAX_LINE = 1 << 24

Answers = AsyncGenerator[dict[str, Any], None]
Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]] | Answers]


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
                    await _serve(line, verbs, reader, writer)
        except asyncio.CancelledError:
            pass  # the daemon stops; Python 3.11 would ask the cancelled task for its exception, and log that
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


async def _serve(
    line: bytes, verbs: Mapping[str, Verb], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one request."""
    try:
        request = json.loads(line)
        verb = verbs[request["verb"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        await _say(writer, {"ok": False, "error": f"unknown request; verbs: {', '.join(sorted(verbs))}"})
        return
    try:
        answer = verb(request)
        if isinstance(answer, AsyncGenerator):
            await _stream(answer, reader, writer)
        else:
            await _say(writer, {"ok": True, **await answer})
    except OnpathError as error:
        problems = [str(problem) for problem in getattr(error, "problems", [])]
        await _say(writer, {"ok": False, "error": str(error), "problems": problems, "exit_code": error.exit_code})


async def _say(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()


async def _stream(answers: Answers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A line an answer, until the asker says anything or closes."""

    async def say_all() -> None:
        async with contextlib.aclosing(answers) as closing:
            async for answer in closing:
                await _say(writer, {"ok": True, **answer})

    saying = asyncio.create_task(say_all(), name="control stream")
    hearing = asyncio.create_task(reader.read(1), name="control hang-up")
    try:
        await asyncio.wait([saying, hearing], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (saying, hearing):
            task.cancel()
        results = await asyncio.gather(saying, hearing, return_exceptions=True)
    if isinstance(results[0], OnpathError):
        raise results[0]


async def ask(state: Path, verb: str, /, **fields: Any) -> dict[str, Any]:
    """Send one request to the daemon of a state folder; its answer.

    Raises:
        NotRunningError: nobody answers.
    """
    reader, writer = await _connect(state)
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


async def _connect(state: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        with _reachable(state) as path:
            return await asyncio.open_unix_connection(path, limit=MAX_LINE)
    except OSError as error:
        raise NotRunningError(f"no onpath daemon answers for {state} ({error.strerror or error})") from error


async def follow(state: Path, verb: str, /, **fields: Any) -> Answers:
    """The answers of a verb that streams, until the caller stops or the daemon goes.

    Raises:
        NotRunningError: nobody answers.
        OnpathError: the daemon refuses, with its words.
    """
    reader, writer = await _connect(state)
    try:
        writer.write(json.dumps({"verb": verb, **fields}).encode() + b"\n")
        while (line := await reader.readline()).endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            if not answer["ok"]:
                raise OnpathError(answer["error"])
            yield answer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
