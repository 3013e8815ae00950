"""A worker's connection: plain sockets, which send and receive at the same time. Light: a worker imports it."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from typing import Final

from gateway.errors import LinkError, PayloadError
from gateway.reduction import codec
from gateway.reduction.codec import Kind

_READ: Final = 2**18
_GATHER: Final = 64
"""Buffers that are handed to the kernel at once."""


class Channel:
    """Connected to one node. Every method raises LinkError once the connection is gone."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
        except OSError as error:
            raise LinkError(f"{host}:{port}: {error.strerror or error}") from None
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._out: deque[memoryview] = deque()
        self._in = bytearray()
        self._early: list[tuple[Kind, bytes]] = []
        self.name = f"{host}:{port}"
        self.most = codec.MOST_HELLO
        """The longest message that may come."""
        self.heard = time.monotonic()
        self.sent = 0
        """Bytes."""

    @property
    def waiting(self) -> bool:
        """Whether the kernel has not taken everything yet."""
        return bool(self._out)

    def send(self, *parts: bytes | memoryview) -> None:
        """Queue a message; what it is made of must not change before it is sent."""
        for part in parts:
            self._out.append(memoryview(part).cast("B"))
            self.sent += self._out[-1].nbytes

    def pump(self, timeout_s: float) -> list[tuple[Kind, bytes]]:
        """Send what can be sent, and wait so long for something to come; whole messages.

        Raises:
            PayloadError: what came is none.
        """
        if self._early:
            early, self._early = self._early, []
            return early
        ready = select.poll()
        ready.register(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
        events = ready.poll(max(0.0, timeout_s) * 1000)
        if not events:
            return []
        try:
            if events[0][1] & select.POLLOUT:
                self._write()
            if events[0][1] & ~select.POLLOUT:
                self._read()
        except BlockingIOError:
            return []
        except OSError as error:
            raise LinkError(f"{self.name}: {error.strerror or error}") from None
        return self._messages()

    def put_back(self, messages: list[tuple[Kind, bytes]]) -> None:
        """Messages that came with another, for the next ``pump``."""
        self._early = messages + self._early

    def _write(self) -> None:
        """As much as the kernel takes now."""
        parts = [self._out[at] for at in range(min(_GATHER, len(self._out)))]
        taken = self._socket.sendmsg(parts)
        while taken:
            first = self._out[0]
            if taken < first.nbytes:
                self._out[0] = first[taken:]
                return
            taken -= first.nbytes
            self._out.popleft()

    def _read(self) -> None:
        data = self._socket.recv(_READ)
        if not data:
            raise LinkError(f"{self.name}: it has closed the connection")
        self._in += data
        self.heard = time.monotonic()

    def _messages(self) -> list[tuple[Kind, bytes]]:
        found, at = [], 0
        while (whole := codec.split(self._in, at, self.most)) is not None:
            kind, start, end = whole
            found.append((kind, bytes(memoryview(self._in)[start:end])))
            at = end
        del self._in[:at]
        return found

    def finish(self, timeout_s: float) -> None:
        """Send what is queued, and wait so long for the other side to close; then let go of it."""
        until = time.monotonic() + timeout_s
        with contextlib.suppress(LinkError, PayloadError):
            while (
                time.monotonic() < until
            ):  # it closes first: what is unread when we do could take our last words along
                self.pump(until - time.monotonic())
        self.close()

    def close(self) -> None:
        """Let go of it; what is queued is lost."""
        self._socket.close()
