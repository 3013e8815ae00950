"""Lookups in samples that are sorted by slot and time: the last one up to a time, and the line between two."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.quality import Reason, no_value

if TYPE_CHECKING:
    from gateway.frame import Frame, Index, Mask, Qualities, Times, Values

_MISSING: Final = no_value(Reason.MISSING)


class Finder:
    """Samples sorted by slot and time, and lookups in them."""

    def __init__(self, key: npt.NDArray[np.int64], slot: npt.NDArray[np.int64], samples: Frame, base: int) -> None:
        self._key, self._slot, self._samples, self._base = key, slot, samples, np.int64(base)

    def last(self, slot: npt.NDArray[np.int64], rank: Index) -> Index:
        """Index of the last sample of a slot up to a time, [k]; may be of another slot, see :meth:`belongs`."""
        found: Index = np.searchsorted(self._key, slot * self._base + rank, side="right") - 1
        return found

    def belongs(self, at: Index, slot: npt.NDArray[np.int64]) -> Mask:
        """Whether the sample at each index is there and of that slot, [k]."""
        inside = (at >= 0) & (at < len(self._slot))
        result: Mask = inside & (self._slot[np.where(inside, at, 0)] == slot)
        return result

    def has(self, slot: npt.NDArray[np.int64], rank: Index) -> Mask:
        """Whether a slot has a sample at that very time, [k]."""
        at = self.last(slot, rank)
        result: Mask = (at >= 0) & (self._key[np.maximum(at, 0)] == slot * self._base + rank)
        return result

    def held(self, at: Index, slot: npt.NDArray[np.int64], time: Times, limit_ns: int) -> tuple[Values, Qualities]:
        """The samples at ``at`` if they are no older than the limit, else missing."""
        ok = self.belongs(at, slot)
        at = np.where(ok, at, 0)
        ok &= self._samples.time[at] >= time - limit_ns
        value = np.where(ok, self._samples.value[at], _MISSING)
        quality = np.where(ok, self._samples.quality[at], np.uint16(q.INVALID)).astype(np.uint16)
        return value, quality

    def between(self, before: Index, slot: npt.NDArray[np.int64], time: Times, gap_ns: int) -> tuple[Values, Qualities]:
        """Linear between the samples at ``before`` and behind it; both have to be usable and near each other."""
        value, quality = self.held(before, slot, time, 0)
        exact = self.belongs(before, slot) & (self._samples.time[np.maximum(before, 0)] == time)
        after = before + 1
        both = ~exact & self.belongs(before, slot) & self.belongs(after, slot)
        a, b = np.where(both, before, 0), np.where(both, after, 0)
        t0, t1 = self._samples.time[a], self._samples.time[b]
        both &= t1 - t0 <= gap_ns
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            part = (time - t0) / np.maximum(t1 - t0, 1)
            v0, v1 = self._samples.value[a], self._samples.value[b]
            line = v0 + (v1 - v0) * part
        words = q.worse(self._samples.quality[a], 0, 0)
        worst = np.maximum(q.severity(words), q.severity(self._samples.quality[b]))
        joined = ((words | self._samples.quality[b]) & np.uint16(0xFFFF ^ q.VALIDITY)) | q.validity_of(worst)
        return np.where(both, line, value), np.where(both, joined, quality).astype(np.uint16)


def pattern_of(text: str) -> re.Pattern[str]:
    """``*/p`` with a group for each ``*``; ``*`` never matches a ``#``, so that derived points need their names."""
    parts = ("([^/#]*)" if part == "*" else re.escape(part) for part in re.split(r"(\*)", text))
    return re.compile("".join(parts) + r"\Z")
