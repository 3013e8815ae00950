"""CoAP devices in a process of their own, whose canned notifications are cheap: ``coap_devices DEVICES RESOURCES``.

Each device has a port and lets RESOURCES resources be observed. Says ``listening PORT ...``, and ``observed`` when
every resource has been registered for; to ``go COUNT`` it sends so many confirmable notifications, each device the
next one when the one before is acknowledged, and then says ``sent``. Values wander about 230 under a noise.
"""

from __future__ import annotations

import asyncio
import struct
import sys

import numpy as np
import uvloop
from aiocoap import Message
from aiocoap.numbers.types import ACK

from tests.benchmarks.child import say, told

VARIANTS = 1024


class Device(asyncio.DatagramProtocol):
    """One device; ``site`` counts for all of them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._observers: dict[bytes, None] = {}
        self._tokens: list[bytes] = []
        self._at = 0

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr) -> None:
        if data[0] & 0x30 == 0x20:  # an acknowledgement
            self._site.acknowledged()
            self.notify()
            return
        request = Message.decode(data)
        if request.opt.observe != 0:
            return
        answer = Message(code=69, payload=b"230", observe=1, content_format=0, _mtype=ACK, _mid=request.mid)
        answer.token = request.token
        self.transport.sendto(answer.encode(), addr)
        self._client = addr
        if request.token not in self._observers:
            self._observers[request.token] = None
            self._tokens = list(self._observers)
            self._site.registered()

    def notify(self) -> None:
        """Send the next notification, if one is left."""
        if not self._site.take():
            return
        self._at += 1
        token = self._tokens[self._at % len(self._tokens)]
        head = struct.pack("!BBH", 0x40 | len(token), 69, self._at & 0xFFFF) + token
        options = b"\x63" + (self._at + 1).to_bytes(3, "big") + b"\x60\xff"
        self.transport.sendto(head + options + self._site.values[self._at % VARIANTS], self._client)


class Site:
    """All devices."""

    def __init__(self, observed: int) -> None:
        chance = np.random.default_rng(5)
        wander = 230 + np.cumsum(chance.normal(0, 0.02, VARIANTS)) + chance.normal(0, 0.3, VARIANTS)
        self.values = [f"{value:.1f}".encode() for value in wander]
        self._missing = observed
        self._left = self._open = 0

    def registered(self) -> None:
        """One more resource is observed."""
        self._missing -= 1
        if not self._missing:
            say("observed")

    def begin(self, count: int) -> None:
        """Send so many."""
        self._left = self._open = count

    def take(self) -> bool:
        """Whether one may be sent."""
        self._left -= 1
        return self._left >= 0

    def acknowledged(self) -> None:
        """One has arrived."""
        self._open -= 1
        if not self._open:
            say("sent")


async def main(devices: int, resources: int) -> None:
    loop = asyncio.get_running_loop()
    site = Site(devices * resources)
    made = [
        (await loop.create_datagram_endpoint(lambda: Device(site), local_addr=("127.0.0.1", 0)))[1]
        for _ in range(devices)
    ]
    say("listening", *(device.port for device in made))
    while words := (await told()).split():
        site.begin(int(words[1]))
        for device in made:
            device.notify()
    for device in made:
        device.transport.close()


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:3])))
