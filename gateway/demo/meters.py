"""Twenty SDM630 meters behind one Modbus TCP endpoint, by pymodbus's own server.

The map is the maker's: input registers (function 04), float32, most significant word first (ABCD),
addresses zero-based. Holes between the values read 0, as the real meter does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np
import numpy.typing as npt
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

if TYPE_CHECKING:
    import asyncio

    from gateway.demo.replay import Floats, Homes

REGISTERS: Final = 0x0180
_READ_INPUT = 4


def register_images(homes: Homes) -> npt.NDArray[np.uint16]:
    """All input registers of all meters, [n, REGISTERS]."""
    values = np.zeros((len(homes.power), REGISTERS // 2))
    for address, columns in (_phases(homes) | _totals(homes) | _energies(homes)).items():
        wide = columns.reshape(len(values), -1)
        values[:, address // 2 : address // 2 + wide.shape[1]] = wide
    words: npt.NDArray[np.uint16] = values.astype(">f4").view(">u2").astype(np.uint16)
    return words


def _phases(homes: Homes) -> dict[int, Floats]:
    """Address of the first phase to values by phase, [n, 3]."""
    ahead = np.roll(homes.voltage, -1, 1)
    between = np.sqrt(homes.voltage**2 + ahead**2 + homes.voltage * ahead)  # phases stand 120 degrees apart
    distortion = 1.5 + homes.current / 20  # %, grows with the load
    return {
        0x00: homes.voltage,
        0x06: homes.current,
        0x0C: homes.power,
        0x12: homes.apparent,
        0x18: homes.reactive,
        0x1E: homes.factor,
        0x24: np.degrees(np.arccos(homes.factor)),
        0xC8: between,
        0xEA: distortion,
        0xF0: 4 * distortion,
        0x102: homes.demand,
        0x108: homes.demand_max,
        0x14E: 0.8 * distortion,
    }


def _totals(homes: Homes) -> dict[int, Floats]:
    """Address to the value of all phases together, [n]."""
    phases = _phases(homes)
    power, apparent = homes.power.sum(1), homes.apparent.sum(1)
    factor = power / np.maximum(apparent, 1e-9)
    turn = np.exp(2j * np.pi / 3 * np.arange(3))
    nominal = 230.0  # demand is kept as current; as power it is that at the nominal voltage
    demand, demand_max = nominal * homes.demand.sum(1), nominal * homes.demand_max.sum(1)
    return {
        0x2A: homes.voltage.mean(1),
        0x2E: homes.current.mean(1),
        0x30: homes.current.sum(1),
        0x34: power,
        0x38: apparent,
        0x3C: homes.reactive.sum(1),
        0x3E: factor,
        0x42: np.degrees(np.arccos(np.minimum(factor, 1.0))),
        0x46: np.full(len(power), homes.frequency),
        0x54: demand * factor,
        0x56: demand_max * factor,
        0x64: demand,
        0x66: demand_max,
        0x68: np.abs(homes.demand @ turn),
        0x6A: np.abs(homes.demand_max @ turn),
        0xCE: phases[0xC8].mean(1),
        0xE0: np.abs(homes.current @ turn),  # what the three phases leave for the neutral
        0xF8: phases[0xEA].mean(1),
        0xFA: phases[0xF0].mean(1),
        0x154: phases[0x14E].mean(1),
    }


def _energies(homes: Homes) -> dict[int, Floats]:
    """Address to counters, [n] or [n, 3]; nothing is exported, so totals are imports."""
    active, reactive = homes.active_kwh, homes.reactive_kvarh
    return {
        0x48: active.sum(1),
        0x4C: reactive.sum(1),
        0x50: np.hypot(active.sum(1), reactive.sum(1)),
        0x52: active.sum(1) * 1000 / 230,
        0x156: active.sum(1),
        0x158: reactive.sum(1),
        0x15A: active,
        0x166: active,
        0x16C: reactive,
        0x178: reactive,
    }


class Meters:
    """The endpoint with unit ids 1 to n; :meth:`update` writes what the meters show from now on."""

    def __init__(self, homes: Homes) -> None:
        self._homes = homes
        self._server: ModbusTcpServer | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that it is.

        Raises:
            RuntimeError: from pymodbus, when it cannot listen.
        """
        units = [_device(unit) for unit in range(1, len(self._homes.power) + 1)]
        self._server = ModbusTcpServer(units, address=(host, port))
        await self.update()
        await self._server.serve_forever(background=True)
        listener = cast("asyncio.Server", self._server.transport)  # pymodbus calls it a transport
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def update(self) -> None:
        """Show the homes' present state."""
        assert self._server is not None
        for unit, words in enumerate(register_images(self._homes), 1):
            await self._server.async_setValues(unit, _READ_INPUT, 0, words.tolist())

    async def stop(self) -> None:
        """Close the endpoint and its connections."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus


def _device(unit: int) -> SimDevice:
    """A meter with its four tables; only the input registers mean anything here."""
    return SimDevice(
        unit,
        (
            [SimData(0, values=False, datatype=DataType.BITS)],
            [SimData(0, values=False, datatype=DataType.BITS)],
            [SimData(0, count=2, datatype=DataType.REGISTERS)],
            [SimData(0, count=REGISTERS, datatype=DataType.REGISTERS)],
        ),
    )
