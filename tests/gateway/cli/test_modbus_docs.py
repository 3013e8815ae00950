"""The examples of docs/modbus-tools.md run, and show what is shown but for the numbers."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys

import pytest
import typer

from gateway.cli.main import app
from tests.support.documents import ROOT, blocks, code

DOCUMENT = ROOT / "docs/modbus-tools.md"
BLOCKS = [block for block in blocks(DOCUMENT) if block.language == "console"]
(SIMULATOR,) = [block for block in BLOCKS if block.marker == "simulator"]
EXAMPLES = [block for block in BLOCKS if block is not SIMULATOR]


def masked(line):
    """A line without what differs from run to run: numbers, registers, widths of columns."""
    line = re.sub(r"(?<![.\w])[0-9a-f]{4}(?![.\w])", "N", line)
    line = re.sub(r"-?\d+(\.\d+)?", "N", line)
    return re.sub(r"\s+", " ", line).strip()


def agree(shown, said):
    """Line by line; ``...`` stands for any lines."""
    if not shown:
        return not said
    if shown[0] == "...":
        return any(agree(shown[1:], said[i:]) for i in range(len(said) + 1))
    return bool(said) and shown[0] == said[0] and agree(shown[1:], said[1:])


async def start(words):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli.main", *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )


async def test_the_examples_run():
    command, shown = SIMULATOR.text.splitlines()
    said = json.loads(shown)
    simulator = await start([word.replace(":5021", ":0") for word in shlex.split(command)[2:]])
    try:
        ready = json.loads(await asyncio.wait_for(simulator.stdout.readline(), 30))
        assert ready | {"url": said["url"], "port": said["port"]} == said
        for block in EXAMPLES:
            command, *shown = block.text.splitlines()
            words = [word.replace(":5021", f":{ready['port']}") for word in shlex.split(command)[2:]]
            process = await start(words)
            out = (await asyncio.wait_for(process.communicate(), 30))[0].decode().splitlines()
            assert process.returncode == 0, command
            assert agree([masked(line) for line in shown], [masked(line) for line in out]), "\n".join([command, *out])
    finally:
        simulator.terminate()
        await simulator.communicate()


def test_every_verb_has_an_example_and_a_row():
    verbs = set(typer.main.get_command(app).commands["modbus"].commands)
    assert verbs == {block.text.split()[3] for block in BLOCKS}
    assert {f"onpath modbus {verb}" for verb in verbs} <= set(code(DOCUMENT))


@pytest.mark.parametrize("kind", ["fault", "scheme"])
def test_every_fault_and_scheme_is_told(kind):
    from adapters.modbus.tools.faults import KINDS
    from adapters.modbus.tools.serving import SCHEMES

    told = {re.split(r":", word)[0] for text in code(DOCUMENT) for word in text.split()}
    assert set(KINDS if kind == "fault" else SCHEMES) <= told
