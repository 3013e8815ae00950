"""Samples that wait for their verdict, in the order in which they came, and lookups among them by point and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.frame import Frame, concat
from pipelines.operators.judge.judging import frame_of, frame_state

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask, Times
    from pipelines.base import State


class Queue:
    """What waits, in the order in which it came."""

    def __init__(self, wait_ns: int) -> None:
        self._wait_ns = wait_ns
        self._fresh: list[Frame] = []
        """Since the last tick."""
        self._parts: list[tuple[int, Frame, Mask]] = []
        """What came before each tick, and what of it is suspect."""

    def add(self, frame: Frame) -> None:
        """Let samples wait."""
        if len(frame):
            self._fresh.append(frame)

    def tick(self, now_ns: int) -> None:
        """The waiting time of what came since the last tick begins."""
        if self._fresh:
            frame = concat(self._fresh)
            self._parts.append((now_ns, frame, np.zeros(len(frame), np.bool_)))
            self._fresh = []

    def mark(self, ids: Ids, times: Times, gap_ns: int) -> None:
        """Take the samples of these points that held at these times for suspect.

        For each pair that is the last sample up to the time, if it is at most ``gap_ns`` old; and others of the
        same point and time.
        """
        found = _holding(concat(self._frames()), ids, times, gap_ns)
        before = 0
        for _, part, suspect in self._parts:
            np.logical_or(suspect, found[before : before + len(part)], out=suspect)
            before += len(part)

    def _frames(self) -> list[Frame]:
        return [part for _, part, _ in self._parts]

    def due(self, now_ns: int) -> tuple[Frame, Mask]:
        """What has waited for long enough, and what of it is suspect."""
        n = 0
        while n < len(self._parts) and now_ns - self._parts[n][0] >= self._wait_ns:
            n += 1
        return self._first(n)

    def all(self) -> tuple[Frame, Mask]:
        """Everything that came before the last tick; nothing waits any more."""
        return self._first(len(self._parts))

    def _first(self, n: int) -> tuple[Frame, Mask]:
        out = concat(self._frames()[:n])
        suspect = [mask for _, _, mask in self._parts[:n]]
        del self._parts[:n]
        return out, np.concatenate(suspect) if suspect else np.zeros(0, np.bool_)

    def snapshot(self) -> State:
        """What waits, and since when."""
        return {
            "fresh": frame_state(concat(self._fresh)),
            "since": np.array([since for since, _, _ in self._parts], np.int64),
            "size": np.array([len(part) for part in self._frames()], np.int64),
            "held": frame_state(concat(self._frames())),
            "suspect": np.concatenate([np.zeros(0, np.bool_), *(mask for _, _, mask in self._parts)]),
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._fresh = []
        self.add(frame_of(state["fresh"]))
        held, ends = frame_of(state["held"]), np.cumsum(state["size"]).tolist()
        begins = [0, *ends]
        self._parts = [
            (since, held.take(slice(a, b)), state["suspect"][a:b].copy())
            for since, a, b in zip(state["since"].tolist(), begins, ends, strict=False)
        ]


def _holding(held: Frame, ids: Ids, times: Times, gap_ns: int) -> Mask:
    """Which samples held at the times, [n]; see :meth:`Queue.mark`."""
    mask = np.zeros(len(held), np.bool_)
    if not len(held) or not len(ids):
        return mask
    ranks, at = np.unique(np.concatenate([held.time, times]), return_inverse=True)
    base = np.int64(len(ranks))
    # One sortable number for (point, time): exact, because times go by their rank among those at hand
    keys = held.point.astype(np.int64) * base + at[: len(held)]
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    last = np.searchsorted(in_order, ids.astype(np.int64) * base + at[len(held) :], side="right") - 1
    there = last >= 0
    place = order[np.maximum(last, 0)]
    there &= (held.point[place] == ids) & (held.time[place] >= times - gap_ns)
    mask[order] = np.isin(in_order, in_order[last[there]])
    return mask
