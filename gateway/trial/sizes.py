"""How many bytes samples take upstream, as ``json`` and as ``frame``.

A sample goes upstream in the batch of its group commit, so samples are taken to come at their source times and are
cut into batches by the time between two commits (``store.commit``). Few samples are encoded for real; of many, evenly
spread ones, and the result says that it is estimated.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from gateway.batch import Batch
from gateway.directory import Directory
from gateway.frame import EMPTY, Frame, Times, concat
from gateway.uplinks.config import TimeFormat
from gateway.wire.message import FrameEncoder
from gateway.wire.record import encode_json, samples

GATHERED: Final = 1 << 16
"""Samples that are looked at together."""
ALL: Final = 1024
"""Up to so many samples are all encoded; of more, so many at least of each kind."""
LOOKED: Final = 256
BATCHES: Final = 8
MARKS: Final = 1 << 23
"""Spans of up to so many commits are counted by marks, longer ones by sorting."""


class Sizes:
    """The bytes of one stream of samples.

    Args:
        gateway: its name, which is part of every batch.
        pipeline: likewise.
        directory: the names of the points.
        commit_ns: time between two commits.
        frames: whether the format ``frame`` is wanted.
    """

    def __init__(self, gateway: str, pipeline: str, directory: Directory, commit_ns: int, *, frames: bool) -> None:
        self._gateway = gateway
        self._pipeline = pipeline
        self._directory = directory
        self._commit_ns = commit_ns
        self._frames = frames
        self._encoder = FrameEncoder(gateway, directory)
        self._gathered: list[Frame] = []
        self._waiting = 0
        self.samples = 0
        self.batches = 0
        self._json = 0.0
        self._frame = 0.0
        self.estimated = False

    def add(self, frame: Frame) -> None:
        """Samples go upstream."""
        if len(frame):
            self._gathered.append(frame)
            self._waiting += len(frame)
            if self._waiting >= GATHERED:
                self._look()

    def result(self) -> dict[str, Any]:
        """Samples, batches, and the bytes of both formats (``frame`` if it was wanted)."""
        self._look()
        found: dict[str, Any] = {"samples": self.samples, "batches": self.batches, "json_bytes": round(self._json)}
        if self._frames:
            found["frame_bytes"] = round(self._frame)
        return found | {"estimated": self.estimated}

    def _look(self) -> None:
        whole, self._gathered, self._waiting = concat(self._gathered), [], 0
        if not len(whole):
            return
        slots = whole.time // self._commit_ns
        batches = _distinct(slots)
        self.samples += len(whole)
        self.batches += batches
        self._json += self._json_of(whole) + batches * self._envelope()
        if self._frames:
            self._frame += self._frames_of(whole, slots, batches)

    def _json_of(self, whole: Frame) -> float:
        """Bytes of the samples in ``json``, with the commas between them."""
        looked = whole
        if len(whole) > ALL:
            self.estimated = True
            looked = whole.take(np.linspace(0, len(whole) - 1, LOOKED).astype(np.intp))
        encoded = len(msgspec.json.encode(samples(looked, self._directory, TimeFormat.RFC3339))) - 1
        return encoded * len(whole) / len(looked)

    def _envelope(self) -> int:
        """Bytes of a batch without its samples; one comma less, one line end more."""
        batch = Batch(self.batches, self._pipeline, 0, EMPTY, epoch=1_790_000_000)
        return len(encode_json(batch, self._gateway, self._directory, TimeFormat.RFC3339))

    def _frames_of(self, whole: Frame, slots: Times, batches: int) -> float:
        """Bytes of the batches in ``frame``; directory messages, sent once, left out."""
        order = np.argsort(slots, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(slots[order]) != 0))
        ends = np.append(starts[1:], len(whole))
        chosen = np.arange(batches)
        if batches > 4 * BATCHES:
            self.estimated = True
            chosen = np.linspace(0, batches - 1, BATCHES).astype(np.intp)
        total = 0
        for at in chosen.tolist():
            frame = whole.take(order[starts[at] : ends[at]])
            total += len(self._encoder.encode(Batch(at, self._pipeline, 0, frame, epoch=1_790_000_000))[0])
        return total * batches / len(chosen)


def _distinct(slots: Times) -> int:
    """How many different numbers there are."""
    first = int(slots.min())
    span = int(slots.max()) - first + 1
    if span > MARKS:
        return len(np.unique(slots))
    marks = np.zeros(span, np.bool_)
    marks[slots - first] = True
    return int(np.count_nonzero(marks))
