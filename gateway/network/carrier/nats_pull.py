"""A stream read in order from a place: an ephemeral consumer that acknowledges nothing, pulled from by ourselves.

The consumer numbers what it delivers; a number that is missing, a server that is silent or any status that ends the
consumer raises :class:`BrokenError`, and whoever reads makes a new one behind what it has. So nothing is given twice or
left out, whatever happens to servers and connections. The server forgets a consumer that nobody pulls from.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error

from gateway.network.carrier.base import CarrierError
from gateway.network.carrier.nats_link import UNBOUNDED, Line, RefusedError

AT_ONCE: Final = 512
MAX_BYTES: Final = 32 * 2**20
"""A pull ends with either; so much waits here at most."""
PULL_S: Final = 30.0
"""A pull that finds nothing ends after this."""
HEARTBEAT_S: Final = 1.0
SILENT_S: Final = 3 * HEARTBEAT_S
"""A server that says nothing for so long while we pull is given up."""
MAKE_S: Final = (0.5, 1.0, 2.5)
"""How long each attempt to make a consumer may take. A cluster gives it to one of its servers by chance, and does not
answer if that one is gone: the next attempt may find another."""
FORGOTTEN_S: Final = 60.0
_ACK_TOKENS: Final = 9
"""``$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>``; with a domain, two more
tokens before the stream and one at the end (NATS ADR-15)."""
_GOES_ON: Final = ("408", "404")
"""Statuses that end a pull and nothing else; 409 too, if it is about the pull's size."""


class BrokenError(CarrierError):
    """The consumer is of no use any more."""


class Raw(NamedTuple):
    """A message as it came."""

    subject: str
    data: bytes
    headers: Mapping[str, str] | None
    seq: int
    pending: int
    """How many there are behind it."""


class Pull:
    """One consumer.

    Args:
        line: the connection.
        stream: name of the stream.
        subject: what is read of it, with wildcards.
        start: from where on, in the words of JetStream's API.
    """

    def __init__(self, line: Line, stream: str, subject: str, start: Mapping[str, Any]) -> None:
        self._line = line
        self._stream = stream
        self._consumer = ""
        self._config = {
            "ack_policy": "none",
            "replay_policy": "instant",
            "filter_subject": subject,
            "inactive_threshold": round(FORGOTTEN_S * 1e9),
            "mem_storage": True,
            "num_replicas": 1,
            **start,
        }
        request = {
            "batch": AT_ONCE,
            "max_bytes": MAX_BYTES,
            "expires": round(PULL_S * 1e9),
            "idle_heartbeat": round(HEARTBEAT_S * 1e9),
        }
        self._request = msgspec.json.encode(request)
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._received: list[Raw] = []
        self._number = 0
        self._pulled = 0
        self._over = True
        self._idle = False
        self._news = asyncio.Event()
        self._broken: BrokenError | None = None

    async def open(self) -> int:
        """Make it; how many messages there are for it.

        Raises:
            CarrierError: it cannot be.
        """
        line = self._line
        self._inbox = line.client.new_inbox()
        try:
            self._subscription = await line.client.subscribe(
                self._inbox, cb=self._came, pending_msgs_limit=UNBOUNDED, pending_bytes_limit=0
            )
        except (Error, OSError) as error:
            raise CarrierError(f"{line.url}: {error}") from None
        line.lost.add_done_callback(self._lost)
        for patience_s in MAKE_S[:-1]:
            try:
                return await self._make(patience_s)
            except RefusedError:
                raise
            except CarrierError:
                if line.lost.done():
                    raise
        return await self._make(MAKE_S[-1])

    async def _make(self, patience_s: float) -> int:
        """One attempt; one that nobody pulls from is forgotten by the server."""
        line, self._consumer = self._line, f"{self._stream}-{secrets.token_hex(8)}"
        answer = await line.api(
            f"CONSUMER.CREATE.{self._stream}.{self._consumer}",
            {"stream_name": self._stream, "config": {"name": self._consumer, **self._config}, "action": "create"},
            min(line.timeout_s, patience_s),
        )
        return int(answer.get("num_pending", 0))

    async def close(self) -> None:
        """Forget it, here and at the server; never fails."""
        self._line.lost.remove_done_callback(self._lost)
        subscription, self._subscription = self._subscription, None
        try:
            if subscription is not None and not self._line.lost.done():
                await subscription.unsubscribe()
                await self._line.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}", b"")
        except (Error, OSError, CarrierError):
            return  # the server forgets it by itself

    async def take(self) -> list[Raw]:
        """What has come; waits for more. Empty: nothing has come for a while, and the server lives.

        Raises:
            BrokenError: make a new one.
        """
        self._idle = False
        while not self._received:
            if self._broken is not None:
                raise self._broken
            if self._over:
                self._over, self._pulled = False, 0
                await self._pull()
            self._news.clear()
            try:
                async with asyncio.timeout(SILENT_S):
                    await self._news.wait()
            except TimeoutError:
                raise BrokenError(f"{self._line.url}: {self._stream}: the server is silent") from None
            if self._idle and not self._received and self._broken is None:
                return []
        received, self._received = self._received, []
        return received

    async def _pull(self) -> None:
        await self._line.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}", self._request, self._inbox
        )

    def _lost(self, _future: object) -> None:
        self._break("the connection is gone")

    def _break(self, why: str) -> None:
        if self._broken is None:
            self._broken = BrokenError(f"{self._line.url}: {self._stream}: {why}")
        self._news.set()

    async def _came(self, message: Msg) -> None:
        """A message, or the word that a pull is over."""
        status = (message.headers or {}).get("Status", "") if not message.data else ""
        if status:
            self._status(status, (message.headers or {}).get("Description", ""))
        elif self._broken is None:
            self._take_message(message)
        self._news.set()

    def _status(self, status: str, said: str) -> None:
        if status == "100":
            self._idle = True
        elif status in _GOES_ON or (status == "409" and ("Batch" in said or "MaxBytes" in said)):
            self._over = self._idle = True
        else:
            self._break(f"{status} {said}".strip())

    def _take_message(self, message: Msg) -> None:
        tokens = message.reply.split(".")
        at = 2 if len(tokens) == _ACK_TOKENS else 4
        try:
            seq, number, pending = int(tokens[at + 3]), int(tokens[at + 4]), int(tokens[at + 6])
        except (IndexError, ValueError):
            self._break(f"not a delivery: {message.reply[:100]}")
            return
        self._number += 1
        if number != self._number:
            self._break(f"delivery {number} came where {self._number} was expected")
            return
        self._pulled += 1
        if self._pulled >= AT_ONCE:
            self._over = True
        self._received.append(Raw(message.subject, message.data, message.headers, seq, pending))
