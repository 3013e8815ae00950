"""The real daemon on a full disk, by a limit or really: it waits, and goes on within 5 s of there being room."""

import asyncio
import contextlib
import resource
import subprocess
import time

import pytest

from gateway.tasks import ended
from tests.support.daemon import Daemon
from tests.support.nats import nats_broker
from tests.torture.oracle import Devices, Receiver, check

CONFIG = """
store: {{journal: {{max_size: 1MiB}}}}
adapters:
  bus:
    type: mqtt
    url: "{url}"
    subscribe: [{{topic: "site/{{device}}/telemetry", time: ts, points: {{n: {{}}}}}}]
pipelines:
  raw: {{from: ["*/n"], to: [cloud]}}
uplinks:
  cloud: {{type: mqtt, url: "{url}", topic: "up/{{pipeline}}"}}
"""


@contextlib.contextmanager
def limited(daemon, _state):
    """No file may grow: as a quota."""
    largest = max(path.stat().st_size for path in daemon.state.iterdir() if path.is_file())
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (largest // 2, resource.RLIM_INFINITY))
    yield
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextlib.contextmanager
def filled(_daemon, state):
    """Somebody else takes all there is."""
    rest = state / "somebody-else"
    with contextlib.suppress(OSError), rest.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    yield
    rest.unlink()


@contextlib.contextmanager
def small_disk(folder):
    """A file system of 12 MiB of its own."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.alone
@pytest.mark.parametrize("trouble", [limited, filled])
async def test_a_full_disk_is_waited_for_and_nothing_is_lost(tmp_path, trouble):
    async with (
        nats_broker(tmp_path / "nats", ack_wait="2s") as broker,
        Receiver(broker.mqtt_port).running() as receiver,
    ):
        daemon = Daemon(tmp_path, CONFIG.format(url=broker.mqtt_url))
        with small_disk(daemon.state) if trouble is filled else contextlib.nullcontext():
            await daemon.start()
            await daemon.until(lambda s: s["adapters"]["bus"]["link"] == "up")  # subscribed before anybody publishes
            devices = Devices(broker.mqtt_port, names=("d0", "d1"))
            publishing = asyncio.create_task(devices.run())
            try:
                await daemon.until(lambda s: s["adapters"]["bus"]["messages"] > 100)
                with trouble(daemon, daemon.state):
                    status = await daemon.until(lambda s: not s["store"]["healthy"])
                    assert status["store"]["failure"] == "store-full", status["store"]
                    await daemon.until(lambda s: s["store"]["failing_s"] > 2.5)
                    assert (await daemon.status())["store"]["commits"] == status["store"]["commits"]
                began = time.monotonic()
                await daemon.until(lambda s: s["store"]["healthy"])
                took = time.monotonic() - began
                reached = len(devices.acknowledged)
                async with asyncio.timeout(30):
                    while len(devices.acknowledged) < reached + 50:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                devices.stop.set()
                await publishing
                await daemon.until(lambda s: s["uplinks"]["cloud"]["spool"]["rows"] == 0)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(30):
                        while check(devices, receiver)["lost"]:  # noqa: ASYNC110
                            await asyncio.sleep(0.05)
                found = check(devices, receiver)
                assert not found["lost"], (found, await daemon.status())
                assert not found["doubled"], found
                assert not found["invented"], found
                assert not receiver.differing
                status = await daemon.status()
                assert status["store"]["lost_samples"] == 0
                assert status["store"]["salvaged"] is None
                print(f"{trouble.__name__}: {len(devices.acknowledged)} messages, healthy again after {took:.2f} s")
                assert took < 5
            finally:
                await ended(publishing)
                if daemon.process.poll() is None:
                    daemon.stop()
