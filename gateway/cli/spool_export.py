"""``onpath spool export``: what waits, in a file; read beside a running daemon, or without one."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from gateway.batch import Batch
from gateway.cli.moments import moment
from gateway.config import load
from gateway.control import NotRunningError, ask
from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.store.config import SpoolConfig
from gateway.store.database import get_meta, rows_of
from gateway.store.reading import Reader, reading
from gateway.store.spool import Spool
from gateway.uplinks.config import TimeFormat
from gateway.wire.message import FrameEncoder
from gateway.wire.record import encode_json, samples

STANDARD_OUTPUT: Final = Path("-")
CSV_COLUMNS: Final = ("time", "point", "value", "quality", "reason", "uplink", "pipeline", "seq")
AT_ONCE: Final = 64


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be written, and where."""

    file: Path
    state: Path
    config: Path
    format: str = "json"
    uplinks: list[str] = field(default_factory=list)
    pipelines: list[str] = field(default_factory=list)
    since: str | None = None
    kept: bool = False
    gateway: str | None = None
    as_json: bool = False


@dataclass
class Exported:
    """What was written."""

    batches: int = 0
    samples: int = 0
    losses: int = 0
    """Loss markers."""
    lost: int = 0
    """Samples that they tell of."""
    damaged: int = 0
    """Rows that could not be read; each is told as a loss marker, too."""


Encoder = Callable[[str, Batch], bytes]


def export_spool(request: Request) -> None:
    """Write the file and say what is in it.

    Raises:
        OnpathError: the file exists, the format or the gateway's name is not known, or the store cannot be read.
    """
    if request.format not in _ENCODERS:
        raise OnpathError(f"--format: {request.format!r} is none of {', '.join(_ENCODERS)}")
    since_ns = moment("--since", request.since) if request.since is not None else -(1 << 63)
    name = request.gateway or _gateway_of(request)
    done = Exported()
    with Reader(request.state) as reader, reading():
        directory = reader.directory()
        encode = _ENCODERS[request.format](name, directory)
        with _created(request.file) as out:
            if request.format == "csv":
                out.write((",".join(CSV_COLUMNS) + "\n").encode())
            for uplink, batch in _batches(reader, request, since_ns, done):
                out.write(encode(uplink, batch))
    _tell(request, done)


def _gateway_of(request: Request) -> str:
    """The gateway's name, which is part of every record id: what the daemon says, or its configuration."""
    try:
        answer = asyncio.run(ask(request.state, "status"))
    except NotRunningError:
        if not request.config.exists():
            raise OnpathError("say the gateway's name with --gateway, or its configuration with -c") from None
        return load(request.config, os.environ).gateway
    return str(answer["status"]["gateway"])


@contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """A new file, durable at the end; one that could not be finished is taken away."""
    if path == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    try:
        file = path.open("xb")
    except FileExistsError:
        raise OnpathError(f"{path}: exists already") from None
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OnpathError(f"{path}: {error.strerror}") from error
        raise


def _batches(reader: Reader, request: Request, since_ns: int, done: Exported) -> Iterator[tuple[str, Batch]]:
    """(uplink, batch) in the order of seq."""
    spool = Spool(reader.db, SpoolConfig(), get_meta(reader.db, "epoch", 0))
    spool.load()
    waiting = "" if request.kept else "AND delivered_ns IS NULL"
    query = (
        "SELECT seq, uplink, pipeline, last_ns FROM spool "  # noqa: S608  constants
        f"WHERE seq > ? {waiting} ORDER BY seq LIMIT {AT_ONCE}"
    )
    after, now_ns = 0, time.time_ns()
    while rows := list(rows_of(reader.db, query, (after,))):
        for after, uplink, pipeline, last_ns in rows:
            if request.uplinks and uplink not in request.uplinks:
                continue
            if (request.pipelines and pipeline not in request.pipelines) or last_ns < since_ns:
                continue
            try:
                batch = spool.batch(uplink, after, now_ns)
            except StopIteration:  # it was delivered meanwhile
                continue
            done.batches += 1
            done.samples += len(batch.frame)
            if batch.loss is not None:
                done.losses += 1
                done.lost += batch.loss.count
            done.damaged = spool.damaged
            yield uplink, batch


def _json(gateway: str, directory: Directory) -> Encoder:
    return lambda _uplink, batch: encode_json(batch, gateway, directory, TimeFormat.RFC3339) + b"\n"


def _frame(gateway: str, directory: Directory) -> Encoder:
    encoder = FrameEncoder(gateway, directory)

    def encode(_uplink: str, batch: Batch) -> bytes:
        message, announced = encoder.encode(batch)
        return b"".join([*(described for _, described in announced), message])

    return encode


def _csv(_gateway: str, directory: Directory) -> Encoder:
    def encode(uplink: str, batch: Batch) -> bytes:
        out = io.StringIO()
        rows = samples(batch.frame, directory, TimeFormat.RFC3339)
        extra: dict[str, Any] = {"uplink": uplink, "pipeline": batch.pipeline, "seq": batch.seq}
        csv.writer(out, lineterminator="\n").writerows(
            [(row | extra).get(column) for column in CSV_COLUMNS] for row in rows
        )
        return out.getvalue().encode()

    return encode


_ENCODERS: Final[dict[str, Callable[[str, Directory], Encoder]]] = {"json": _json, "csv": _csv, "frame": _frame}


def _tell(request: Request, done: Exported) -> None:
    if request.as_json:
        stream = sys.stderr if request.file == STANDARD_OUTPUT else sys.stdout
        print(json.dumps(done.__dict__), file=stream)
        return
    print(f"{request.file}: {done.batches:,} batches, {done.samples:,} samples", file=sys.stderr)
    if done.losses:
        left_out = ", which CSV leaves out" if request.format == "csv" else ""
        print(f"{done.losses:,} loss markers tell of {done.lost:,} samples{left_out}", file=sys.stderr)
    if done.damaged:
        print(f"{done.damaged:,} rows are damaged", file=sys.stderr)
