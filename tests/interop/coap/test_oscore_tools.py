"""OSCORE against aiocoap's own client and its own server with their credentials files.

They need the library lakers, which the gateway does not have; ``.ci/install-peers`` gives them an environment.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gateway import quality as q
from tests.adapters.coap.peers import adapter_of, free_port
from tests.support.context import RecordingContext

HERE = Path(__file__).parent
BIN = HERE.parent / ".venv" / "bin"
KEY = {
    "secret": "0102030405060708090a0b0c0d0e0f10",
    "salt": "9e7ca92223786340",
    "sender": "01",
    "recipient": "02",
    "id_context": "37cb",
}

assert (BIN / "aiocoap-client").exists(), "aiocoap's tools are not installed: make interop installs the peers"


@pytest.fixture
def credentials(tmp_path):
    """A credentials file of aiocoap's, for all addresses, with the other side of KEY."""
    folder = tmp_path / "context"
    folder.mkdir()
    facts = {"sender-id_hex": "02", "recipient-id_hex": "01", "id-context_hex": "37cb"}
    facts |= {"secret_hex": KEY["secret"], "salt_hex": KEY["salt"]}
    (folder / "settings.json").write_text(json.dumps(facts))

    def write(name: str) -> Path:
        file = tmp_path / "credentials.json"
        file.write_text(json.dumps({name: {"oscore": {"basedir": str(folder)}}}))
        return file

    return write


@asynccontextmanager
async def started(*command):
    process = await asyncio.create_subprocess_exec(*map(str, command))
    try:
        yield
    finally:
        process.kill()
        await process.wait()


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD] if ctx.frames else []


async def test_aiocoaps_client_pushes_also_after_restarts_and_a_crash(credentials):
    ctx, port = RecordingContext(), free_port()
    served = {"listen": f"127.0.0.1:{port}", "resources": {"/v/{device}/{point}": {"security": ["k"]}}}
    options = {"security": {"k": {"oscore": KEY}}, "serve": served}
    file = credentials(f"coap://127.0.0.1:{port}/*")

    async def push(value):
        command = (BIN / "aiocoap-client", "--credentials", file, "-m", "POST", "--payload", str(value))
        process = await asyncio.create_subprocess_exec(*map(str, command), f"coap://127.0.0.1:{port}/v/d/t")
        assert await asyncio.wait_for(process.wait(), 30) == 0

    for value in (1, 2, 3):
        ctx.links.clear()
        async with adapter_of(ctx, **options):
            await push(value)
        if value == 2:  # what a crash leaves: bounds, and no replay window
            (state,) = ctx.folder.glob("*.oscore")
            state.write_bytes(msgspec.json.encode(msgspec.json.decode(state.read_bytes()) | {"window": None}))
    assert values(ctx, "d/t") == [1.0, 2.0, 3.0]
    assert not ctx.stats.reasons


async def test_aiocoaps_server_is_observed_and_polled(credentials):
    ctx, port = RecordingContext(), free_port()
    device = {"url": f"coap://127.0.0.1:{port}", "security": "k", "every": "100ms", "timeout": "2s"}
    options = device | {"observe": {"seen": "/t"}, "poll": {"read": "/t"}}
    async with (
        started(BIN / "python", HERE / "oscore_device.py", credentials(":k"), port),
        adapter_of(ctx, security={"k": {"oscore": KEY}}, devices={"d": options}),
    ):
        await ctx.until(lambda: len(values(ctx, "d/seen")) > 4 and len(values(ctx, "d/read")) > 4, 30)
    assert values(ctx, "d/seen") == sorted(values(ctx, "d/seen"))
    assert not ctx.stats.reasons["not-secure"]
