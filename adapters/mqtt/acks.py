"""Acknowledgements in the order of their receipts, each when it is on disk.

To ask for a receipt makes the gateway write at once, 5 ms after the last time at the earliest. That is what a broker
needs whose window is full, and costs more than the messages where it is not. So nobody asks while messages keep
coming, up to a bound, and up to half of what the broker is known to let be on its way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from gateway.errors import LinkError, StoreError

if TYPE_CHECKING:
    from adapters.base import Receipt, Tokens
    from adapters.mqtt.session import Session
    from gateway.frame import Mask

MAX_UNSETTLED: Final = 64
"""Batches that wait for the disk; with more the socket is not read any more."""
PATIENCE_S: Final = 0.025
"""How long a flow of messages may go on before somebody asks; the gateway writes every 50 ms anyway."""
QUIET_S: Final = 0.002
"""Silence of the broker that may mean that it waits for acknowledgements."""


class Acknowledger:
    """Acknowledges batches in the order of their receipts, each when it is on disk."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: deque[tuple[Receipt | None, list[bytes], Tokens]] = deque()
        self._room = asyncio.Semaphore(MAX_UNSETTLED)
        self._news = asyncio.Event()
        self._open = 0
        """Messages that wait for their acknowledgement."""
        self._window = 0
        """With so many of them the broker was silent the last time; 0: it is not known to wait for them."""

    async def add(self, receipt: Receipt | None, packet_ids: list[bytes], tokens: Tokens) -> None:
        """Acknowledge these once ``receipt`` is durable (None: as soon as their turn comes)."""
        await self._room.acquire()
        self._waiting.append((receipt, packet_ids, tokens))
        self._open += len(packet_ids)
        self._news.set()

    def waits_for(self, tokens: Tokens) -> Mask:
        """Which messages wait here for their acknowledgement, [n]."""
        return np.isin(tokens, np.concatenate([waiting for _, _, waiting in self._waiting] or [tokens[:0]]))

    async def run(self) -> NoReturn:
        """Serve until cancelled.

        Raises:
            LinkError: the store did not take something; a new connection makes the broker send it again.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            await self._be_patient()
            await self.settle()

    async def _be_patient(self) -> None:
        """Wait while messages keep coming and the broker is not known to wait for us."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while loop.time() < until:
            if self._open > self._window:
                self._window = 0  # it sends more than it was thought to
            elif 2 * self._open >= self._window:
                return
            if loop.time() - self._session.heard_at >= QUIET_S:
                self._window = self._open
                return
            await asyncio.sleep(QUIET_S)

    async def settle(self) -> None:
        """Acknowledge all that waits now; errors as in :meth:`run`."""
        for _ in range(len(self._waiting)):
            receipt, packet_ids, _ = self._waiting[0]
            if receipt is not None:
                try:
                    await receipt.durable()
                except StoreError as error:
                    raise LinkError(f"not acknowledged, because the store refused it: {error}") from error
            self._session.acknowledge(packet_ids)
            self._waiting.popleft()
            self._open -= len(packet_ids)
            self._room.release()
