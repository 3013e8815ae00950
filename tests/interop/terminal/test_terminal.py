"""Verbs that want a terminal, in a real one: tmux, with keys as a person presses them, and what stands there then."""

import shlex
import subprocess
import sys
import time
import uuid

import pytest

from tests.support.daemon import daemon

ONPATH = shlex.join([sys.executable, "-m", "gateway.cli.main"])
SITE = """
adapters:
  meters:
    type: modbus
    url: tcp://127.0.0.1:1
    devices: {m1: {profile: eastron-sdm630}, m2: {unit: 2, profile: eastron-sdm630}}
pipelines:
  live: {from: ["**"], steps: [{deadband: {percent: 1}}], to: [out]}
uplinks:
  out: {type: stdout}
"""


class Terminal:
    """A tmux server of its own with one window."""

    def __init__(self, folder, width=80, height=24):
        self._name = f"onpath-{uuid.uuid4().hex}"
        shell = f"cd {shlex.quote(str(folder))} && PS1='ready> ' exec bash --norc --noprofile"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, shell)

    def _tmux(self, *words):
        command = ["tmux", "-L", self._name, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout

    def press(self, *keys):
        self._tmux("send-keys", *keys)

    def type(self, text):
        self._tmux("send-keys", "-l", text)
        self.press("Enter")

    def resize(self, width, height):
        self._tmux("resize-window", "-x", width, "-y", height)

    def screen(self):
        return self._tmux("capture-pane", "-p")

    def until(self, *wanted, gone=(), timeout_s=60.0):
        """Wait until all that is wanted stands on the screen, and nothing of what must be gone; that screen."""
        end = time.monotonic() + timeout_s
        while True:
            shown = self.screen()
            if all(text in shown for text in wanted) and not any(text in shown for text in gone):
                return shown
            assert time.monotonic() < end, f"not seen: {wanted} without {gone}\n{shown}"
            time.sleep(0.1)

    def close(self):
        subprocess.run(["tmux", "-L", self._name, "kill-server"], capture_output=True, check=False)


@pytest.fixture
def terminal(tmp_path):
    made = Terminal(tmp_path)
    made.until("ready>")
    yield made
    made.close()


async def test_top(tmp_path, terminal):
    async with daemon(tmp_path, SITE) as running:
        terminal.type(f"echo before; {ONPATH} top -c onpath.yaml")
        shown = terminal.until("g1", "meters", "help", gone=["ready>"])
        assert all(len(line) <= 80 for line in shown.splitlines())
        terminal.press("2")
        terminal.until("m1", "m2")
        terminal.press("/")
        terminal.type("m2")
        terminal.until("m2", gone=["m1 "])
        terminal.press("3")
        terminal.until("live", "deadband")
        terminal.press("?")
        terminal.until("quit")
        terminal.press("?")
        terminal.resize(120, 40)
        terminal.until("deadband")
        terminal.resize(60, 15)
        shown = terminal.until("live")
        assert all(len(line) <= 60 for line in shown.splitlines())
        terminal.resize(80, 24)
        running.kill()
        terminal.until("no answer from the gateway")
        await running.start()
        terminal.until("deadband", gone=["no answer from the gateway"])
        terminal.press("q")
        terminal.until("before", "ready>", gone=["deadband"])


def test_init_asks_and_writes_what_can_be_run(tmp_path, terminal):
    terminal.type(f"{ONPATH} init site.yaml")
    for prompt, answer in (
        ("Name of this gateway", "feeder"),
        ("Modbus endpoint", "tcp://127.0.0.1:1"),
        ("unit id", "three"),
        ("is no unit id", "3"),
        ("profile", "eastron-sdm120"),
        ("MQTT broker", ""),
        ("CoAP resource", ""),
        ("Where results go", "out.jsonl"),
    ):
        terminal.until(prompt)
        terminal.type(answer)
    terminal.type(f"clear; {ONPATH} check -c site.yaml")
    terminal.until("site.yaml: ok")
    assert "eastron-sdm120" in (tmp_path / "site.yaml").read_text()
