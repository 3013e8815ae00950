"""Columns of integers as few bytes.

A number by itself is a varint: seven bits a byte, lowest first, the top bit set in all but the last; a signed one is
zigzagged before (0, -1, 1, -2 ... become 0, 1, 2, 3 ...). A column of n numbers is one byte, ``form + 4 * width + 32 if
there is a step``, and then:

    form 0  constant      the number
    form 1  offsets       the first number; n offsets from it
    form 2  differences   the first number; n - 1 differences
    form 3  differences of differences    the first number; the first difference; n - 2 differences of differences

The numbers before the semicolon are signed varints. If there is a step, which all that follows was divided by, it comes
next as a varint. What follows is, by ``width``, 0: nothing (all are 0); 1 to 4: little-endian integers of 1, 2, 4 or
8 bytes, shuffled (all lowest bytes first, so that the rarely used high bytes become runs for zstd); 5: signed
varints. Sums wrap around as 64-bit integers do.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd
from typing import Final

import numpy as np
import numpy.typing as npt

from gateway.errors import PayloadError

Int64s = npt.NDArray[np.int64]

_CONSTANT, _OFFSETS, _DIFFERENCES, _SECOND = range(4)
_WIDTHS: Final = (0, 1, 2, 4, 8)
_VARINTS: Final = 5
_STEP: Final = 32
_FEW: Final = 128
"""Up to so many numbers are written as varints where that is shorter; zstd does better with more of them shuffled."""
_FEWEST: Final = 16
_FAR: Final = 1 << 41
"""Numbers beyond it are shorter in eight bytes than as varints, or nearly."""
_PROBE: Final = 16
"""How many leading numbers propose the common step."""
_PLACES = np.arange(10)
_BITS = (7 * _PLACES).astype(np.uint64)
_MASK64: Final = (1 << 64) - 1


def write_varint(out: bytearray, number: int) -> None:
    """Append an unsigned number."""
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def write_signed(out: bytearray, number: int) -> None:
    """Append a signed number of 64 bits."""
    write_varint(out, (number << 1 ^ number >> 63) & _MASK64)


def write(out: bytearray, column: Int64s) -> None:
    """Append a column, [n]; n must be at least 1."""
    first = int(column[0])
    if len(column) == 1 or not np.count_nonzero(column != first):
        out.append(_CONSTANT)
        write_signed(out, first)
        return
    if len(column) <= _FEWEST and _write_few(out, column.tolist()):
        return
    firsts = [first]
    form, numbers = _OFFSETS, column - first
    differences = column[1:] - column[:-1]
    if cheaper(differences, numbers):
        form, numbers = _DIFFERENCES, differences
        second = differences[1:] - differences[:-1]
        if len(second) and cheaper(second, differences):
            form, numbers = _SECOND, second
            firsts.append(int(differences[0]))
    _write_numbers(out, form, firsts, numbers)


def _write_few(out: bytearray, column: list[int]) -> bool:
    """The same for a handful of numbers, where numpy's calls would cost more than the work; False if it is not done."""
    first = column[0]
    form, numbers = _OFFSETS, [number - first for number in column]
    differences = [after - before for before, after in pairwise(column)]
    if sum(map(abs, differences)) < sum(map(abs, numbers)):
        form, numbers = _DIFFERENCES, differences
    if min(differences) == max(differences) and abs(differences[0]) < _FAR:
        out.append(_SECOND)  # ids that follow each other: all second differences are 0
        write_signed(out, first)
        write_signed(out, differences[0])
        return True
    step = gcd(*numbers)
    if max(map(abs, numbers)) // step >= _FAR:
        return False
    out.append(form + 4 * _VARINTS + (_STEP if step > 1 else 0))
    write_signed(out, first)
    if step > 1:
        write_varint(out, step)
    for number in numbers:
        write_signed(out, number // step)
    return True


def cheaper(one: Int64s, other: Int64s) -> bool:
    """Whether one column likely takes fewer bytes than another, by the size of its numbers.

    The sums may wrap around, which at worst makes the choice a poor one.
    """
    return bool(np.add.reduce(np.abs(one)) < np.add.reduce(np.abs(other)))


def _write_numbers(out: bytearray, form: int, firsts: list[int], numbers: Int64s) -> None:
    step = _common_step(numbers)
    if step > 1:
        numbers = numbers // step
    width = _width(numbers)
    varints = None
    if width and len(numbers) <= _FEW:
        varints = _varints(numbers)
        if len(varints) > len(numbers) * _WIDTHS[width]:
            varints = None
    out.append(form + 4 * (width if varints is None else _VARINTS) + (_STEP if step > 1 else 0))
    for first in firsts:
        write_signed(out, first)
    if step > 1:
        write_varint(out, step)
    if varints is not None:
        out += varints
    elif width == 1:
        out += numbers.astype(np.int8).tobytes()
    elif width:
        narrow = numbers.astype(f"<i{_WIDTHS[width]}")
        out += narrow.view(np.uint8).reshape(-1, _WIDTHS[width]).T.tobytes()


def _width(numbers: Int64s) -> int:
    low, high = int(np.minimum.reduce(numbers)), int(np.maximum.reduce(numbers))
    reach = max(high, ~low)
    return 0 if low == high == 0 else 1 if reach < 1 << 7 else 2 if reach < 1 << 15 else 3 if reach < 1 << 31 else 4


def _common_step(numbers: Int64s) -> int:
    """A divisor of all numbers: times in whole seconds need not carry nine zeros."""
    step = int(np.gcd.reduce(np.abs(numbers[:_PROBE])))
    if len(numbers) > _PROBE and step > 1:
        step = int(np.gcd.reduce(np.append(np.abs(numbers[_PROBE :: max(1, len(numbers) // _PROBE)]), step)))
    if step <= 1 or (len(numbers) > _PROBE and np.count_nonzero(numbers % step)):
        return 1
    return step


def _varints(numbers: Int64s) -> bytes:
    """Signed varints of all numbers, one after the other."""
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    groups = zigzag[:, None] >> _BITS
    sizes = np.maximum(np.count_nonzero(groups, axis=1), 1)[:, None]
    septets = (groups & np.uint64(0x7F)).astype(np.uint8)
    septets[sizes - 1 > _PLACES] |= 0x80
    return bytes(septets[sizes > _PLACES])


class Reader:
    """Takes apart what the functions above wrote.

    Raises:
        PayloadError: ``bad-column``, in every method, if the bytes do not hold what is asked for.
    """

    def __init__(self, raw: bytes | memoryview, at: int = 0) -> None:
        self._raw = memoryview(raw)
        self._at = at
        self._end = len(self._raw)

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return self._end - self._at

    def take(self, size: int) -> memoryview:
        """The next bytes."""
        if size > self.left:
            raise PayloadError("bad-column", f"{self.left} bytes are left where {size} are wanted")
        self._at += size
        return self._raw[self._at - size : self._at]

    def byte(self) -> int:
        """One byte."""
        if self._at >= self._end:
            raise PayloadError("bad-column", "a byte is wanted where none is left")
        self._at += 1
        return self._raw[self._at - 1]

    def varint(self) -> int:
        """An unsigned number below 2**64."""
        number = self.byte()
        if number < 0x80:
            return number
        number &= 0x7F
        for shift in range(7, 70, 7):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number & _MASK64
        raise PayloadError("bad-column", "a number of more than ten bytes")

    def signed(self) -> int:
        """A signed number of 64 bits."""
        number = self.varint()
        return number >> 1 ^ -(number & 1)

    def column(self, n: int) -> Int64s:
        """A column of n numbers, [n]; n must be at least 1."""
        head = self.byte()
        form, width = head & 3, head >> 2 & 7
        if head > 2 * _STEP - 1 or width > _VARINTS or (form == _CONSTANT and head) or n < form - 1:
            raise PayloadError("bad-column", f"form {head} for {n} numbers")
        first = self.signed()
        if form == _CONSTANT:
            return np.full(n, first, np.int64)
        firsts = [first, self.signed()] if form == _SECOND else [first]
        step = self.varint() if head & _STEP else 1
        numbers = self._numbers(width, n + 1 - form)
        if step != 1:
            numbers *= np.uint64(step).astype(np.int64)
        if form == _OFFSETS:
            return numbers + np.int64(first)
        if form == _SECOND:
            numbers = _summed(firsts[1], numbers)
        return _summed(first, numbers)

    def _numbers(self, width: int, n: int) -> Int64s:
        if width == _VARINTS:
            return self._varints(n)
        if not width:
            return np.zeros(n, np.int64)
        size = _WIDTHS[width]
        raw = np.frombuffer(self.take(n * size), np.uint8)
        return raw.reshape(size, n).T.copy().view(f"<i{size}").reshape(n).astype(np.int64)

    def _varints(self, n: int) -> Int64s:
        raw = np.frombuffer(self._raw[self._at : self._at + 10 * n], np.uint8)
        ends = np.flatnonzero(raw < 0x80)[:n] + 1
        if len(ends) < n:
            raise PayloadError("bad-column", f"{len(ends)} varints where {n} are wanted")
        if not n:
            return np.zeros(0, np.int64)
        starts = np.append(0, ends[:-1])
        sizes = ends - starts
        if sizes.max() > len(_BITS):
            raise PayloadError("bad-column", "a number of more than ten bytes")
        raw = raw[: len(self.take(int(ends[-1])))]
        shifts = _BITS[np.arange(len(raw)) - np.repeat(starts, sizes)]
        zigzag = np.add.reduceat((raw & 0x7F).astype(np.uint64) << shifts, starts)
        return (zigzag >> np.uint64(1)).view(np.int64) ^ -(zigzag & np.uint64(1)).view(np.int64)


def _summed(first: int, differences: Int64s) -> Int64s:
    out = np.empty(len(differences) + 1, np.int64)
    out[0] = first
    out[1:] = differences
    return np.cumsum(out, out=out)
