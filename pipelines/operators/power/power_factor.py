"""``power_factor``: from active and reactive power, with sign and quadrant."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway.errors import FieldError
from gateway.frame import concat
from pipelines.base import Globs
from pipelines.operators.power.joined import Joined, JoinedConfig, check_names, told
from pipelines.operators.power.quantities import watts

if TYPE_CHECKING:
    from gateway.frame import Frame
    from pipelines.base import Points
    from pipelines.operators.aligned import Rows


class Sign(enum.StrEnum):
    """What the sign of a power factor says."""

    IEC = "iec"
    IEEE = "ieee"


class PowerFactorConfig(JoinedConfig, frozen=True, kw_only=True):
    """The power factor of each device.

    Of several phases (lists for ``p`` and ``q``) it is that of the whole: sum of P / sqrt((sum of P)^2 + (sum of
    Q)^2), never a mean of power factors. ``m1/pf#quadrant`` is 1 (P and Q positive: import and
    inductive), 2 (P negative, Q positive), 3 (both negative) or 4 (P positive, Q negative), as in IEC 62053-23.

    The sign is that of the active power (``iec``), or says leading (positive) and lagging (negative; ``ieee``). Below
    ``min_apparent`` there is no power factor: the result is invalid, and not the last one that there was. Units are
    brought to W and var; points without a unit of power are taken to be in them.

    Example::

        steps:
          - power_factor: {p: "*/power", q: "*/reactive", set: "{device}/pf"}
          - power_factor: {p: ["*/p1", "*/p2", "*/p3"], q: ["*/q1", "*/q2", "*/q3"], min_apparent: 50}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"p": "*/power", "q": "*/voltage"},
        {"p": ["m1/power", "m2/power"], "q": ["m1/voltage", "m2/voltage"], "set": "site/pf", "min_apparent": 5.0},
        {"p": "*/power", "q": "*/voltage", "sign": "ieee", "max_gap": "0s", "keep": False, "lateness": "0s"},
    )

    p: Globs
    """The active power: one pattern, or one a phase; ``*`` stands for the device."""
    q: Globs
    """The reactive power, inductive positive: as many as ``p``."""
    set: str = "{device}/power_factor"
    """The name of the result; ``{device}`` is what ``*`` stands for."""
    min_apparent: float = 0.0
    """The least apparent power in V.A that has a power factor."""
    sign: Sign = Sign.IEC
    """``iec``: the sign of P. ``ieee``: positive where the current leads, negative where it lags."""

    def __post_init__(self) -> None:
        if len(self.active) != len(self.reactive):
            raise FieldError("q", f"has {len(self.reactive)} points where p has {len(self.active)}; write one for each")
        if not 0 <= self.min_apparent < math.inf:
            raise FieldError("min_apparent", "must be 0 or more")
        check_names(self.set, [*self.active, *self.reactive], "p")

    @property
    def active(self) -> list[str]:
        """The patterns of ``p``."""
        return [self.p] if isinstance(self.p, str) else list(self.p)

    @property
    def reactive(self) -> list[str]:
        """The patterns of ``q``."""
        return [self.q] if isinstance(self.q, str) else list(self.q)

    def create(self, points: Points) -> PowerFactor:
        """The operator for these options."""
        return PowerFactor(self, points)


class PowerFactor(Joined):
    """See :class:`PowerFactorConfig`."""

    def __init__(self, config: PowerFactorConfig, points: Points) -> None:
        super().__init__(config, points, [*config.active, *config.reactive], config.set)
        self._phases = len(config.active)
        self._least = config.min_apparent
        self._sign = config.sign

    def _results(self, rows: Rows) -> Frame:
        unit = self.factors(rows.group, watts)
        value = rows.value * np.where(np.isnan(unit), 1.0, unit)
        p, q = np.zeros(len(rows)), np.zeros(len(rows))
        for phase in range(self._phases):  # one by one: the order of a sum is part of the result
            p += value[:, phase]
            q += value[:, self._phases + phase]
        apparent = np.hypot(p, q)
        enough = (apparent >= self._least) & (apparent > 0)
        factor = p / apparent
        if self._sign is Sign.IEEE:
            factor = np.where(p * q > 0, -np.abs(factor), np.abs(factor))
        quadrant = np.where(p >= 0, np.where(q >= 0, 1.0, 4.0), np.where(q >= 0, 2.0, 3.0))
        ids = self.ids(rows.group, "", unit="1", limits=(-1.0, 1.0))
        quadrants = self.ids(rows.group, "#quadrant", unit="1", limits=(1.0, 4.0))
        return concat(
            [
                told(ids, rows, np.where(enough, factor, np.nan)),
                told(quadrants, rows, np.where(enough, quadrant, np.nan)),
            ]
        )
