"""The examples of docs/coap-tools.md run, and show what is shown but for times and addresses."""

from __future__ import annotations

import asyncio
import re
import shlex

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.adapters.coap.peers import Fixed, Value, serving
from tests.support.documents import ROOT, blocks, code

DOCUMENT = ROOT / "docs/coap-tools.md"
EXAMPLES = [block for block in blocks(DOCUMENT) if block.language == "console"]


class Humidity(Fixed):
    """Says how long it is fresh, which aiocoap's server leaves out."""

    async def render_get(self, request):
        response = await super().render_get(request)
        response.opt.max_age = 60
        return response


def masked(line):
    line = re.sub(r"127-0-0-1-\d+", "10-0-0-9", re.sub(r"127\.0\.0\.1:\d+", "10.0.0.9:5683", line))
    return re.sub(r"\s+", " ", re.sub(r"\d{4}-\d\d-\d\dT\S+Z", "TIME", line)).strip()


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.text.split("\n")[0])
async def test_the_examples_run(block):
    command, *shown = block.text.splitlines()
    core = b'</temp>;rt="temperature-c";if="sensor";obs;title="Outside",</hum>;ct=50'
    resources = {
        "/.well-known/core": Fixed(core, 40),
        "/temp": Value(b"21.5"),
        "/hum": Humidity(b'{"rh":40.5,"dew_c":6.2}', 50),
    }
    async with serving(resources) as port:
        words = [word.replace("10.0.0.9", f"127.0.0.1:{port}") for word in shlex.split(command)[2:]]
        done = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert done.exit_code == 0, done.output
    said = [masked(line) for line in done.output.splitlines()]
    assert [line for line in said if line] == [masked(line) for line in shown]


def test_every_verb_has_an_example_and_a_row():
    verbs = set(typer.main.get_command(app).commands["coap"].commands)
    assert verbs == {block.text.split()[3] for block in EXAMPLES}
    assert {f"onpath coap {verb}" for verb in verbs} <= set(code(DOCUMENT))
