"""Transports for aiocoap: which ones a client needs, and UDP, hardened.

A packet that cannot be decoded is counted, and nothing else happens. aiocoap 0.4.17 lets some malformed
packets (a Uri-Path that is not UTF-8) fly as exceptions into the event loop, logs a line for each of the
others, and takes the first 4,096 bytes of a datagram for all of it.

UDP is its ``udp6``: IPv4 and IPv6 through one socket, with ICMP errors. It needs only ``add_reader`` of the
loop and so works the same on asyncio and on uvloop. (``simple6`` opens a socket for each device and keeps
only 64 of them, ``simplesocketserver`` cannot listen on all addresses.) For TCP see :mod:`adapters.coap.asking.tcp`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from aiocoap import Context as CoapContext
from aiocoap import Message, error
from aiocoap.message import Direction
from aiocoap.transports.udp6 import MessageInterfaceUDP6, UDP6EndpointAddress

from adapters.base import Stats
from adapters.coap.asking.questions import Asking, RandomTokens
from adapters.coap.asking.tcp import attach_tcp
from adapters.coap.messages import Messages, Received, attach, few_options
from adapters.coap.options.device import DeviceOptions, scheme_of
from adapters.coap.serving.layer import Serving

Reject = Callable[[str, str, bytes], None]
"""What is told of a packet that cannot be used: a countable word, where it came from, its bytes."""

MAX_DATAGRAM = 65_535
"""What is read at once; aiocoap reads 4,096 bytes and drops the rest of a datagram unseen."""

_PKTINFO = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)  # which of our addresses it was sent to


_MAPPED = b"\0" * 10 + b"\xff\xff"
"""What an IPv4 address begins with as an IPv6 one."""


class _Address(UDP6EndpointAddress):  # type: ignore[misc]  # aiocoap ships no types
    """Who sent a datagram; aiocoap takes its text apart for each acknowledgement."""

    @property
    def is_multicast_locally(self) -> bool:
        """Whether it was sent to a group."""
        to = self.pktinfo
        return to is not None and (to[0] == 0xFF or (to[:12] == _MAPPED and 224 <= to[12] < 240))


class _Hardened(MessageInterfaceUDP6):  # type: ignore[misc]  # aiocoap ships no types
    reject: Reject
    _spared = 0
    """Errors of the socket that the send under way may have for others."""

    def connection_made(self, transport: Any) -> None:
        """Called by the transport when it is ready."""
        transport.max_size = MAX_DATAGRAM
        super().connection_made(transport)

    def send(self, message: Any) -> None:
        """Called by aiocoap to send a packet.

        The kernel reports what ICMP said of an earlier packet, to whomever it went, as the failure of the next
        one, which it then does not send; aiocoap takes that for the fault of the wrong peer. The error comes
        by the socket's error queue as well, with its address: here the packet is only sent again.
        """
        self._spared = 1
        try:
            super().send(message)
            if self._spared == 0:
                super().send(message)
        finally:
            self._spared = 0

    def error_received(self, exc: OSError) -> None:
        """Called by the transport when the socket fails."""
        if self._spared:
            self._spared -= 1
        else:
            super().error_received(exc)

    def datagram_msg_received(self, data: bytes, ancdata: Any, _flags: int, address: Any) -> None:
        """Called by the transport for each datagram."""
        own = next((cmsg[2] for cmsg in ancdata if cmsg[:2] == _PKTINFO), None)
        remote = _Address(address, self, pktinfo=own)
        try:
            message = Message.decode(data, remote) if few_options(data) else None
        except (error.UnparsableMessage, UnicodeDecodeError):
            message = None
        if message is None:
            type(self).reject("malformed", remote.hostinfo, data)
            return
        message.direction = Direction.INCOMING
        message.received = Received.of(data)
        self._ctx.dispatch_message(message)

    def send_bytes(self, data: bytes, remote: Any) -> None:
        """Send what is encoded already, from the address that the peer knows."""
        own = [] if remote.pktinfo is None else [(*_PKTINFO, remote.pktinfo)]
        self.transport.sendmsg(data, own, 0, remote.sockaddr)


async def client_context(devices: Mapping[str, DeviceOptions], reject: Reject, loggername: str) -> Any:
    """The one context for all these devices, with the transports that their URLs ask for.

    aiocoap picks the transport of a question by the scheme of its URL; what devices need beyond (credentials)
    is added to the context here as well.

    Raises:
        OSError: there is no IPv6 in the kernel (addresses are not needed, sockets are).
    """
    context = _bare(None, loggername)
    schemes = {scheme_of(device.url) for device in devices.values()}
    if "coap" in schemes:
        await _attach_udp(context, None, reject)
    if "coap+tcp" in schemes:
        largest = max(int(device.max_payload) for device in devices.values())
        attach_tcp(context, RandomTokens(context), largest, reject)
    return context


async def server_context(site: Any, bind: tuple[str, int], stats: Stats, loggername: str) -> Any:
    """A context that answers with ``site``.

    Raises:
        OSError: the address cannot be used.
    """

    def count(reason: str, _where: str, _payload: bytes) -> None:
        stats.reasons[reason] += 1

    context = _bare(site, loggername)
    await _attach_udp(context, bind, count)
    return context


class _Log(logging.LoggerAdapter[logging.Logger]):
    """aiocoap's logger; one of its own calls (pipe.py, "Discarded exception") has an argument that raises."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Called by the adapter for each line."""
        kwargs.pop("exception", None)
        return msg, kwargs

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Nothing: five lines a packet, which cost even if nobody reads them."""

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Nothing, likewise."""

    def getChild(self, suffix: str) -> _Log:  # noqa: N802  # logging's own name
        """As that of a logger."""
        return _Log(self.logger.getChild(suffix), {})


def _bare(site: Any, loggername: str) -> Any:
    # Below that there is a line a packet, for those who send them. What a client meets its devices' links say.
    loggername = loggername if site is not None else f"{loggername}.client"
    logging.getLogger(loggername).setLevel(logging.ERROR if site is not None else logging.CRITICAL)
    context = CoapContext(loop=asyncio.get_running_loop(), serversite=site, loggername=loggername)
    context.log = _Log(context.log, {})
    return context


async def _attach_udp(context: Any, bind: tuple[str, int] | None, reject: Reject) -> Messages:
    """UDP for a client, or for a server at ``bind``."""
    told = reject
    loop = asyncio.get_running_loop()

    class Interface(_Hardened):
        reject = staticmethod(told)

    async def interface(manager: Any) -> Any:
        if bind is None:
            return await Interface.create_client_transport_endpoint(manager, log=context.log, loop=loop)
        return await Interface.create_server_transport_endpoint(
            manager, log=context.log, loop=loop, bind=bind, multicast=[]
        )

    return await attach(context, interface, Asking if bind is None else Serving, RandomTokens)
