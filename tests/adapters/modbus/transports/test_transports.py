"""UDP, TLS and ASCII against pymodbus's servers, serial settings against a pseudo-terminal; on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import termios
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer, ModbusUdpServer

from adapters.modbus.config import Register
from adapters.modbus.line import connect
from adapters.modbus.secure import Certificates, role_of
from adapters.modbus.serial_line import rs485_settings
from adapters.modbus.url import Carrier, Frames, parse_url
from gateway.errors import FieldError, LinkError
from gateway.quality import Reason
from tests.adapters.modbus.peers import device, frame, good, modbus, point, registers, shared
from tests.adapters.modbus.test_serial import pty_pair, reasons_of
from tests.support.context import RecordingContext, running

POINTS = {"a": point("holding:7"), "f": point("holding:4", "uint32")}


def server_device():
    return [shared(1, registers(range(20)))]


async def read(url, frames=2, **options):
    """Read a few cycles; the context that recorded them."""
    ctx = RecordingContext()
    async with running(modbus(url, {"m": device(points=POINTS)}, timeout=1.0, **options).create(), ctx):
        await ctx.until(lambda: len(ctx.frames) >= frames)
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}
    assert {s[1:] for s in ctx.samples("m/f")} == {(float(4 << 16 | 5), 0)}
    assert not ctx.stats.reasons
    return ctx


@contextlib.asynccontextmanager
async def serving(server):
    """Run a pymodbus server; gives its port."""
    await server.serve_forever(background=True)
    transport = server.transport
    sock = transport.sockets[0] if hasattr(transport, "sockets") else transport.get_extra_info("socket")
    try:
        yield sock.getsockname()[1]
    finally:
        await server.shutdown()


# --- UDP ---------------------------------------------------------------------------------------------


async def test_a_pymodbus_udp_server_is_read():
    async with serving(ModbusUdpServer(server_device(), address=("127.0.0.1", 0))) as port:
        await read(f"udp://127.0.0.1:{port}")


class Datagrams(asyncio.DatagramProtocol):
    """A UDP peer that answers as ``script(transaction, unit, pdu)`` says: datagrams, in order."""

    def __init__(self, script):
        self.script = script

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        for item in self.script(int.from_bytes(data[:2], "big"), data[6], data[7:]):
            self.transport.sendto(item, addr)


@contextlib.asynccontextmanager
async def udp_peer(script):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(script), local_addr=("127.0.0.1", 0))
    try:
        yield f"udp://127.0.0.1:{transport.get_extra_info('socket').getsockname()[1]}"
    finally:
        transport.close()


ODD = {
    "another transaction": lambda t, u, p: [frame(t + 9, u, good(p, 99))],
    "another unit": lambda t, u, p: [frame(t, u + 1, good(p, 99))],
    "cut": lambda t, u, p: [frame(t, u, good(p, 99))[:-1]],
    "in two": lambda t, u, p: [frame(t, u, good(p, 99))[:9], frame(t, u, good(p, 99))[9:]],
    "noise": lambda t, u, p: [b"\xff" * 30],
    "empty": lambda t, u, p: [b""],
}


@pytest.mark.parametrize("name", ODD)
async def test_a_wrong_datagram_is_a_bad_sample_and_the_next_is_good(name):
    count = 0

    def script(transaction, unit, pdu):
        nonlocal count
        count += 1
        return ODD[name](transaction, unit, pdu) if count == 2 else [frame(transaction, unit, good(pdu))]

    async with udp_peer(script) as url:
        ctx = RecordingContext()
        points = {"a": POINTS["a"]}
        async with running(modbus(url, {"m": device(points=points)}, timeout=0.1).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 4)
    assert {v for _, v, quality in ctx.samples("m/a") if quality == 0} == {7.0}
    why = reasons_of(ctx, "m/a")[:4]
    assert why[1] in {Reason.TIMEOUT, Reason.MALFORMED_ANSWER}
    assert [why[0], *why[2:]] == [Reason.NONE] * 3


async def test_a_duplicated_datagram_is_late():
    async with udp_peer(lambda t, u, p: [frame(t, u, good(p))] * 2) as url:
        ctx = RecordingContext()
        async with running(modbus(url, {"m": device(points=POINTS)}).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 3)
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}
    assert set(ctx.stats.reasons) == {"late-answer"}


async def test_a_port_where_nobody_listens_is_told_at_once_and_again_answered_later():
    loop = asyncio.get_running_loop()
    async with udp_peer(lambda *_: []) as url:
        port = int(url.rpartition(":")[2])
    ctx = RecordingContext()
    started = loop.time()
    async with running(modbus(url, {"m": device(points=POINTS)}, timeout=2.0).create(), ctx):
        await ctx.until(lambda: ctx.frames)
        assert loop.time() - started < 1, "not only after the time-out"
        transport, _ = await loop.create_datagram_endpoint(
            lambda: Datagrams(lambda t, u, p: [frame(t, u, good(p))]), local_addr=("127.0.0.1", port)
        )
        await ctx.until(lambda: ctx.samples("m/a")[-1][1:] == (7.0, 0))
        transport.close()
    assert reasons_of(ctx, "m/a")[0] is Reason.LINK_DOWN
    assert ("m", False, "link-down") in ctx.links


# --- TLS ---------------------------------------------------------------------------------------------


class Pki:
    """A CA, and files of it in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = trustme.CA()

    def file(self, name, *blobs):
        path = self.folder / name
        path.write_bytes(b"".join(blob.bytes() if hasattr(blob, "bytes") else blob for blob in blobs))
        return str(path)

    def files(self, name="gateway", ca=None, issuer=None):
        leaf = (issuer or self.ca).issue_cert(f"{name}.example")
        return {
            "ca": self.file(f"{name}.ca", (ca or self.ca).cert_pem),
            "cert": self.file(f"{name}.pem", *leaf.cert_chain_pems),
            "key": self.file(f"{name}.key", leaf.private_key_pem),
        }

    def with_role(self, name, role):
        """A server's certificate and key that carry a role, as PEM: made by hand, as trustme has no extensions."""
        key = ec.generate_private_key(ec.SECP256R1())
        ca_key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        ca = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        now = datetime.now(UTC)
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
        text = role.encode()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.UnrecognizedExtension(oid, bytes([0x0C, len(text)]) + text), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return certificate.public_bytes(pem), secret


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path)


