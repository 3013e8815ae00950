import asyncio
import json
import signal
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from gateway.demo.children import Child, FeederChild
from gateway.demo.oracle import judge
from gateway.demo.receiver import Receiver
from gateway.demo.report import Live, report, summary
from gateway.demo.table import render
from gateway.errors import OnpathError

STATUS = {
    "gateway": "demo",
    "adapters": {
        "meters": {"samples": 100, "errors": 1, "link": "up", "devices": {"m01": {"link": "up"}, "m02": {}}},
        "bus": {"samples": 10, "errors": 0, "link": "down", "devices": {}},
    },
    "uplinks": {"cloud": {"link": "up", "spool": {"rows": 7}}},
}


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path / "log") as receiver:
        receiver.take(
            json.dumps(
                {
                    "gateway": "demo",
                    "epoch": 1,
                    "seq": 1,
                    "pipeline": "proof",
                    "samples": [
                        {"point": "d01/seq", "time": 1_000_000, "value": 1.0, "quality": "good"},
                        {"point": "m01/power", "time": 1_000_000, "value": 1.5, "quality": "good"},
                    ],
                }
            ).encode(),
            26_000_000,
        )
        yield receiver


def test_the_report_is_the_object_of_the_contract(receiver, tmp_path):
    verdict = judge(["d01 1", "d01 2"], (tmp_path / "log").read_text().splitlines())
    final = report(duration_s=2.004, status=STATUS, receiver=receiver, verdict=verdict, usage=(0.123, 45.67))
    one = len('{"point":"d01/seq","time":1000000,"value":1.0,"quality":"good"}')
    two = len('{"point":"m01/power","time":1000000,"value":1.5,"quality":"good"}')
    raw = 100 * two + 10 * one
    assert json.loads(msgspec.json.encode(final)) == {
        "duration_s": 2.0,
        "samples_in": 110,
        "samples_out": 2,
        "messages_up": 1,
        "bytes_up": receiver.bytes,
        "bytes_raw_json": raw,
        "reduction": round(raw / receiver.bytes, 2),
        "acknowledged": 2,
        "lost": 1,
        "doubled": 0,
        "latency_ms": {"p50": 25.0, "p99": 25.0},
        "adapters": {
            "meters": {"samples": 100, "errors": 1, "link": "up"},
            "bus": {"samples": 10, "errors": 0, "link": "down"},
        },
        "cpu_s": 0.12,
        "rss_mb": 45.7,
    }
    text = summary(final, verdict)
    assert "2 acknowledged messages: 1 lost, 0 doubled" in text
    assert "bus: 10 samples, 0 errors, link down" in text


def test_a_report_of_nothing_is_possible(tmp_path):
    with Receiver(tmp_path / "log") as receiver:
        verdict = judge([], [])
        final = report(duration_s=0, status={}, receiver=receiver, verdict=verdict, usage=(0, 0))
        assert final.reduction is None
        assert "0 samples" in summary(final, verdict)


def test_the_table_shows_rates_reduction_and_links(receiver):
    console = Console(width=80, record=True, file=StringIO())
    console.print(render(Live(elapsed_s=3, status=STATUS, rates={"meters": 33.0}, bytes_rate=5000), receiver))
    shown = console.export_text()
    assert "1/2" in shown
    assert "33" in shown
    assert "5.0" in shown
    assert "down" in shown
    raw = 100 * receiver.raw.mean("m") + 10 * receiver.raw.mean("d")
    assert f"{raw / receiver.bytes:.1f}x" in shown
    render(Live(), receiver)  # before the first status


async def test_a_child_that_ends_by_itself_is_told_with_its_last_words(tmp_path):
    async with Child("gateway.demo.no_such_module", log=tmp_path / "log") as child:
        await child.start()
        await asyncio.wait_for(child.process.wait(), 10)
        with pytest.raises(OnpathError, match=r"ended with code 1\n.*No module named"):
            child.check()


async def test_a_feeder_that_is_gone_gives_no_answer(tmp_path):
    async with FeederChild(tmp_path, mqtt_port=1, rate=1, seed=1) as feeder:
        await feeder.start()
        assert (await feeder.answer())["modbus"] > 0
        feeder.check()
        feeder.process.send_signal(signal.SIGKILL)
        with pytest.raises(OnpathError, match="no answer"):
            await feeder.answer()
