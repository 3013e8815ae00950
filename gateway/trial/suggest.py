"""Which settings of the reducing operators meet a wanted error, point by point, and what a looser one would save.

Each operator of :data:`CANDIDATES` runs over the samples of all points at once at a ladder of bounds around the
error that is wanted; what a receiver would reconstruct is compared with what came.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
import numpy as np

from gateway.config.plugins import installed
from gateway.directory import Directory
from gateway.frame import Frame, Values, concat, group_starts
from gateway.point import Kind
from gateway.trial.errors import Errors
from gateway.trial.source import Chunk, Source, each_in_order, in_time_order
from gateway.units import decode_quantity
from pipelines.base import Operator
from pipelines.bounds import Bound
from pipelines.reconstruct import RECONSTRUCTION

CANDIDATES: Final = ("deadband", "swinging_door")
LADDER: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
"""Bounds, as multiples of the error wanted."""
MOST: Final = 1 << 22
"""Samples that are looked at; they are in memory, several times."""
SILENCE_S: Final = 600
"""How long a point may be silent under the settings suggested, but at least:"""
SILENCE_PERIODS: Final = 20
"""so many times the usual distance of its samples."""
_WITHIN: Final = 1 + 1e-9


class Suggestions:
    """Finds settings for the points of a source.

    Args:
        directory: the points, with their limits.
        wanted: the largest error that may be made; a percentage is of the range of the point's ``limits``, or of
            the range that its samples span.
    """

    def __init__(self, directory: Directory, wanted: Bound) -> None:
        self._directory = directory
        self._wanted = wanted
        self.notes: list[str] = []
        self._silence = f"{SILENCE_S}s"

    def find(self, source: Source) -> dict[str, Any]:
        """``{"points": [...], "steps": [...]}``: the curve and the choice of each point, and the YAML's steps."""
        frame = self._numbers(self._read(source))
        if not len(frame):
            return {"wanted": str(self._wanted), "points": [], "steps": [], "notes": [*self.notes, "no numbers"]}
        starts = group_starts(frame.point)
        self._silence = _silence(frame)
        ids = frame.point[starts].tolist()
        errors = self._errors(ids, np.minimum.reduceat(frame.value, starts), np.maximum.reduceat(frame.value, starts))
        curves: dict[int, list[dict[str, Any]]] = {point: [] for point in ids}
        known = installed().operators
        for kind in (kind for kind in CANDIDATES if kind in known):
            for rung in LADDER:
                for point, row in self._tried(kind, rung, frame, errors).items():
                    curves[point].append(row)
        points = [self._chosen(point, errors[point], curves[point]) for point in ids]
        return {
            "wanted": str(self._wanted),
            "points": points,
            "steps": self._steps(points),
            "notes": [*self.notes, *source.notes],
        }

    def _read(self, source: Source) -> Frame:
        parts: list[Frame] = []
        total = 0
        for chunk in source.chunks():
            parts.append(_whole(chunk))
            total += len(parts[-1])
            if total >= MOST:
                self.notes.append(f"only the first {total:,} samples were looked at")
                break
        frame = concat(parts)
        return frame if each_in_order(frame) else in_time_order(frame)

    def _numbers(self, frame: Frame) -> Frame:
        """Valid numbers of points that are no states, grouped by point."""
        numeric = np.array([self._directory.point(i).kind is not Kind.STATE for i in range(len(self._directory))])
        frame = frame.take(np.isfinite(frame.value) & numeric[frame.point]) if len(frame) else frame
        return frame.take(np.argsort(frame.point, kind="stable"))

    def _errors(self, ids: list[int], low: Values, high: Values) -> dict[int, float]:
        """The error wanted of each point, in its unit."""
        if self._wanted.absolute is not None:
            return dict.fromkeys(ids, self._wanted.absolute)
        share = (self._wanted.percent or 0.0) / 100
        found = {}
        for point, least, most in zip(ids, low.tolist(), high.tolist(), strict=True):
            limits = self._directory.point(point).limits
            extent = limits[1] - limits[0] if limits is not None else math.inf
            found[point] = share * (extent if math.isfinite(extent) else most - least)
        return found

    def _tried(self, kind: str, rung: float, frame: Frame, errors: dict[int, float]) -> dict[int, dict[str, Any]]:
        """What an operator keeps of each point at one rung of the ladder."""
        points, operator = self._scratch(kind, rung, errors)
        watch = Errors(RECONSTRUCTION[kind], None, points)
        renumbered = frame.replace(point=np.searchsorted(list(errors), frame.point).astype(np.int32))
        out = concat([operator.process(renumbered), operator.clock_stepped(0)])
        watch.saw(renumbered, out, 0)
        watch.close()
        names = {points.name(at): point for at, point in enumerate(errors)}
        return {
            names[row["point"]]: {"step": kind, "bound": rung * errors[names[row["point"]]]}
            | {key: row[key] for key in ("in", "kept", "share", "largest_error", "mean_error")}
            for row in watch.result()
        }

    def _scratch(self, kind: str, rung: float, errors: dict[int, float]) -> tuple[Directory, Operator]:
        """Points whose limits make one percentage the bound of each, and the operator over them."""
        points = Directory(len(errors))
        for point, error in errors.items():
            known = self._directory.point(point)
            span = 100 * error if error > 0 else 0.0
            points.add(msgspec.structs.replace(known, name=f"{point}", limits=(0.0, span)))
        options = {"percent": rung, "max_silence": self._silence}
        config = msgspec.convert(options, installed().operators[kind], dec_hook=decode_quantity)
        return points, config.create(points)

    def _chosen(self, point: int, error: float, curve: list[dict[str, Any]]) -> dict[str, Any]:
        """The setting that keeps the fewest samples of those that meet the error."""
        meeting = [row for row in curve if row["largest_error"] is not None and row["largest_error"] <= error * _WITHIN]
        best = min(meeting, key=lambda row: (row["kept"], -row["bound"]), default=None)
        known = self._directory.point(point)
        return {"point": known.name, "unit": known.unit, "error": error, "best": best, "curve": curve}

    def _steps(self, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The choices as steps of a pipeline: points of one operator and one bound together."""
        steps: dict[tuple[str, float | str], list[str]] = {}
        for row in points:
            if row["best"] is not None:
                steps.setdefault((row["best"]["step"], self._epsilon(row)), []).append(row["point"])
        return [
            {
                step: {
                    "epsilon": epsilon,
                    "max_silence": self._silence,
                    "points": names[0] if len(names) == 1 else names,
                }
            }
            for (step, epsilon), names in steps.items()
        ]

    def _epsilon(self, row: dict[str, Any]) -> float | str:
        """The bound of a choice as it stands in YAML: in percent where the point has the limits that it needs."""
        known = self._directory.find(row["point"])
        assert known is not None
        limits = self._directory.point(known).limits
        if self._wanted.percent is not None and limits is not None and math.isfinite(limits[1] - limits[0]):
            return f"{_down(row['best']['bound'] / row['error'] * self._wanted.percent):g}%" if row["error"] else 0.0
        return _down(row["best"]["bound"])


def _silence(frame: Frame) -> str:
    """``max_silence`` for samples grouped by point."""
    distance = np.diff(frame.time)[np.diff(frame.point) == 0]
    distance = distance[distance > 0]
    usual_s = float(np.median(distance)) / 1e9 if len(distance) else 0.0
    return f"{max(SILENCE_S, math.ceil(SILENCE_PERIODS * usual_s))}s"


def _whole(chunk: Chunk) -> Frame:
    return chunk.part(0, len(chunk.times))


def _down(bound: float) -> float:
    """A bound in two digits, never a larger one."""
    if not bound:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    rounded = float(f"{math.floor(bound / unit * (1 + 1e-12)) * unit:.2g}")
    return rounded if rounded <= bound * _WITHIN else float(f"{rounded - unit:.2g}")
