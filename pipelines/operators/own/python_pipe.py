"""A worker process and the two pipes to it; no call on it takes longer than it is allowed to.

The process gets nothing of ours: a clean environment, ``python -I``, a session of its own, and no standard input or
output (what the class prints is lost, however much it is). It is ended by SIGKILL with all that it started.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgpack

from pipelines.operators.own import python_worker
from pipelines.operators.own.python_worker import HEADER, MAGIC

MAX_BYTES: Final = 64 << 20
"""Longest answer."""
_PIPE_BYTES: Final = 1 << 20
_ENVIRONMENT: Final = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}  # fmt: skip


class PipeError(Exception):
    """The worker is of no use any more; ``reason`` is a countable word."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason)


class Pipe:
    """One worker process. Calls raise :class:`PipeError`; afterwards only :meth:`close` makes sense."""

    def __init__(self) -> None:
        requests, self._out = os.pipe()
        self._in, answers = os.pipe()
        command = [sys.executable, "-I", str(Path(python_worker.__file__)), str(requests), str(answers)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own file, by our own interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(requests, answers),
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._out)
            os.close(self._in)
            raise PipeError("died", f"cannot be started: {error}") from error
        finally:
            os.close(requests)
            os.close(answers)
        for descriptor in (self._out, self._in):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(OSError):  # a user's share of pipe memory may be used up; small pipes do too
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._number = 0
        self._left = memoryview(b"")
        self._read = bytearray()
        self._open = True

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def begin(self, request: list[Any]) -> None:
        """Make a request; :meth:`finish` sends it and waits for the answer."""
        body = msgpack.packb(request)
        self._number = (self._number + 1) & 0xFFFF_FFFF
        self._left = memoryview(HEADER.pack(MAGIC, self._number, len(body)) + body)

    def finish(self, until: float) -> list[Any] | None:
        """The answer, or None if it is not there at ``until`` (:func:`time.monotonic`); in the past: does not wait.

        Raises:
            PipeError: the worker has died, or what it wrote is no answer.
        """
        while True:
            left = until - time.monotonic()
            for descriptor in self._ready(max(0.0, left)):
                if descriptor == self._out:
                    self._send()
                else:
                    self._receive()
            answer = self._answer()
            if answer is not None or left <= 0:
                return answer

    def _ready(self, wait_s: float) -> list[int]:
        """Which descriptors can be written or read, after waiting for it."""
        poll = select.poll()
        poll.register(self._in, select.POLLIN)
        if self._left:
            poll.register(self._out, select.POLLOUT)
        return [descriptor for descriptor, _ in poll.poll(wait_s * 1e3)]

    def _send(self) -> None:
        try:
            self._left = self._left[os.write(self._out, self._left) :]
        except BlockingIOError:
            return
        except OSError as error:
            raise PipeError("died", self._death()) from error

    def _receive(self) -> None:
        try:
            part = os.read(self._in, _PIPE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise PipeError("died", self._death()) from error
        if not part:
            raise PipeError("died", self._death())
        self._read += part

    def _answer(self) -> list[Any] | None:
        """The whole answer, if it is there."""
        if len(self._read) < HEADER.size:
            return None
        magic, number, length = HEADER.unpack_from(self._read)
        if magic != MAGIC or number != self._number or length > MAX_BYTES:
            raise PipeError("garbage", "wrote something that is no answer")
        end = HEADER.size + length
        if len(self._read) < end:
            return None
        if len(self._read) > end or self._left:
            raise PipeError("garbage", "wrote more than an answer")
        body, self._read = bytes(self._read[HEADER.size :]), bytearray()
        try:
            answer = msgpack.unpackb(body)
        except (ValueError, msgpack.UnpackException) as error:
            raise PipeError("garbage", f"wrote what cannot be read: {error}") from error
        if not isinstance(answer, list) or len(answer) < 2 or answer[0] not in ("ok", "error"):
            raise PipeError("garbage", "wrote something that is no answer")
        return answer

    def _death(self) -> str:
        """How the process has ended; it is not reaped yet, so that its group can still be ended by its number."""
        for _ in range(10):
            found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                by_signal = found.si_code != os.CLD_EXITED
                return (
                    f"ended by {signal.Signals(found.si_status).name}" if by_signal else f"ended with {found.si_status}"
                )
            time.sleep(0.001)
        return "has closed its pipe"

    def kill(self) -> None:
        """End the process and all that it started, without waiting until it is gone."""
        if self._open:
            self._open = False
            self._left = memoryview(b"")
            os.close(self._out)
            os.close(self._in)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def gone(self) -> bool:
        """Whether a process that was ended is no more."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process and wait for it."""
        self.kill()
        self._process.wait()
