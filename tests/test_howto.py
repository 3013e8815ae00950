"""The pages of docs/how-to, walked through as they stand there, against real devices where they need some."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager

import pytest

from tests.adapters.coap.peers import Fixed, Value, serving
from tests.support.documents import ROOT, blocks
from tests.support.walk import Walk, free_port

PAGES = ROOT / "docs" / "how-to"
PORTS = ("5020", "1884", "1883", "8321")
pytestmark = pytest.mark.timeout(400)


@contextmanager
def simulated(listen, profile, units="1"):
    """`onpath modbus simulate`: where it listens, as it says itself."""
    command = [sys.executable, "-m", "gateway.cli.main", "modbus", "simulate", profile, "--listen", listen]
    with subprocess.Popen([*command, "--unit", units], stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def reader(folder):
    """A walk with free ports."""
    with ExitStack() as stack:
        yield Walk(folder, stack, {port: free_port() for port in PORTS})


def test_every_page_is_walked():
    here = (ROOT / "tests" / "test_howto.py").read_text()
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert [page for page in pages if f'"{page}.md"' not in here] == []
    assert [page for page in pages if f"({page}.md)" not in (PAGES / "README.md").read_text()] == []


def test_a_meter_on_rs485(tmp_path):
    with simulated("rtu://pty", "eastron-sdm120") as said, reader(tmp_path) as walk:
        walk.here = {"/dev/ttyUSB0": said["url"].removeprefix("rtu://")}
        assert walk.page(PAGES / "meter-rs485.md") >= 6


def test_a_coap_sensor(tmp_path):
    core = b'</temp>;rt="temperature-c";if="sensor";obs;title="Outside",</hum>;ct=50'
    with sensor({"/.well-known/core": Fixed(core, 40), "/temp": Value(b"21.5"),
                 "/hum": Value(b'{"rh":40.5,"dew_c":6.2}', 50)}) as port, reader(tmp_path) as walk:  # fmt: skip
        walk.here = {"10.0.0.9": f"127.0.0.1:{port}", "10.0.0.9:5683": f"127.0.0.1:{port}"}
        assert walk.page(PAGES / "coap-sensor.md") >= 6


@contextmanager
def sensor(resources):
    """A CoAP server on a loop of its own: the walk waits for its commands."""
    loop, ready, done = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    ports = []

    async def serve():
        async with serving(resources) as port:
            ports.append(port)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


def test_a_modem_that_dials_in(tmp_path):
    with simulated("rtu+tcp://127.0.0.1:0", "eastron-sdm120") as said, reader(tmp_path) as walk:
        calling = threading.Event()
        modem = threading.Thread(target=dial, args=(int(walk.here["5020"]), said["port"], calling))
        modem.start()
        try:
            assert walk.page(PAGES / "modem.md") >= 3
        finally:
            calling.set()
            modem.join(10)


def dial(port, line, over):
    """A modem: it calls, says who it is, and relays its serial line both ways; it calls again when it is cut off."""
    while not over.wait(0.2):
        try:
            with (
                socket.create_connection(("127.0.0.1", port)) as call,
                socket.create_connection(("127.0.0.1", line)) as bus,
            ):
                call.sendall(b"feeder-71\r\n")
                relay(call, bus, over)
        except OSError:
            continue


def relay(one, other, over):
    for side in (one, other):
        side.settimeout(0.02)
    while not over.is_set():
        for source, target in ((one, other), (other, one)):
            try:
                data = source.recv(4096)
            except TimeoutError:
                continue
            if not data:
                return
            target.sendall(data)


def test_a_metered_link(tmp_path, monkeypatch):
    monkeypatch.setenv("DEMO", str(ROOT / "gateway" / "demo" / "data"))
    with reader(tmp_path) as walk:
        assert walk.page(PAGES / "metered-link.md") >= 6


def test_gateways_in_a_tree(tmp_path):
    with simulated("tcp://127.0.0.1:0", "eastron-sdm630", "1-2") as said, reader(tmp_path) as walk:
        walk.here["5020"] = str(said["port"])
        assert walk.page(PAGES / "tree.md") >= 5


def test_a_site_without_a_broker(tmp_path):
    with reader(tmp_path) as walk:
        publish = [block for block in blocks(PAGES / "no-broker.md") if block.marker == "walk with mosquitto_pub"]
        assert len(publish) == 1
        if shutil.which("mosquitto_pub"):
            walk.named = {"walk with mosquitto_pub": "adapter bus: link up"}
            assert walk.page(PAGES / "no-broker.md") >= 4
        else:
            pytest.skip("mosquitto_pub is not installed; tests/interop installs it")


def test_back_up_and_restore(tmp_path):
    with simulated("tcp://127.0.0.1:0", "eastron-sdm630") as said, reader(tmp_path) as walk:
        walk.here["5020"] = str(said["port"])
        assert walk.page(PAGES / "backup.md") >= 7
        walk.type("onpath history m1/power --newest 1 -c etc")
    batches = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    ids = [(batch["epoch"], batch["seq"]) for batch in batches]
    assert len({epoch for epoch, _ in ids}) == 1
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("page", ["own-operator.md", "own-model.md"])
def test_a_step_of_your_own(page, tmp_path):
    with reader(tmp_path) as walk:
        assert walk.page(PAGES / page) >= 4


def test_the_data_elsewhere(tmp_path):
    with simulated("tcp://127.0.0.1:0", "eastron-sdm630") as said, reader(tmp_path) as walk:
        walk.here["5020"] = str(said["port"])
        assert walk.page(PAGES / "read-elsewhere.md") >= 7
