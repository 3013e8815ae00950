"""The thermal model of an oil-immersed transformer by IEC 60076-7: top oil, hot spot and ageing. Pure.

The differential equations of the loading guide::

    k11 to d(top)/dt  = ((1 + R K^2) / (1 + R))^x  dTor + ambient - top
    k22 tw d(h1)/dt   = k21 dThr K^y - h1
    to / k22 d(h2)/dt = (k21 - 1) dThr K^y - h2
    hot spot          = top + h1 - h2

K is the load in parts of the rating. Between two rows load and ambient are taken to be constant, for which each
equation has an exact solution, ``1 - exp(-dt / tau)``: rows may lie as far apart as they like, where the difference
equations of the guide (Annex) ask for steps below half the winding's time constant.

Constants: IEC 60076-7:2018, table for ONAN distribution, and ONAN and ONAF power transformers. The rises are those of
the guide's examples (98 degrees Celsius at the rating and 20 degrees ambient) and should be those of the heat-run test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.operators.power.runs import walk

if TYPE_CHECKING:
    from gateway.frame import Ids, Values

REFERENCE_C: Final = 98.0
"""Hot-spot temperature at which paper that is not upgraded ages at the rate 1."""
UPGRADED_C: Final = 110.0
"""The same for thermally upgraded paper."""


@dataclass(frozen=True)
class Cooling:
    """Exponents, constants and time constants (s) of a kind of transformer, and its rises in K at the rating."""

    x: float
    y: float
    k11: float
    k21: float
    k22: float
    oil_s: float
    winding_s: float
    top_oil_k: float
    hot_spot_k: float
    ratio: float


COOLINGS: Final = {
    "distribution": Cooling(0.8, 1.6, 1.0, 1.0, 2.0, 180 * 60, 4 * 60, 55.0, 23.0, 5.0),
    "onan": Cooling(0.8, 1.3, 0.5, 2.0, 2.0, 210 * 60, 10 * 60, 52.0, 26.0, 6.0),
    "onaf": Cooling(0.8, 1.3, 0.5, 2.0, 2.0, 150 * 60, 7 * 60, 52.0, 26.0, 6.0),
}


@dataclass(frozen=True)
class Heat:
    """Top-oil temperature and the two parts of the hot-spot gradient, [k]."""

    top: Values
    h1: Values
    h2: Values

    @property
    def hot_spot(self) -> Values:
        """Hot-spot temperature in degrees Celsius, [k]."""
        return self.top + self.h1 - self.h2


def settled(cooling: Cooling, load: Values, ambient: Values) -> Heat:
    """Where the temperatures end under a constant load, [k]."""
    oil = ((1 + cooling.ratio * load**2) / (1 + cooling.ratio)) ** cooling.x
    gradient = cooling.hot_spot_k * load**cooling.y
    return Heat(ambient + cooling.top_oil_k * oil, cooling.k21 * gradient, (cooling.k21 - 1) * gradient)


def heated(cooling: Cooling, group: Ids, seconds: Values, end: Heat, start: Heat) -> Heat:
    """The temperatures behind each row.

    Args:
        cooling: the constants.
        group: the transformer of each row; rows are ordered by it, [k].
        seconds: since the row before, [k].
        end: where the temperatures would settle during that time, [k].
        start: the temperatures before the first row of each group, at that row, [k].
    """
    taus = (cooling.k11 * cooling.oil_s, cooling.k22 * cooling.winding_s, cooling.oil_s / cooling.k22)
    parts = (part(group, seconds, tau, *ends) for tau, ends in zip(taus, _pairs(end, start), strict=True))
    return Heat(*parts)


def _pairs(end: Heat, start: Heat) -> list[tuple[Values, Values]]:
    return [(end.top, start.top), (end.h1, start.h1), (end.h2, start.h2)]


def part(group: Ids, seconds: Values, tau: float, end: Values, start: Values) -> Values:
    """One equation: a recursion, all groups side by side, row by row."""
    share = -np.expm1(-seconds / tau)
    out = np.empty(len(group))
    now = None
    for at in walk(group):
        now = start[at] if now is None else now[: len(at)]
        now += share[at] * (end[at] - now)
        out[at] = now
    return out


def ageing(hot_spot: Values, *, upgraded: bool) -> Values:
    """The relative ageing rate, [k]: doubles each 6 K; by Arrhenius for thermally upgraded paper."""
    if upgraded:
        return np.exp(15000 / (UPGRADED_C + 273) - 15000 / (hot_spot + 273))
    return np.exp2((hot_spot - REFERENCE_C) / 6)
