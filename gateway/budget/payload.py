"""How many payload bytes rows become: learnt, since it depends on the format. Pure.

A row on disk is what the format ``frame`` sends, and to that each message adds its head: so payload is taken as
``per_byte x bytes + per_row x rows``, with the two numbers that fit best what was sent lately (least squares that
forget). For JSON ``per_byte`` is some thirty and ``per_row`` little beside it.
"""

from __future__ import annotations

from typing import Final

FORGETS: Final = 0.9
"""A period."""
RIDGE: Final = 1e-3
"""How little a spread among rows has to be to say nothing about ``per_row``."""


class Payload:
    """See the module."""

    def __init__(self) -> None:
        self.per_byte = 1.0
        self.per_row = 0.0
        self._bb = self._bn = self._nn = self._sb = self._sn = 0.0

    def learn(self, size: int, rows: int, sent: int) -> None:
        """So many bytes in so many rows were handed over in a period, and so many payload bytes were sent."""
        if size <= 0 or rows <= 0 or sent <= 0:
            return
        b, n, s = float(size), float(rows), float(sent)
        self._bb = FORGETS * self._bb + b * b
        self._bn = FORGETS * self._bn + b * n
        self._nn = FORGETS * self._nn + n * n
        self._sb = FORGETS * self._sb + s * b
        self._sn = FORGETS * self._sn + s * n
        determinant = self._bb * self._nn - self._bn**2
        if determinant > RIDGE * self._bb * self._nn:
            per_byte = (self._sb * self._nn - self._sn * self._bn) / determinant
            per_row = (self._sn * self._bb - self._sb * self._bn) / determinant
            if per_byte >= 0 and per_row >= 0:
                self.per_byte, self.per_row = per_byte, per_row
                return
        self.per_byte, self.per_row = self._sb / self._bb, 0.0

    def of(self, size: float, rows: float) -> float:
        """Payload bytes of so many bytes in so many rows."""
        return self.per_byte * size + self.per_row * rows