@pytest.fixture
async def tls_server(pki):
    """Starts pymodbus servers that ask for a client certificate: ``await tls_server(name)`` gives the URL."""
    async with AsyncExitStack() as stack:

        async def start(name="127.0.0.1", role=None):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.verify_mode = ssl.CERT_REQUIRED
            pki.ca.configure_trust(context)
            if role is None:
                pki.ca.issue_cert(name).configure_cert(context)
            else:
                certificate, secret = pki.with_role(name, role)
                context.load_cert_chain(pki.file("server.pem", certificate, secret))
            server = ModbusTlsServer(
                server_device(), framer=FramerType.SOCKET, sslctx=context, address=("127.0.0.1", 0)
            )
            return f"tls://127.0.0.1:{await stack.enter_async_context(serving(server))}"

        yield start


@pytest.mark.parametrize("pipeline", [1, 4])
async def test_a_pymodbus_tls_server_is_read(tls_server, pki, pipeline):
    ctx = await read(await tls_server(), pipeline=pipeline, **pki.files())
    assert ("", True, "TLSv1.3, no role") in ctx.links


async def test_the_role_of_the_peer_is_logged(tls_server, pki):
    url = await tls_server("meter.example", role="Operator Nord")
    ctx = await read(url, server_name="meter.example", **pki.files())
    assert ("", True, "TLSv1.3, role 'Operator Nord'") in ctx.links


async def refused(url, **files):
    """Reading fails as long as it is tried; the last error."""
    ctx = RecordingContext()
    adapter = modbus(url, {"m": device(points=POINTS)}, timeout=0.5, **files).create()
    for _ in range(2):
        with pytest.raises((OSError, LinkError)) as caught:
            await asyncio.wait_for(adapter.run(ctx), 5)
    assert all(quality for _, _, quality in ctx.samples("m/a"))
    return caught.value


async def test_a_server_of_another_ca_is_refused(tls_server, pki):
    url = await tls_server()
    error = await refused(url, **pki.files(ca=trustme.CA()))
    assert isinstance(error, ssl.SSLCertVerificationError)


async def test_a_server_of_another_name_is_refused(tls_server, pki):
    url = await tls_server("elsewhere.example")
    error = await refused(url, **pki.files())
    assert "not valid for '127.0.0.1'" in str(error)
    await read(url, server_name="elsewhere.example", **pki.files())


async def test_a_gateway_of_another_ca_is_refused_by_the_server(tls_server, pki):
    error = await refused(await tls_server(), **pki.files(issuer=trustme.CA()))
    assert not isinstance(error, ssl.SSLCertVerificationError), "that would be our own refusal"


