"""Brokers, real ones: nats-server by MQTT 3.1.1 and by its own protocol. Mosquitto (MQTT 5) is in tests/interop."""

import asyncio

import pytest

from adapters.mqtt.config import EMBEDDED
from gateway.doctor import brokers, links, nats
from gateway.doctor.diagnosis import Severity
from tests.gateway.doctor.conftest import kinds
from tests.support.nats import nats_broker

USERS = 'authorization { users: [{user: anna, password: "tOpsEcret"}] }'


async def asked(patient, check):
    found = links.targets(patient.config)
    target = found if check is nats.check_nats else found[0]
    return await asyncio.to_thread(lambda: list(check(patient, target)))


async def test_a_broker_of_3_1_1_lets_us_in_and_cannot_say_its_limits(patient_of, tmp_path):
    async with nats_broker(tmp_path / "nats") as broker:
        patient = patient_of(f"uplinks: {{up: {{type: mqtt, url: '{broker.mqtt_url}'}}}}\n")
        found = await asked(patient, brokers.check_broker)
    assert [(one.kind, one.severity) for one in found] == [("broker-old", Severity.NOTE)]


async def test_a_wrong_password_is_said_and_never_shown(patient_of, tmp_path):
    async with nats_broker(tmp_path / "nats", extra=USERS) as broker:
        login = f"url: '{broker.mqtt_url}', username: anna, password: "
        wrong = patient_of(f"uplinks: {{up: {{type: mqtt, {login} wrongpass}}}}\n")
        one = kinds(await asked(wrong, brokers.check_broker))["broker-refuses"]
        assert one.remedy == f"onpath show-config -c {wrong.path} 'uplinks.up'"
        assert "wrongpass" not in str(one)
        right = patient_of(f"uplinks: {{up: {{type: mqtt, {login} tOpsEcret}}}}\n")
        assert kinds(await asked(right, brokers.check_broker)).keys() == {"broker-old"}


async def test_without_the_credential_nobody_is_asked(patient_of, tmp_path):
    """Nothing is sent in place of a password that cannot be read from here."""
    async with nats_broker(tmp_path / "nats", extra=USERS) as broker:
        text = f"url: '{broker.mqtt_url}', username: anna, password: '${{credential:pw}}'"
        patient = patient_of(f"uplinks: {{up: {{type: mqtt, {text}}}}}\n")
        assert list(patient.missing) == ["pw"]
        (one,) = await asked(patient, brokers.check_broker)
        assert (one.severity, "not logged in" in one.what) == (Severity.OK, True)


@pytest.mark.parametrize(
    ("create", "kind"), [("", "nats-new-stream"), (", create: false", "nats-no-stream"), (", stream: ''", None)]
)
async def test_nats_with_jetstream_and_no_stream_yet(patient_of, tmp_path, create, kind):
    async with nats_broker(tmp_path / "nats", mqtt=False) as broker:
        found = await asked(
            patient_of(f"uplinks: {{up: {{type: nats, url: '{broker.url}'{create}}}}}\n"), nats.check_nats
        )
        assert any("JetStream is enabled" in one.what for one in found)
        assert kinds(found).keys() == ({kind} if kind else set())
        again = await asked(patient_of(f"uplinks: {{up: {{type: nats, url: '{broker.url}'}}}}\n"), nats.check_nats)
        assert "nats-new-stream" in kinds(again), "nothing was created"


async def test_a_stream_that_forgets_record_ids_soon(patient_of, tmp_path):
    import nats as client

    async with nats_broker(tmp_path / "nats", mqtt=False) as broker:
        connection = await client.connect(broker.url)
        await connection.jetstream().add_stream(name="onpath", subjects=["onpath.>"], duplicate_window=30)
        await connection.close()
        found = kinds(
            await asked(patient_of(f"uplinks: {{up: {{type: nats, url: '{broker.url}'}}}}\n"), nats.check_nats)
        )
    assert found["nats-duplicates"].what == "stream onpath knows record ids for 30 s only"


