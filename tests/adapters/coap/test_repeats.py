"""Pushes that are repeated after a restart of the gateway."""

import aiocoap

from adapters.coap.serving.repeats import STEP_NS
from gateway import quality as q
from tests.adapters.coap.peers import adapter_of, free_port
from tests.adapters.coap.raw import packet, raw_peer
from tests.support.context import RecordingContext

RESOURCES = {"/v/{device}/{point}": {}, "/any/{device}": {}}


class Clock(RecordingContext):
    """Whose time can be moved."""

    later_ns = 0

    def now_ns(self):
        return super().now_ns() + self.later_ns


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


def started(ctx, port):
    ctx.links.clear()
    return adapter_of(ctx, serve={"listen": f"127.0.0.1:{port}", "resources": RESOURCES})


async def test_a_push_repeated_after_a_restart_is_acknowledged_and_not_taken_again():
    ctx, port = Clock(), free_port()
    data = packet("/v/d/t", b"21.5", mid=77, token=b"abc")
    with raw_peer(port) as device:
        async with started(ctx, port):
            assert (await device.ask(data)).code == aiocoap.CHANGED
        async with started(ctx, port):
            again = await device.ask(data)
            assert (again.code, again.mid, again.token) == (aiocoap.CHANGED, 77, b"abc")
            assert values(ctx, "d/t") == [21.5]
            assert ctx.stats.repeated == 1
            # each of these differs from what is known, and is a new message
            assert (await device.ask(packet("/v/d/t", b"21.5", mid=78, token=b"abc"))).code == aiocoap.CHANGED
            assert (await device.ask(packet("/v/d/t", b"21.5", mid=77, token=b"abd"))).code == aiocoap.CHANGED
            assert (await device.ask(packet("/v/d/t", b"21.6", mid=77, token=b"abc"))).code == aiocoap.CHANGED
            with raw_peer(port) as other:
                assert (await other.ask(data)).code == aiocoap.CHANGED
    assert values(ctx, "d/t") == [21.5, 21.5, 21.5, 21.6, 21.5]
    assert ctx.stats.repeated == 1


async def test_after_the_lifetime_the_same_bytes_are_a_new_message():
    """A device that restarts, counts its messages from 1 again and has nothing new to say."""
    ctx, port = Clock(), free_port()
    data = packet("/v/d/t", b"1", mid=1)
    with raw_peer(port) as device:
        async with started(ctx, port):
            await device.ask(data)
        ctx.later_ns = 4 * STEP_NS  # 247 s: it may still be a repetition
        async with started(ctx, port):
            await device.ask(data)
            assert values(ctx, "d/t") == [1.0]
        ctx.later_ns = 6 * STEP_NS
        async with started(ctx, port):
            await device.ask(data)
            assert values(ctx, "d/t") == [1.0, 1.0]


async def test_the_last_block_repeated_after_a_restart_is_known_too():
    ctx, port = Clock(), free_port()
    body = b'{"t": 1}'.ljust(40)
    blocks = [
        packet("/any/d", body[n * 16 : n * 16 + 16], mid=n, content_format=50, block1=(n, n < 2, 0)) for n in range(3)
    ]
    with raw_peer(port) as device:
        async with started(ctx, port):
            assert [str((await device.ask(block)).code) for block in blocks] == [
                "2.31 Continue", "2.31 Continue", "2.04 Changed",
            ]  # fmt: skip
        async with started(ctx, port):
            last = await device.ask(blocks[2])
            assert last.code == aiocoap.CHANGED
            assert last.opt.block1.block_number == 2
    assert values(ctx, "d/t") == [1.0]
