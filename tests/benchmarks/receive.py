"""Rows: batches of 2,000 samples into ``onpath receive`` and into a parent gateway, beside decoding alone."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import nats

from gateway.wire import columns
from tests.adapters.frame.support import Gateway
from tests.benchmarks.machine import ROOT
from tests.benchmarks.rows import Bench, Row
from tests.support.daemon import daemon
from tests.support.nats import Nats, nats_broker

SAMPLES = 2000
POINTS = 100
PARENT = """
adapters:
  children: {{type: frame, url: "{url}", topics: ["onpath/frame/live"], stream: frame}}
"""


async def rows(bench: Bench) -> list[Row]:
    """Samples a second of each way."""
    count = bench.sizes.uplink_batches
    alone = decoding(count)
    found: list[Row] = []
    async with nats_broker(bench.folder / "nats") as broker:
        for form in ("frame", "json"):
            await fill(broker, form, count)
        for name, form, more in (
            ("receive-frame", "frame", ["--out", "frame.jsonl"]),
            ("receive-json", "json", ["--out", "json.jsonl"]),
            ("receive-parquet", "frame", ["--out", "parquet", "--format", "parquet"]),
        ):
            speed = await received(broker, bench.folder, form, more, count * SAMPLES)
            found.append(row(name, speed, alone, f"{form} batches from JetStream"))
        speed = await parent(broker, bench.folder, count * SAMPLES)
        found.append(row("receive-gateway", speed, alone, "into the journal of a parent, acknowledged on disk"))
    return found


def row(name: str, speed: float, alone: float, notes: str) -> Row:
    return Row(
        name=name, measured=speed / 1e6, reference=alone / 1e6, ratio=speed / alone, unit="M samples/s", notes=notes
    )


def decoding(count: int) -> float:
    """Samples a second of the column codec alone."""
    gateway = Gateway(points=POINTS)
    blocks = [columns.encode(gateway.batch(SAMPLES).frame) for _ in range(min(count, 50))]
    began = time.perf_counter()
    for block in blocks:
        columns.decode(block)
    return len(blocks) * SAMPLES / (time.perf_counter() - began)


async def fill(broker: Nats, form: str, count: int) -> None:
    gateway = Gateway(form, points=POINTS, form=form)
    client = await nats.connect(broker.url)
    try:
        js = client.jetstream()
        await js.add_stream(name=form, subjects=[f"onpath.{form}.>"])
        for _ in range(count):
            for topic, payload, _ in gateway.messages(gateway.batch(SAMPLES)):
                await js.publish(topic.replace("/", "."), payload)
    finally:
        await client.close()


async def received(broker: Nats, folder: Path, form: str, more: list[str], samples: int) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli.main", "receive", broker.url, "--stream", form,
        "--topic", f"onpath/{form}/live", "--until-idle", "1s", "--settle", "1s", "--json", "--check",
        more[0], str(folder / more[1]), *more[2:],
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"onpath receive: {out.decode()} {errors.decode()}")
    summary = json.loads(out.splitlines()[-1])
    if summary["samples"] != samples:
        raise RuntimeError(f"{summary['samples']} samples of {samples}")
    return samples / summary["seconds"]


async def parent(broker: Nats, folder: Path, samples: int) -> float:
    inside = folder / "parent"
    inside.mkdir()
    async with daemon(inside, PARENT.format(url=broker.url)) as running:
        status = await running.until(lambda s: s["adapters"]["children"]["samples"] >= samples, 120)
        ended = datetime.now(UTC)
    if status["adapters"]["children"]["errors"]:
        raise RuntimeError(f"{status['adapters']['children']['reasons']}")
    line = next(line for line in running.log.read_text().splitlines() if "children: link up" in line)
    return samples / (ended - datetime.fromisoformat(line.split()[0])).total_seconds()
