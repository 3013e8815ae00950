"""The CoAP client against libcoap (C) and npm's coap (JavaScript): TCP, loss, blocks, separate answers, multicast."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from adapters.coap.asking.discovery import discover, look
from tests.adapters.coap.peers import adapter_of, free_port
from tests.interop.coap.test_coap import HERE, LIBCOAP_SERVER, NODE, coap_client, ctx, device, started, values

__all__ = ["ctx"]


def server(port, *options):
    return started(LIBCOAP_SERVER, "-A", "127.0.0.1", "-p", port, *options)


async def answering(url):
    """Wait until libcoap's server listens; it does not say."""
    async with asyncio.timeout(10):
        while not (await look([url], timeout_s=0.3))[0].links:
            pass


async def test_libcoaps_server_over_tcp(ctx):
    port = free_port()
    url = f"coap+tcp://127.0.0.1:{port}"
    points = {"ticks": "/time?ticks", "clock": {"path": "/time", "payload": "text"}}
    data = {"path": "/example_data", "payload": "text"}
    async with server(port):
        await answering(url)
        devices = {"c": {"url": url, "every": "100ms", "observe": points, "poll": {"t": "/time?ticks", "text": data}}}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: len(values(ctx, "c/ticks")) > 3 and len(values(ctx, "c/t")) > 3, 15)
            await ctx.until(lambda: len(values(ctx, "c/clock")) > 2 and ctx.stats.reasons["too-long"])
        (finding,) = await discover([url], timeout_s=2.0)
    ticks = values(ctx, "c/ticks")
    assert ticks == sorted(ticks)
    assert set(ctx.stats.reasons) == {"too-long"}  # a text of 1,500 bytes came whole, and is no state
    assert finding.config["adapters"]["coap"]["devices"][finding.device]["observe"]["time"] == "/time"


async def test_libcoaps_separate_answer_holds_up_no_other_question(ctx):
    port = free_port()
    slow = {"path": "/async?3", "payload": "text"}
    async with server(port):
        await answering(f"coap://127.0.0.1:{port}")
        devices = {
            "slow": device(port, timeout="9s", poll={"late": slow}),
            "fast": device(port, every="100ms", poll={"ticks": "/time?ticks"}),
        }
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "slow/late"), 15)
            between = len(values(ctx, "fast/ticks"))
    assert between > 10
    assert not ctx.stats.reasons


async def test_libcoaps_large_resource_is_read_and_observed_in_blocks(ctx):
    port = free_port()
    large = {"path": "/big", "payload": "json", "value": "/v"}
    async with server(port, "-d", "10"):
        await answering(f"coap://127.0.0.1:{port}")
        await coap_client("put", port, "/big", '{"v": 1' + " " * 3000 + "}", "-t", "50")
        devices = {"c": device(port, every="200ms", observe={"seen": large}, poll={"read": large})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "c/seen") == [1] and values(ctx, "c/read"))
            await coap_client("put", port, "/big", '{"v": 2' + " " * 3000 + "}", "-t", "50")
            await ctx.until(lambda: values(ctx, "c/seen")[-1] == 2 and values(ctx, "c/read")[-1] == 2)
    assert not ctx.stats.reasons


async def test_libcoap_that_loses_a_third_of_what_it_sends_is_heard(ctx):
    port = free_port()
    async with server(port, "-l", "30%"):
        options = {"ack_timeout": "50ms", "max_retransmit": 8, "timeout": "20s", "every": "50ms"}
        devices = {"c": device(port, observe={"seen": "/time?ticks"}, poll={"read": "/time?ticks"}, **options)}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: len(values(ctx, "c/read")) > 30 and len(values(ctx, "c/seen")) > 4, 40)
    assert not ctx.stats.reasons
    ticks = values(ctx, "c/seen")
    assert ticks == sorted(set(ticks))


async def test_libcoap_answers_a_multicast():
    index = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
        try:
            probe.sendto(b"", ("224.0.1.187", 9))
        except OSError as refused:
            pytest.skip(f"no multicast on the loopback interface: {refused}")
    port = free_port()
    async with started(LIBCOAP_SERVER, "-A", "0.0.0.0", "-p", port, "-g", "224.0.1.187", "-G", "lo"):
        await answering(f"coap://127.0.0.1:{port}")
        found = await look([f"multicast:{port}"], timeout_s=6.0, interface="lo")
    assert [one.failed for one in found] == [""]
    assert "/time" in {link.target for link in found[0].links}


async def test_npm_coaps_large_resource_is_read_in_blocks(ctx):
    port = free_port()
    large = {"path": "/large", "payload": "json", "value": "/v"}
    async with (
        started(NODE, HERE / "coap_large.js", port, ready=b"listening"),
        adapter_of(ctx, devices={"j": device(port, every="100ms", poll={"read": large})}),
    ):
        await ctx.until(lambda: len(values(ctx, "j/read")) > 5, 20)
    assert values(ctx, "j/read") == sorted(values(ctx, "j/read"))
    assert not ctx.stats.reasons
