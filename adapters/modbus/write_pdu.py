"""Requests that write, and what their good answers look like. Pure; see :mod:`adapters.modbus.pdu`.

    05  coil                    | address 2 | FF00 or 0000                  ->  the same again
    06  register                | address 2 | value 2                       ->  the same again
    0F  coils                   | address 2 | count 2 | bytes 1 | bits      ->  0F | address 2 | count 2
    10  registers               | address 2 | count 2 | bytes 1 | data      ->  10 | address 2 | count 2
    16  register = (register AND a) OR (o AND NOT a)   | address 2 | a 2 | o 2  ->  the same again

The device's echo is compared byte by byte: a request's good answer begins with, or is, its ``head``.
"""

from __future__ import annotations

import struct

from adapters.modbus.pdu import Request


def write_coil(unit: int, address: int, *, on: bool, function: int = 5) -> Request:
    """Switch one coil, with function 5 or 15."""
    if function == 5:
        return _echoed(unit, struct.pack(">BHH", 5, address, 0xFF00 if on else 0))
    return _counted(unit, struct.pack(">BHHBB", 15, address, 1, 1, on))


def write_registers(unit: int, address: int, data: bytes, *, function: int) -> Request:
    """Write whole registers, with function 6 (one of them) or 16.

    Raises:
        ValueError: function 6 writes one register.
    """
    if function == 6:
        if len(data) != 2:
            raise ValueError(f"function 6 writes one register, not {len(data)} bytes")
        return _echoed(unit, struct.pack(">BH", 6, address) + data)
    return _counted(unit, struct.pack(">BHHB", 16, address, len(data) // 2, len(data)) + data)


def write_masked(unit: int, address: int, data: bytes, mask: bytes) -> Request:
    """Change those bits of one register that are set in ``mask``, to those of ``data`` (2 bytes each)."""
    keep = bytes(0xFF ^ byte for byte in mask)
    return _echoed(unit, struct.pack(">BH", 22, address) + keep + data)


def _echoed(unit: int, pdu: bytes) -> Request:
    return Request(unit, pdu, pdu, len(pdu))


def _counted(unit: int, pdu: bytes) -> Request:
    return Request(unit, pdu, pdu[:5], 5)
