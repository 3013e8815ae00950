"""``enum``: numbers to the texts that they stand for."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Kind, Merge
from pipelines.base import Operator, OperatorConfig, grown

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Values
    from pipelines.base import Points

MAX_ENTRIES: Final = 256
_LARGEST: Final = 1 << 53
_FACTS: Final[dict[str, Any]] = {
    "kind": Kind.STATE,
    "unit": "",
    "limits": None,
    "resolution": None,
    "merge": Merge.LAST,
}
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Suffix = Annotated[str, msgspec.Meta(pattern=r"^#[A-Za-z0-9_.\-]+$", max_length=64)]


class Unknown(enum.StrEnum):
    """What becomes of numbers that are not in the map."""

    INVALID = "invalid"
    TEXT = "text"
    DROP = "drop"


class EnumConfig(OperatorConfig, frozen=True, kw_only=True):
    """Numbers become states with texts, as samples of a point of their own: ``m1/mode`` gives ``m1/mode#state``.

    The sample of the number goes on as that of the state; uplinks tell its text. A number that is not in the map has no
    state (``invalid``, with the reason not-found), or the one of the option ``text``, or is dropped and counted. A
    sample without a value keeps its reason.

    Example::

        steps:
          - enum: {map: {0: "off", 1: "on", 7: fault}, unknown: text, points: "*/mode"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"map": {0: "off", 1: "on", 5: "off"}},
        {"map": {-1: "reverse", 1: "forward"}, "unknown": "text", "suffix": "#way"},
        {"map": {0: "off", 1: "on"}, "unknown": "drop"},
    )

    map: dict[int, Text]
    """Numbers and their texts, at most 256; two numbers may have the same text."""
    unknown: Unknown = Unknown.INVALID
    """A number that is not there: ``invalid``, the state ``text``, or ``drop``."""
    text: Text = "unknown"
    """The text of other numbers under ``unknown: text``."""
    suffix: Suffix = "#state"
    """What is put behind the name."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.map) <= MAX_ENTRIES:
            raise FieldError("map", f"needs 1 to {MAX_ENTRIES} numbers with their texts, got {len(self.map)}")
        for number in self.map:
            if abs(number) > _LARGEST:
                raise FieldError(("map", str(number)), "is beyond what a value can tell exactly (2^53)")

    def create(self, points: Points) -> Enum:
        """The operator for these options."""
        return Enum(self, points)


class Enum(Operator):
    """See :class:`EnumConfig`. Without state: the numbers of texts are kept with the points."""

    def __init__(self, config: EnumConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._unknown = config.unknown
        self._suffix = config.suffix
        numbers = sorted(config.map)
        self._numbers = np.array([*numbers, np.nan])
        """The last stands for all that is greater, and equals none."""
        self._texts = [config.map[number] for number in numbers]
        self._texts.append(config.text if config.unknown is Unknown.TEXT else self._texts[-1])
        self._state: Ids = np.empty(0, np.int32)
        """The state of each point, by id; -1 before its first sample."""
        self._row: npt.NDArray[np.int32] = np.empty(0, np.int32)
        """Which of the rows of codes it has; most share one, since texts are numbered as they come."""
        self._rows: list[tuple[float, ...]] = []
        self._codes = np.empty((1, len(self._texts)))

    def process(self, frame: Frame) -> Frame:
        """The samples as states."""
        at = np.searchsorted(self._numbers[:-1], frame.value)
        other = self._numbers[at] != frame.value  # where there is no value too
        if not other.any():
            ids = self._states_of(frame.point)
            return Frame(ids, frame.time, self._codes_of(frame.point, at), frame.quality)
        if self._unknown is Unknown.DROP:
            dropped = other & ~np.isnan(frame.value)
            self.counts.drop("unknown-state", int(np.count_nonzero(dropped)))
            frame, at, other = frame.take(~dropped), at[~dropped], other[~dropped]
        return self._with_others(frame, at, other)

    def _with_others(self, frame: Frame, at: Index, other: Mask) -> Frame:
        """States of numbers of which some are not in the map, or are none."""
        ids = self._states_of(frame.point)
        if self._unknown is Unknown.TEXT:
            at = np.where(other, len(self._texts) - 1, at)
        value, words = self._codes_of(frame.point, at), frame.quality
        nothing = np.isnan(frame.value)
        if nothing.any():
            value = np.where(nothing, frame.value, value)
            other = other & ~nothing
        if self._unknown is Unknown.INVALID:
            value[other] = q.no_value(q.Reason.NOT_FOUND)
            words = words.copy()
            words[other] = q.worse(words[other], q.INVALID, 0)
        return Frame(ids, frame.time, value, words)

    def _codes_of(self, ids: Ids, at: Index) -> Values:
        codes: Values = self._codes[0][at] if len(self._rows) <= 1 else self._codes[self._row[ids], at]
        return codes

    def _states_of(self, ids: Ids) -> Ids:
        """The state of each sample, [n]."""
        if len(self._points) > len(self._state):
            self._state = grown(self._state, len(self._points), -1)
            self._row = grown(self._row, len(self._points))
        found: Ids = self._state[ids]
        if len(found) and found.min() < 0:
            for point_id in np.unique(ids[found < 0]).tolist():
                self._learn(point_id)
            found = self._state[ids]
        return found

    def _learn(self, point_id: int) -> None:
        state = int(self._points.derive(np.array([point_id], np.int32), self._suffix, **_FACTS)[0])
        codes = tuple(self._points.state(state, text) for text in self._texts)
        if codes not in self._rows:
            self._rows.append(codes)
            self._codes = np.array(self._rows)
        self._state[point_id], self._row[point_id] = state, self._rows.index(codes)
