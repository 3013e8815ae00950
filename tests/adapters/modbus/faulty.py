"""The scripted faulty peer: a Modbus server on a raw socket that misbehaves on cue.

    async with FaultyPeer() as peer:                    # framing="rtu" speaks RTU bytes over TCP
        peer.bank(1).holding[7] = 230                   # see bank.py; what is not set reads as its address
        peer.on("late", unit=1, nth=2)                  # the second request to unit 1 is answered late
        peer.on("exception-06", unit=2, times=3)        # the first three to unit 2 find it busy
        peer.on("wrong-count", address=range(10, 20))   # whatever begins there, each time
        adapter = modbus(peer.url, ...)

**Which request.** ``on(name, ...)`` narrows by ``unit``, ``function``, ``address`` (of the request; a number
or a container), ``nth`` (the n-th of those that match otherwise, from 1; a number or a container) and ``times``
(at most so often). Rules are asked in the order in which they were given; the first that matches acts.
Nothing matches: the unit's bank answers. ``on`` returns its rule, whose ``hits`` counts. ``peer.clear()``
forgets all rules. Further keywords go to the behaviour (``peer.on("late", after=0.5)``).

**A behaviour** is a row of ``BEHAVIOURS`` (behaviours.py): a generator over a :class:`Call` that yields what
the peer does: bytes to write, seconds to wait, ``CLOSE``. ``call.good()`` is the right answer's PDU and carries a
write out; ``call.frame(pdu, ...)`` wraps a PDU for the framing in use. ``on`` takes such a function instead of a
name, too.

**The whole peer** (``FaultyPeer(...)``): ``parallel_lost`` (a request that comes while another is under way is
lost), ``most_connections``, ``swallow_s`` (deaf for so long after a connection), ``pause_s`` (deaf for so long
after an answer), ``latency_s`` (every answer takes so long), ``units`` (those that exist; others are silent,
as on a bus). ``await peer.dial(host, port, b"hello")`` makes it a modem that dials in and registers.
What lies in holes, cut values, long reads and poisoned registers is said by ``peer.bank(unit)``.

**What it saw**: ``peer.requests`` [(unit, pdu)], ``peer.times`` (loop time of each), ``peer.lost`` (requests it
swallowed by a trait), ``peer.connections``, ``peer.open`` (now), ``peer.refused``.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field

from tests.adapters.modbus.bank import Bank, crc
from tests.adapters.modbus.behaviours import BEHAVIOURS, CLOSE, EXCEPTIONS, Call

__all__ = ["BEHAVIOURS", "CLOSE", "EXCEPTIONS", "Call", "FaultyPeer"]


@dataclass
class Rule:
    behaviour: object
    unit: object = None
    function: object = None
    address: object = None
    nth: object = None
    times: int | None = None
    options: dict = field(default_factory=dict)
    seen: int = 0
    hits: int = 0

    def takes(self, call):
        facts = ((self.unit, call.unit), (self.function, call.pdu[0]), (self.address, call.address))
        if not all(matches(wanted, fact) for wanted, fact in facts):
            return False
        self.seen += 1
        if not matches(self.nth, self.seen) or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


def matches(wanted, fact):
    if wanted is None:
        return True
    return fact == wanted if isinstance(wanted, int) else fact in wanted


class FaultyPeer:
    """See the top of this file."""

    def __init__(
        self,
        framing="mbap",
        *,
        parallel_lost=False,
        most_connections=None,
        swallow_s=0.0,
        pause_s=0.0,
        latency_s=0.0,
        units=None,
    ):
        assert framing in {"mbap", "rtu"}
        self.framing = framing
        self.parallel_lost, self.most_connections = parallel_lost, most_connections
        self.swallow_s, self.pause_s, self.latency_s, self.units = swallow_s, pause_s, latency_s, units
        self.requests, self.times, self.held = [], [], []
        self.connections = self.open = self.refused = self.lost = 0
        self.spoiled = False
        self.url = ""
        self._rules, self._banks, self._tasks, self._writers = [], {}, set(), set()
        self._busy = False
        self._deaf_until = 0.0

    def bank(self, unit=1):
        return self._banks.setdefault(unit, Bank())

    def on(self, name, *, unit=None, function=None, address=None, nth=None, times=None, **options):
        chosen = name if callable(name) else BEHAVIOURS[name]
        self._rules.append(Rule(chosen, unit, function, address, nth, times, options))
        return self._rules[-1]

    def clear(self):
        self._rules.clear()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        scheme = "rtu+tcp" if self.framing == "rtu" else "tcp"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def dial(self, host, port, hello=b""):
        """Be a modem: connect to the gateway, say who it is, and serve."""
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(hello)
        self._start(self._accept(reader, writer))

    def drop(self):
        """Close all connections that stand."""
        for writer in list(self._writers):
            writer.transport.abort()

    def later(self, seconds, data):
        self._start(self._say_later(seconds, data, self._writer))

    async def _say_later(self, seconds, data, writer):
        await asyncio.sleep(seconds)
        if not writer.is_closing():
            writer.write(data)

    def _start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _connected(self, reader, writer):
        self._start(self._accept(reader, writer))  # a coroutine of asyncio's own would be logged when cancelled

    async def _accept(self, reader, writer):
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        try:
            if self.most_connections is not None and self.open > self.most_connections:
                self.refused += 1
            else:
                await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader, writer):
        loop = asyncio.get_running_loop()
        read = self._read_rtu if self.framing == "rtu" else self._read_mbap
        self._deaf_until = max(self._deaf_until, loop.time() + self.swallow_s)
        while True:
            call = await read(reader)
            self.requests.append((call.unit, call.pdu))
            self.times.append(loop.time())
            deaf = loop.time() < self._deaf_until or (self.parallel_lost and self._busy)
            if deaf:
                self.lost += 1
            elif self.units is None or call.unit in self.units:
                self._busy = True
                if self.parallel_lost:
                    self._start(self._answer(call, writer))
                elif await self._answer(call, writer) is CLOSE:
                    return

    async def _read_mbap(self, reader):
        head = await reader.readexactly(7)
        transaction, _, length, unit = struct.unpack(">HHHB", head)
        pdu = await reader.readexactly(length - 1)
        return Call(self, transaction, unit, pdu, head + pdu)

    async def _read_rtu(self, reader):
        raw = await reader.readexactly(2)
        function = raw[1]
        if function in {15, 16}:
            raw += await reader.readexactly(5)
            raw += await reader.readexactly(raw[6] + 2)
        else:
            raw += await reader.readexactly({22: 8, 43: 5, 17: 2}.get(function, 6))
        assert crc(raw[:-2]) == raw[-2:], f"the request's check sum is wrong: {raw.hex(' ')}"
        return Call(self, 0, raw[0], raw[1:-2], raw)

    async def _answer(self, call, writer):
        loop = asyncio.get_running_loop()
        self._writer = writer
        try:
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            rule = next((rule for rule in self._rules if rule.takes(call)), None)
            steps = self._well(call) if rule is None else rule.behaviour(call, **rule.options)
            for step in steps:
                if step is CLOSE:
                    writer.close()
                    return CLOSE
                if isinstance(step, (int, float)):
                    await asyncio.sleep(step)
                else:
                    writer.write(step)
                    await writer.drain()
        finally:
            self._busy = False
            if self.pause_s:
                self._deaf_until = loop.time() + self.pause_s

    def _well(self, call):
        """What a unit does that nothing is wrong with: but what was held goes first, and poison works."""
        held, self.held = b"".join(self.held), []
        spoiled, self.spoiled = self.spoiled, self.bank(call.unit).poisoned(call.pdu)
        yield held + call.frame(call.wrong if spoiled else call.good())
