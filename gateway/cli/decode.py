"""``onpath decode``: frame messages to JSON lines or CSV, or what they cost by column."""

from __future__ import annotations

import contextlib
import csv
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import msgspec

from gateway.cli.decode_stats import Stats
from gateway.errors import OnpathError, PayloadError
from gateway.wire.message import FrameDecoder
from gateway.wire.record import TimeFormat
from gateway.wire.stream import messages, texts

WAITING: Final = 10_000
"""Batches of a pipe that wait for their directory message, at most; then the oldest is given up."""
_RECORD: Final = ("gateway", "epoch", "seq", "pipeline", "historical")
CSV_COLUMNS: Final = (*_RECORD, "time", "point", "value", "quality", "reason")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be decoded, and how it is shown."""

    files: list[Path]
    ns: bool = False
    coding: str = ""
    """``hex``, ``base64``, or nothing for the messages' own bytes."""
    as_csv: bool = False
    stats: bool = False
    as_json: bool = False


class Shown(Protocol):
    """One way to show batches."""

    def message(self, message: Any) -> None:
        """A message, before it is decoded."""

    def take(self, record: dict[str, Any]) -> None:
        """A batch, as in the format ``json``."""

    def end(self) -> None:
        """There are no more."""


def decode_files(request: Request) -> None:
    """Decode files of frame messages, or standard input.

    Raises:
        OnpathError: a file cannot be read, or something in one could not be decoded; what could be was shown.
    """
    shown: Shown = Stats(as_json=request.as_json) if request.stats else _Csv() if request.as_csv else _Lines()
    decoding = _Decoding(FrameDecoder(TimeFormat.NS if request.ns else TimeFormat.RFC3339), shown)
    if regular := [path for path in request.files if path.is_file()]:
        for _, stream in _streams(regular):  # a directory message may come behind what refers to it
            decoding.learn(_found(stream, request.coding))
    for name, stream in _streams(request.files):
        decoding.run(name, _found(stream, request.coding))
    decoding.end()
    shown.end()
    if decoding.failed:
        raise OnpathError(f"{decoding.failed} message(s) could not be decoded")


def _streams(files: list[Path]) -> Iterator[tuple[str, BinaryIO]]:
    if not files:
        yield "standard input", sys.stdin.buffer
    for path in files:
        try:
            with path.open("rb") as stream:
                yield str(path), stream
        except OSError as error:
            raise OnpathError(f"{path}: {error.strerror}") from error


def _found(stream: BinaryIO, coding: str) -> Iterator[Any]:
    return texts(stream, coding) if coding else messages(stream)


class _Decoding:
    """Decodes messages in their order; a batch whose directory comes later waits for it."""

    def __init__(self, decoder: FrameDecoder, shown: Shown) -> None:
        self._decoder = decoder
        self._shown = shown
        self._waiting: deque[tuple[str, Any]] = deque()
        self.failed = 0

    def learn(self, found: Iterator[Any]) -> None:
        """Take the directory messages only; what is wrong is told when it is decoded."""
        with contextlib.suppress(PayloadError):
            for message in found:
                if isinstance(message, dict) and "points" in message:
                    with contextlib.suppress(PayloadError):
                        self._decoder.decode(message)

    def run(self, name: str, found: Iterator[Any]) -> None:
        """Show what messages say, and tell of those that cannot be decoded."""
        try:
            for message in found:
                self._shown.message(message)
                self._take(name, message)
        except PayloadError as error:  # of the stream: what follows cannot be told apart
            self._fail(name, error)

    def _take(self, name: str, message: Any) -> None:
        try:
            record = self._decoder.decode(message)
        except PayloadError as error:
            if error.reason != "unknown-directory":
                self._fail(name, error)
                return
            self._waiting.append((name, message))
            if len(self._waiting) > WAITING:
                self._fail(self._waiting.popleft()[0], error)
            return
        if record is not None:
            self._shown.take(record)
        elif self._waiting:
            again, self._waiting = self._waiting, deque()
            for whose, waited in again:
                self._take(whose, waited)

    def end(self) -> None:
        """Tell of what waited in vain."""
        for name, message in self._waiting:
            try:
                self._decoder.decode(message)
            except PayloadError as error:
                self._fail(name, error)

    def _fail(self, name: str, error: PayloadError) -> None:
        self.failed += 1
        print(f"{name}: {error}", file=sys.stderr)


class _Lines:
    """One JSON object a batch."""

    def message(self, message: Any) -> None:
        """See :class:`Shown`."""

    def take(self, record: dict[str, Any]) -> None:
        """See :class:`Shown`."""
        sys.stdout.buffer.write(msgspec.json.encode(record) + b"\n")

    def end(self) -> None:
        """See :class:`Shown`."""
        sys.stdout.buffer.flush()


class _Csv:
    """One line a sample. A loss marker has no samples; it is told on standard error."""

    def __init__(self) -> None:
        self._rows = csv.writer(sys.stdout, lineterminator="\n")
        self._rows.writerow(CSV_COLUMNS)

    def message(self, message: Any) -> None:
        """See :class:`Shown`."""

    def take(self, record: dict[str, Any]) -> None:
        """See :class:`Shown`."""
        of_batch = [str(record[column]).lower() if column == "historical" else record[column] for column in _RECORD]
        if loss := record.get("loss"):
            where = f"{record['gateway']}/{record['epoch']}/{record['seq']}"
            what = f"{loss['count']} samples lost from {loss['from']} to {loss['to']}, {loss['reason']}"
            print(f"{where} ({record['pipeline']}): {what}", file=sys.stderr)
        for sample in record["samples"]:
            value = "" if sample["value"] is None else sample["value"]
            told = (sample["time"], sample["point"], value, sample["quality"], sample.get("reason", ""))
            self._rows.writerow((*of_batch, *told))

    def end(self) -> None:
        """See :class:`Shown`."""
        sys.stdout.flush()
