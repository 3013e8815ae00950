"""A libmodbus device on a serial line behind network boxes: a serial server, and a modem that dials in."""

from __future__ import annotations

import asyncio
import os
import socket

from adapters.modbus.config import Register
from tests.interop.modbus.test_modbus_interop import ALL_ORDERS, ORDERS, POINTS, WANTED, check, libmodbus, ptys, server

__all__ = ["libmodbus"]

ALL = WANTED | ALL_ORDERS | {"input": 1150.0}


async def joined(reader, writer, master):
    """What such a box does: bytes from the network to the serial line and back, until the network goes."""
    loop = asyncio.get_running_loop()
    loop.add_reader(master, lambda: writer.write(os.read(master, 1024)))
    try:
        while data := await reader.read(1024):
            os.write(master, data)
    finally:
        loop.remove_reader(master)
        writer.close()


async def dial(port, packet, master):
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.write(packet)
        await joined(reader, writer, master)
        return


async def test_libmodbus_behind_a_serial_server(libmodbus):
    with ptys(1) as ((master, slave),):
        async with server(libmodbus, "rtu", os.ttyname(slave)):
            box = await asyncio.start_server(lambda r, w: joined(r, w, master), "127.0.0.1", 0)
            async with box:
                url = f"rtu+tcp://127.0.0.1:{box.sockets[0].getsockname()[1]}"
                await check(url, ALL, POINTS | ORDERS)


async def test_libmodbus_behind_a_modem_that_dials_in(libmodbus):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ptys(1) as ((master, slave),):
        async with server(libmodbus, "rtu", os.ttyname(slave)):
            modem = asyncio.create_task(dial(port, b"feeder-7\r\n", master))
            register = Register(pattern=r"feeder-[0-9]\r\n")
            await check(f"listen+tcp://127.0.0.1:{port}", ALL, POINTS | ORDERS, register=register)
            await modem