@pytest.mark.parametrize("key", ["ca", "cert", "key"])
@pytest.mark.parametrize("how", ["missing", "empty", "no certificate"])
async def test_files_that_are_not_there_or_hold_nothing_fail_closed(tls_server, pki, key, how):
    url = await tls_server()
    files = pki.files()
    broken = pki.folder / files[key]
    whole = broken.read_bytes()
    if how == "missing":
        broken.unlink()
    else:
        broken.write_bytes(b"" if how == "empty" else b"-- nothing here --\n")
    await refused(url, **files)
    broken.write_bytes(whole)
    await read(url, **files)  # the files are read at every connect


async def test_a_plain_server_is_no_tls_server(pki, monkeypatch):
    monkeypatch.setattr("adapters.modbus.line.CONNECT_S", 0.3)
    async with serving(ModbusTcpServer(server_device(), address=("127.0.0.1", 0))) as port:
        await refused(f"tls://127.0.0.1:{port}", **pki.files())


@given(st.binary(max_size=60))
def test_any_bytes_have_no_role(der):
    assert role_of(der) is None


def test_a_role_is_found_in_every_place_but_not_in_a_broken_certificate(tmp_path):
    pem, _ = Pki(tmp_path).with_role("a.example", "Techniker")
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    assert role_of(der) == "Techniker"
    assert all(role_of(der[:cut]) is None for cut in range(len(der)))
    assert {role_of(der[:i] + bytes([der[i] ^ 0x10]) + der[i + 1 :]) for i in range(len(der))} > {None, "Techniker"}


# --- ASCII and RTU, serial settings -------------------------------------------------------------------


@contextlib.asynccontextmanager
async def joined_ptys():
    """Two pseudo-terminals, each the other's far end: their names."""
    loop = asyncio.get_running_loop()
    with pty_pair() as (left_master, left), pty_pair() as (right_master, right):
        loop.add_reader(left_master, lambda: os.write(right_master, os.read(left_master, 1024)))
        loop.add_reader(right_master, lambda: os.write(left_master, os.read(right_master, 1024)))
        try:
            yield os.ttyname(left), os.ttyname(right)
        finally:
            loop.remove_reader(left_master)
            loop.remove_reader(right_master)


@pytest.mark.parametrize("scheme", ["ascii", "rtu"])
async def test_a_pymodbus_serial_server_is_read(scheme):
    async with joined_ptys() as (ours, theirs):
        server = ModbusSerialServer(server_device(), framer=FramerType(scheme), port=theirs, baudrate=115200)
        await server.serve_forever(background=True)
        try:
            await read(f"{scheme}://{ours}?baudrate=115200&stopbits=2")
        finally:
            await server.shutdown()


@pytest.mark.parametrize("scheme", ["ascii", "rtu"])
async def test_serial_frames_go_over_tcp_too(scheme):
    server = ModbusTcpServer(server_device(), framer=FramerType(scheme), address=("127.0.0.1", 0))
    async with serving(server) as port:
        await read(f"{scheme}+tcp://127.0.0.1:{port}")


@pytest.mark.parametrize(("stopbits", "two"), [("1", False), ("1.5", True), ("2", True)])
async def test_stop_bits_reach_the_device(stopbits, two):
    """POSIX knows 1 and 2; with 1.5 asked for, 2 are safe."""
    with pty_pair() as (_, slave):
        endpoint = parse_url(f"rtu://{os.ttyname(slave)}?stopbits={stopbits}&baudrate=19200")
        line = await connect(endpoint, timeout_s=1)
        flags, speed = termios.tcgetattr(slave)[2], termios.tcgetattr(slave)[5]
        assert bool(flags & termios.CSTOPB) is two
        assert speed == termios.B19200
        line.close()


@pytest.mark.parametrize("setting", ["parity=E", "parity=O", "parity=M", "parity=S", "rs485=high"])
async def test_what_a_device_cannot_do_is_an_error_and_leaves_it_free(setting):
    """A pseudo-terminal has neither parity nor a transceiver; the lock on it must go with the error."""
    with pty_pair() as (_, slave):
        name = os.ttyname(slave)
        with pytest.raises(LinkError, match=name):
            await connect(parse_url(f"rtu://{name}?{setting}"), timeout_s=1)
        (await connect(parse_url(f"rtu://{name}"), timeout_s=1)).close()


