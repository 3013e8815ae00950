"""Uplink to NATS JetStream: several batches in flight, done when the stream has acknowledged them.

All acknowledgements come back on one subject of our own, numbered; what is in flight stands in one table. Each run is a
connection of its own, and what was not acknowledged is sent again by the next one under the same record id, which the
stream knows for the time of its duplicate window.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Mapping
from typing import Final

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error

from gateway.batch import Batch, record_id
from gateway.errors import LinkError
from gateway.tasks import task_group
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.nats import durability, mark
from gateway.uplinks.nats.config import NatsUplinkConfig
from gateway.uplinks.nats.connection import Connection, connected, plain
from gateway.uplinks.nats.flight import Flight, PubAck, Sent
from gateway.uplinks.nats.stream import TOO_LARGE, WRONG_STREAM, Stream, open_stream, remarks
from gateway.uplinks.nats.subjects import subject_for
from gateway.uplinks.outgoing import TOO_LARGE as TOO_LARGE_REASON
from gateway.uplinks.outgoing import Announced, Outgoing
from gateway.uplinks.receipts import Receipts

HEADERS: Final = 512
"""Bytes for headers, beside three names of at most 128 characters each."""
RENEW_S: Final = 86_400.0
"""Directory messages are said again after so long, and after a third of the time that the stream keeps messages."""
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
"""While the stream refuses messages (it is full), one is tried now and then; pauses grow up to this."""
_MARK: Final = "mark"
_ACK = msgspec.json.Decoder(PubAck)


class NatsUplink(Uplink):
    """See :class:`NatsUplinkConfig`."""

    def __init__(self, config: NatsUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        async with connected(self._config, f"onpath-{ctx.gateway}-{ctx.name}") as connection:
            try:
                await _Link(self._config, ctx, connection).serve()
            except Error as error:
                raise LinkError(f"{connection.url}: {plain(error)}") from error


class _Link:
    """One connection."""

    def __init__(self, config: NatsUplinkConfig, ctx: UplinkContext, connection: Connection) -> None:
        self._config = config
        self._ctx = ctx
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._flight = Flight(config.in_flight, config.timeout)
        self._receipts = Receipts(ctx.gateway, config.receipt_timeout, ctx.done) if self._by_receiver else None
        self._outgoing = Outgoing(config, ctx)
        self._stream: Stream | None = None
        self._mark: mark.Mark | None = None
        self._inbox = ""
        self._subjects: set[str] = set()
        """Where receipts are awaited."""
        self._limit = connection.max_payload - HEADERS - 3 * len(ctx.gateway)

    @property
    def _by_receiver(self) -> bool:
        return self._config.receipts == "receiver"

    async def serve(self) -> None:
        name = self._ctx.name
        async with task_group() as tasks:
            tasks.create_task(self._connection.gone(), name=f"uplink {name} connection")
            await self._prepare()
            self._ctx.link(up=True, detail=self._connection.url)
            tasks.create_task(self._flight.overdue(), name=f"uplink {name} acknowledgements")
            tasks.create_task(self._try_again(), name=f"uplink {name} refused")
            if self._receipts is not None:
                tasks.create_task(self._repeat_unconfirmed(self._receipts), name=f"uplink {name} receipts")
            await self._pump()

    async def _prepare(self) -> None:
        config, ctx, client = self._config, self._ctx, self._connection.client
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*", cb=self._acknowledged)
        everything = subject_for(config.subject, ctx.gateway, "*", ctx.name)
        if not config.stream:
            return
        stream = await open_stream(self._connection, config, everything.replace("*", "any"))
        self._stream = stream
        if stream.config.max_msg_size > 0:
            self._limit = min(self._limit, stream.config.max_msg_size - HEADERS - 3 * len(ctx.gateway))
        if stream.config.max_age > 0:
            self._outgoing = Outgoing(config, ctx, min(RENEW_S, stream.config.max_age / 3e9))
        await self._say(stream)
        await self._compare(stream)

    async def _say(self, stream: Stream) -> None:
        """Tell what is to be known of the server and the stream: in the log if it is news, and in ``status``."""
        config, facts, log = self._config, self._ctx.stats.facts, self._ctx.log
        synced = await durability.synced(config.monitor, self._connection.server_id)
        if facts.get("synced") != synced:
            facts["synced"] = synced
            if not synced.startswith(durability.ALWAYS):
                log.warning(
                    "uplink %s: an acknowledgement of this server may come before the data are on its disk: synced %s. "
                    "What a power cut there takes is sent again from the last %g s (keep)",
                    self._ctx.name,
                    synced,
                    config.keep,
                )
        said = "; ".join(remarks(stream, config))
        if facts.get("stream", "") != said:
            facts["stream"] = said
            log.warning("uplink %s: %s", self._ctx.name, said or "the stream is as it was asked for now")

    async def _compare(self, stream: Stream) -> None:
        """Send again what is kept if the stream has lost something that it had acknowledged."""
        ctx, name = self._ctx, self._config.stream
        known = mark.Mark.decode(ctx.recall(_MARK))
        why = "" if known is None else await mark.lost(known, name, stream, self._connection)
        if known is not None and known.stream == name and not why:
            self._mark = known
            return
        if why:
            ctx.stats.counts["replays"] += 1
            kept = f"what was acknowledged in the last {self._config.keep:g} s is sent again"
            told = kept if self._config.keep > 0 else "nothing is kept to be sent again (keep)"
            ctx.log.error("uplink %s: stream %s has lost messages: %s; %s", ctx.name, name, why, told)
            ctx.repeat(0)
        self._note(mark.Mark(name, stream.created, stream.state.last_seq, ""))

    def _note(self, new: mark.Mark) -> None:
        """Remember what the stream has. Called before ``done``, so that no commit holds that without this."""
        self._mark = new
        self._ctx.remember(_MARK, new.encode())

    async def _pump(self) -> None:
        ctx, config = self._ctx, self._config
        while True:
            await self._flight.room()
            if self._receipts is not None and self._receipts.full:
                await self._flight.something()
                continue
            batch = await ctx.next()
            subject = subject_for(config.subject, ctx.gateway, batch.pipeline, ctx.name)
            message = self._outgoing.encode(batch, subject, self._limit)
            if message is None:
                continue
            await self._send_batch(batch, subject, *message)

    async def _send_batch(
        self, batch: Batch, subject: str, payload: bytes, announced: Announced, *, again: bool = False
    ) -> None:
        if self._receipts is not None and subject not in self._subjects:
            self._subjects.add(subject)
            await self._connection.client.subscribe(f"{subject}.receipt", cb=self._confirmed)
        for name, directory in announced:
            await self._announce(f"{subject}.directory.{name}", directory)
        sent = self._sent(batch, subject, payload)
        if again:  # else the stream would take it for a double, and the receiver would never hear of it again
            sent.headers["Nats-Msg-Id"] += f"/{secrets.token_hex(4)}"
        await self._send(sent)

    def _sent(self, batch: Batch, subject: str, payload: bytes) -> Sent:
        ctx = self._ctx
        headers = {
            "Nats-Msg-Id": record_id(ctx.gateway, batch.epoch, batch.seq),
            "gateway": ctx.gateway,
            "epoch": str(batch.epoch),
            "seq": str(batch.seq),
            "Content-Type": self._outgoing.content_type,
        }
        if self._config.stream:
            headers["Nats-Expected-Stream"] = self._config.stream
        return Sent(subject, payload, headers, batch)

    async def _announce(self, subject: str, directory: bytes) -> None:
        """Publish a directory message and wait for its acknowledgement: who reads the batch must find the names."""
        headers = {"Content-Type": self._outgoing.content_type}
        if self._stream is not None and self._stream.config.allow_rollup_hdrs:
            headers["Nats-Rollup"] = "sub"  # the one before on this subject goes
        sent = Sent(subject, directory, headers)
        await self._send(sent)
        await sent.stored.wait()

    async def _send(self, sent: Sent) -> None:
        stats = self._ctx.stats
        stats.messages += 1
        stats.bytes += len(sent.payload)
        number = self._flight.add(sent)
        if self._receipts is not None and sent.batch is not None:
            self._receipts.sent(sent.batch, self._loop.time())
        client, reply = self._connection.client, f"{self._inbox}.{number}"
        try:
            await client.publish(sent.subject, sent.payload, reply=reply, headers=sent.headers)
        except Error as error:
            why = client.lost.result() if client.lost.done() else plain(error)
            raise LinkError(f"{self._connection.url}: {why}") from None

    async def _acknowledged(self, message: Msg) -> None:
        """An answer to a message of ours: it is stored, or why it is not."""
        number = message.subject.rpartition(".")[2]
        sent = self._flight.answered(int(number)) if number.isdecimal() else None
        if sent is None:
            return
        try:
            ack = _ACK.decode(message.data)
        except msgspec.DecodeError:
            if _status(message.headers) == "503":
                self._connection.client.lose(f"no stream takes {sent.subject}, or its server is not ready")
            else:
                self._connection.client.lose(f"not an acknowledgement: {message.data[:100]!r}")
            return
        if ack.error is not None:
            self._refused(sent, ack)
        else:
            self._stored(sent, ack)

    def _stored(self, sent: Sent, ack: PubAck) -> None:
        ctx = self._ctx
        if self._flight.accepted():
            ctx.link(up=True, detail=self._connection.url)
        sent.stored.set()
        if ack.duplicate:
            ctx.stats.counts["duplicates"] += 1
        last = self._mark
        if last is not None and ack.stream == last.stream and not ack.duplicate:
            if ack.seq > last.seq:
                self._note(mark.Mark(last.stream, last.created, ack.seq, sent.headers.get("Nats-Msg-Id", "")))
            elif ack.seq == last.seq or last.seq - ack.seq > self._config.in_flight:
                self._connection.client.lose(f"stream {last.stream} goes back from {last.seq} to {ack.seq}")
                return
        if sent.batch is not None and self._receipts is None:
            ctx.done(sent.batch)

    def _refused(self, sent: Sent, ack: PubAck) -> None:
        error = ack.error
        assert error is not None
        ctx = self._ctx
        if error.err_code == WRONG_STREAM:
            why = f"another stream than {self._config.stream} takes {sent.subject}"
            self._connection.client.lose(why)
        elif error.err_code == TOO_LARGE and sent.batch is not None:
            ctx.stats.counts[TOO_LARGE_REASON] += 1
            ctx.log.error(
                "uplink %s: batch %d of %d bytes: %s; given up", ctx.name, sent.batch.seq, len(sent.payload), error
            )
            ctx.give_up(sent.batch, TOO_LARGE_REASON)
            if self._receipts is not None:
                self._receipts.forget(sent.batch)
        else:
            ctx.stats.counts["refused"] += 1
            self._flight.put_back(sent)
            ctx.link(up=False, detail=f"{self._connection.url}: {sent.subject} is refused: {error}")

    async def _try_again(self) -> None:
        """What the stream refused is tried again, one message first; when that is taken, the rest."""
        pause_s = FIRST_PAUSE_S
        while True:
            await self._flight.held()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  spreads load, no secret
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            while (sent := self._flight.take_back()) is not None:
                await self._send(sent)
                await self._flight.answer_to(sent)
                if self._flight.refuses:
                    break
            else:
                pause_s = FIRST_PAUSE_S

    async def _confirmed(self, message: Msg) -> None:
        assert self._receipts is not None
        if not self._receipts.take(message.data):
            self._ctx.stats.counts["bad-receipts"] += 1
        self._flight.news()

    async def _repeat_unconfirmed(self, receipts: Receipts) -> None:
        """Send again what no receiver has confirmed in time."""
        ctx = self._ctx
        while True:
            await asyncio.sleep(min(1.0, self._config.receipt_timeout / 4))
            for batch in receipts.overdue(self._loop.time()):
                await self._flight.room()
                if not receipts.waits(batch):
                    continue
                ctx.stats.counts["unconfirmed"] += 1
                subject = subject_for(self._config.subject, ctx.gateway, batch.pipeline, ctx.name)
                message = self._outgoing.encode(batch, subject, self._limit)
                if message is None:
                    receipts.forget(batch)
                else:
                    await self._send_batch(batch, subject, *message, again=True)


def _status(headers: Mapping[str, str] | None) -> str:
    return headers.get("Status", "") if headers else ""
