"""Cells of CSV text as columns: where they are, and their numbers, without a Python object for any of them.

Eight characters are taken as one 64-bit word. A number of up to fifteen digits is two such words at the end of its
cell: digits are joined in pairs, fours and eights by three multiplications (D. Lemire, "Quickly parsing eight digits",
2018), the point counts as a digit 0 and is taken out afterwards. Digits and power of ten are exact in a double, so
their quotient is the double nearest to the text, as ``float`` gives it. Everything else is left to the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.frame import Index, Mask, Values

Words = npt.NDArray[np.uint64]

LONGEST: Final = 16
"""Characters of a number, without its sign."""
_PAD: Final = b"0" * 40
_LINE_END: Final = 10
_MINUS: Final = ord("-")
_ZEROS: Final = 0x3030303030303030
_POINTS: Final = 0x2E2E2E2E2E2E2E2E
_ONES: Final = 0x0101010101010101
_TOPS: Final = 0x8080808080808080
_ABOVE_NINE: Final = 0x4646464646464646
_POINT_TO_ZERO: Final = 0x2E ^ 0x30
_LAST: Final = np.array([(1 << 64) - (1 << (64 - 8 * n)) if n else 0 for n in range(9)], np.uint64)
"""Masks of the last n characters of a word."""
_FIRST: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""Masks of the first n characters of a word."""
_WIDE: Final = 5
"""Words of a text that is looked up; longer ones are read one by one."""
KNOWN: Final = 1 << 16
"""Texts of a column that are remembered."""
_JSON: Final = msgspec.json.Decoder(list[float])
_TENS: Final = 10 ** np.arange(17, dtype=np.int64)