def test_serial_urls():
    line = parse_url("ascii:///dev/x?parity=M&stopbits=1.5&bytesize=7&rs485=low&rs485_before=57ms&rs485_after=2ms")
    assert (line.frames, line.parity, line.stopbits, line.bytesize) == (Frames.ASCII, "M", 1.5, 7)
    assert line.character_s == pytest.approx(10.5 / 9600)
    settings = rs485_settings(line.direction)
    assert (settings.rts_level_for_tx, settings.rts_level_for_rx) == (False, True)
    assert (int(settings.delay_before_tx * 1000), int(settings.delay_before_rx * 1000)) == (57, 2)
    assert parse_url("rtu:///dev/x").direction is None
    assert parse_url("rtu:///dev/x?rs485=off").direction is None


def test_network_urls():
    for url, carrier, frames, port in [
        ("udp://h", Carrier.UDP, Frames.MBAP, 502),
        ("tls://h", Carrier.TLS, Frames.MBAP, 802),
        ("ascii+tcp://h:1", Carrier.TCP, Frames.ASCII, 1),
        ("listen+tcp://0.0.0.0:5020", Carrier.LISTEN, Frames.RTU, 5020),
        ("listen+tcp://[::]:5020?framing=tcp", Carrier.LISTEN, Frames.MBAP, 5020),
    ]:
        endpoint = parse_url(url)
        assert (endpoint.carrier, endpoint.frames, endpoint.port) == (carrier, frames, port)
        assert endpoint.pipelines is (carrier is Carrier.TLS)
        assert endpoint.silence_s == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("rtu:///dev/x?parity=X", "N, E, O, M and S"),
        ("rtu:///dev/x?stopbits=3", "1, 1.5 and 2"),
        ("rtu:///dev/x?rs485_after=1ms", "needs rs485"),
        ("rtu:///dev/x?rs485=high&rs485_after=1us", "whole milliseconds"),
        ("rtu:///dev/x?rs485=high&rs485_after=1s", "whole milliseconds"),
        ("rtu:///dev/x?rs485=high&rs485_after=1", "unit"),
        ("rtu:///dev/x?framing=rtu", "unknown setting"),
        ("tcp://h?framing=rtu", "nothing but host and port"),
        ("listen+tcp://h?framing=mbap", "rtu, tcp and ascii"),
        ("listen+tcp://:5020", "0.0.0.0"),
        ("upd://h", "did you mean udp://"),
    ],
)
def test_urls_that_cannot_be_used(url, says):
    with pytest.raises(ValueError, match=says):
        parse_url(url)


FILES = {"ca": "a", "cert": "b", "key": "c"}
REGISTER = Register(pattern="a")


@pytest.mark.parametrize(
    ("url", "options", "field"),
    [
        ("tls://h", {}, "ca"),
        ("tls://h", {"ca": "a"}, "cert"),
        ("tls://h", {"ca": "a", "cert": "b"}, "key"),
        ("tls://h", {"cert": "b", "key": "c"}, "ca"),
        ("tcp://h", FILES, "ca"),
        ("tcp://h", {"server_name": "x"}, "server_name"),
        ("listen+tcp://h", {}, "register"),
        ("tcp://h", {"register": REGISTER}, "register"),
        ("udp://h", {"pipeline": 2}, "pipeline"),
        ("rtu+tcp://h", {"pipeline": 2}, "pipeline"),
        ("listen+tcp://h?framing=tcp", {"pipeline": 2, "register": REGISTER}, "pipeline"),
        ("tcp://h", {"pipeline": 2, "request_delay": 0.1}, "pipeline"),
    ],
)
def test_options_that_do_not_fit_the_url(url, options, field):
    with pytest.raises(FieldError) as caught:
        modbus(url, {"m": device(points=POINTS)}, **options)
    assert caught.value.field == (field,)


@pytest.mark.parametrize(("options", "field"), [({"pattern": "("}, "pattern"), ({"pattern": "x*"}, "pattern"),
                                                ({"pattern": "x", "heartbeat": ")"}, "heartbeat"),
                                                ({"pattern": "x", "timeout": 0}, "timeout")])  # fmt: skip
def test_registrations_that_make_no_sense(options, field):
    with pytest.raises(FieldError) as caught:
        Register(**options)
    assert caught.value.field == (field,)


async def test_tls_without_certificates_is_no_connection():
    assert Certificates("a", "b", "c").server_name == ""
    with pytest.raises(OSError, match="certificates"):
        await connect(parse_url("tls://127.0.0.1:1"), timeout_s=1)
