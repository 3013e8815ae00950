"""Peers that do not keep to the protocol: noise, mutated packets, spoofed answers."""

import asyncio
import random
import socket

import aiocoap
import pytest
from aiocoap import Message

from gateway import quality as q
from tests.adapters.coap.peers import Fixed, Value, adapter_of, pushing, serving

PACKETS = 3000


def datagrams(seed, path):
    """Noise, and a valid POST with some of its bytes changed, cut, or repeated."""
    chance = random.Random(seed)
    good = bytes([0x52, 2, 0x12, 0x34, 0xAA, 0xBB])  # NON POST, a token of two bytes
    for segment in path:
        good += bytes([0xB0 + len(segment) if segment == path[0] else len(segment)]) + segment.encode()
    good += b"\x11\x32\xff" + b'{"t": 1}'
    for n in range(PACKETS):
        packet = bytearray(good if n % 4 else chance.randbytes(chance.randrange(60)))
        for _ in range(chance.randrange(4)):
            if packet:
                packet[chance.randrange(len(packet))] = chance.randrange(256)
        if n % 3 == 0:
            del packet[chance.randrange(len(packet) + 1) :]
        yield bytes(packet)


async def test_no_packet_stops_the_server(ctx):
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    served = {"listen": "127.0.0.1:0", "resources": {"/p/{device}": {}}}
    async with adapter_of(ctx, serve=served) as adapter:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            noise.connect(("127.0.0.1", adapter.port))
            for n, packet in enumerate(datagrams(7, ("p", "d"))):
                try:
                    noise.send(packet)
                except ConnectionRefusedError:
                    pytest.fail("the server is gone")
                if n % 20 == 0:
                    await asyncio.sleep(0.001)
        async with pushing(adapter.port) as push:
            assert (await push("/p/after", b'{"t": 2}', 50)).code == aiocoap.CHANGED
    assert ctx.points.find("d/t") is not None  # some of the packets were whole
    assert [value for _, value, word in ctx.samples("after/t") if word == q.GOOD] == [2.0]
    assert problems == []
    assert ctx.stats.reasons["malformed"] > 100


async def test_an_answer_from_elsewhere_is_not_taken(ctx):
    """Only the address that was asked can answer or notify, also with the right token."""
    value = Value(b"1")
    async with serving({"/x": value}) as port:
        devices = {"s1": {"url": f"coap://127.0.0.1:{port}", "observe": {"x": "/x"}}}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: ctx.samples("s1/x"))
            remote, token = value.asked_by
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
                spoofed = Message(code=aiocoap.CONTENT, payload=b"666", observe=9, _mtype=1, _mid=7, _token=token)
                liar.sendto(spoofed.encode(), ("127.0.0.1", remote.sockaddr[1]))
            value.set(b"2")
            await ctx.until(lambda: len(ctx.samples("s1/x")) == 2)
    assert [value for _, value, _ in ctx.samples("s1/x")] == [1.0, 2.0]


async def test_a_device_that_answers_with_another_size_each_time_is_heard(ctx):
    fixed = Fixed(b"1", 0)
    async with serving({"/x": fixed}) as port:
        devices = {"s1": {"url": f"coap://127.0.0.1:{port}", "poll": {"x": "/x"}, "every": "10ms"}}
        async with adapter_of(ctx, devices=devices):
            for n in (1, 4000, 3, 900, 1025, 1024, 2048):
                fixed.payload = b" " * (n - 1) + b"1"
                seen = len(ctx.samples("s1/x"))
                await ctx.until(lambda seen=seen: len(ctx.samples("s1/x")) > seen + 1)
    assert {sample[1:] for sample in ctx.samples("s1/x")} == {(1.0, q.GOOD)}


async def test_a_large_datagram_is_taken_whole(ctx):
    served = {"listen": "127.0.0.1:0", "resources": {"/p/{device}": {"points": {"t": {}}}}}
    async with adapter_of(ctx, serve=served) as adapter:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            head = bytes([0x50, 2, 0, 1]) + b"\xb1p\x01d\x10\xff"  # NON POST /p/d, text
            device.sendto(head + b"1".rjust(4090) + b"23456", ("127.0.0.1", adapter.port))
            await ctx.until(lambda: ctx.frames)
    assert ctx.frame.value.tolist() == [123456.0]  # and not 1, as its first 4,096 bytes would have it
