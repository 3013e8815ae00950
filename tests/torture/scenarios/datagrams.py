"""CoAP over a network that loses, doubles and reorders datagrams."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import aiocoap

from tests.adapters.coap.peers import free_port
from tests.support.daemon import daemon, json_lines, samples_of
from tests.torture.bench import Outcome
from tests.torture.udp_proxy import UdpProxy

DEVICES = 8
CONFIG = """
adapters:
  sensors:
    type: coap
    serve: {{listen: "127.0.0.1:{port}", resources: {{"/v/{{device}}/{{point}}": {{}}}}}}
pipelines: {{all: {{from: ["**"], to: [out]}}}}
uplinks: {{out: {{type: file, path: {out}, format: json}}}}
"""


async def bad_datagrams(n: int, folder: Path) -> Outcome:
    """``n`` confirmable pushes through 10 % loss and 10 % doubling each way: acknowledged ones arrive, each once."""
    outcome, port, out = Outcome(n), free_port(), folder / "out.jsonl"
    acknowledged: list[tuple[str, int]] = []
    async with daemon(folder, CONFIG.format(port=port, out=out)) as running:
        await running.until(lambda s: s["adapters"]["sensors"]["link"] == "up")
        proxy = UdpProxy(port, random.Random(5), lost=0.1, doubled=0.1, delay_s=0.02)
        async with proxy.running():
            share = -(-n // DEVICES)
            await asyncio.gather(*(_push(f"d{at}", share, proxy.port, acknowledged) for at in range(DEVICES)))
            await running.until(lambda s: s["uplinks"]["out"]["spool"]["rows"] == 0)
            await asyncio.sleep(0.2)
        assert await asyncio.to_thread(running.stop) == 0
    records = {(batch["epoch"], batch["seq"]): batch for batch in json_lines(out)}
    got = Counter((s["point"].split("/")[0], int(s["value"])) for s in samples_of(list(records.values())))
    lost = [key for key in acknowledged if key not in got]
    outcome.expect(f"{len(lost)} lost: {lost[:5]}", holds=not lost)
    doubled = [key for key, count in got.items() if count > 1]
    outcome.expect(f"{len(doubled)} doubled: {doubled[:5]}", holds=not doubled)
    outcome.facts |= {"acknowledged": str(len(acknowledged)), **{k: str(v) for k, v in proxy.counts.items()}}
    return outcome


async def _push(device: str, count: int, port: int, acknowledged: list[tuple[str, int]]) -> None:
    """One device after the other waits for its acknowledgement; a push that was given up may have arrived."""
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    try:
        for number in range(count):
            request = aiocoap.Message(
                code=aiocoap.POST,
                uri=f"coap://127.0.0.1:{port}/v/{device}/n",
                payload=str(number).encode(),
                transport_tuning=_Quick(),
            )
            try:
                answer = await context.request(request).response
            except aiocoap.error.NetworkError:
                continue
            if answer.code.is_successful():
                acknowledged.append((device, number))
    finally:
        await context.shutdown()


class _Quick(aiocoap.TransportTuning):
    """Time-outs of a loopback, so that a thousand losses do not take hours."""

    ACK_TIMEOUT = 0.2
    MAX_RETRANSMIT = 6
