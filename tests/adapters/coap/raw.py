"""A scripted CoAP peer: a bare UDP socket that sends what it is told, and says what it hears."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager

import aiocoap
from aiocoap import Message
from aiocoap.message import Direction


class RawPeer:
    """One address and port."""

    def __init__(self, port: int, own_port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", own_port))
        self._to = ("127.0.0.1", port)
        self.port = self._socket.getsockname()[1]

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, self._to)

    async def receive(self, timeout_s: float = 10.0):
        """The next message."""
        async with asyncio.timeout(timeout_s):
            data = await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
        return Message.decode(data)

    async def ask(self, data: bytes):
        """Send and hear the answer."""
        self.send(data)
        return await self.receive()

    def heard(self) -> bool:
        """Whether something waits to be read."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


@contextmanager
def raw_peer(port: int, own_port: int = 0):
    peer = RawPeer(port, own_port)
    try:
        yield peer
    finally:
        peer.close()


def packet(path="", payload=b"", *, code=aiocoap.POST, mid=1, token=b"t", mtype=aiocoap.CON, query=(), **options):
    """The bytes of a message."""
    message = Message(code=code, payload=payload, _mid=mid, _token=token, _mtype=mtype)
    message.opt.uri_path = tuple(part for part in path.split("/") if part)
    message.opt.uri_query = query
    for name, value in options.items():
        setattr(message.opt, name, value)
    message.direction = Direction.OUTGOING
    return message.encode()


def empty(mtype, mid):
    """An acknowledgement or a reset."""
    return packet(code=aiocoap.EMPTY, mtype=mtype, mid=mid, token=b"")
