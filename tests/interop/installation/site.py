"""What surrounds the box: a device whose every message has a number, a meter, and the broker upstream."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.interop.installation.box import Box
from tests.interop.mqtt.mosquitto import program

FIELD, UPSTREAM, METER = 1883, 1884, 5020

CONFIG = f"""
# Written by an administrator
gateway: box-1
state: /var/lib/onpath
console: {{listen: "127.0.0.1:8321"}}
store:
  spool: {{max_size: 1MiB, when_full: block}}
adapters:
  bus:
    type: mqtt
    url: mqtt://127.0.0.1:{FIELD}
    username: gateway
    password: ${{credential:field-password}}
    subscribe: [{{topic: "site/{{device}}/count"}}]
  meters:
    type: modbus
    url: tcp://127.0.0.1:{METER}
    devices: {{m1: {{unit: 1, profile: eastron-sdm630, every: 1s}}}}
pipelines:
  counts: {{from: ["d1/**"], to: [cloud]}}
  meters: {{from: ["m1/**"], to: [cloud]}}
uplinks:
  cloud: {{type: mqtt, url: "mqtt://127.0.0.1:{UPSTREAM}", topic: "up/{{pipeline}}", format: json}}
"""

BROKER = """
user root
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
persistence {persistence}
persistence_location {folder}/
"""


class Site:
    """Everything around one box; all of it in the box's network."""

    def __init__(self, box: Box, folder: Path) -> None:
        self.box = box
        self.folder = folder
        self.sent = 0
        self.received = folder / "received"
        self._chance = random.Random(7)

    def begin(self) -> None:
        """Field broker and meter run; upstream knows its reader and is down."""
        self._broker(FIELD, persistence=False)
        command = [sys.executable, "-m", "gateway.cli.main", "modbus", "simulate", "eastron-sdm630"]
        self.box.beside(*command, "--listen", f"tcp://127.0.0.1:{METER}")
        upstream = self._broker(UPSTREAM, persistence=True)
        self._subscribe("up/#", "reader", UPSTREAM)
        upstream.terminate()
        upstream.wait(10)
        assert (self.folder / f"broker-{UPSTREAM}" / "mosquitto.db").exists()

    def _broker(self, port: int, *, persistence: bool) -> subprocess.Popen[bytes]:
        folder = self.folder / f"broker-{port}"
        folder.mkdir(exist_ok=True)
        config = folder / "mosquitto.conf"
        config.write_text(BROKER.format(port=port, folder=folder, persistence=str(persistence).lower()))
        process = self.box.beside(program("mosquitto"), "-c", config)
        time.sleep(1)
        assert process.poll() is None, (self.box.folder / "beside.log").read_text()
        return process

    def _subscribe(self, topic: str, name: str, port: int) -> None:
        """A session that the broker keeps, so that it holds what comes while nobody reads."""
        words = ["-p", port, "-c", "-i", name, "-q", "1", "-t", topic, "-E"]
        assert self.box.beside(program("mosquitto_sub"), *words).wait(20) == 0

    def send(self, count: int) -> None:
        """The device's next messages: numbers and values that do not compress; in the end the broker has them."""
        lines = []
        for _ in range(count):
            message = {f"x{i}": self._chance.random() for i in range(8)}
            lines.append(json.dumps({"n": self.sent} | message))
            self.sent += 1
        words = ["-p", FIELD, "-i", "d1", "-q", "1", "-t", "site/d1/count", "-l"]
        done = self.box.beside(program("mosquitto_pub"), *words, stdin="\n".join(lines).encode() + b"\n")
        assert done.wait(60) == 0

    def upstream(self) -> None:
        """The link upstream returns, and somebody reads there."""
        self._broker(UPSTREAM, persistence=True)
        words = f"-p {UPSTREAM} -c -i reader -q 1 -t up/#"
        self.box.beside("sh", "-c", f"exec {program('mosquitto_sub')} {words} >>{self.received}")

    def batches(self) -> dict[tuple[int, int], dict]:
        """What has come upstream, by record id; one that came twice came with the same content."""
        found: dict[tuple[int, int], dict] = {}
        for line in self.received.read_text().splitlines() if self.received.exists() else ():
            batch = json.loads(line)
            first = found.setdefault((batch["epoch"], batch["seq"]), batch)
            assert first["samples"] == batch["samples"], "a record id came with two contents"
        return found

    def numbers(self) -> list[int]:
        """The numbers of the device's messages as they arrived upstream, each record id once."""
        samples = [sample for batch in self.batches().values() for sample in batch["samples"]]
        return sorted(int(sample["value"]) for sample in samples if sample["point"] == "d1/n")

    def nothing_lost_nothing_doubled(self, timeout_s: float = 90) -> None:
        """Wait for the last message, and look at all of them."""
        end = time.monotonic() + timeout_s
        while len(set(self.numbers())) < self.sent and time.monotonic() < end:
            time.sleep(1)
        numbers = self.numbers()
        lost, doubled = set(range(self.sent)) - set(numbers), len(numbers) - len(set(numbers))
        assert (sorted(lost)[:20], len(lost), doubled) == ([], 0, 0)
