"""Real and scripted Modbus peers on free ports."""

from __future__ import annotations

import asyncio
import struct

from pymodbus.simulator import DataType, SimData, SimDevice

from adapters.modbus.config import ModbusConfig, ModbusDevice, ModbusPoint
from adapters.modbus.place import Order, ValueType
from gateway.units import Duration


def point(at, as_=None, order="ABCD", every=None, **more):
    return ModbusPoint(
        at=at,
        as_=ValueType(as_) if as_ else None,
        order=Order(order),
        every=Duration(every) if every else None,
        **more,
    )


def device(unit=1, every=0.05, points=None, **more):
    return ModbusDevice(unit=unit, every=Duration(every), points=points or {}, **more)


def modbus(url, devices, timeout=0.15, **more):
    return ModbusConfig(url=url, timeout=Duration(timeout), devices=devices, **more)


def registers(values, at=0):
    return SimData(at, values=list(values), datatype=DataType.REGISTERS)


class Peer:
    """A Modbus TCP peer that answers as ``script(transaction, unit, pdu)`` says: frames, in order.

    An item of what the script returns is bytes to write, a number of seconds to wait, or None to
    close the connection.
    """

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.connections = 0
        self.url = ""
        self._server = None
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        try:
            while True:
                transaction, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                pdu = await reader.readexactly(length - 1)
                self.requests.append((unit, pdu))
                for item in self.script(transaction, unit, pdu):
                    if item is None:
                        return
                    if isinstance(item, (int, float)):
                        await asyncio.sleep(item)
                    else:
                        writer.write(item)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            self._tasks.discard(asyncio.current_task())


def frame(transaction, unit, pdu, *, protocol=0, length=None):
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


def good(pdu, fill=None):
    """The answer PDU to a read: register values count up from the address asked for."""
    function, address, count = struct.unpack(">BHH", pdu)
    if function <= 2:
        return bytes([function, (count + 7) // 8]) + b"\xff" * ((count + 7) // 8)
    words = [address + i if fill is None else fill for i in range(count)]
    return bytes([function, 2 * count]) + struct.pack(f">{count}H", *words)


def shared(unit, *blocks):
    return SimDevice(unit, simdata=list(blocks))
