"""What the doctor learns of mosquitto by MQTT 5: its limits, a refused login, TLS."""

import asyncio

import pytest
import trustme

from gateway.doctor import brokers, links
from gateway.doctor.patient import read
from tests.interop.mqtt.mosquitto import mosquitto, open_to_all


@pytest.fixture
def patient_of(tmp_path):
    def make(text):
        path = tmp_path / "onpath.yaml"
        path.write_text(f"gateway: g1\nstate: {tmp_path}/state\n{text}")
        return read(path, {})

    return make


async def told(log, words):
    """The broker writes it, sooner or later."""
    async with asyncio.timeout(10):
        while words not in await asyncio.to_thread(log.read_text):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def asked(patient):
    (target,) = links.targets(patient.config)
    found = await asyncio.to_thread(lambda: list(brokers.check_broker(patient, target)))
    return {one.kind: one for one in found}


async def test_it_lets_us_in_and_says_its_limits(tmp_path, patient_of):
    async with mosquitto(tmp_path) as port:
        found = await asked(patient_of(f"uplinks: {{up: {{type: mqtt, url: 'mqtt://127.0.0.1:{port}'}}}}\n"))
    assert "lets us in by MQTT 5" in found["brokers"].what
    assert not {"broker-refuses", "broker-old", "broker-packet-size", "broker-qos", "broker-no-retain"} & found.keys()


async def test_small_packets_few_at_once_no_retained_messages(tmp_path, patient_of):
    options = "allow_anonymous true\nmax_packet_size 20000\nretain_available false\nmax_qos 0\nmax_inflight_messages 5"
    async with mosquitto(tmp_path, options) as port:
        found = await asked(patient_of(f"uplinks: {{up: {{type: mqtt, url: 'mqtt://127.0.0.1:{port}'}}}}\n"))
    assert {"broker-packet-size", "broker-no-retain", "broker-qos"} <= found.keys()
    assert "20000 bytes at most" in found["broker-packet-size"].what
    assert "max_payload'  # then set it to 20000B" in found["broker-packet-size"].remedy


async def test_no_session_stays_behind(tmp_path, patient_of):
    """It asks for the session that the adapter asks for, and gives it up."""
    adapter = (
        "adapters: {a: {type: mqtt, version: '5', url: 'mqtt://127.0.0.1:%d', subscribe: [{topic: x, device: d}]}}\n"
    )
    async with mosquitto(tmp_path, "allow_anonymous true\nlog_type all") as port:
        found = await asked(patient_of(adapter % port))
        await told(tmp_path / "mosquitto.log", "Received DISCONNECT from onpath-doctor-")
    assert not {"broker-refuses", "broker-session"} & found.keys()


async def test_a_login_that_is_refused(tmp_path, patient_of):
    (tmp_path / "passwords").write_text("")
    async with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {tmp_path}/passwords") as port:
        text = f"uplinks: {{up: {{type: mqtt, url: 'mqtt://127.0.0.1:{port}', username: u, password: wrongpass}}}}\n"
        found = await asked(patient_of(text))
    assert "Not authorized" in found["broker-refuses"].what
    assert "wrongpass" not in str(found)


async def test_over_tls(tmp_path, patient_of):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pair = authority.issue_cert("127.0.0.1")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    pair.private_key_pem.write_to_path(tmp_path / "key.pem")
    open_to_all(tmp_path)
    options = f"allow_anonymous true\ncertfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem"
    async with mosquitto(tmp_path, options) as port:
        text = f"uplinks: {{up: {{type: mqtt, url: 'mqtts://127.0.0.1:{port}', ca: {tmp_path}/ca.pem}}}}\n"
        assert "lets us in by MQTT 5" in (await asked(patient_of(text)))["brokers"].what
