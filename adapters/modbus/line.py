"""Makes connections, over whatever carries the frames."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from adapters.modbus.ascii import AsciiFraming
from adapters.modbus.framing import DatagramFraming, Framing, MbapFraming, RtuFraming
from adapters.modbus.parallel import ParallelLine
from adapters.modbus.single import DatagramLine, SingleLine
from adapters.modbus.url import Carrier, Endpoint, Frames
from adapters.modbus.wire import CONNECT_S, Line, watch

if TYPE_CHECKING:
    import ssl

    from adapters.modbus.secure import Certificates

__all__ = ["CONNECT_S", "Line", "connect", "framing_of"]

_FRAMINGS: dict[Frames, type[Framing]] = {
    Frames.MBAP: MbapFraming,
    Frames.RTU: RtuFraming,
    Frames.ASCII: AsciiFraming,
}


def framing_of(endpoint: Endpoint) -> Framing:
    """A fresh sans-IO side of a conversation with one request at a time."""
    return DatagramFraming() if endpoint.carrier is Carrier.UDP else _FRAMINGS[endpoint.frames]()


async def connect(
    endpoint: Endpoint,
    *,
    timeout_s: float,
    pause_s: float = 0.0,
    depth: int = 1,
    certificates: Certificates | None = None,
) -> Line:
    """A connection to the endpoint; of one that listens see :mod:`adapters.modbus.listen`.

    Args:
        endpoint: where to.
        timeout_s: how long an answer may take.
        pause_s: quiet time between an answer and the next request.
        depth: how many requests may be under way, if the endpoint can tell their answers apart.
        certificates: trust and identity, for TLS; the files are read now.

    Raises:
        OSError: it cannot be made (a time-out, and a certificate that is refused, are some too).
        LinkError: a serial device does not take the settings.
    """
    async with asyncio.timeout(max(timeout_s, CONNECT_S)):
        if endpoint.carrier is Carrier.UDP:
            return await _datagrams(endpoint, timeout_s, pause_s)
        line: Line
        if depth > 1 and endpoint.pipelines:
            line = ParallelLine(timeout_s=timeout_s, depth=depth)
        else:
            pause_s = max(pause_s, endpoint.silence_s)
            line = SingleLine(framing_of(endpoint), timeout_s=timeout_s, pause_s=pause_s)
        if endpoint.carrier is Carrier.SERIAL:
            from adapters.modbus.serial_line import open_serial

            await open_serial(line, endpoint)
        else:
            await _stream(line, endpoint, timeout_s, certificates)
    return line


async def _stream(line: Line, endpoint: Endpoint, timeout_s: float, certificates: Certificates | None) -> None:
    secure: ssl.SSLContext | None = None
    name: str | None = None
    if endpoint.carrier is Carrier.TLS:
        from adapters.modbus.secure import context_of, said_of

        if certificates is None:
            raise FileNotFoundError("tls:// needs certificates")
        secure, name = context_of(certificates), certificates.server_name or endpoint.host
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(
        lambda: line, endpoint.host, endpoint.port, ssl=secure, server_hostname=name
    )
    watch(transport.get_extra_info("socket"), timeout_s)
    if secure is not None:
        line.detail = said_of(transport.get_extra_info("ssl_object"))


async def _datagrams(endpoint: Endpoint, timeout_s: float, pause_s: float) -> Line:
    line = DatagramLine(DatagramFraming(), timeout_s=timeout_s, pause_s=pause_s)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: line, remote_addr=(endpoint.host, endpoint.port))
    return line
