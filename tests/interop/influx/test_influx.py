"""The HTTP uplink's line protocol into Debian's InfluxDB 1, by both of its ways to write."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Kind, Point
from gateway.uplinks.compress import Compress
from gateway.uplinks.http_config import HttpFormat, HttpUplinkConfig, InfluxOptions, Precision
from tests.interop.mqtt.mosquitto import free_port
from tests.support.uplink import running, uplink_context

NS = 1_000_000_000
T0 = 1_769_860_800 * NS + 250_000_000
ODD = 'a b,c=d"e\\f'

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
"""


class Influx:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, rpc = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "influxdb.conf"
        self.config.write_text(_CONFIG.format(port=self.port, rpc=rpc, folder=folder))

    async def start(self) -> None:
        program = shutil.which("influxd")
        assert program, "influxd is not installed: apt-get install influxdb"
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program, "-config", self.config], stdout=log, stderr=log)  # noqa: ASYNC220
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(self.url + "/ping"):
                        return
                except aiohttp.ClientError:
                    assert self.process.poll() is None, (self.folder / "log").read_text()
                    await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def query(self, text: str) -> list[dict]:
        """Rows of the first series, with its tags."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + "/query", params={"db": "onpath", "epoch": "ns"}, data={"q": text}) as answer,
        ):
            told = await answer.json()
        found = []
        for series in told["results"][0].get("series", []):
            found += [
                series.get("tags", {}) | dict(zip(series["columns"], row, strict=True)) for row in series["values"]
            ]
        return found


@asynccontextmanager
async def influxd(folder: Path):
    server = Influx(folder)
    await server.start()
    try:
        await server.query("CREATE DATABASE onpath")
        yield server
    finally:
        server.kill()


@pytest.fixture
async def influx(tmp_path):
    folder = tmp_path / "influx"
    folder.mkdir()
    async with influxd(folder) as server:
        yield server


def directory() -> Directory:
    found = Directory()
    found.add(Point(name="m1/power", unit="W", labels={"phase": "L1"}))
    found.add(Point(name="m1/" + ODD))
    mode = found.add(Point(name="m1/mode", kind=Kind.STATE))
    found.add(Point(name="m1/energy", kind=Kind.COUNTER, resolution=1))
    found.add(Point(name="time"))
    for text in ("off", 'o"n\\'):
        found.state(mode, text)
    return found


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory()) as context:
        yield context


def config(server, path: str = "/write?db=onpath", **options) -> HttpUplinkConfig:
    return HttpUplinkConfig(url=server.url + path, format=HttpFormat.INFLUX, **options)


@pytest.mark.parametrize("how", [Compress.NONE, Compress.GZIP])
async def test_what_is_written_is_what_is_read(influx, ctx, how):
    ctx.put(
        Frame.of([0, 1, 2, 3, 4], T0, [230.125, 1 / 3, 1.0, 2.0**53, 7.0], [q.QUESTIONABLE, 0, 0, 0, 0]), "odd name"
    )
    ctx.put(Frame.of([0, 0], [T0 + 1, T0 + 2], [q.no_value(q.Reason.TIMEOUT), 5.0], [q.INVALID, 0]), "odd name")
    ctx.lose(Frame.of([0], [T0], [1.0]), "p")
    options = InfluxOptions(labels=("phase",), integers=True)
    async with running(config(influx, influx=options, compress=how).create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == 3)
    rows = await influx.query('SELECT * FROM "odd name"')
    power = {row["time"]: row for row in rows if row["power"] is not None}
    assert [power[time]["power"] for time in (T0, T0 + 2)] == [230.125, 5.0]
    assert power[T0]["power_quality"] == "questionable"
    assert power[T0]["phase"] == "L1"
    assert {row["device"] for row in rows} == {"m1", None}
    (odd,) = [row for row in rows if row.get("mode")]
    assert (odd["mode"], odd["energy"], odd[ODD.replace("\\", "/")]) == ('o"n\\', 2**53, 1 / 3)
    (missing,) = [row for row in rows if row["time"] == T0 + 1]
    assert (missing["power"], missing["power_quality"]) == (None, "invalid")
    assert any(row["time_"] == 7.0 for row in rows)
    (loss,) = await influx.query("SELECT * FROM onpath_loss")
    assert (loss["count"], loss["from"], loss["reason"], loss["pipeline"]) == (1, T0, "spool-age", "p")
    assert ctx.stats.counts["without_value"] == 1
    assert "lines_refused" not in ctx.stats.counts


@pytest.mark.parametrize("precision", list(Precision))
async def test_precisions_of_the_first_way_to_write(influx, ctx, precision):
    ctx.put(Frame.of([0], T0, [1.0]))
    async with running(config(influx, influx=InfluxOptions(precision=precision)).create(), ctx):
        await ctx.until(lambda: ctx.acknowledged)
    (row,) = await influx.query('SELECT power FROM "p"')
    unit = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NS}[precision.value]
    assert row["time"] == T0 // unit * unit


async def test_lines_that_are_refused_are_counted_and_the_others_stay(influx, ctx):
    """A field that was a number before and is a text now: InfluxDB takes all other lines."""
    async with running(config(influx).create(), ctx):
        ctx.put(Frame.of([0], T0, [1.0]))
        await ctx.until(lambda: len(ctx.acknowledged) == 1)
        ctx.directory.state(0, "on")
        for n in range(1, 5):
            ctx.put(Frame.of([0, 3], [T0 + n, T0 + n + 100], [0.0, float(n)]))
        await ctx.until(lambda: len(ctx.acknowledged) == 5)
    assert ctx.stats.counts["lines_refused"] == 4
    assert [row["energy"] for row in await influx.query('SELECT energy FROM "p"')] == [1, 2, 3, 4]
    assert not ctx.given_up


async def test_a_server_that_is_killed_and_returns_has_everything_once(influx, ctx):
    wanted = []
    uplink = config(influx)

    async def supervised():
        while True:
            try:
                ctx.feed.rewind()
                await uplink.create().run(ctx)
            except Exception:  # noqa: BLE001  as the supervisor does
                await asyncio.sleep(0.05)

    task = asyncio.create_task(supervised())
    try:
        for n in range(2000):
            ctx.put(Frame.of([0], T0 + n, [n + 0.5]))
            wanted.append(n + 0.5)
            if n == 800:
                await ctx.until(lambda: len(ctx.acknowledged) > 300)
                influx.kill()
            if n == 1200:
                await influx.start()
            await asyncio.sleep(0)
        await ctx.until(lambda: len(set(ctx.acknowledged)) == 2000, 60)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    rows = await influx.query('SELECT power FROM "p" ORDER BY time')
    assert [row["power"] for row in rows] == wanted
