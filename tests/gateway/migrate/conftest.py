"""A Modbus device by pymodbus, with values that show which register, type and order of bytes were read."""

import struct

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def words(code: str, *values: float) -> list[int]:
    """Values, as ``struct`` packs them big endian, as registers."""
    packed = struct.pack(f">{len(values)}{code}", *values)
    return list(struct.unpack(f">{len(packed) // 2}H", packed))


def device(unit: int) -> SimDevice:
    """Holding and input registers 0 to 63 (the same for both), coils likewise."""
    values = [unit * 100 + address for address in range(64)]
    values[10:12] = words("f", 230.5 + unit)
    values[12:14] = [values[11], values[10]]  # the same with its words swapped
    values[14:18] = words("d", -1234.5678)
    values[20] = struct.unpack(">H", struct.pack("<H", 4711))[0]
    values[21:25] = words("H", *struct.unpack(">4H", b"SN-0042\0"))
    values[30] = 0b1010
    return SimDevice(unit, [SimData(0, values=values, datatype=DataType.REGISTERS)])


@pytest.fixture
async def meters():
    """The port of a server with the units 1 and 2."""
    server = ModbusTcpServer([device(1), device(2)], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    yield server.transport.sockets[0].getsockname()[1]
    await server.shutdown()