async def test_nats_without_jetstream_with_small_messages_and_a_wrong_login(patient_of, tmp_path):
    folder = tmp_path / "nats"
    async with nats_broker(folder, mqtt=False, jetstream="enabled: false", extra="max_payload: 64KB") as broker:
        found = kinds(
            await asked(patient_of(f"uplinks: {{up: {{type: nats, url: '{broker.url}'}}}}\n"), nats.check_nats)
        )
        assert found.keys() == {"nats-no-jetstream", "nats-payload"}
    async with nats_broker(tmp_path / "other", mqtt=False, extra=USERS) as broker:
        text = f"uplinks: {{up: {{type: nats, url: '{broker.url}', username: anna, password: wrongpass}}}}\n"
        found = kinds(await asked(patient_of(text), nats.check_nats))
        assert "refuses the login" in found["nats-refuses"].what
        assert "wrongpass" not in str(found)


CONNACK = bytes.fromhex("20 12 00 00 0f  11 0000003c  21 0005  28 00  25 00  22 0000".replace(" ", ""))
"""Accepted; sessions end after 60 s, 5 messages at once, no wildcards, nothing retained, no aliases."""


async def test_what_a_broker_of_mqtt_5_grants(patient_of):
    """A scripted one, since none at hand shortens sessions."""
    heard, ended = bytearray(), asyncio.Event()

    async def serve(reader, writer):
        if first := await reader.read(1000):  # who only looks whether the port is open says nothing
            heard.extend(first)
            writer.write(CONNACK)
            heard.extend(await reader.read(1000))
            ended.set()
        writer.close()

    text = "adapters: {a: {type: mqtt, version: '5', url: 'mqtt://127.0.0.1:%d', subscribe: [{topic: x, device: d}]}}\n"
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = kinds(await asked(patient_of(text % port), brokers.check_broker))
        assert found.keys() == {"broker-session", "broker-no-wildcards"}
        assert found["broker-session"].what == "the broker keeps a session for 60 s, and 3600 s are asked for"
        async with asyncio.timeout(10):
            await ended.wait()
        assert b"\x11" + (3600).to_bytes(4) in heard
        assert heard.endswith(bytes.fromhex("e007000511") + bytes(4)), "gives the session up"
        heard.clear()
        sends = patient_of(f"uplinks: {{up: {{type: mqtt, url: 'mqtt://127.0.0.1:{port}'}}}}\n")
        found = kinds(await asked(sends, brokers.check_broker))
        assert found.keys() == {"broker-no-retain", "broker-window"}


def test_settings_of_a_mosquitto_on_this_box(patient_of, tmp_path, monkeypatch):
    folder = tmp_path / "mosquitto"
    (folder / "conf.d").mkdir(parents=True)
    monkeypatch.setattr(brokers, "MOSQUITTO", folder)
    patient = patient_of("adapters: {a: {type: mqtt, url: 'mqtt://127.0.0.1', subscribe: [{topic: x, device: d}]}}\n")
    (target,) = links.targets(patient.config)
    assert list(brokers._mosquitto(target)) == [], "none is here"
    (folder / "mosquitto.conf").write_text("# set_tcp_nodelay true\nlistener 1883\n")
    assert kinds(brokers._mosquitto(target)).keys() == {"mosquitto-nodelay", "mosquitto-window"}
    (other,) = links.targets(patient_of("uplinks: {u: {type: mqtt, url: 'mqtt://127.0.0.1:1884'}}\n").config)
    assert list(brokers._mosquitto(other)) == [], "another broker, on a port of its own"
    (folder / "conf.d" / "own.conf").write_text("set_tcp_nodelay true\nmax_inflight_messages 200\n")
    assert list(brokers._mosquitto(target)) == []


def test_the_embedded_broker_is_nobody_to_reach(patient_of):
    patient = patient_of(f"broker: embedded\nuplinks: {{up: {{type: mqtt, url: {EMBEDDED}}}}}\n")
    assert links.targets(patient.config) == []
