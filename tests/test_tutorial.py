"""The tutorial of the README, walked through as it stands there, on free ports."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.documents import ROOT, blocks

STEPS = [block for block in blocks(ROOT / "README.md") if block.marker.startswith("tutorial")]
SERVES = ("python -m gateway.demo.feeder", "onpath run")
"""Commands that go on in a terminal of their own."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Terminal:
    """Types commands in one folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.ports = {"5020": str(free_port()), "1883": str(free_port())}
        self.env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}

    def here(self, text):
        for shown, free in self.ports.items():
            text = text.replace(shown, free)
        return text

    def serve(self, command):
        """Start it; it is ended when the test ends."""
        output = self.stack.enter_context((self.folder / "terminal.log").open("ab"))
        process = self.stack.enter_context(
            subprocess.Popen(
                command.split(), cwd=self.folder, env=self.env, stdin=subprocess.PIPE, stdout=output, stderr=output
            )
        )
        self.stack.callback(process.terminate)

    def type(self, command, shown):
        """Run it until it says what is shown, or anything if nothing is; others may have to start first."""
        deadline = time.monotonic() + 20
        while True:
            done = subprocess.run(
                command.split(), cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
            )
            said = done.stdout.strip()
            if done.returncode == 0 and said and (not shown or said == shown):
                return said
            if time.monotonic() > deadline:
                log = (self.folder / "terminal.log").read_text()
                raise AssertionError(f"{command}\n{done.stdout}{done.stderr}\n{log}")
            time.sleep(0.05)

    def until_written(self, name, word):
        """Wait until a file holds a word."""
        deadline = time.monotonic() + 20
        while word not in (self.folder / name).read_text():
            assert time.monotonic() < deadline, (self.folder / "terminal.log").read_text()
            time.sleep(0.05)


def lines_of(block):
    """(command, what is shown behind it)."""
    for part in block.text.split("$ ")[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown.strip()


@pytest.mark.timeout(90)
def test_the_tutorial_works(tmp_path):
    with ExitStack() as stack:
        terminal = Terminal(tmp_path, stack)
        for block in STEPS:
            if block.language == "yaml":
                (tmp_path / block.marker.removeprefix("tutorial: ")).write_text(terminal.here(block.text))
                continue
            for command, shown in lines_of(block):
                if command.startswith(SERVES):
                    terminal.serve(terminal.here(command))
                else:
                    terminal.type(terminal.here(command), shown)
        terminal.until_written("out.jsonl", "kitchen/power#mean")
        status = json.loads(terminal.type("onpath status -c site.yaml --json", ""))
        check_status(status)
    batches = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    points = {sample["point"] for batch in batches for sample in batch["samples"]}
    assert {"m1/voltage_l1", "kitchen/voltage", "kitchen/power#count"} <= points
    assert all(sample["quality"] == "good" for batch in batches for sample in batch["samples"])


def check_status(status):
    """It is healthy, and has no key that docs/operations.md does not name."""
    assert status["adapters"]["meters"]["devices"]["kitchen"]["link"] == "up"
    assert status["uplinks"]["out"]["spool"]["lost"] == 0
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [key for key in status if f"`{key}`" not in text] == []
