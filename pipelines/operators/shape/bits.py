"""``bits``: the bits of a status word as points of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Kind, Merge, Name
from pipelines.base import Operator, OperatorConfig, grown

if TYPE_CHECKING:
    from gateway.frame import Ids
    from pipelines.base import Points

MAX_FIELDS: Final = 64
MAX_BIT: Final = 52
_WORD_LIMIT: Final = float(1 << 53)
_FACTS: Final[dict[str, Any]] = {
    "kind": Kind.STATE,
    "unit": "",
    "limits": None,
    "resolution": None,
    "merge": Merge.LAST,
}


class BitsConfig(OperatorConfig, frozen=True, kw_only=True):
    """Bits of a whole number as samples of points of their own: ``m1/status`` gives ``m1/status#alarm``.

    A field is one bit, counted from 0, the lowest, or a range of them, ``[first, last]``, whose number it is. A
    negative number is taken in two's complement, so that a word that was read as signed gives the same bits. The fields
    are states: a deadband passes each of their changes. Where the word is no whole number of at most 53 bits, the
    fields have no value; a missing word keeps its reason. Words are consumed unless ``keep`` says so. A range becomes
    text by ``enum: {..., points: "*/status#mode"}`` behind this step.

    Example::

        steps:
          - bits: {fields: {alarm: 3, door: 0, mode: [4, 6]}, keep: true, points: "*/status"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"fields": {"low": 0, "mode": [1, 8], "top": 52}},
        {"fields": {"all": [0, 52]}, "keep": True},
    )

    fields: dict[Name, int | tuple[int, int]]
    """Names of the fields and where they are: a bit, or the first and the last of several; 0 to 52."""
    keep: bool = False
    """Whether the word itself passes as well."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.fields) <= MAX_FIELDS:
            raise FieldError("fields", f"needs 1 to {MAX_FIELDS} fields, got {len(self.fields)}")
        for name, place in self.fields.items():
            first, last = _range(place)
            if not 0 <= first <= last <= MAX_BIT:
                raise FieldError(("fields", name), f"a bit is 0 to {MAX_BIT}, and a range [first, last] grows")

    def create(self, points: Points) -> Bits:
        """The operator for these options."""
        return Bits(self, points)


def _range(place: int | tuple[int, int]) -> tuple[int, int]:
    return (place, place) if isinstance(place, int) else place


class Bits(Operator):
    """See :class:`BitsConfig`."""

    def __init__(self, config: BitsConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        ranges = [_range(place) for place in config.fields.values()]
        self._suffixes = [f"#{name}" for name in config.fields]
        self._shift = np.array([first for first, _ in ranges], np.int64)
        self._mask = np.array([(1 << (last - first + 1)) - 1 for first, last in ranges], np.int64)
        self._keep = config.keep
        self._ids: Ids = np.empty((0, len(ranges)), np.int32)
        """The points of the fields, by the id of the word; -1 before its first sample."""

    def process(self, frame: Frame) -> Frame:
        """The fields of each word."""
        if not len(frame):
            return EMPTY
        fields = self._fields(frame)
        self.counts.derived += len(fields)
        if self._keep:
            return concat([frame, fields])
        self.counts.aggregated += len(frame)
        return fields

    def _fields(self, frame: Frame) -> Frame:
        with np.errstate(invalid="ignore"):
            numbers = frame.value.astype(np.int64)
        word = (numbers == frame.value) & (np.abs(frame.value) <= _WORD_LIMIT)
        value = ((numbers[:, None] >> self._shift) & self._mask).astype(np.float64)
        words = frame.quality
        if not word.all():
            nothing = np.where(np.isnan(frame.value), frame.value, q.no_value(q.Reason.NOT_A_NUMBER))
            value[~word] = nothing[~word, None]
            words = words.copy()
            words[~word] = q.worse(words[~word], q.INVALID, 0)
        width = len(self._suffixes)
        ids = self._fields_of(frame.point)
        return Frame(ids.ravel(), np.repeat(frame.time, width), value.ravel(), np.repeat(words, width))

    def _fields_of(self, ids: Ids) -> Ids:
        """The points of the fields of each word, [n, fields]."""
        if len(self._points) > len(self._ids):
            self._ids = grown(self._ids, len(self._points), -1)
        found: Ids = self._ids[ids]
        if found[:, 0].min() < 0:
            fresh = np.unique(ids[found[:, 0] < 0])
            derived = [self._points.derive(fresh, suffix, **_FACTS) for suffix in self._suffixes]
            self._ids[fresh] = np.stack(derived, 1)
            found = self._ids[ids]
        return found
