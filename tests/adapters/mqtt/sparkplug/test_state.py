"""Birth and death of the host itself."""

from __future__ import annotations

import json

import pytest

from adapters.mqtt.sparkplug.requests import Certificate
from gateway.errors import PayloadError
from tests.adapters.mqtt.sparkplug.support import MS, NS, Listener

TOPIC = "spBv1.0/STATE/onpath-1"


@pytest.fixture
def certificate():
    return Certificate("onpath-1")


def said(message):
    return json.loads(message.payload)


def test_tck_id_host_topic_phid_death_topic(certificate):
    assert certificate.will(MS * NS).topic == TOPIC


def test_tck_id_host_topic_phid_death_payload(certificate):
    assert said(certificate.will(MS * NS)) == {"online": False, "timestamp": MS}


def test_tck_id_host_topic_phid_death_qos(certificate):
    assert certificate.will(MS * NS).qos == 1


def test_tck_id_host_topic_phid_death_retain(certificate):
    assert certificate.will(MS * NS).retain


def test_tck_id_host_topic_phid_death_payload_timestamp_connect(certificate):
    certificate.will(MS * NS)
    assert said(certificate.will((MS + 7) * NS))["timestamp"] == MS + 7


def test_tck_id_host_topic_phid_birth_topic(certificate):
    certificate.will(MS * NS)
    assert certificate.birth().topic == TOPIC


def test_tck_id_host_topic_phid_birth_qos(certificate):
    certificate.will(MS * NS)
    assert certificate.birth().qos == 1


def test_tck_id_host_topic_phid_birth_retain(certificate):
    certificate.will(MS * NS)
    assert certificate.birth().retain


def test_tck_id_host_topic_phid_birth_payload(certificate):
    certificate.will(MS * NS)
    assert set(said(certificate.birth())) == {"online", "timestamp"}
    assert said(certificate.birth())["online"] is True


def test_tck_id_host_topic_phid_birth_payload_timestamp(certificate):
    will = certificate.will(MS * NS)
    assert said(certificate.birth())["timestamp"] == said(will)["timestamp"]


def test_tck_id_host_topic_phid_death_payload_timestamp_disconnect_clean(certificate):
    certificate.will(MS * NS)
    certificate.birth()
    death = certificate.death((MS + 500) * NS)
    assert (said(death), death.qos, death.retain) == ({"online": False, "timestamp": MS + 500}, 1, True)


def test_tck_id_message_flow_hid_sparkplug_state_message_delivered():
    host = Listener(host="onpath-1")
    will = host.host.certificate.will(MS * NS)
    birth = host.host.certificate.birth()
    host.take((TOPIC, will.payload))
    assert host.sent() == [birth]
    assert host.sent() == []
    host.take((TOPIC, birth.payload))
    assert host.sent() == []


def test_the_echo_of_our_own_death_is_not_answered():
    host = Listener(host="onpath-1")
    certificate = host.host.certificate
    certificate.will(MS * NS)
    certificate.birth()
    host.take((TOPIC, certificate.death(MS * NS).payload))
    assert host.sent() == []


def test_the_state_of_other_hosts_is_not_ours():
    host = Listener(host="onpath-1")
    host.host.certificate.will(MS * NS)
    host.host.certificate.birth()
    host.take(("spBv1.0/STATE/other", b'{"online": false, "timestamp": 1}'))
    assert host.sent() == []


@pytest.mark.parametrize("payload", [b"", b"OFFLINE", b"[]", b'{"online": 1, "timestamp": 2}', b"[" * 100_000])
def test_a_state_that_is_none(certificate, payload):
    with pytest.raises(PayloadError, match="unparsable"):
        certificate.heard(payload)
