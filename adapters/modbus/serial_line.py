"""A serial device: its settings, and the direction of an RS-485 transceiver."""

from __future__ import annotations

import asyncio
import termios
from typing import TYPE_CHECKING

from pymodbus.transport.serialtransport import SerialTransport
from serial.rs485 import RS485Settings

from gateway.errors import LinkError

if TYPE_CHECKING:
    from adapters.modbus.url import Direction, Endpoint
    from adapters.modbus.wire import Line

_HAIR_S = 1e-5  # pyserial cuts to whole milliseconds, and 57 ms may be a hair less than 57


def rs485_settings(direction: Direction) -> RS485Settings:
    """What pyserial hands to the driver."""
    return RS485Settings(
        rts_level_for_tx=direction.high,
        rts_level_for_rx=not direction.high,
        delay_before_tx=direction.before_s + _HAIR_S,
        delay_before_rx=direction.after_s + _HAIR_S,
    )


async def open_serial(line: Line, endpoint: Endpoint) -> None:
    """Open the device and put ``line`` on it.

    Raises:
        OSError: there is no such device, or somebody has it.
        LinkError: it does not take the settings.
    """
    transport = _opened(line, endpoint)
    standing = False
    try:
        _set_direction(transport, endpoint)
        transport.setup()
        await line.made()
        standing = True
    finally:
        if not standing:
            transport.abort()


def _opened(line: Line, endpoint: Endpoint) -> SerialTransport:
    try:
        return SerialTransport(
            asyncio.get_running_loop(),
            line,
            endpoint.device,
            endpoint.baudrate,
            endpoint.bytesize,
            endpoint.parity,
            endpoint.stopbits,
            0,
        )
    except termios.error as error:  # pyserial maps all but this one, which is no OSError
        raise LinkError(f"{endpoint.device} does not take these settings: {error.args[-1]}") from error


def _set_direction(transport: SerialTransport, endpoint: Endpoint) -> None:
    """Let the driver switch RTS: it is exact to the bit, which a program is not."""
    if endpoint.direction is None:
        return
    try:
        transport.sync_serial.rs485_mode = rs485_settings(endpoint.direction)
    except ValueError as error:
        raise LinkError(f"{endpoint.device}: its driver does not switch RS-485 direction; adapters that do it by"
                        " themselves need no rs485 setting") from error  # fmt: skip
