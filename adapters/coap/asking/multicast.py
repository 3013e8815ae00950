"""Asking all CoAP nodes of the networks at once (RFC 7252, 8), on sockets of its own.

One non-confirmable GET to the groups of all CoAP nodes, out of each interface; whoever has something to say
answers for itself, after a pause of its choice (5 s at most by default). aiocoap's clients take one answer only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult

from aiocoap import GET, Message, error
from aiocoap.message import Direction
from aiocoap.numbers.codes import EMPTY
from aiocoap.numbers.types import ACK, CON, NON

from adapters.coap.messages import few_options
from gateway.errors import LinkError

GROUPS: Final = ("224.0.1.187", "ff02::fd", "ff05::fd")
"""All CoAP nodes: IPv4, the IPv6 link, the IPv6 site."""
PORT: Final = 5683
MAX_ANSWERS: Final = 1000

Address = tuple[str, int] | tuple[str, int, int, int]


class Answer(NamedTuple):
    """What one node said."""

    url: str
    message: Any


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, token: bytes, answers: dict[str, Any]) -> None:
        self._token = token
        self._answers = answers
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        try:
            message = Message.decode(data) if few_options(data) else None
        except (error.UnparsableMessage, UnicodeDecodeError):
            message = None
        if message is None or message.token != self._token or not message.code.is_response():
            return
        if message.mtype is CON:
            ack = Message(code=EMPTY, _mtype=ACK, _mid=message.mid)
            self._transport.sendto(ack.encode(), addr)
        if len(self._answers) < MAX_ANSWERS:
            self._answers.setdefault(url_of(addr), message)

    def error_received(self, exc: Exception) -> None:
        """One node's unreachable port says nothing of the others."""


def url_of(address: Address) -> str:
    """The URL of who sent from ``address``."""
    host, port = address[:2]
    if len(address) == 2:
        return f"coap://{host}:{port}"
    scope = address[3]
    zone = f"%{socket.if_indextoname(scope)}" if scope and "%" not in host else ""
    return f"coap://[{host}{zone}]:{port}"


async def ask_all(
    where: SplitResult, *, timeout_s: float, interface: str = "", groups: Sequence[str] = GROUPS, port: int = PORT
) -> list[Answer]:
    """The answers of all nodes to a GET, in the order of their URLs.

    Args:
        where: path and query.
        timeout_s: how long to listen.
        interface: out of which the question goes; empty: of all.
        groups: multicast addresses that are asked.
        port: of the nodes.

    Raises:
        LinkError: there is no such interface, or the question could not be sent anywhere.
    """
    question = Message(code=GET, _mtype=NON, _mid=int.from_bytes(os.urandom(2), "big"), _token=os.urandom(4))
    question.opt.uri_path = where.path.strip("/").split("/")
    question.opt.uri_query = where.query.split("&") if where.query else []
    question.direction = Direction.OUTGOING
    answers: dict[str, Any] = {}
    loop = asyncio.get_running_loop()
    transports: list[asyncio.DatagramTransport] = []
    refused: list[str] = []
    sent, indexes = 0, _interfaces(interface)
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            chosen = [group for group in groups if (":" in group) == (family is socket.AF_INET6)]
            sock = _socket(family) if chosen else None
            if sock is None:
                continue
            for index in indexes:
                sent += _send(sock, question.encode(), chosen, port, index, refused)
            transport, _ = await loop.create_datagram_endpoint(lambda: _Listener(question.token, answers), sock=sock)
            transports.append(transport)
        if not sent:
            raise LinkError(f"multicast cannot be sent: {'; '.join(dict.fromkeys(refused)) or 'no interface'}")
        await asyncio.sleep(timeout_s)
    finally:
        for transport in transports:
            transport.close()
    return [Answer(url, answers[url]) for url in sorted(answers)]


def _socket(family: socket.AddressFamily) -> socket.socket | None:
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        return None  # a kernel without IPv6
    sock.setblocking(False)
    sock.bind(("", 0))
    return sock


def _interfaces(name: str) -> list[int]:
    if not name:
        return [index for index, _ in socket.if_nameindex()]
    try:
        return [socket.if_nametoindex(name)]
    except OSError:
        raise LinkError(f"there is no interface {name}") from None


def _send(sock: socket.socket, data: bytes, groups: Sequence[str], port: int, index: int, refused: list[str]) -> int:
    """To each group out of one interface; how many were sent, and why not in ``refused``."""
    sent = 0
    for group in groups:
        try:
            if sock.family is socket.AF_INET:
                request = struct.pack("=4s4si", bytes(4), bytes(4), index)  # struct ip_mreqn
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
                sock.sendto(data, (group, port))
            else:
                sock.sendto(data, (group, port, 0, index))
            sent += 1
        except OSError as cause:  # an interface that is down, or has no address of this kind
            refused.append(f"{group}: {cause.strerror or cause}")
    return sent
