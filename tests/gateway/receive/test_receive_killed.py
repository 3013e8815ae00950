"""kill -9 of the receiver again and again under load: each batch stands in its output exactly once."""

import asyncio
import json
import os
import random

import pytest

from tests.adapters.frame.support import Gateway, send, sender, url
from tests.gateway.receive.support import ReceiveProcess, records
from tests.support.nats import nats_broker

KILLS = int(os.environ.get("ONPATH_RECEIVER_KILLS", "3"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("way", "form"), [("mqtt", "frame"), ("nats", "json")])
async def test_a_receiver_that_is_killed_writes_each_batch_once(tmp_path, way, form):
    chance = random.Random(3)
    out = tmp_path / "out.jsonl"
    gateway = Gateway(form=form)
    stop = asyncio.Event()
    async with nats_broker(tmp_path / "nats", ack_wait="2s") as broker, sender(broker, way) as to:
        process = ReceiveProcess(
            tmp_path, url(broker, way), "--topic", "onpath/+/+", "--out", str(out), "--ns", "--json", "--check",
            "--ack-wait", "2s",
        )  # fmt: skip
        process.start()
        await process.connected(1)

        async def load():
            while not stop.is_set():
                batch = gateway.batch()
                await send(to, gateway, batch)
                if batch.seq % 20 == 0:  # the gateway has not heard of it, and sends it again, as after a reconnect
                    await send(to, gateway, batch, again=True)
                await asyncio.sleep(0.001)

        loading = asyncio.create_task(load())
        try:
            for number in range(KILLS):
                # Now and then before it has even connected
                if number % 4:
                    await process.connected(process.log.read_text().count("connected to") + 1)
                await asyncio.sleep(chance.uniform(0, 0.25))
                process.kill()
                process.start()
            stop.set()
            await loading
            process.kill()
            process.start("--until-idle", "4s")
            code, summary = await process.finished()
        finally:
            stop.set()
            await asyncio.gather(loading, return_exceptions=True)
            if process.process.poll() is None:
                process.kill()
    assert summary["gaps"] == 0, summary
    assert code == 0, (summary, process.log.read_text()[-2000:])
    assert len(records(out)) == len(set(records(out))), "each once"
    assert sorted(records(out)) == gateway.records
    for line in out.read_text().splitlines()[::50]:
        found = json.loads(line)
        sent = gateway.sent[found["seq"]].frame
        assert [one["value"] for one in found["samples"]] == sent.value.tolist()
        assert [one["time"] for one in found["samples"]] == sent.time.tolist()
