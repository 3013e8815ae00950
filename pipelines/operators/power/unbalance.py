"""``unbalance``: how far three phases differ, by a definition that the result's name says."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
import numpy as np

from gateway.errors import FieldError
from pipelines.base import Glob
from pipelines.operators.power.joined import Joined, JoinedConfig, check_names, told

if TYPE_CHECKING:
    from gateway.frame import Frame, Values
    from pipelines.base import Points
    from pipelines.operators.aligned import Rows

Three = Annotated[list[Glob], msgspec.Meta(min_length=3, max_length=3)]
_TURN: Final = complex(-0.5, math.sqrt(3) / 2)
"""The operator a: a third of a turn."""


class Definition(enum.StrEnum):
    """What is called unbalance."""

    NEMA = "nema"
    SEQUENCE = "v2/v1"


class UnbalanceConfig(JoinedConfig, frozen=True, kw_only=True):
    """The unbalance of three voltages (or currents) of each device, in percent.

    The definitions differ by a factor of up to two, so it is said twice which one it is: in the options, and by the
    name of the result (``m1/unbalance#nema`` or ``m1/unbalance#v2v1``).

    ``nema`` (MG 1): the largest deviation from the mean, by the mean. By the standard of the voltages between lines.

    ``v2/v1`` (IEC 61000-4-30): negative by positive sequence. With ``angles`` of the three phasors, in degrees, by
    symmetrical components. Without angles ``of`` has to be the three voltages *between lines* (L1-L2, L2-L3, L3-L1),
    whose triangle gives the angles: sqrt((1 - sqrt(3 - 6b)) / (1 + sqrt(3 - 6b))) with b = sum of U^4 / (sum of
    U^2)^2 (CIGRE). Three values that make no triangle have no result.

    Below a mean of ``min`` there is no unbalance: the result is invalid.

    Example::

        steps:
          - unbalance: {of: ["*/u1", "*/u2", "*/u3"], definition: nema}
          - unbalance: {of: ["*/u12", "*/u23", "*/u31"], definition: v2/v1, min: 100}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"of": ["*/voltage", "*/power", "*/energy"], "definition": "nema"},
        {"of": ["*/voltage", "*/power", "*/voltage"], "definition": "v2/v1", "min": 1.0, "max_gap": "0s"},
        {
            "of": ["m1/voltage", "m2/voltage", "m1/power"], "angles": ["m1/power", "m2/power", "m1/energy"],
            "definition": "v2/v1", "set": "site/unbalance", "lateness": "0s",
        },
    )  # fmt: skip

    of: Three
    """The three voltages or currents, in the order of their phases; ``*`` stands for the device."""
    definition: Definition
    """``nema`` or ``v2/v1``."""
    angles: Three | None = None
    """The angles of the three phasors in degrees, for ``v2/v1``; left out: ``of`` are voltages between lines."""
    set: str = "{device}/unbalance"
    """The name of the result, to which ``#nema`` or ``#v2v1`` is added; ``{device}`` is what ``*`` stands for."""
    min: float = 0.0
    """The least mean of the three that has an unbalance, in their unit."""

    def __post_init__(self) -> None:
        if self.angles is not None and self.definition is Definition.NEMA:
            raise FieldError("angles", "nema goes by magnitudes; leave the angles out, or take definition v2/v1")
        if not 0 <= self.min < math.inf:
            raise FieldError("min", "must be 0 or more")
        check_names(self.set, [*self.of, *(self.angles or ())], "of")

    def create(self, points: Points) -> Unbalance:
        """The operator for these options."""
        return Unbalance(self, points)


class Unbalance(Joined):
    """See :class:`UnbalanceConfig`."""

    def __init__(self, config: UnbalanceConfig, points: Points) -> None:
        super().__init__(config, points, [*config.of, *(config.angles or ())], config.set)
        self._definition = config.definition
        self._least = config.min

    def _results(self, rows: Rows) -> Frame:
        three = rows.value[:, :3]
        mean = (three[:, 0] + three[:, 1] + three[:, 2]) / 3
        if self._definition is Definition.NEMA:
            suffix, part = "#nema", np.abs(three - mean[:, None]).max(axis=1) / mean
        elif rows.value.shape[1] > 3:
            suffix, part = "#v2v1", of_phasors(three, rows.value[:, 3:])
        else:
            suffix, part = "#v2v1", of_triangle(three)
        percent = np.where((mean >= self._least) & (mean > 0), 100 * part, np.nan)
        return told(self.ids(rows.group, suffix, unit="%"), rows, percent)


def of_phasors(size: Values, degrees: Values) -> Values:
    """V2 by V1 of three phasors, [k]."""
    phasor = size * np.exp(1j * np.radians(degrees))
    one, two, three = phasor.T
    positive = one + _TURN * two + _TURN**2 * three
    negative = one + _TURN**2 * two + _TURN * three
    result: Values = np.abs(negative) / np.abs(positive)
    return result


def of_triangle(size: Values) -> Values:
    """V2 by V1 of the voltages between lines, [k]; NaN if they make no triangle.

    ``3 - 6 b`` is 48 times the squared area by the squared sum of squares. With the area by Heron and all else from
    differences nothing is lost where the phases are nearly equal.
    """
    a, b, c = size.T
    heron = (a + b + c) * (b + c - a) * (c + a - b) * (a + b - c)
    squares = a * a + b * b + c * c
    root = np.sqrt(np.where(heron >= 0, 3 * heron, np.nan)) / squares
    # 1 - root = (1 - root^2) / (1 + root), and 1 - root^2 is a sum of squared differences
    spread = 2 * ((a * a - b * b) ** 2 + (b * b - c * c) ** 2 + (c * c - a * a) ** 2) / squares**2
    result: Values = np.sqrt(spread) / (1 + root)
    return result
