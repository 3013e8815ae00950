"""A text file in blocks of whole lines, with the number of each block's first line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO, Final

from gateway.trial.source import BadInputError

LONGEST_LINE: Final = 1 << 24


class Lines:
    """Reads forward only, so that a pipe will do.

    Args:
        stream: the bytes.
        name: what messages call it.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self.done = 0
        """Bytes read."""
        self.number = 1
        """Of the next line that is given out."""
        self._stream = stream
        self._rest = b""

    def header(self) -> str:
        """The first line that is not empty, without its end; empty if there is none."""
        while line := self._stream.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                raise self.bad(self.number, 1, f"a line of more than {LONGEST_LINE >> 20} MiB")
            self.done += len(line)
            self.number += 1
            text = self.text(line, self.number - 1).lstrip("\ufeff").strip()
            if text:
                return text
        return ""

    def blocks(self, size: int) -> Iterator[tuple[int, bytes]]:
        """(number of the first line, whole lines without the last line end), about ``size`` bytes each."""
        while raw := self._stream.read(size):
            self.done += len(raw)
            end = raw.rfind(b"\n")
            if end < 0:
                self._rest += raw
                if len(self._rest) > LONGEST_LINE:
                    raise self.bad(self.number, 1, f"a line of more than {LONGEST_LINE >> 20} MiB")
                continue
            block, self._rest = self._rest + raw[:end], raw[end + 1 :]
            yield self._numbered(block)
        if self._rest:
            block, self._rest = self._rest, b""
            yield self._numbered(block)

    def _numbered(self, block: bytes) -> tuple[int, bytes]:
        first = self.number
        self.number += block.count(b"\n") + 1
        return first, block

    def bad(self, line: int, column: int, message: str) -> BadInputError:
        """The error to raise."""
        return BadInputError(self.name, line, column, message)

    def text(self, line: bytes, number: int) -> str:
        """A line as text.

        Raises:
            BadInputError: it is not UTF-8.
        """
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.bad(number, error.start + 1, f"byte 0x{line[error.start]:02X} is not UTF-8") from None

    def cells(self, text: str, number: int, separator: str) -> list[str]:
        """The cells of a line of CSV.

        Raises:
            BadInputError: it is none, such as one with a line end inside.
        """
        try:
            return next(csv.reader([text], delimiter=separator, strict=True), [])
        except csv.Error as error:
            raise self.bad(number, 1, str(error).partition(" - ")[0]) from None


def unix_ends(block: bytes) -> bytes | None:
    """A block with Unix line ends and without the last ones; None if it has others inside lines."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
    return None if b"\r" in block else block.rstrip(b"\n")
