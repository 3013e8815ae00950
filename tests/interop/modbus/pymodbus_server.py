"""A pymodbus server for the interop test, on a free port that it prints, in a process of its own.

python pymodbus_server.py tcp|udp|rtu+tcp|ascii+tcp|tls [CA CERTIFICATE KEY]

Registers and bits 0 to 199 of unit 17 exist; all else is refused.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import sys

from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer, ModbusTlsServer, ModbusUdpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def words(layout, value):
    data = struct.pack(layout, value)
    return struct.unpack(f">{len(data) // 2}H", data)


def unit():
    holding = list(range(200))
    holding[100:102] = words(">f", 230.5)
    holding[108:110] = words(">i", -123456)
    holding[110:114] = words(">q", -1234567890123)
    holding[114:117] = words("6s", b"SDM630")
    bits = [i % 3 == 0 for i in range(200)], [i % 2 == 1 for i in range(200)]
    registers = holding, [1000 + i for i in range(200)]
    blocks = [[SimData(0, values=values, datatype=DataType.BITS)] for values in bits]
    blocks += [[SimData(0, values=values, datatype=DataType.REGISTERS)] for values in registers]
    return SimDevice(17, simdata=tuple(blocks))


def server_of(kind, files):
    address = ("127.0.0.1", 0)
    if kind == "udp":
        return ModbusUdpServer([unit()], address=address)
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files[0])
        context.load_cert_chain(*files[1:])
        return ModbusTlsServer([unit()], framer=FramerType.SOCKET, sslctx=context, address=address)
    framer = {"tcp": FramerType.SOCKET, "rtu+tcp": FramerType.RTU, "ascii+tcp": FramerType.ASCII}[kind]
    return ModbusTcpServer([unit()], framer=framer, address=address)


async def main(kind, files):
    server = server_of(kind, files)
    await server.serve_forever(background=True)
    transport = server.transport
    sock = transport.sockets[0] if hasattr(transport, "sockets") else transport.get_extra_info("socket")
    print(sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