class Cells:
    """The cells of lines that all have the same number of them.

    ``start`` and ``length``: int64 [rows, width], where each cell is in the text, which has zeros around the lines.
    """

    def __init__(self, text: bytes, start: Index, length: Index) -> None:
        self._text = text
        self.start = start
        self.length = length
        # Of an eight-byte type without an alignment, so that a word may begin anywhere.
        self._words = np.ndarray((len(text) - 7,), "V8", text, strides=(1,))
        self._raw = np.frombuffer(text, np.uint8)

    @classmethod
    def of(cls, lines: bytes, width: int, separator: str) -> Cells | None:
        """The cells of lines without quotes; None if a line has more or fewer than ``width``."""
        text = b"".join([_PAD, lines, b"\n", _PAD])
        raw = np.frombuffer(text, np.uint8)
        found = np.flatnonzero((raw == ord(separator)) | (raw == _LINE_END))
        if len(found) % width:
            return None
        ends = found.reshape(-1, width)
        is_end = raw[ends] == _LINE_END
        if not is_end[:, -1].all() or is_end[:, :-1].any():
            return None
        start = np.empty_like(ends)
        start.ravel()[1:] = found[:-1] + 1
        start[0, 0] = len(_PAD)
        return cls(text, start, ends - start)

    def __len__(self) -> int:
        return len(self.start)

    def words(self, at: Index) -> Words:
        """Eight characters each from these places on, [n]; the first character is the lowest byte."""
        found: Words = self._words[at].view("<u8")
        return found

    def numbers(self, start: Index, length: Index) -> tuple[Values, Mask]:
        """The numbers of some cells, and where a cell is no plain number, [n] each; an empty one is none."""
        minus = self._raw[start] == _MINUS
        length = length - minus
        end = start + length + minus
        low = self._digits(end - 8, np.minimum(length, 8))
        point = _lowest_point(low)
        # Bits below the point, a byte has eight: from it follows how many characters are behind.
        behind = np.where(point, 7 - (np.bitwise_count(point - np.uint64(1)) >> 3), 0).astype(np.intp)
        low ^= (point >> np.uint64(7)) * np.uint64(_POINT_TO_ZERO)
        wrong = _not_digits(low) | (length > LONGEST) | (length - (point != 0) < 1)
        digits = _joined(low).astype(np.int64)
        if int(length.max(initial=0)) > 8:
            high = self._digits(end - 16, np.clip(length - 8, 0, 8))
            wrong |= _not_digits(high)
            digits += _joined(high).astype(np.int64) * _TENS[8]
        tens = _TENS[behind]
        whole = np.where(point, digits // (10 * tens), 0)
        digits -= 9 * whole * tens
        wrong |= digits > 1 << 53
        value = digits / tens
        return np.where(minus, -value, value), wrong

    def _digits(self, at: Index, length: Index) -> Words:
        """Words whose characters before the cell are zeros."""
        mask = _LAST[length]
        return (self.words(at) & mask) | (np.uint64(_ZEROS) & ~mask)

    def values(self, start: Index, length: Index) -> Values | None:
        """The numbers of some cells, NaN where one is empty, [n]; None if one is something else.

        A number that is long, or has an exponent, goes through a decoder of JSON.
        """
        values, wrong = self.numbers(start, length)
        if not wrong.any():
            return values
        values[length == 0] = np.nan
        odd = np.flatnonzero(wrong & (length != 0))
        if len(odd):
            try:
                values[odd] = _JSON.decode(b"[" + b",".join(self.texts(start[odd], length[odd])) + b"]")
            except (msgspec.DecodeError, ValueError):
                return None
        return values

    def texts(self, start: Index, length: Index) -> list[bytes]:
        """Some cells as they are, [n]."""
        ends = start + length
        return [self._text[a:b] for a, b in zip(start.tolist(), ends.tolist(), strict=True)]


class Codes:
    """Numbers for the texts of a column that says few different things, or the same many times running.

    Args:
        read: the number of a text.
        remember: ask it once for each, while there are fewer than :data:`KNOWN`; else once for each run of equal
            ones.
    """

    def __init__(self, read: Callable[[bytes], int], *, remember: bool = True) -> None:
        self._read = read
        self._remember = remember
        self._clear()

    def _clear(self) -> None:
        self._keys: Words = np.empty(0, np.uint64)
        """Ascending; a mix of length and words of each text known."""
        self._known: Words = np.zeros((_WIDE + 1, 0), np.uint64)
        """Length and words themselves, for a mix does not prove that texts are equal."""
        self._codes = np.empty(0, np.int64)

    def __call__(self, cells: Cells, start: Index, length: Index) -> npt.NDArray[np.int64]:
        """The number of each cell, [n].

        Raises:
            ValueError: what ``read`` raises.
        """
        if not len(start):
            return np.empty(0, np.int64)
        if int(length.max()) > 8 * _WIDE:
            return self._each(cells, start, length)
        table = _table(cells, start, length)
        change = np.ones(len(start), np.bool_)
        change[1:] = table[0][1:] != table[0][:-1]
        for column in table[1:]:
            change[1:] |= column[1:] != column[:-1]
        first = np.flatnonzero(change)
        if not self._remember:
            found = self._each(cells, start[first], length[first])
        elif 4 * len(first) > len(start):
            return self._looked_up(cells, start, length, table)
        else:
            found = self._looked_up(cells, start[first], length[first], [column[first] for column in table])
        return np.repeat(found, np.diff(np.append(first, len(start))))

    def _each(self, cells: Cells, start: Index, length: Index) -> npt.NDArray[np.int64]:
        return np.fromiter(map(self._read, cells.texts(start, length)), np.int64, len(start))

    def _looked_up(self, cells: Cells, start: Index, length: Index, table: list[Words]) -> npt.NDArray[np.int64]:
        keys = _mixed(table)
        place, same = self._find(keys, table)
        if not same.all():
            new = np.flatnonzero(~same)
            self._learn(cells, start[new], length[new], keys[new], [column[new] for column in table])
            place, same = self._find(keys, table)
        return self._codes[place] if same.all() else self._each(cells, start, length)

    def _find(self, keys: Words, table: list[Words]) -> tuple[Index, Mask]:
        if not len(self._keys):
            return np.zeros(len(keys), np.intp), np.zeros(len(keys), np.bool_)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        same = self._known[0][place] == table[0]
        for known, column in zip(self._known[1:], table[1:], strict=False):
            same &= known[place] == column
        return place, same

    def _learn(self, cells: Cells, start: Index, length: Index, keys: Words, table: list[Words]) -> None:
        """Read the texts that are new."""
        fresh, at = np.unique(keys, return_index=True)
        codes = [self._read(text) for text in cells.texts(start[at], length[at])]
        if len(self._keys) + len(fresh) > KNOWN:
            self._clear()
        columns = np.zeros((_WIDE + 1, len(fresh)), np.uint64)
        columns[: len(table)] = [column[at] for column in table]
        everything = np.concatenate([self._keys, fresh])
        order = np.argsort(everything, kind="stable")
        self._keys = everything[order]
        self._known = np.concatenate([self._known, columns], axis=1)[:, order]
        self._codes = np.concatenate([self._codes, np.array(codes, np.int64)])[order]


def _table(cells: Cells, start: Index, length: Index) -> list[Words]:
    """The length of each cell, and its words with zeros behind its end, [n] each; as many as the longest needs."""
    table = [length.astype(np.uint64)]
    needed = range(0, int(length.max()), 8)
    return table + [cells.words(start + at) & _FIRST[np.clip(length - at, 0, 8)] for at in needed]


def _mixed(table: list[Words]) -> Words:
    """A number for each cell that differs for most that differ, [n]."""
    result = np.zeros(len(table[0]), np.uint64)
    for column in table:
        result = (result ^ column) * np.uint64(0x9E3779B97F4A7C15)
        result ^= result >> np.uint64(29)
    return result


def _lowest_point(words: Words) -> Words:
    """The top bit of the first byte that is a point; 0 if none is."""
    other = words ^ np.uint64(_POINTS)
    found = (other - np.uint64(_ONES)) & ~other & np.uint64(_TOPS)
    return found & (~found + np.uint64(1))


def _not_digits(words: Words) -> Mask:
    """Where a byte is something else than 0 to 9."""
    found: Mask = ((words + np.uint64(_ABOVE_NINE)) | (words - np.uint64(_ZEROS))) & np.uint64(_TOPS) != 0
    return found


def _joined(words: Words) -> Words:
    """Eight digits as a number."""
    words = (words & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561) >> np.uint64(8)
    words = (words & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    return (words & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32)
