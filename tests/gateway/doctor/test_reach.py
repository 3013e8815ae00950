"""Connections: names, ports, TLS with certificates that are expired, near their end, or of somebody else."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from gateway.config import load
from gateway.doctor import links, reach
from gateway.doctor.diagnosis import Severity
from tests.gateway.doctor.conftest import kinds

DAY = dt.timedelta(days=1)


@pytest.fixture
def authority():
    return trustme.CA()


@contextlib.contextmanager
def https(authority, name="127.0.0.1", ends_in=365 * DAY):
    """A real TLS server; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    now = dt.datetime.now(dt.UTC)
    authority.issue_cert(name, not_before=now - 400 * DAY, not_after=now + ends_in).configure_cert(context)
    with serving(context.wrap_socket) as port:
        yield port


@contextlib.contextmanager
def serving(greet):
    """A server in a thread, for as many as come: ``greet(socket, server_side=True)``, and the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    peer.settimeout(5)
                    with peer, contextlib.suppress(OSError):
                        greet(peer, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def uplink(url, ca=None):
    trusted = f", ca: {ca}" if ca else ""
    return f"uplinks: {{up: {{type: http, url: '{url}'{trusted}}}}}\n"


async def examined(patient):
    (target,) = links.targets(patient.config)
    return await asyncio.to_thread(lambda: list(reach.check_target(target)))


@pytest.fixture
def ca(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


async def test_a_good_server_is_fine(patient_of, authority, ca):
    with https(authority) as port:
        found = await examined(patient_of(uplink(f"https://127.0.0.1:{port}/", ca)))
    assert [one.severity for one in found] == [Severity.OK]
    assert "its certificate is trusted" in found[0].what


async def test_a_certificate_near_its_end_is_a_warning(patient_of, authority, ca):
    with https(authority, ends_in=5 * DAY) as port:
        found = kinds(await examined(patient_of(uplink(f"https://127.0.0.1:{port}/", ca))))
    one = found["peer-certificate-expires"]
    assert one.severity is Severity.WARNING
    assert "expires in 4 days" in one.what
    assert one.remedy.startswith(f"openssl s_client -connect 127.0.0.1:{port}")


async def test_an_expired_one_is_refused_with_its_date(patient_of, authority, ca):
    with https(authority, ends_in=-DAY) as port:
        found = kinds(await examined(patient_of(uplink(f"https://127.0.0.1:{port}/", ca))))
    one = found["tls-refused"]
    assert "certificate has expired" in one.what
    assert "valid until" in one.what


async def test_one_for_another_name_or_of_another_authority_is_refused(patient_of, authority, ca, tmp_path):
    with https(authority, name="other.example") as port:
        found = kinds(await examined(patient_of(uplink(f"https://127.0.0.1:{port}/", ca))))
        assert "127.0.0.1" in found["tls-refused"].what
    with https(trustme.CA()) as port:
        found = kinds(await examined(patient_of(uplink(f"https://127.0.0.1:{port}/", ca))))
        assert "unable to get local issuer certificate" in found["tls-refused"].what
        missing = uplink(f"https://127.0.0.1:{port}/", tmp_path / "none.pem")
        assert "none.pem: No such file" in kinds(await examined(patient_of(missing)))["tls-refused"].what


async def test_who_does_not_listen_is_said(patient_of):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    found = kinds(await examined(patient_of(uplink(f"http://127.0.0.1:{port}/"))))
    assert found["not-reachable"].what == f"127.0.0.1:{port}: Connection refused"
    assert found["not-reachable"].remedy == f"nc -vz -w 3 127.0.0.1 {port}"


async def test_who_has_no_address_is_said(patient_of):
    found = kinds(await examined(patient_of(uplink("http://nowhere.invalid/"))))
    assert found["name-unknown"].what.startswith("nowhere.invalid: ")


async def test_who_speaks_no_tls_is_said(patient_of):
    with serving(lambda peer, server_side: peer) as port:
        found = kinds(await examined(patient_of(uplink(f"https://127.0.0.1:{port}/"))))
    assert found.keys() <= {"tls-refused", "not-reachable"}
    assert found


def listening(patient):
    (one,) = links.listeners(patient.config)
    return list(reach.check_listener(patient, one))


def test_a_taken_port_is_said_with_who_has_it(patient_of):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        one = kinds(listening(patient_of(f"console: {{listen: '127.0.0.1:{port}'}}\n")))["port-taken"]
        assert "is taken by" in one.what
        assert "process" in one.what
        assert one.remedy == f"sudo ss -lnptu 'sport = :{port}'"
    assert not kinds(listening(patient_of(f"console: {{listen: '127.0.0.1:{port}'}}\n"))), "free again"


def test_a_taken_datagram_port_too(patient_of):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        text = "adapters: {s: {type: coap, serve: {listen: '127.0.0.1:%d', resources: {/x: {device: d}}}}}\n"
        assert "port-taken" in kinds(listening(patient_of(text % port)))


def test_an_address_of_another_box_is_said(patient_of):
    assert "port-not-ours" in kinds(
        listening(patient_of("broker: {listen: '192.0.2.1:1883', users: {u: {password: p}}}\n"))
    )


def test_what_is_to_be_reached_is_read_from_every_plug_in():
    config = load(Path(__file__).parents[3] / "configs" / "reference.yaml", {})
    found = {(one.owner, one.host, one.port) for one in links.targets(config)}
    assert {
        ("adapter meters", "10.0.0.5", 502), ("adapter substation", "10.0.0.6", 802),
        ("uplink hub", "hub-2.example", 4222), ("uplink log", "kafka-1", 9093),
        ("uplink cloud", "broker.example", 8883), ("adapter sensors", "10.0.0.9", 5683),
    } <= found  # fmt: skip
    assert {("broker", 8883), ("console", 8321)} <= {(one.owner, one.port) for one in links.listeners(config)}
    assert {"uplink cloud", "adapter bus", "broker"} <= {one.owner for one in links.identities(config)}
