"""Modems that dial in: one listener a host and port, a seat in it for each adapter.

A modem that connects says who it is by its registration packet. When nothing has followed it for
50 ms, the one seat whose pattern matches the whole of it gets the connection; what it had before is
dropped, since a modem that dials anew has lost it, whether this side knows or not. Whoever does not
register, fits no seat, or fits several, is refused: closed, and counted under a reason.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Self, TypeAlias, cast
from weakref import WeakKeyDictionary

from adapters.modbus.framing import Framing, MbapFraming
from adapters.modbus.line import framing_of
from adapters.modbus.single import SingleLine
from adapters.modbus.url import Frames
from adapters.modbus.wire import watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from adapters.modbus.config import Register
    from adapters.modbus.url import Endpoint

Refused: TypeAlias = "Callable[[str, str], None]"
"""Told a reason (a short, countable word) and who was refused."""

_QUIET_S = 0.05  # a packet ends when nothing follows for so long
_PATIENCE_S = 1.0  # what fits nobody may still be completed for so long
_LONGEST = 256  # bytes of a registration packet
_CALLERS = 64  # that have not registered yet


class CalledLine(SingleLine):
    """A connection that a modem made, on which its heartbeats are ignored."""

    def __init__(
        self, framing: Framing, heartbeat: re.Pattern[bytes] | None, *, timeout_s: float, pause_s: float
    ) -> None:
        super().__init__(framing, timeout_s=timeout_s, pause_s=pause_s)
        self._heartbeat = heartbeat

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        if self._heartbeat is None or not self._heartbeat.fullmatch(data):
            super().data_received(data)


class Seat:
    """What an adapter has in a listener: ``async with Seat(...) as seat: line = await seat.next()``.

    Args:
        endpoint: the host and port to listen on, and how frames look.
        register: how its modem is known.
        timeout_s: how long an answer may take.
        pause_s: quiet time between an answer and the next request.
        refused: told of whoever is refused; of several seats, that of the first.

    Raises:
        OSError: the host and port cannot be listened on.
    """

    def __init__(
        self, endpoint: Endpoint, register: Register, *, timeout_s: float, pause_s: float, refused: Refused
    ) -> None:
        self.pattern = re.compile(register.pattern.encode(), re.DOTALL)
        self.patience_s = float(register.timeout)
        self.refused = refused
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        beat = register.heartbeat.encode()
        self._heartbeat = re.compile(b"(?:" + beat + b")+", re.DOTALL) if beat else None
        self._line: CalledLine | None = None
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        here = _listeners.setdefault(asyncio.get_running_loop(), {})
        address = self._endpoint.host, self._endpoint.port
        self._listener = here.setdefault(address, _Listener(*address))
        try:
            await self._listener.join(self)
        finally:
            self._forget_idle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is not None:
            self._line.close()
        try:
            await self._listener.leave(self)
        finally:
            self._forget_idle()

    def _forget_idle(self) -> None:
        """A listener that nobody needs leaves no trace."""
        here = _listeners[asyncio.get_running_loop()]
        address = self._endpoint.host, self._endpoint.port
        if self._listener.idle and here.get(address) is self._listener:
            del here[address]

    async def called(self, patience_s: float) -> bool:
        """Wait until the modem is there, but not for longer; whether it is."""
        try:
            async with asyncio.timeout(patience_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def next(self) -> CalledLine:
        """Wait for the modem; its connection."""
        await self._news.wait()
        self._news.clear()
        assert self._line is not None
        return self._line

    def take(self, transport: asyncio.Transport, detail: str) -> None:
        """The modem has registered on ``transport``."""
        mbap = self._endpoint.frames is Frames.MBAP
        framing = MbapFraming(self._heartbeat) if mbap else framing_of(self._endpoint)
        line = CalledLine(framing, self._heartbeat, timeout_s=self._timeout_s, pause_s=self._pause_s)
        line.detail = detail
        before, self._line = self._line, line
        transport.set_protocol(line)
        line.connection_made(transport)
        watch(transport.get_extra_info("socket"), self._timeout_s)
        if before is not None:
            before.lose("the modem has dialled in anew")
        self._news.set()


class _Caller(asyncio.Protocol):
    """A connection until its registration packet is there."""

    def __init__(self, listener: _Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._packet = b""
        self._who = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        host, port = (transport.get_extra_info("peername") or ("somebody", 0))[:2]  # None if gone already
        self._who = f"{host}:{port}"
        if len(self._listener.callers) >= _CALLERS:
            self._refuse("too-many-callers")
            return
        self._listener.callers.add(self)
        self._deadline = self._loop.call_later(self._listener.patience_s, self._give_up)

    def data_received(self, data: bytes) -> None:
        self._packet += data
        self._restart([])
        if len(self._packet) > _LONGEST:
            self._refuse("unknown-registration")
            return
        call_later = self._loop.call_later
        self._restart([call_later(_QUIET_S, self._decide), call_later(_PATIENCE_S, self._give_up)])

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self in self._listener.callers:
            self._give_up()

    def _restart(self, timers: list[asyncio.TimerHandle]) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = timers

    def _decide(self) -> None:
        seats = [seat for seat in self._listener.seats if seat.pattern.fullmatch(self._packet)]
        if len(seats) == 1:
            self._leave()
            seats[0].take(self._transport, f"{self._who} as {self._packet!r}")
        elif seats:
            self._refuse("ambiguous-registration")

    def _give_up(self) -> None:
        self._refuse("unknown-registration" if self._packet else "no-registration")

    def _refuse(self, reason: str) -> None:
        self.close()
        self._listener.refuse(reason, f"{self._who} {self._packet[:_LONGEST]!r}")

    def _leave(self) -> None:
        self._listener.callers.discard(self)
        self._restart([])
        if self._deadline is not None:
            self._deadline.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._leave()
        self._transport.abort()


class _Listener:
    """A host and port that one or more adapters listen on."""

    def __init__(self, host: str, port: int) -> None:
        self.seats: list[Seat] = []
        self.callers: set[_Caller] = set()
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._joining = asyncio.Lock()

    @property
    def patience_s(self) -> float:
        """How long a modem may take to register; nobody knows yet whose it is."""
        return max((seat.patience_s for seat in self.seats), default=0.0)

    @property
    def idle(self) -> bool:
        """Whether nobody needs it."""
        return not self.seats and not self._joining.locked()

    def refuse(self, reason: str, who: str) -> None:
        """Count a caller that was refused."""
        if self.seats:
            self.seats[0].refused(reason, who)

    async def join(self, seat: Seat) -> None:
        """Listen for one more.

        Raises:
            OSError: the host and port cannot be listened on.
        """
        async with self._joining:
            if self._server is None:
                loop = asyncio.get_running_loop()
                self._server = await loop.create_server(lambda: _Caller(self), self._host, self._port)
            self.seats.append(seat)

    async def leave(self, seat: Seat) -> None:
        """Stop listening with the last one."""
        self.seats.remove(seat)
        if self.seats or self._server is None:
            return
        for caller in list(self.callers):
            caller.close()
        server, self._server = self._server, None
        server.close()
        await server.wait_closed()


_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], _Listener]] = WeakKeyDictionary()
