"""A device whose every datagram the test decides, and that keeps all it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager

from aiocoap import CONTENT, Message
from aiocoap.message import Direction
from aiocoap.numbers.codes import EMPTY
from aiocoap.numbers.types import ACK, CON, NON

Answer = Callable[["Scripted", Message], Iterable[Message] | None]


class Scripted(asyncio.DatagramProtocol):
    """``answer`` is called for each request and gives what is sent at once."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[Message] = []
        """All messages, each with ``at``, when it came, and ``raw``."""
        self.client: tuple[str, int] | None = None
        self.mid = 40_000

    def connection_made(self, transport):
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, addr):
        self.client = addr
        message = Message.decode(data)
        message.at, message.raw = asyncio.get_running_loop().time(), data
        self.seen.append(message)
        if message.code.is_request():
            for reply in self.answer(self, message) or ():
                self.send(reply)

    @property
    def requests(self) -> list[Message]:
        return [message for message in self.seen if message.code.is_request()]

    def send(self, message: Message) -> None:
        message.direction = Direction.OUTGOING
        if message.mid is None:
            self.mid += 1
            message.mid = self.mid
        self.transport.sendto(message.encode(), self.client)

    def send_bytes(self, data: bytes) -> None:
        self.transport.sendto(data, self.client)


def path_of(request: Message) -> str:
    return "/" + "/".join(request.opt.uri_path)


def piggybacked(request: Message, payload: bytes = b"1", code=CONTENT, **options) -> Message:
    """The answer in the acknowledgement; to a non-confirmable question another such message."""
    mtype, mid = (ACK, request.mid) if request.mtype is CON else (NON, None)
    return Message(code=code, payload=payload, _mtype=mtype, _mid=mid, _token=request.token, **options)


def acknowledged(request: Message) -> Message:
    return Message(code=EMPTY, _mtype=ACK, _mid=request.mid)


def separate(request: Message, payload: bytes = b"1", mtype=CON, code=CONTENT, **options) -> Message:
    """An answer, or a notification, in a message of its own."""
    return Message(code=code, payload=payload, _mtype=mtype, _token=request.token, **options)


@asynccontextmanager
async def scripted(answer: Answer, port: int = 0):
    """The device, on a free port."""
    loop = asyncio.get_running_loop()
    transport, device = await loop.create_datagram_endpoint(lambda: Scripted(answer), local_addr=("127.0.0.1", port))
    try:
        yield device
    finally:
        transport.close()
        await asyncio.sleep(0)  # lets the transport close its socket
