"""UDP for aiocoap, hardened: a packet that cannot be decoded is counted, and nothing else happens.

aiocoap 0.4.17 lets some malformed packets (a Uri-Path that is not UTF-8) fly as exceptions into the event
loop, logs a line for each of the others, and takes the first 4,096 bytes of a datagram for all of it.

The transport is its ``udp6``: IPv4 and IPv6 through one socket, with ICMP errors. It needs only
``add_reader`` of the loop and so works the same on asyncio and on uvloop. (``simple6`` opens a socket for
each device and keeps only 64 of them, ``simplesocketserver`` cannot listen on all addresses.)
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from aiocoap import Context as CoapContext
from aiocoap import Message, error
from aiocoap.message import Direction
from aiocoap.transports.udp6 import MessageInterfaceUDP6, UDP6EndpointAddress

from adapters.base import Stats

MAX_DATAGRAM = 65_535
"""What is read at once; aiocoap reads 4,096 bytes and drops the rest of a datagram unseen."""

_PKTINFO = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)  # which of our addresses it was sent to


class _Hardened(MessageInterfaceUDP6):  # type: ignore[misc]  # aiocoap ships no types
    counted: Stats

    def connection_made(self, transport: Any) -> None:
        """Called by the transport when it is ready."""
        transport.max_size = MAX_DATAGRAM
        super().connection_made(transport)

    def datagram_msg_received(self, data: bytes, ancdata: Any, _flags: int, address: Any) -> None:
        """Called by the transport for each datagram."""
        own = next((cmsg[2] for cmsg in ancdata if cmsg[:2] == _PKTINFO), None)
        try:
            message = Message.decode(data, UDP6EndpointAddress(address, self, pktinfo=own))
        except (error.UnparsableMessage, UnicodeDecodeError):
            self.counted.reasons["malformed"] += 1
            return
        message.direction = Direction.INCOMING
        self._ctx.dispatch_message(message)


async def client_context(stats: Stats, loggername: str) -> Any:
    """A context that asks devices.

    Raises:
        OSError: there is no IPv6 in the kernel (addresses are not needed, sockets are).
    """
    return await _context(None, None, stats, loggername)


async def server_context(site: Any, bind: tuple[str, int], stats: Stats, loggername: str) -> Any:
    """A context that answers with ``site``.

    Raises:
        OSError: the address cannot be used.
    """
    return await _context(site, bind, stats, loggername)


async def _context(site: Any, bind: tuple[str, int] | None, stats: Stats, loggername: str) -> Any:
    logging.getLogger(loggername).setLevel(logging.ERROR)  # a line a packet is for those who send them
    loop = asyncio.get_running_loop()
    context = CoapContext(loop=loop, serversite=site, loggername=loggername)

    class Interface(_Hardened):
        counted = stats

    async def interface(manager: Any) -> Any:
        if bind is None:
            return await Interface.create_client_transport_endpoint(manager, log=context.log, loop=loop)
        return await Interface.create_server_transport_endpoint(
            manager, log=context.log, loop=loop, bind=bind, multicast=[]
        )

    # aiocoap has no public way to give a context a transport of one's own
    await context._append_tokenmanaged_messagemanaged_transport(interface)  # noqa: SLF001
    return context
