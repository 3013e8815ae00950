"""What the simulated devices measure: recorded series, replayed faster, with physics and noise added.

Pure computation without clock and I/O: the caller says how much simulated time has passed. The same
seed and the same steps always give the same values.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HOUSEHOLD_ROW_S: Final = 900.0
"""Time between two rows of households.csv."""
OFFICE_ROW_S: Final = 960.0
"""Time between two rows of office.csv (16 minutes)."""
MEASURES: Final = ("temperature", "humidity", "light", "co2")
"""What an office sensor measures, in the order of the columns of office.csv."""

_SOURCE_V = 236.0  # the transformer's tap, a little above the nominal 230 V as in real low-voltage feeders
_CABLE_OHM = 0.012  # one segment between two meters (about 14 m of 4x35 mm2 aluminium)
_SERVICE_OHM = 0.05  # from the cable to the meter
_HOUSEHOLDS = 4  # columns; the fifth is the electric car


def load(name: str) -> Floats:
    """A table of the package's data without its first column (the time), [rows, columns]."""
    text = files("gateway.demo").joinpath("data", name).read_text("ascii")
    rows = [line.split(",")[1:] for line in text.splitlines()[1:]]
    return np.array(rows, np.float64)


def at(table: Floats, row: float | Floats) -> Floats:
    """The table at a fractional row, linearly interpolated, starting again after the last: [..., columns]."""
    where = np.asarray(row, np.float64) % len(table)
    low = np.floor(where).astype(np.intp) % len(table)
    share = (where - np.floor(where))[..., None]
    result: Floats = table[low] * (1 - share) + table[(low + 1) % len(table)] * share
    return result


class Homes:
    """Three-phase meters of ``n`` homes along one feeder cable.

    All results are [n, 3] by phase: ``power`` (W), ``reactive`` (var), ``apparent`` (VA), ``voltage`` (V),
    ``current`` (A), ``factor`` (power factor), ``demand`` (current over the last 15 simulated minutes) and
    ``demand_max``; the counters ``active_kwh`` and ``reactive_kvarh`` only grow. Every third home charges
    a car.
    """

    def __init__(self, n: int, *, seed: int, speed: float) -> None:
        """``speed`` is simulated seconds a second."""
        self._random = np.random.default_rng(seed)
        self._table = load("households.csv")
        self._speed = speed
        homes = np.arange(n)
        self._column = homes % _HOUSEHOLDS
        self._car = (homes % 3 == 2).astype(np.float64)
        # A different day of the four weeks for each home, at the same time of day: 96 rows a day.
        self._shift = 96.0 * self._random.integers(0, len(self._table) // 96, n) + self._random.uniform(0, 4, n)
        self._scale = self._random.uniform(0.8, 1.25, n)
        self._split = self._random.dirichlet([4.0, 4.0, 4.0], n)
        self._row = 72.0  # start at 18:00, when something happens
        self.supplied = np.ones(n)
        """0 for a home whose supply is cut, from the next step on."""
        self.voltage = np.full((n, 3), _SOURCE_V)
        self.active_kwh = np.round(self._random.uniform(200, 3000, (n, 3)), 2)
        self.reactive_kvarh = np.round(self.active_kwh * 0.3, 2)
        self._measure()
        self.demand = self.current
        self.demand_max = self.current

    def step(self, seconds: float) -> None:
        """Let ``seconds`` of real time pass; counters integrate the simulated time."""
        simulated_s = seconds * self._speed
        self._row += simulated_s / HOUSEHOLD_ROW_S
        self._measure()
        share = min(simulated_s / HOUSEHOLD_ROW_S, 1.0)
        self.demand = self.demand + (self.current - self.demand) * share
        self.demand_max = np.maximum(self.demand_max, self.demand)
        self.active_kwh = self.active_kwh + self.power * simulated_s / 3.6e6
        self.reactive_kvarh = self.reactive_kvarh + self.reactive * simulated_s / 3.6e6

    def _measure(self) -> None:
        """What the meters see at this point of the series."""
        table = at(self._table, self._row + self._shift)
        homes = table[np.arange(len(table)), self._column] * self._scale
        self.power = homes[:, None] * self._split * self._random.normal(1.0, 0.01, self._split.shape)
        self.power[:, 0] += table[:, _HOUSEHOLDS] * self._car  # a car charges on one phase
        self.power *= self.supplied[:, None]
        # Small loads are electronics with a poor factor, large ones heat with a good one.
        self.factor = np.clip(0.72 + 0.08 * np.log10(np.maximum(self.power, 1.0)), 0.7, 0.99)
        self.apparent = self.power / self.factor
        self.reactive = np.sqrt(self.apparent**2 - self.power**2)
        self.current = self.apparent / np.where(self.voltage > 0, self.voltage, _SOURCE_V)  # 0: it was cut until now
        self.voltage = self._voltages(self.current)

    def _voltages(self, current: Floats) -> Floats:
        """Voltage at each meter [n, 3]: every segment carries what all homes behind it draw."""
        behind = np.cumsum(current[::-1], axis=0)[::-1]
        along = np.cumsum(behind * _CABLE_OHM, axis=0)
        noise = self._random.normal(0.0, 0.08, current.shape)
        return (_SOURCE_V - along - current * _SERVICE_OHM + noise) * self.supplied[:, None]

    @property
    def loss(self) -> float:
        """What the cable and the services turn into heat, W: what goes in at the head of the feeder less ``power``."""
        behind = np.cumsum(self.current[::-1], axis=0)[::-1]
        return float(_CABLE_OHM * np.sum(behind**2) + _SERVICE_OHM * np.sum(self.current**2))

    @property
    def frequency(self) -> float:
        """Grid frequency in Hz, with noise."""
        return float(50.0 + self._random.normal(0.0, 0.008))


class Office:
    """Sensors in ``n`` rooms; :meth:`step` gives temperature, humidity, light and CO2, [n, 4]."""

    _NOISE = np.array([0.02, 0.05, 1.5, 3.0])  # Cel, %, lx, ppm: what cheap sensors flicker by

    def __init__(self, n: int, *, seed: int, speed: float) -> None:
        self._random = np.random.default_rng(seed)
        self._table = load("office.csv")
        self._speed = speed
        self._row = 60.0 + self._random.uniform(0, 8, n)
        self._offset = self._random.normal(0.0, [0.6, 1.5, 0.0, 25.0], (n, 4))

    def step(self, seconds: float) -> Floats:
        """Let ``seconds`` of real time pass; the readings, [n, 4] in the order of ``MEASURES``."""
        self._row = self._row + seconds * self._speed / OFFICE_ROW_S
        clean = at(self._table, self._row) + self._offset
        return np.maximum(clean + self._random.normal(0.0, self._NOISE, clean.shape), 0.0)


class Plugs:
    """``n`` single-phase devices: voltage (V), current (A), power (W), energy (kWh) after each step, [n]."""

    def __init__(self, n: int, *, seed: int, speed: float) -> None:
        self._homes = Homes(n, seed=seed, speed=speed)

    def step(self, seconds: float) -> dict[str, Floats]:
        """Let ``seconds`` of real time pass; the readings by name, each [n]."""
        self._homes.step(seconds)
        return {
            "voltage": np.round(self._homes.voltage[:, 0], 1),
            "current": np.round(self._homes.current[:, 0], 3),
            "power": np.round(self._homes.power[:, 0], 1),
            "energy": np.round(self._homes.active_kwh.sum(1), 3),
        }
