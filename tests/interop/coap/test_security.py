"""``coaps://`` with pre-shared keys against libcoap, built with OpenSSL and with GnuTLS, in both directions.

Needs Debian's libcoap3-bin, which has a server and a client for each of the two.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager

import pytest

from gateway import quality as q
from tests.adapters.coap.peers import adapter_of, free_port
from tests.support.context import RecordingContext

LIBRARIES = ["openssl", "gnutls"]

for library in LIBRARIES:
    for side in ("server", "client"):
        assert shutil.which(f"coap-{side}-{library}"), "libcoap3-bin is not installed: make interop installs the peers"


@pytest.fixture
def ctx():
    return RecordingContext("sensors")


@asynccontextmanager
async def libcoap_server(library, port, key="secretPSK"):
    """libcoap's server: ``port`` in the clear, ``port + 1`` by DTLS."""
    command = [f"coap-server-{library}", "-A", "127.0.0.1", "-p", str(port), "-k", key, "-d", "10"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def libcoap_client(library, port, *options, key="secretPSK", identity="gw"):
    """What libcoap's client prints."""
    uri = f"coaps://127.0.0.1:{port}/v/s1/t"
    process = await asyncio.create_subprocess_exec(
        *(f"coap-client-{library}", "-k", key, "-u", identity, "-m", "put", "-B", "3", "-v", "7", *options, uri),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 20)
    return printed.decode()


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD] if ctx.frames else []


def asking(port, **options):
    device = {"url": f"coaps://127.0.0.1:{port + 1}", "security": "meter", "timeout": "3s"} | options
    return {"security": {"meter": {"psk": {"identity": "gw", "key": "text:secretPSK"}}}, "devices": {"c1": device}}


def serving(**options):
    served = {
        "listen": "127.0.0.1:0",
        "secure_listen": "127.0.0.1:0",
        "resources": {"/v/{device}/{point}": {"security": ["meter"]}},
    }
    return {"security": {"meter": {"psk": {"identity": "gw", "key": "text:secretPSK"}}}, "serve": served | options}


@pytest.mark.parametrize("library", LIBRARIES)
async def test_libcoaps_server_is_observed_and_polled_by_coaps(ctx, library):
    port = free_port()
    options = asking(
        port, every="200ms", poll={"now": "/time?ticks"}, observe={"ticks": {"path": "/time?ticks", "kind": "counter"}}
    )
    async with libcoap_server(library, port), adapter_of(ctx, **options):
        await ctx.until(lambda: len(values(ctx, "c1/now")) > 3 and len(values(ctx, "c1/ticks")) > 1, 30)
    assert not ctx.stats.reasons["not-secure"]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_libcoaps_server_with_another_key_gives_no_value(ctx, library):
    port = free_port()
    async with (
        libcoap_server(library, port, key="another key"),
        adapter_of(ctx, **asking(port, every="200ms", poll={"now": "/time?ticks"})),
    ):
        await ctx.until(lambda: ctx.stats.reasons["not-secure"] > 0, 30)
    assert not values(ctx, "c1/now")
    why = {detail for name, up, detail in ctx.links if name == "c1" and not up}
    assert why
    assert "secretPSK" not in f"{why}"


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_restarted_libcoap_server_is_found_again(ctx, library):
    port = free_port()
    options = asking(port, every="100ms", timeout="1s", poll={"now": "/time?ticks"})
    async with adapter_of(ctx, **options):
        for _ in range(2):
            before = len(values(ctx, "c1/now"))
            async with libcoap_server(library, port):  # killed at the end: it takes leave of nobody
                await ctx.until(lambda before=before: len(values(ctx, "c1/now")) > before, 30)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_libcoaps_client_pushes_by_coaps(ctx, library):
    async with adapter_of(ctx, **serving()) as adapter:
        for number in (b"1", b"2"):
            printed = await libcoap_client(library, adapter.secure_port, "-e", number.decode())
            assert "2.04" in printed, printed
    assert values(ctx, "s1/t") == [1.0, 2.0]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("wrong", [{"key": "another key"}, {"identity": "another"}])
async def test_libcoaps_client_with_another_key_cannot_push(ctx, library, wrong):
    async with adapter_of(ctx, **serving()) as adapter:
        printed = await libcoap_client(library, adapter.secure_port, "-e", "1", **wrong)
        assert "2.04" not in printed
    assert not ctx.frames
