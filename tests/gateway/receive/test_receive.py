"""``onpath receive`` as a user has it, against real brokers."""

import asyncio
import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from gateway.batch import Loss
from tests.adapters.frame.support import START_NS, Gateway, Receipts, send, sender, url
from tests.gateway.receive.support import ReceiveProcess, records
from tests.support.nats import nats_broker


def receiver(folder, broker, way, *more) -> ReceiveProcess:
    return ReceiveProcess(
        folder, url(broker, way), "--topic", "onpath/+/+", "--json", "--until-idle", "1s", "--settle", "1s", *more
    )


@pytest.mark.parametrize("form", ["frame", "json"])
async def test_gaps_doubles_and_losses_are_told(tmp_path, form):
    out, gateway, heard = tmp_path / "out.jsonl", Gateway(form=form), Receipts()
    async with nats_broker() as broker, sender(broker, "nats") as to, heard.heard(broker, "nats"):
        batches = [gateway.batch(10) for _ in range(8)]
        batches.append(gateway.batch(loss=Loss(START_NS, START_NS, 10, "spool-full", 6, 6)))
        for number, batch in enumerate(batches):
            messages = gateway.messages(batch)
            if number not in {2, 4}:  # seq 6 is told of by a loss marker, seq 10 is not
                for topic, payload, retain in messages:
                    await to.send(topic, payload, retain)
            else:
                for topic, payload, retain in messages[:-1]:
                    await to.send(topic, payload, retain)
        await send(to, gateway, batches[1], again=True)
        await to.js.publish("onpath.g1.live", b"{broken")
        process = receiver(tmp_path, broker, "nats", "--out", str(out), "--check", "--receipts")
        process.start()
        code, summary = await process.finished()
    came = [("g1", 77, batch.seq) for batch in batches if batch.seq not in {6, 10}]
    assert records(out) == came
    assert heard.done == set(came)
    assert code == 1
    assert summary["gaps"] == 1
    assert summary["missing"] == [{"gateway": "g1", "epoch": 77, "pipeline": "live", "seq": 10}]
    assert summary["rejected"] == {"bad-message": 1}
    assert summary["gateways"]["g1"] == {
        "batches": 7, "samples": 60, "doubles": 1, "differing": 0, "historical": 0, "unchained": 0, "gaps": 1,
        "lost": {"spool-full": 10},
    }  # fmt: skip
    assert "g1/77/10 of live is missing" in process.log.read_text()


async def test_what_is_missing_and_comes_later_is_no_gap(tmp_path):
    out, gateway = tmp_path / "out.jsonl", Gateway()
    async with nats_broker() as broker, sender(broker, "nats") as to:
        first, second, third = (gateway.batch(3) for _ in range(3))
        await send(to, gateway, first)
        await send(to, gateway, third)
        process = receiver(tmp_path, broker, "nats", "--out", str(out), "--check")
        process.start()
        code, summary = await process.finished()
        assert (code, summary["gaps"]) == (1, 1)
        await send(to, gateway, second)
        process.start()
        code, summary = await process.finished()
    assert (code, summary["gaps"], summary["batches"]) == (0, 0, 1)
    assert sorted(records(out)) == gateway.records


async def test_a_repetition_that_says_something_else_is_found(tmp_path):
    gateway, liar = Gateway(form="json"), Gateway(form="json")
    async with nats_broker() as broker, sender(broker, "nats") as to:
        await send(to, gateway, gateway.batch(3))
        await send(to, liar, liar.batch(4))
        process = receiver(tmp_path, broker, "nats", "--out", str(tmp_path / "out"), "--check")
        process.start()
        code, summary = await process.finished()
    assert code == 1
    assert summary["differing"] == 1


@pytest.mark.parametrize("form", ["frame", "json"])
async def test_parquet_files_are_whole_and_hold_each_sample_once(tmp_path, form):
    out, gateway = tmp_path / "out", Gateway(form=form)
    async with nats_broker() as broker, sender(broker, "nats") as to:
        for _ in range(5):
            await send(to, gateway, gateway.batch(50))
        await send(to, gateway, gateway.batch(loss=Loss(START_NS, START_NS, 7, "spool-age")))
        out.mkdir()
        (out / "part-00000009.parquet").write_bytes(b"left over by a kill")
        process = receiver(tmp_path, broker, "nats", "--out", str(out), "--format", "parquet", "--check")
        process.start()
        code, summary = await process.finished()
        assert code == 0, summary
        await send(to, gateway, gateway.batch(50))
        process.start()
        assert (await process.finished())[0] == 0
    assert [path.name for path in sorted(out.iterdir())] == ["part-00000001.parquet", "part-00000002.parquet"]
    table = pq.read_table(out).to_pylist()
    assert sum(row["lost"] or 0 for row in table) == 7
    rows = [row for row in table if row["lost"] is None]
    sent = [batch for batch in gateway.sent.values() if batch.loss is None]
    assert [row["value"] for row in rows] == [value for batch in sent for value in batch.frame.value.tolist()]
    assert [row["time"].value for row in rows] == [time for batch in sent for time in batch.frame.time.tolist()]
    assert {row["point"] for row in rows} == {f"m{n}/power" for n in range(4)}
    assert {row["unit"] for row in rows} == ({"W"} if form == "frame" else {""})


async def test_standard_output_is_json_lines_and_leaves_nothing_at_the_broker(tmp_path):
    gateway = Gateway()
    async with nats_broker() as broker, sender(broker, "nats") as to:
        await send(to, gateway, gateway.batch(3))
        process = receiver(tmp_path, broker, "nats")
        process.start()
        code, found = await process.finished()
        info = await to.js.stream_info("ONPATH")
    assert code == 0
    assert (found["gateway"], found["seq"], len(found["samples"])) == ("g1", 2, 3)
    assert info.state.consumer_count <= 1
    assert json.loads(process.log.read_text().splitlines()[-1])["samples"] == 3


async def test_an_output_that_is_not_ours_is_left_alone(tmp_path):
    out = tmp_path / "out"
    out.write_text("precious")
    async with nats_broker() as broker:
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "gateway.cli.main", "receive", broker.mqtt_url, "--out", str(out)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
        )
    assert ran.returncode == 1
    assert "was not written by us" in ran.stderr
    assert out.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["http://x"], "url: 'http://x' is not a broker's URL"),
        (["mqtt://x", "--topic", "a/#/b"], "topics.0: 'a/#/b': # may only stand last"),
        (["mqtt://x", "--format", "parquet"], "needs --out"),
        (["mqtt://x", "--stream", "S"], "stream: goes with nats:// only"),
    ],
)
def test_wrong_options_are_told_in_one_line(arguments, error):
    command = [sys.executable, "-m", "gateway.cli.main", "receive", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert error in ran.stderr
    assert "Traceback" not in ran.stderr
