"""Pages of a SQLite file and its write-ahead log, read without SQLite, for what SQLite refuses to read.

The formats are those of https://sqlite.org/fileformat2.html: b-tree leaves (section 1.6), records (2.1), overflow pages
(1.6), the log (4.1). Pure functions over bytes; whatever the bytes are, they give rows or nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SIZES = (4096, 1024)
"""Bytes of a page that stores have had: SQLite's default, and what new ones are given (gateway.store.database)."""
_HEAD = b"SQLite format 3\0"
_BEGINNINGS = frozenset({0x02, 0x05, 0x0A, 0x0D})
"""First bytes of pages of b-trees."""
_TABLE_LEAF, _INDEX_LEAF = 0x0D, 0x0A
_VERSIONS = {b"\2\2\0\x40\x20\x20", b"\1\1\0\x40\x20\x20"}
_WAL_HEAD, _FRAME_HEAD = 32, 24

Value = int | float | str | bytes | None


@dataclass
class Log:
    """A write-ahead log: what of it can be believed, frame by frame."""

    size: int | None = None
    """Bytes of a page; None if the log does not say."""
    pages: dict[int, int] = field(default_factory=dict)
    """Where the newest committed content of a page is, by page number."""
    bad: set[int] = field(default_factory=set)
    """Pages whose newest content is damaged."""
    rotten: bool = False
    """A damaged transaction with whole ones behind it: no torn write, for each was synced before the next."""


def sound_header(path: Path) -> bool:
    """Whether what never changes in the head of a file is as it must be; there is nothing wrong with an empty one."""
    if not path.is_file() or path.stat().st_size < 100:
        return True
    with path.open("rb") as file:
        head = file.read(100)
    return _told_size(head) is not None and head[18:24] in _VERSIONS and head[44:48] in {b"\0\0\0\4", bytes(4)}


def _told_size(head: bytes) -> int | None:
    """The size of pages that the head of a file tells, if it can be believed."""
    size = int.from_bytes(head[16:18], "big")
    return size if head[:16] == _HEAD and size in SIZES else None


def rotten(path: Path) -> bool:
    """Whether a log has a damaged transaction with whole ones behind it, of which SQLite would say nothing."""
    return path.is_file() and read_log(path.read_bytes()).rotten


@dataclass
class _Change:
    """One transaction of a log."""

    pages: dict[int, int | None] = field(default_factory=dict)
    """Where each page's content is; None where it is damaged."""
    whole: bool = True


def read_log(raw: bytes) -> Log:
    """What a log holds. A checksum runs on from frame to frame, but each frame has that of the one before it.

    Each transaction was synced before the next was written. One with damaged frames is what a power cut has left if
    nothing whole comes behind it, and counts for nothing; else it was committed, and damaged since.
    """
    log = Log(_log_size(raw))
    changes = list(_changes(raw, log.size)) if log.size else []
    last = max((place for place, change in enumerate(changes) if change.whole), default=-1)
    for change in changes[: last + 1]:
        log.rotten |= not change.whole
        for number, at in change.pages.items():
            if at is None:
                log.pages.pop(number, None)
                log.bad.add(number)
            else:
                log.pages[number] = at
                log.bad.discard(number)
    return log


def _log_size(raw: bytes) -> int | None:
    if len(raw) < _WAL_HEAD:
        return None
    magic, _, size = struct.unpack(">III", raw[:12])
    return size if magic in {0x377F0682, 0x377F0683} and size in SIZES else None


def _changes(raw: bytes, size: int) -> Iterator[_Change]:
    magic, salts, last = struct.unpack(">I12x8s8s", raw[:_WAL_HEAD])
    order = ">" if magic & 1 else "<"
    frames = range(_WAL_HEAD, len(raw) - _FRAME_HEAD - size + 1, _FRAME_HEAD + size)
    # Behind the end may be frames of an earlier round, with other salts; one between frames of this round is damaged
    end = max((at for at in frames if raw[at + 8 : at + 16] == salts), default=-1)
    change = _Change()
    for at in range(_WAL_HEAD, end + 1, _FRAME_HEAD + size):
        number, commit, own_salts, check = struct.unpack(">II8s8s", raw[at : at + _FRAME_HEAD])
        body = raw[at : at + 8] + raw[at + _FRAME_HEAD : at + _FRAME_HEAD + size]
        good = _checksum(order, body, struct.unpack(">II", last)) == struct.unpack(">II", check)
        last = check
        change.pages[number] = at + _FRAME_HEAD if good else None
        change.whole &= good and own_salts == salts
        if commit:
            yield change
            change = _Change()


