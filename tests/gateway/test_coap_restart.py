"""The CoAP server in the whole daemon: killed between the disk and the answer, and asked again."""

import aiocoap

from tests.adapters.coap.peers import free_port
from tests.adapters.coap.raw import packet, raw_peer
from tests.support.daemon import daemon, json_lines, samples_of

CONFIG = """
adapters:
  sensors:
    type: coap
    serve:
      listen: 127.0.0.1:{port}
      resources:
        "/v/{{device}}/{{point}}": {{}}
      offer:
        "/values/{{point}}": {{points: ["**"]}}
      directory: {{}}
pipelines:
  all: {{from: ["**"], to: [out]}}
uplinks:
  out: {{type: file, path: {out}, format: json}}
"""


async def test_killed_and_asked_again_the_gateway_takes_a_push_once(tmp_path):
    port, out = free_port(), tmp_path / "out.jsonl"
    push = packet("/v/d/t", b"21.5", mid=77, token=b"abc")
    async with daemon(tmp_path, CONFIG.format(port=port, out=out)) as running:
        with raw_peer(port) as device:
            assert (await device.ask(push)).code == aiocoap.CHANGED
            made = await device.ask(packet("/rd", b"</x>", mid=78, query=["ep=n1"]))
            assert made.code == aiocoap.CREATED
            assert (await device.ask(packet("/v/d/t", b"22.5", mid=79))).code == aiocoap.CHANGED
            running.kill()
            await running.start()
            await running.until(lambda status: status["adapters"]["sensors"]["link"] == "up")
            again = await device.ask(push)  # as if the answer had never come
            assert (again.code, again.mid) == (aiocoap.CHANGED, 77)
            assert (await device.ask(packet("/v/d/t", b"23.5", mid=80))).code == aiocoap.CHANGED
            listed = await device.ask(packet("/rd-lookup/ep", code=aiocoap.GET, mid=81))
            assert b'ep="n1"' in listed.payload  # it was remembered with the push after it
            status = await running.until(lambda status: status["adapters"]["sensors"]["repeated"] == 1)
            assert status["adapters"]["sensors"]["samples"] == 1
            shown = await device.ask(packet("/values/d/t", code=aiocoap.GET, mid=82))
            assert shown.payload == b"23.5"
        assert running.stop() == 0
    # A file may hold one twice, and what waited when the gateway was killed comes behind what is live
    records = sorted({(batch["epoch"], batch["seq"]): batch for batch in json_lines(out)}.items())
    assert [sample["value"] for sample in samples_of([batch for _, batch in records], "d/t")] == [21.5, 22.5, 23.5]
