"""Asks a unit: breaker, patience, retries and counts around each request of the telemetry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from adapters.modbus.breaker import Ward
from adapters.modbus.pdu import AnswerError, Request
from gateway.errors import LinkError
from gateway.quality import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adapters.base import Context
    from adapters.modbus.group import Device
    from adapters.modbus.queue import Answer, Queue

SILENCE_S = 300.0
"""With all units suspended for so long the connection itself is suspect, and made anew."""


class Asker:
    """The way of a poller's requests through the queue.

    Args:
        ctx: the gateway's side, for counts.
        queue: the way to the endpoint.
        devices: all devices of the endpoint.
        timeout_s: how long the line waits for an answer.
    """

    def __init__(self, ctx: Context, queue: Queue, devices: Iterable[Device], timeout_s: float) -> None:
        self._stats = ctx.stats
        self._queue = queue
        breakers = {id(device.breaker): device.breaker for device in devices}
        self._ward = Ward(list(breakers.values()), timeout_s)
        self._loop = asyncio.get_running_loop()
        self._late = 0
        self._answered_at = self._loop.time()

    def may_ask(self, device: Device, pause_s: float) -> bool:
        """Whether a unit may be asked; a suspended one only for a probe, best in a pause between requests."""
        return self._ward.may_ask(device.breaker, self._loop.time(), pause_s)

    async def ask(self, device: Device, request: Request) -> Answer:
        """The answer to a request; unanswered ones are repeated as the device's options say.

        Raises:
            AnswerError: there is none, or it is not usable.
            LinkError: the connection is gone, or nobody has answered for long.
        """
        for _ in range(device.retries):
            try:
                return await self._once(device, request)
            except AnswerError as error:
                if not error.silent:
                    raise
        return await self._once(device, request, final=True)

    async def _once(self, device: Device, request: Request, *, final: bool = False) -> Answer:
        breaker, began = device.breaker, self._loop.time()
        probing = breaker.suspended
        try:
            answer = await self._queue.submit(request, patience_s=self._ward.patience_s(breaker))
        except AnswerError as error:
            self._count(error)
            took = self._loop.time() - began
            if not error.silent:
                self._answered_at = self._loop.time()
                if error.code not in {Reason.MALFORMED_ANSWER, Reason.GATEWAY_PATH_UNAVAILABLE}:
                    self._hear(device, took)
                raise
            if error.code is Reason.GATEWAY_TARGET_FAILED:
                breaker.took(took)
            if final:
                breaker.silent(self._loop.time())
                self._check_silence()
            if probing:
                self._ward.spent(breaker, self._loop.time(), took)
            raise
        finally:
            self._count_late()
        self._stats.messages += 1
        self._hear(device, answer.received_s - answer.sent_s)
        return answer

    async def refusal(self, device: Device, request: Request) -> Reason | None:
        """Why the device does not answer a request with data, or None if it does."""
        try:
            await self.ask(device, request)
        except AnswerError as error:
            return error.code
        return None

    async def trial(self, device: Device, request: Request) -> bool:
        """Whether a request is answered with data, whatever the reason if not; no matter for the breaker."""
        try:
            await self._queue.submit(request)
        except AnswerError as error:
            self._count(error)
            return False
        finally:
            self._count_late()
        self._stats.messages += 1
        self._hear(device, 0.0)
        return True

    def _count(self, error: AnswerError) -> None:
        self._stats.reasons[error.reason] += 1
        if not error.silent or error.code is Reason.GATEWAY_TARGET_FAILED:
            self._stats.messages += 1

    def _count_late(self) -> None:
        late = self._queue.line.framing.late
        if late != self._late:
            self._stats.reasons["late-answer"] += late - self._late
            self._late = late

    def _hear(self, device: Device, took_s: float) -> None:
        self._ward.answered(device.breaker, took_s)
        self._answered_at = self._loop.time()

    def _check_silence(self) -> None:
        """A half-dead converter answers again after a new connection."""
        silent_s = self._loop.time() - self._answered_at
        if silent_s > SILENCE_S and self._ward.all_suspended:
            raise LinkError(f"no unit has answered for {silent_s:.0f} s")