def _checksum(order: str, body: bytes, seed: tuple[int, int]) -> tuple[int, int]:
    one, two = seed
    words = iter(struct.unpack(f"{order}{len(body) // 4}I", body))
    for even, odd in zip(words, words, strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two


class Image:
    """A file with its log laid over it, page by page. Not mapped: a sector that cannot be read would end the process.

    Args:
        file: a descriptor of the file, or None if there is none.
        raw_log: the bytes of its log.
    """

    def __init__(self, file: int | None, raw_log: bytes = b"") -> None:
        self._file = file
        self._raw = raw_log
        self.log = read_log(raw_log)
        length = 0 if file is None else os.fstat(file).st_size
        self.size = self.log.size or self._size(length)
        """Bytes of a page."""
        self.own = length // self.size
        """Pages of the file without its log."""
        self.count = max([self.own, *self.log.pages])

    def _size(self, length: int) -> int:
        """By the head of the file; if that is lost, by where pages of b-trees begin."""
        if self._file is None or length < SIZES[0]:
            return SIZES[0]
        try:
            told = _told_size(os.pread(self._file, 100, 0))
            if told is not None:
                return told
            between = [os.pread(self._file, 1, at) for at in range(SIZES[1], length, SIZES[0])]
            within = [os.pread(self._file, 1, at) for at in range(SIZES[0], length, SIZES[0])]
        except OSError:
            return SIZES[0]
        # in a file of large pages what lies between is the middle of one, where such a byte stands by chance only
        return SIZES[1] if 2 * sum(map(_begins, between)) > sum(map(_begins, within)) else SIZES[0]

    def page(self, number: int) -> bytes:
        """The content of a page, from 1; zeros where nobody knows it.

        Raises:
            ValueError: there is no such page.
        """
        if not 1 <= number <= self.count:
            raise ValueError("no such page")
        at = self.log.pages.get(number)
        if at is not None:
            return self._raw[at : at + self.size]
        return bytes(self.size) if number in self.log.bad else self._read(number) or bytes(self.size)

    def _read(self, number: int) -> bytes | None:
        if self._file is None or number > self.own:
            return None
        try:
            return os.pread(self._file, self.size, (number - 1) * self.size)
        except OSError:
            return None

    def unreadable(self) -> int:
        """How many pages of the file the disk does not give back."""
        return sum(self._read(number) is None for number in range(1, self.own + 1))


def _begins(raw: bytes) -> bool:
    return raw[:1] != b"" and raw[0] in _BEGINNINGS


def free_pages(image: Image) -> set[int]:
    """Pages that hold nothing any more, as far as the list of them can be followed."""
    free: set[int] = set()
    trunk = int.from_bytes(image.page(1)[32:36], "big") if image.count else 0
    while 1 <= trunk <= image.count and trunk not in free:
        free.add(trunk)
        page = image.page(trunk)
        count = min(int.from_bytes(page[4:8], "big"), image.size // 4 - 2)
        free.update(struct.unpack(f">{count}I", page[8 : 8 + 4 * count]))
        trunk = int.from_bytes(page[:4], "big")
    return free


def leaves(image: Image) -> Iterator[tuple[int | None, list[Value]]]:
    """Every row on every leaf in use: rowid, or None for one of an index, and columns as they are stored."""
    free = free_pages(image)
    for number in range(1, image.count + 1):
        page = image.page(number)
        head = 100 if number == 1 else 0
        if page[head] in {_TABLE_LEAF, _INDEX_LEAF} and number not in free:
            yield from _rows(image, page, head)


def _rows(image: Image, page: bytes, head: int) -> Iterator[tuple[int | None, list[Value]]]:
    table = page[head] == _TABLE_LEAF
    count = int.from_bytes(page[head + 3 : head + 5], "big")
    for place in range(head + 8, min(head + 8 + 2 * count, image.size - 1), 2):
        at = int.from_bytes(page[place : place + 2], "big")
        try:
            length, at = _varint(page, at)
            rowid = None
            if table:
                rowid, at = _varint(page, at)
                rowid -= (rowid >> 63) << 64
            yield rowid, _record(_payload(image, page, at, length, table=table))
        except (IndexError, ValueError, struct.error):
            continue  # this cell is not what was written; the next one may be


def _payload(image: Image, page: bytes, at: int, length: int, *, table: bool) -> bytes:
    """The bytes of a cell, with those that did not fit on its page."""
    size = image.size
    if length > image.count * size:
        raise ValueError("longer than the file")
    most = size - 35 if table else (size - 12) * 64 // 255 - 23
    if length <= most:
        return _slice(page, at, length)
    least = (size - 12) * 32 // 255 - 23
    here = least + (length - least) % (size - 4)
    here = here if here <= most else least
    parts = [_slice(page, at, here)]
    following = int.from_bytes(_slice(page, at + here, 4), "big")
    rest = length - here
    while rest:
        more = image.page(following)
        part = min(rest, size - 4)
        parts.append(more[4 : 4 + part])
        following = int.from_bytes(more[:4], "big")
        rest -= part
    return b"".join(parts)


def _slice(page: bytes, at: int, length: int) -> bytes:
    if at + length > len(page):
        raise ValueError("beyond its page")
    return page[at : at + length]


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | raw[place] & 0x7F
        if raw[place] < 0x80:
            return value, place + 1
    return value << 8 | raw[at + 8], at + 9


_WIDTHS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def _record(raw: bytes) -> list[Value]:
    end, at = _varint(raw, 0)
    kinds = []
    while at < end:
        kind, at = _varint(raw, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        width = _WIDTHS.get(kind, 8 if kind == 7 else (kind - 12) // 2 if kind >= 12 else 0)
        if kind in {10, 11} or at + width > len(raw):
            raise ValueError("no record")
        body = raw[at : at + width]
        at += width
        values.append(_value(kind, body))
    return values


def _value(kind: int, body: bytes) -> Value:
    if kind in _WIDTHS:
        return int.from_bytes(body, "big", signed=True)
    if kind == 7:
        return float(struct.unpack(">d", body)[0])
    if kind >= 12:
        return body.decode() if kind % 2 else body
    return None if kind == 0 else kind - 8
