"""Acknowledgements in the order of their receipts, each when it is on disk."""

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


class Acknowledger:
    """Acknowledges batches in the order of their receipts, each when it is on disk."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: deque[tuple[Receipt | None, list[bytes], Tokens]] = deque()
        self._room = asyncio.Semaphore(MAX_UNSETTLED)
        self._news = asyncio.Event()

    async def add(self, receipt: Receipt | None, packet_ids: list[bytes], tokens: Tokens) -> None:
        """Acknowledge these once ``receipt`` is durable (None: as soon as their turn comes)."""
        await self._room.acquire()
        self._waiting.append((receipt, packet_ids, tokens))
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
            await self.settle()

    async def settle(self) -> None:
        """Acknowledge all that waits; errors as in :meth:`run`."""
        while self._waiting:
            receipt, packet_ids, _ = self._waiting[0]
            if receipt is not None:
                try:
                    await receipt.durable()
                except StoreError as error:
                    raise LinkError(f"not acknowledged, because the store refused it: {error}") from error
            self._session.acknowledge(packet_ids)
            self._waiting.popleft()
            self._room.release()
