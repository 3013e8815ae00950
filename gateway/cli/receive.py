"""``onpath receive``: take batches from a broker, write each once, say what is missing."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adapters.frame.config import FrameConfig
from gateway.errors import FieldError, OnpathError
from gateway.receive.output import LinesFile, LinesOut, Output
from gateway.receive.receiver import Receiver
from gateway.receive.run import Receiving, Wishes
from gateway.receive.state import ReceiverState
from gateway.units import Duration
from gateway.wire.record import TimeFormat

PARQUET_EVERY_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for."""

    url: str
    topics: list[str]
    stream: str
    ack_wait_s: float
    out: Path | None
    parquet: bool
    ns: bool
    state: Path | None
    name: str
    username: str
    password: str
    ca: str | None
    cert: str | None
    key: str | None
    receipts: bool
    for_s: float | None
    idle_s: float | None
    settle_s: float
    check: bool
    as_json: bool


def receive(request: Request) -> None:
    """Receive until stopped, and print the summary; exit code 1 if ``check`` finds something.

    Raises:
        OnpathError: an option cannot be, or the output cannot be written.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    config = _config(request)
    where = request.state or (None if request.out is None else Path(f"{str(request.out).rstrip('/')}.state"))
    state = ReceiverState(where)
    output: Output | None = None
    try:
        output = _output(request, state.fact("position"))
        receiver = Receiver(state, output, time.monotonic())
        receiving = Receiving(config, _wishes(request, where), state, receiver)
        try:
            asyncio.run(receiving.run())
        except BrokenPipeError:  # whoever read our output has gone; nothing that it did not get was acknowledged
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        summary = receiving.summary()
    finally:
        if output is not None:
            output.close()
        state.close()
    _show(summary, request)
    if request.check and (summary["gaps"] or summary["differing"] or summary["rejected"] or summary["waiting"]):
        sys.exit(1)


def _config(request: Request) -> FrameConfig:
    topics = request.topics or ["onpath/#"]
    try:
        return FrameConfig(
            url=request.url, topics=topics, stream=request.stream, username=request.username,
            password=request.password, ca=request.ca, cert=request.cert, key=request.key,
            ack_wait=Duration(request.ack_wait_s),
        )  # fmt: skip
    except FieldError as error:
        raise OnpathError(f"{'.'.join(map(str, error.field))}: {error}") from None


def _wishes(request: Request, where: Path | None) -> Wishes:
    # Brokers differ in what an identifier may hold: nats-server takes no dot
    own = re.sub(r"[^A-Za-z0-9_\-]", "-", where.resolve().name) if where else os.getpid()
    name = request.name or f"onpath-receive-{own}"
    return Wishes(
        client_id=name, kept=where is not None or bool(request.name), receipts=request.receipts,
        for_s=request.for_s, idle_s=request.idle_s, settle_s=request.settle_s,
    )  # fmt: skip


def _output(request: Request, position: str) -> Output:
    times = TimeFormat.NS if request.ns else TimeFormat.RFC3339
    if not request.parquet:
        return LinesOut(times) if request.out is None else LinesFile(request.out, position, times)
    if request.out is None:
        raise OnpathError("--format parquet needs --out FOLDER")
    if find_spec("pyarrow") is None:
        raise OnpathError("--format parquet needs the extra parquet: pip install 'onpath[parquet]'")
    from gateway.receive.parquet import ParquetFolder

    return ParquetFolder(request.out, position, PARQUET_EVERY_S)


def _show(summary: dict[str, Any], request: Request) -> None:
    """On standard output, unless the records are there."""
    stream = sys.stderr if request.out is None else sys.stdout
    if request.as_json:
        print(json.dumps(summary), file=stream, flush=True)
        return
    columns = ("batches", "samples", "doubles", "gaps", "lost")
    table = Table("gateway", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in summary["gateways"].items():
        lost = ", ".join(f"{count} {reason}" for reason, count in row["lost"].items()) or "0"
        table.add_row(name, *(str(row[column]) for column in columns[:-1]), lost)
    console = Console(file=stream)
    console.print(table)
    if summary["rejected"]:
        console.print("not usable: " + ", ".join(f"{count} {reason}" for reason, count in summary["rejected"].items()))
