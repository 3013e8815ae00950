"""The carrier's connection to NATS: made again by ourselves, with requests that can be cancelled.

nats-py reconnects nowhere here: a connection that is gone is given up, what waited for an answer hears of it, and a new
one begins from nothing. Answers come on one subject of ours, numbered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error

from gateway.errors import LinkError
from gateway.network.carrier.base import CarrierError
from gateway.tasks import ended
from gateway.units import Duration
from gateway.uplinks.nats.config import NatsUplinkConfig
from gateway.uplinks.nats.connection import Connection, connected, plain
from gateway.uplinks.nats.stream import ApiError

if TYPE_CHECKING:
    from gateway.network.config import CarrierConfig

RECONNECT_S: Final = 1.0
"""Attempts come after a random time up to this."""
KEEPALIVE_S: Final = 5.0
UNBOUNDED: Final = 2**31


class RefusedError(CarrierError):
    """JetStream says no; ``code`` is its ``err_code``."""

    def __init__(self, what: str, error: ApiError) -> None:
        self.code = error.err_code
        super().__init__(f"{what}: {error}")


class Line:
    """One connection while it lasts."""

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        self.client = connection.client
        self.url = connection.url
        self.timeout_s = timeout_s
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox = ""
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Msg]] = {}

    async def begin(self) -> None:
        """Ask for the answers.

        Raises:
            CarrierError: it cannot be.
        """
        self._inbox = self.client.new_inbox()
        try:
            await self.client.subscribe(
                f"{self._inbox}.*", cb=self._answered, pending_msgs_limit=UNBOUNDED, pending_bytes_limit=0
            )
        except (Error, OSError) as error:
            raise CarrierError(f"{self.url}: {plain(error)}") from None

    def end(self, why: str) -> None:
        """The connection is gone: whoever waits hears of it."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(CarrierError(why))
        self._waiting.clear()
        if not self.lost.done():
            self.lost.set_result(None)

    async def _answered(self, message: Msg) -> None:
        number = message.subject.rpartition(".")[2]
        answer = self._waiting.get(int(number)) if number.isdecimal() else None
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send something; never waits for the network.

        Raises:
            CarrierError: it cannot be.
        """
        try:
            await self.client.publish(subject, payload, reply=reply, headers=dict(headers) if headers else None)
        except (Error, OSError, ValueError) as error:
            raise CarrierError(f"{self.url}: {plain(error)}") from None

    async def ask(
        self, subject: str, payload: bytes = b"", headers: Mapping[str, str] | None = None, timeout_s: float = 0.0
    ) -> Msg:
        """The answer to something.

        Raises:
            CarrierError: there is none.
        """
        if self.lost.done():
            raise CarrierError(f"{self.url}: the connection is gone")
        self._number += 1
        number = self._number
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self.publish(subject, payload, f"{self._inbox}.{number}", headers)
            async with asyncio.timeout(timeout_s or self.timeout_s):
                message = await answer
        except TimeoutError:
            raise CarrierError(f"{self.url}: no answer to {subject} in time") from None
        finally:
            self._waiting.pop(number, None)
        if not message.data and (message.headers or {}).get("Status") == "503":
            raise CarrierError(f"{self.url}: nobody answers to {subject}: JetStream is off, or without a leader now")
        return message

    async def api(
        self, subject: str, request: Mapping[str, Any] | None = None, timeout_s: float = 0.0
    ) -> dict[str, Any]:
        """An answer of JetStream's API.

        Raises:
            RefusedError: it says no.
            CarrierError: it does not say.
        """
        payload = b"" if request is None else msgspec.json.encode(request)
        message = await self.ask(f"$JS.API.{subject}", payload, timeout_s=timeout_s)
        try:
            answer = msgspec.json.decode(message.data, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise CarrierError(f"{self.url}: the answer to {subject} cannot be read: {error}") from None
        if answer.get("error"):
            raise RefusedError(f"{self.url}: {subject}", msgspec.convert(answer["error"], ApiError))
        return answer


class Link:
    """Connections, one after the other.

    Args:
        config: where to.
        name: for the server's logs.
        prepare: what a new connection needs before it is used.
    """

    def __init__(self, config: CarrierConfig, name: str, prepare: Callable[[Line], Awaitable[None]]) -> None:
        self._config = config
        self._name = name
        self._prepare = prepare
        self._line: Line | None = None
        self._change = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._why = "not open"
        self._refused = False
        """The last attempt did not come as far as to ask for anything."""
        self.connections = 0

    async def open(self) -> None:
        """Connect, and go on connecting.

        Raises:
            CarrierError: it does not work at first.
        """
        options = self._options()
        self._task = asyncio.create_task(self._run(options), name="carrier link")
        try:
            async with asyncio.timeout(self._config.timeout):
                while self._line is None and not self._refused:
                    await self._change.wait()
        except TimeoutError:
            pass  # a cluster that is about to elect its leader is waited for, not longer
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._line is None:
            why = self._why
            await self.close()
            raise CarrierError(f"{self._config.url}: {why}")

    def _options(self) -> NatsUplinkConfig:
        config = self._config
        try:
            return NatsUplinkConfig(
                url=config.servers, username=config.username, password=config.password, ca=config.ca,
                cert=config.cert, key=config.key, timeout=config.timeout, keepalive=Duration(KEEPALIVE_S), stream="",
            )  # fmt: skip
        except ValueError as error:
            raise CarrierError(f"{config.url}: {error}") from None

    async def close(self) -> None:
        """End; never fails."""
        await ended(self._task)
        self._set(None, "closed")

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._task is None or self._task.done()

    @property
    def up(self) -> bool:
        """Whether it is connected."""
        return self._line is not None

    def line(self) -> Line:
        """The connection.

        Raises:
            CarrierError: there is none now.
        """
        if self._line is None:
            raise CarrierError(f"{self._config.url}: not connected: {self._why}")
        return self._line

    async def next_line(self) -> Line | None:
        """The connection, when there is one again; None when it has ended."""
        while self._line is None:
            if self.closed:
                return None
            await self._change.wait()
        return self._line

    async def pause(self, line: Line) -> None:
        """Something has failed on a connection: a moment, so that many do not all come again at once."""
        if not line.lost.done():
            await asyncio.sleep(random.uniform(0.02, 0.5))  # noqa: S311  spreads load, no secret

    def _set(self, line: Line | None, why: str = "") -> None:
        self._line, self._why = line, why
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def _run(self, options: NatsUplinkConfig) -> None:
        try:
            while True:
                self._refused = True
                try:
                    async with connected(options, self._name) as connection:
                        self._refused = False
                        await self._use(connection)
                except (LinkError, CarrierError) as error:
                    self._set(None, str(error))
                await asyncio.sleep(random.uniform(0, RECONNECT_S))  # noqa: S311  spreads load, no secret
        finally:
            self._set(None, "closed")

    async def _use(self, connection: Connection) -> None:
        line = Line(connection, self._config.timeout)
        gone = asyncio.create_task(connection.gone(), name="carrier connection")
        gone.add_done_callback(lambda _task: line.end(f"{connection.url}: the connection is gone"))
        try:
            await line.begin()
            await self._prepare(line)
            self.connections += 1
            self._set(line)
            await gone
        finally:
            self._set(None, "the connection is gone")
            line.end(f"{connection.url}: the connection is gone")
            await ended(gone)
