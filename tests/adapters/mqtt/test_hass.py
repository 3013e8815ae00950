"""Home Assistant's discovery: through the decoder, and at a real broker."""

from __future__ import annotations

import json

import aiomqtt
import numpy as np
import pytest

from adapters.mqtt.decode import Decoder
from adapters.mqtt.hass import CONFIRM_TICKS
from gateway import quality as q
from tests.adapters.mqtt.support import batch, mqtt_config
from tests.adapters.payloads.test_hass import DEVICE, SENSOR
from tests.support.context import RecordingContext, running
from tests.support.malformed import inputs
from tests.support.nats import nats_broker

HASS = {"topic": "homeassistant/#", "payload": "home-assistant", "labels": {"site": "north"}}
PLUG = "homeassistant/sensor/a1_ENERGY_Power/config"


class House:
    def __init__(self, *entries):
        self.ctx = RecordingContext()
        self.connect(*entries)

    def connect(self, *entries):
        config = mqtt_config(*(entries or [HASS]))
        self.decoder = Decoder(config, self.ctx.points, self.ctx.stats.reasons, self.ctx)

    def take(self, *messages, **options):
        sent = [(t, p if isinstance(p, (str, bytes)) else json.dumps(p)) for t, p in messages]
        frame = self.decoder.frame(batch(*sent, **options))
        rows = zip(frame.point.tolist(), frame.value.tolist(), frame.quality.tolist(), strict=True)
        return [(self.ctx.points.name(point), value, word) for point, value, word in rows]

    def point(self, name):
        return self.ctx.points.point(self.ctx.points.find(name))


def test_a_device_describes_itself_and_speaks():
    house = House()
    assert house.take((PLUG, SENSOR), ("homeassistant/status", "online")) == []
    assert sorted(house.decoder.asks()) == [("tele/a1/LWT", 1), ("tele/a1/SENSOR", 1)]
    assert house.take(("tele/a1/SENSOR", {"ENERGY": {"Power": 5.26}})) == [("a1/ENERGY_Power", 5.3, 0)]
    point = house.point("a1/ENERGY_Power")
    assert (point.unit, point.labels) == (
        "W", {"name": "Kitchen plug", "model": "Plug", "area": "kitchen", "site": "north"},
    )  # fmt: skip
    assert house.ctx.expected == {"a1": 100}
    house.decoder.tick(0)
    (finding,) = house.ctx.findings
    assert (finding.kind, finding.identity, finding.device) == ("home-assistant", "Tasmota Plug a1", "a1")
    assert finding.offers == ("ENERGY_Power W",)


def test_points_are_bad_while_the_device_says_that_it_is_away():
    house = House()
    house.take((PLUG, SENSOR), ("tele/a1/SENSOR", {"ENERGY": {"Power": 5}}))
    assert house.take(("tele/a1/LWT", "Online")) == []
    ((name, value, word),) = house.take(("tele/a1/LWT", "Offline"), ("tele/a1/LWT", "Offline"))
    assert (name, word) == ("a1/ENERGY_Power", q.INVALID)
    assert q.reason_codes(np.array([value])).tolist() == [q.Reason.LINK_DOWN]
    assert house.ctx.links == [("a1", False, "says that it is not available")]
    assert house.take((PLUG, SENSOR), ("tele/a1/LWT", "Online")) == []
    assert house.ctx.links[-1][:2] == ("a1", True)


def test_a_device_of_many_components_at_one_topic():
    house = House({**HASS, "device": "{name}"})
    house.take(("homeassistant/device/0AFFD2/bla/config", DEVICE))
    assert house.ctx.stats.reasons == {"template": 1}
    taken = house.take(
        ("sensorBedroom/state", {"temperature": 21.5, "humidity": "40"}), ("s/relay", "ON"), ("s/relay", "OFF"),
        ("sensorBedroom/state", {"temperature": None}), ("s/relay", "?"), ("sensorBedroom/state", "{"),
        ("sensorBedroom/state", {"x": 1}),
    )  # fmt: skip
    assert [row[:2] for row in taken[:4]] == [
        ("Kitchen/t", 21.5), ("Kitchen/h", 40.0), ("Kitchen/switch.relay", 1.0), ("Kitchen/switch.relay", 0.0),
    ]  # fmt: skip
    assert [row[2] for row in taken[4:]] == [q.INVALID] * 2
    assert house.ctx.stats.reasons == {"template": 1, "unparsable": 1, "missing": 1}
    assert house.point("Kitchen/t").unit == "Cel"
    house.decoder.tick(0)
    (finding,) = house.ctx.findings
    assert any("template" in offer for offer in finding.offers)
    assert "not taken: button restart" in finding.offers


