"""Report by exception where every point of a frame has the same number of samples: a matrix, decided row by row.

That is how polled devices come. Row k holds the k-th sample of each point; each row is compared with what was sent
before it, for all points at once. What passes is what :class:`pipelines.operators.reduce.news.Runs` finds, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.operators.reduce.news import New, Sent, around

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask
    from pipelines.operators.reduce.news import Tolerance

LONGEST: Final = 64
"""Rows; above it there are too few points in a frame for the steps to be worth their while."""


def rows_of(ids: Ids, least: int) -> int:
    """How many samples each point of a frame has, if all have as many, grouped by point, and more than one; else 0.

    Args:
        ids: of the samples, [n].
        least: points below which it is not worth while.
    """
    n = len(ids)
    rows = int(np.searchsorted(ids[: LONGEST + 1], ids[0], side="right"))
    if rows < 2 or rows > LONGEST or n % rows or n // rows < least:
        return 0
    first = ids[::rows]
    same = (first == ids[rows - 1 :: rows]).all() and (first[1:] > first[:-1]).all() and (ids[1:] >= ids[:-1]).all()
    return rows if same else 0


def decide(new: New, sent: Sent, rows: int, first: Ids, tolerance: Tolerance) -> Mask:
    """Which samples are news, [points, rows]. Call it under ``np.errstate(invalid="ignore", over="ignore")``.

    Args:
        new: the samples, grouped by point, [points * rows].
        sent: what was sent last of each point, [points]; is written to.
        rows: samples of each point.
        first: the points, [points].
        tolerance: how bands and times move on.
    """
    fixed, relative = tolerance.widths(first)
    if relative is None:
        sent.band = fixed  # and not what a NaN among others has left
    if sent.due is not None and new.time is not None:
        last, soonest = int(new.time.max()), min(int(sent.due.min()), int(new.time.min()) + tolerance.silence_ns - 1)
        if last <= soonest:
            sent.due = None  # nobody is silent for so long, whatever is sent on the way
    dues = None if sent.due is None else _turned(tolerance.due(new.time), rows)
    columns = _columns(new, sent, rows, len(first))
    passes = np.empty((rows, len(first)), np.bool_)
    for at, row in enumerate(columns):
        found = passes[at] = sent.differs(row)
        if not np.count_nonzero(found):
            continue
        np.copyto(sent.value, row.value, where=found)
        if relative is not None:
            np.copyto(sent.band, around(row.value, fixed, relative), where=found)
        due = None if dues is None else dues[at]
        for kept, fresh in ((sent.due, due), (sent.word, row.word), (sent.codes, row.codes)):
            if kept is not None and fresh is not None:
                np.copyto(kept, fresh, where=found)
    result: Mask = passes.T
    return result


def _columns(new: New, sent: Sent, rows: int, points: int) -> list[New]:
    """The samples row by row; columns that cannot matter are left out, here and in ``sent``."""
    word, codes = new.word, new.codes
    if word is not None and sent.word is not None and (word == word[0]).all() and (sent.word == word[0]).all():
        word = sent.word = None
    if codes is not None or sent.codes is not None:
        codes = np.zeros(rows * points, np.int32) if codes is None else codes
        sent.codes = np.zeros(points, np.int32) if sent.codes is None else sent.codes
    time = None if sent.due is None else new.time
    value, times, words, reasons = (_turned(column, rows) for column in (new.value, time, word, codes))
    return [
        New(
            value[at],
            None if times is None else times[at],
            None if words is None else words[at],
            None if reasons is None else reasons[at],
        )
        for at in range(rows)
    ]


def _turned(column: npt.NDArray[Any] | None, rows: int) -> Any:
    return None if column is None else np.ascontiguousarray(column.reshape(-1, rows).T)
