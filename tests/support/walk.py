"""Walks through a page as its reader would: writes the files that it shows and types its commands, in order.

What is done with a block stands in an HTML comment on the line before it:

* ``file: NAME``: the block is written to that file of the walk's folder
* ``serve``: each command goes on in a terminal of its own until ``end: COMMAND`` stands alone on a line, or the walk
  ends
* ``walk``: each command is run until it succeeds and says what is shown behind it; ``...`` stands for any lines, and
  numbers, times and the width of columns may differ

Blocks with another mark, or none, are left to other tests.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.documents import Block, blocks

PATIENCE_S = 40.0
_END = re.compile(r"^<!-- end: (.*) -->$", re.MULTILINE)


def free_port() -> str:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def lines_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, what is shown behind it) of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *shown = part.rstrip().split("\n")
        while command.endswith("\\"):
            command = f"{command[:-1].rstrip()} {shown.pop(0).strip()}"
        yield command, [line for line in shown if line.strip()]


def masked(line: str) -> str:
    """A line without what differs from run to run."""
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line)
    line = re.sub(r"(?<![.\w])[0-9a-f]{4}(?![.\w])", "N", line)
    line = re.sub(r"-?\d[\d,]*(\.\d+)?", "N", line)
    line = re.sub(r"-{3,}|─+|━+|═+", "-", line)
    return re.sub(r"\s+", " ", line).strip()


def alike(shown: str, said: str) -> bool:
    """One line; ``...`` within it stands for anything."""
    pattern = ".*".join(re.escape(part) for part in masked(shown).split("..."))
    return re.fullmatch(pattern, masked(said)) is not None


def agree(shown: list[str], said: list[str]) -> bool:
    """Line by line; ``...`` stands for any lines."""
    if not shown:
        return not said
    if shown[0].strip() == "...":
        return any(agree(shown[1:], said[at:]) for at in range(len(said) + 1))
    return bool(said) and alike(shown[0], said[0]) and agree(shown[1:], said[1:])


@dataclass
class Walk:
    """One reader at work in one folder."""

    folder: Path
    stack: ExitStack
    here: dict[str, str] = field(default_factory=dict)
    """What stands on the page, and what stands for it in this walk: ports, devices."""
    named: dict[str, str] = field(default_factory=dict)
    """Further marks whose blocks are walked, once the terminals have said a word each."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def page(self, path: Path) -> int:
        """Walk through a page; how many of its blocks were walked."""
        ends = [(path.read_text().count("\n", 0, m.start()) + 1, m[1]) for m in _END.finditer(path.read_text())]
        steps: list[tuple[int, Block | str]] = [(block.line, block) for block in blocks(path)]
        walked = 0
        for _, step in sorted([*steps, *ends], key=lambda step: step[0]):
            walked += self.end(step) if isinstance(step, str) else self.block(step)
        return walked

    def block(self, block: Block) -> bool:
        """Do what a block says; whether it is one that is walked."""
        kind, _, name = block.marker.partition(": ")
        if kind == "file":
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(self.local(block.text))
        elif kind == "serve":
            for command, _ in lines_of(block.text):
                self.serve(command)
        elif kind == "walk" or kind in self.named:
            self.until("terminal.log", self.named.get(kind, ""))
            for command, shown in lines_of(block.text):
                self.type(command, shown)
        return kind in {"file", "serve", "walk", *self.named}

    def local(self, text: str) -> str:
        """Text of the page as it is here."""
        for there, here in self.here.items():
            text = text.replace(there, here)
        return text

    def serve(self, command: str) -> None:
        """Start it in a terminal of its own."""
        log = self.stack.enter_context((self.folder / "terminal.log").open("ab"))
        process = subprocess.Popen(
            ["bash", "-c", f"exec {self.local(command)}"],
            cwd=self.folder, env=self._env(), stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
        self.running[command] = process
        self.stack.callback(self.end, command)

    def end(self, command: str) -> bool:
        """Ctrl-C in the terminal of a command, and wait until it is over."""
        process = self.running.pop(command, None)
        if process is not None:
            process.terminate()
            process.communicate(timeout=30)
        return True

    def type(self, command: str, shown: list[str] | None = None) -> str:
        """Run it until it succeeds and says what is shown; others may have to come up first."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(
                ["bash", "-c", self.local(command)],
                cwd=self.folder, env=self._env(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            said = [line for line in done.stdout.splitlines() if line.strip()]
            if done.returncode == 0 and (not shown or agree(shown, said)):
                return done.stdout
            if time.monotonic() > deadline:
                raise AssertionError(f"{command}\n{done.stdout}{done.stderr}\n--- shown\n{shown}\n{self.log()}")
            time.sleep(0.2)

    def until(self, name: str, word: str) -> None:
        """Wait until a file holds a word."""
        deadline = time.monotonic() + PATIENCE_S
        while word and (not (self.folder / name).exists() or word not in (self.folder / name).read_text()):
            assert time.monotonic() < deadline, f"{name} has no {word}\n{self.log()}"
            time.sleep(0.1)

    def log(self) -> str:
        """What the terminals say."""
        file = self.folder / "terminal.log"
        return file.read_text(errors="replace")[-4000:] if file.exists() else ""

    def _env(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return os.environ | {"PATH": path, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
