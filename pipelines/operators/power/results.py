"""From numbers to samples: what all power operators do to a result before it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway import quality as q
from gateway.frame import Frame
from gateway.point import Kind, Merge
from pipelines.operators.aligned import worst_of

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask, Qualities, Times, Values

FARTHEST_NS: Final = (1 << 62) - 1
"""Source times beyond it (the year 2116, or as long before 1970) are wild; differences of others fit an int64."""
PLAIN: Final[dict[str, Any]] = {
    "kind": Kind.GAUGE, "limits": None, "resolution": None, "merge": Merge.LAST,
}  # fmt: skip
"""What a derived point is, unless its operator says more."""


def columns_of(frame: Frame) -> dict[str, Any]:
    """A frame as part of a snapshot."""
    return {
        "point": frame.point.copy(),
        "time": frame.time.copy(),
        "value": frame.value.copy(),
        "quality": frame.quality.copy(),
    }


def frame_of(columns: dict[str, Any]) -> Frame:
    """The inverse of :func:`columns_of`."""
    return Frame(*(columns[name].copy() for name in ("point", "time", "value", "quality")))


def usable(value: Values, quality: Qualities) -> Mask:
    """Where there is a finite value that is not invalid."""
    result: Mask = np.isfinite(value) & ~q.is_invalid(quality)
    return result


def sealed(ids: Ids, time: Times, value: Values, quality: Qualities) -> Frame:
    """Results as samples: a NaN gets a reason, unless it has one, and is invalid; a zero has no sign.

    The sign of a sum that is zero depends on what else was added up in the same call, such as other points.
    """
    value = np.where(value == 0.0, 0.0, value)
    nan = np.isnan(value)
    if nan.any():
        nameless = nan & (q.reason_codes(value) == 0)
        value = np.where(nameless, q.no_value(q.Reason.NOT_A_NUMBER), value)
        quality = np.where(nan, q.worse(quality, q.INVALID, 0), quality).astype(np.uint16)
    return Frame(ids.astype(np.int32), time, value, quality)


def both(a: Qualities, b: Qualities) -> Qualities:
    """The worse validity and all flags of two columns."""
    return worst_of(np.stack([a, b], axis=1))


def marked(quality: Qualities, where: Mask, flags: int = q.INACCURATE) -> Qualities:
    """Quality made at least questionable, with flags (inaccurate: estimated, or made of a part), at some places."""
    return np.where(where, q.worse(quality, q.QUESTIONABLE, flags), quality).astype(np.uint16)