def test_a_sensor_of_no_known_kind_is_what_its_first_value_is():
    house = House()
    for name in ("mode", "level"):
        house.take((f"homeassistant/sensor/n/{name}/config", {"state_topic": f"s/{name}"}))
    taken = house.take(("s/mode", "auto"), ("s/level", "7"), ("s/mode", "off"), ("s/mode", "unavailable"))
    assert [row[:2] for row in taken[:3]] == [("n/mode", 0.0), ("n/level", 7.0), ("n/mode", 1.0)]
    assert taken[3][2] == q.INVALID


def test_an_empty_configuration_takes_the_device_back():
    house = House()
    house.take((PLUG, SENSOR))
    house.take((PLUG, b""))
    assert house.decoder.asks() == []
    assert house.take(("tele/a1/SENSOR", {"ENERGY": {"Power": 5}})) == []


def test_a_state_that_came_too_early_is_found_once_its_device_is_known():
    house = House()
    state = ("tele/a1/SENSOR", {"ENERGY": {"Power": 5}})
    assert house.take(state) == []
    house.take((PLUG, SENSOR))
    assert house.take(state) == [("a1/ENERGY_Power", 5.0, 0)]
    assert house.ctx.stats.reasons == {"unmatched": 1}


def test_devices_are_known_again_after_a_restart_and_forgotten_if_they_are_gone():
    house = House()
    house.take((PLUG, SENSOR))
    house.decoder.tick(0)
    house.decoder.tick(0)
    house.connect()
    assert len(house.decoder.asks()) == 2
    assert house.take(("tele/a1/SENSOR", {"ENERGY": {"Power": 5}})) == [("a1/ENERGY_Power", 5.0, 0)]
    for _ in range(CONFIRM_TICKS + 1):
        house.decoder.tick(0)
    assert house.decoder.asks() == []
    house.connect()
    assert house.decoder.asks() == []


def test_what_was_kept_and_is_damaged_is_left():
    house = House()
    for value in (b"x", b""):
        house.ctx.memory["home-assistant homeassistant/#"] = value
        house.connect()
        assert house.decoder.asks() == []


@pytest.mark.parametrize("payload", ["{", "[]", "7", '{"state_topic": "a/#"}'])
def test_configurations_that_are_none_are_kept_for_who_looks(payload):
    house = House()
    house.take((PLUG, payload))
    ((reason, topic, kept, _),) = house.ctx.rejected
    assert reason in {"unparsable", "bad-config"}
    assert (topic, kept) == (PLUG, payload.encode())


def test_malformed_configurations_and_states_are_taken_or_counted():
    house = House()
    house.ctx.reject = lambda reason, *_: house.ctx.stats.reasons.update([reason])
    seeds = [json.dumps(one).encode() for one in (SENSOR, DEVICE, {"ENERGY": {"Power": 5.26}})]
    topics = [
        "homeassistant/device/n/o/config",
        PLUG,
        "tele/a1/SENSOR",
        "tele/a1/LWT",
        "sensorBedroom/state",
        "s/relay",
    ]
    sent = [(topics[i % len(topics)], payload) for i, payload in enumerate(inputs(seeds))]
    for start in range(0, len(sent), 100):
        house.take(*sent[start : start + 100])
        house.decoder.tick(0)
    house.take((PLUG, SENSOR))
    assert house.take(("tele/a1/SENSOR", {"ENERGY": {"Power": 5.26}}))[-1][1] == 5.3
    assert len(house.decoder.asks()) < 50


async def test_at_a_broker_topics_are_subscribed_to_as_devices_come_and_given_up_as_they_go():
    ctx = RecordingContext()
    async with nats_broker() as broker:
        link = mqtt_config(HASS, url=broker.mqtt_url).create()
        async with aiomqtt.Client("127.0.0.1", broker.mqtt_port, protocol=aiomqtt.ProtocolVersion.V311) as device:
            await device.publish(PLUG, json.dumps(SENSOR), qos=1, retain=True)
            await device.publish("tele/a1/SENSOR", json.dumps({"ENERGY": {"Power": 7}}), qos=1, retain=True)
            async with running(link, ctx):
                await ctx.until(lambda: len(ctx.frame) == 1)
                assert ctx.samples("a1/ENERGY_Power")[0][1:] == (7.0, q.QUESTIONABLE | q.OLD_DATA)
                await device.publish("tele/a1/SENSOR", json.dumps({"ENERGY": {"Power": 8}}), qos=1)
                await ctx.until(lambda: len(ctx.frame) == 2)
                await device.publish(PLUG, b"", qos=1, retain=True)
                await ctx.until(lambda: "tele" not in str(ctx.memory.get("filters")))
    assert ctx.stats.errors == 0
