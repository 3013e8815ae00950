"""A gateway that runs over simulated meters: something that always has news, for tests of what people see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CONFIG = """
gateway: g1
state: {folder}/state
adapters:
  meters:
    type: modbus
    url: tcp://127.0.0.1:{modbus}
    devices:
      m1: {{unit: 1, profile: eastron-sdm630, every: 250ms}}
      m2: {{unit: 2, profile: eastron-sdm630, every: 500ms}}
  office:
    type: coap
    devices: {{s1: {{url: "coap://127.0.0.1:{coap}", observe: {{co2: /s01/co2, light: /s01/light}}}}}}
pipelines:
  live:
    from: ["m?/*", "s1/*"]
    steps: [{{limits: {{}}}}, {{deadband: {{absolute: 1, max_silence: 60s}}}}]
    to: [disk, cloud]
  load: {{from: ["*/power"], steps: [{{window: {{every: 1s, stats: [mean, max], lateness: 0s}}}}], to: [disk]}}
  idle: {{from: ["nobody/*"], to: [disk]}}
uplinks:
  disk: {{type: file, path: {folder}/out.jsonl}}
  cloud: {{type: mqtt, url: "mqtt://127.0.0.1:1"}}
"""


@dataclass
class Metered:
    """The processes and files of one."""

    folder: Path
    config: Path
    feeder: subprocess.Popen[str]
    env: Mapping[str, str]
    ports: Mapping[str, int]
    """``MODBUS`` and ``COAP``."""
    gateway: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def onpath(self, *args, timeout: float = 60.0, **options) -> subprocess.CompletedProcess[str]:
        """The console command in a process of its own; not on a terminal."""
        command = [sys.executable, "-m", "gateway.cli.main", *map(str, args)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=self.env, check=False, **options
        )

    def start(self) -> None:
        """Start the gateway, and wait until values come."""
        command = [sys.executable, "-m", "gateway.cli.main", "run", "-c", str(self.config)]
        with (self.folder / "log").open("ab") as log:
            self.gateway = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        deadline = time.monotonic() + 60
        while True:
            said = self.onpath("points", "m1/power", "--quality", "good", "--state", self.state, "--json")
            if said.returncode == 0 and json.loads(said.stdout)["matched"]:
                return
            if self.gateway.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.2)

    def kill(self) -> None:
        """As a power cut does it."""
        self.gateway.kill()
        self.gateway.wait()

    def stop(self) -> None:
        """In order, of both."""
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.send_signal(signal.SIGTERM)
            try:
                self.gateway.wait(12)
            except subprocess.TimeoutExpired:
                self.kill()
        self.feeder.stdin.close()
        try:
            self.feeder.wait(10)
        except subprocess.TimeoutExpired:
            self.feeder.kill()
            self.feeder.wait()


@contextmanager
def metered(folder: Path, more: str = "") -> Iterator[Metered]:
    """One that runs, with values; ``more`` are further lines of the configuration."""
    env = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "PYTHONDEVMODE"}}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    command = [sys.executable, "-m", "gateway.demo.feeder", "--mqtt-port", "1", "--ack-log", str(folder / "acks")]
    feeder = subprocess.Popen(
        [*command, "--meters", "2", "--sensors", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    ports = json.loads(feeder.stdout.readline())
    config = folder / "site.yaml"
    config.write_text(CONFIG.format(folder=folder, **ports) + more)
    site = Metered(folder, config, feeder, env, {name.upper(): port for name, port in ports.items()})
    try:
        site.start()
        yield site
    finally:
        site.stop()
        feeder.stdout.close()
