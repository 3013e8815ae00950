"""The MQTT uplink at mosquitto, version 5: properties, refusals in PUBACK, limits of the CONNACK."""

from __future__ import annotations

import aiomqtt
import pytest

from gateway.frame import Frame
from gateway.uplinks.config import MqttUplinkConfig
from tests.interop.mqtt.mosquitto import mosquitto
from tests.support.build import directory_of
from tests.support.uplink import running, uplink_context

V5 = aiomqtt.ProtocolVersion.V5


@pytest.fixture
def ctx(tmp_path_factory):
    with uplink_context(tmp_path_factory.mktemp("state"), directory_of("m1/power")) as context:
        yield context


@pytest.fixture
def folder(tmp_path):
    """Near the root of all, so that mosquitto, which goes on as another user, can read what is in it."""
    return tmp_path


def sample(n: int) -> Frame:
    return Frame.of([0], n * 1_000_000, [n + 0.5])


async def test_the_record_id_and_the_content_type_travel_as_properties(folder, ctx):
    async with mosquitto(folder) as port, aiomqtt.Client("127.0.0.1", port, protocol=V5) as receiver:
        await receiver.subscribe("onpath/#", qos=1)
        for kind, mime in (("json", "application/json"), ("frame", "application/msgpack")):
            batch = ctx.put(sample(1))[0]
            config = MqttUplinkConfig(url=f"mqtt://127.0.0.1:{port}", version="5", format=kind)
            async with running(config.create(), ctx):
                await ctx.until(lambda batch=batch: batch.seq in ctx.acknowledged)
            messages = aiter(receiver.messages)
            message = await anext(messages)
            if "/directory/" in str(message.topic):
                assert message.properties.ContentType == mime
                message = await anext(messages)
            assert message.properties.ContentType == mime
            assert message.properties.UserProperty == [
                ("gateway", "test"),
                ("epoch", str(batch.epoch)),
                ("seq", str(batch.seq)),
            ]


async def test_a_puback_that_refuses_is_no_puback(folder, ctx):
    """Not authorised: aiomqtt returns as if all were well. The batch waits until the broker takes it."""
    acl = folder / "acl"
    acl.write_text("topic read #\n")
    options = f"allow_anonymous true\nacl_file {acl}\n"
    async with mosquitto(folder, options) as port:
        config = MqttUplinkConfig(url=f"mqtt://127.0.0.1:{port}", version="5")
        ctx.put(sample(1))
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.stats.counts["refused"] >= 2)
            assert not ctx.acknowledged
            assert ctx.links[-1][0] is False
            assert "Not authorized" in ctx.links[-1][1]
    acl.write_text("topic readwrite #\n")
    async with mosquitto(folder, options) as port:
        config = MqttUplinkConfig(url=f"mqtt://127.0.0.1:{port}", version="5")
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.acknowledged == [1])


async def test_nobody_listens_is_counted(folder, ctx):
    async with mosquitto(folder) as port:
        config = MqttUplinkConfig(url=f"mqtt://127.0.0.1:{port}", version="5")
        for n in range(30):
            ctx.put(sample(n))
        async with running(config.create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 30)
    assert ctx.stats.counts["unheard"] == 30


async def test_a_batch_beyond_what_the_broker_says_is_given_up_and_the_link_stays(folder, ctx):
    async with mosquitto(folder, "allow_anonymous true\nmax_packet_size 6000\n") as port:
        config = MqttUplinkConfig(url=f"mqtt://127.0.0.1:{port}", version="5")
        ctx.put(Frame.of([0] * 200, [n * 10**6 for n in range(200)], [n / 4 for n in range(200)]))
        ctx.put(sample(2))
        async with running(config.create(), ctx):
            await ctx.until(lambda: 2 in ctx.acknowledged)
    assert ctx.stats.counts["too-large"] == 1
    assert len(ctx.links) == 1


async def test_a_window_that_the_broker_wants_smaller(folder, ctx):
    """Receive maximum 3 in the CONNACK; a client that sends more would be disconnected (MQTT 5, 4.9)."""
    async with mosquitto(folder, "allow_anonymous true\nmax_inflight_messages 3\n") as port:
        config = MqttUplinkConfig(url=f"mqtt://127.0.0.1:{port}", version="5", in_flight=100)
        for n in range(200):
            ctx.put(sample(n))
        async with (
            aiomqtt.Client("127.0.0.1", port, protocol=V5) as receiver,
            running(config.create(), ctx),
        ):
            await receiver.subscribe("onpath/#", qos=1)
            await ctx.until(lambda: len(ctx.acknowledged) == 200)
    assert len(ctx.links) == 1
