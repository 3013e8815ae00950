"""TLS fails closed, reads its files at each connection, and says in one line what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from gateway.errors import LinkError
from tests.adapters.mqtt.certificates import Authority, encrypt
from tests.adapters.mqtt.scripted import scripted
from tests.adapters.mqtt.support import mqtt_config
from tests.support.context import RecordingContext, running

ENTRY = {"topic": "x/{device}", "points": {"v": {}}}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server(authority):
    return authority.server(*authority.issue("broker"))


def adapter(broker, **options):
    options = {name: str(value) for name, value in options.items()}
    return mqtt_config(ENTRY, url=broker.url, timeout="5s", **options).create()


async def failure(made) -> str:
    with pytest.raises(LinkError) as caught:
        await made.run(RecordingContext())
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def works(made) -> None:
    ctx = RecordingContext()
    async with running(made, ctx):
        await ctx.until(lambda: ctx.links)
        assert ctx.links[-1][:2] == ("", True)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda file: file.unlink(), "No such file"),
        (lambda file: file.write_text(""), "no certificate in it"),
        (lambda file: file.write_text("oops"), "no certificate in it"),
        (lambda file: file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "ca "),
        (lambda file: (file.unlink(), file.mkdir()), "directory"),
    ],
)
async def test_trust_that_goes_missing_between_two_connections_ends_them(authority, server, damage, why):
    async with scripted(ssl=server) as broker:
        made = adapter(broker, ca=authority.file)
        await works(made)
        damage(authority.file)
        for _ in range(2):
            assert why in await failure(made)
        assert broker.connections == 1


async def test_nobody_else_is_trusted(tmp_path, authority, server):
    other = Authority(tmp_path, "other")
    async with scripted(ssl=server) as broker:
        for made in (adapter(broker), adapter(broker, ca=other.file)):
            assert "the broker's certificate is refused: " in await failure(made)
        authority.file.write_text("# zwölf Zeichen\n" + other.file.read_text() + authority.file.read_text())
        await works(adapter(broker, ca=authority.file))


async def test_certificates_of_the_broker_that_do_not_fit(authority):
    expired = authority.server(*authority.issue("old", days=-1))
    async with scripted(ssl=expired) as broker:
        assert "refused: certificate has expired" in await failure(adapter(broker, ca=authority.file))
    elsewhere = authority.server(*authority.issue("elsewhere", "other.example"))
    async with scripted(ssl=elsewhere) as broker:
        assert "IP address mismatch" in await failure(adapter(broker, ca=authority.file))


async def test_both_sides_show_a_certificate_and_a_renewed_one_is_used(authority):
    context = authority.server(*authority.issue("broker"), clients=True)
    cert, key = authority.issue("gateway")
    async with scripted(ssl=context) as broker:
        made = adapter(broker, ca=authority.file, cert=cert, key=key)
        await works(made)
        authority.issue("gateway")
        await works(made)
        serials = {one["serialNumber"] for one in broker.certificates}
        assert len(serials) == 2


@asynccontextmanager
async def strict(context):
    """A listener that shakes hands as OpenSSL does by itself: asyncio's server closes without a word."""
    listener = socket.create_server(("127.0.0.1", 0))

    def shake() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            with raw, context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as secure:
                try:
                    secure.do_handshake()
                except ssl.SSLError:
                    secure.settimeout(1)
                    with contextlib.suppress(OSError):
                        while socket.socket.recv(secure, 4096):
                            pass

    shaking = asyncio.create_task(asyncio.to_thread(shake))
    try:
        yield SimpleNamespace(url=f"mqtts://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        await shaking


async def test_a_broker_that_refuses_our_certificate_says_why(tmp_path, authority):
    context = authority.server(*authority.issue("broker"), clients=True)
    async with strict(context) as broker:
        said = await failure(adapter(broker, ca=authority.file))
        assert "the broker refuses us: certificate required" in said
        cert, key = authority.issue("late", days=-1)
        said = await failure(adapter(broker, ca=authority.file, cert=cert, key=key))
        assert "the broker refuses us: certificate expired" in said
        cert, key = Authority(tmp_path, "other").issue("stranger")
        said = await failure(adapter(broker, ca=authority.file, cert=cert, key=key))
        assert "the broker refuses us: unknown ca" in said


async def test_a_certificate_of_our_own_that_cannot_be_used(tmp_path, authority, server):
    cert, key = authority.issue("gateway")
    other = authority.issue("other")
    async with scripted(ssl=server) as broker:
        assert "do not belong together" in await failure(adapter(broker, cert=cert, key=other[1]))
        encrypt(key)
        assert "it is encrypted" in await failure(adapter(broker, cert=cert, key=key))
        key.write_bytes(b"")
        assert "the file is empty" in await failure(adapter(broker, cert=cert, key=key))
        cert.unlink()
        assert f"cert {cert}: No such file" in await failure(adapter(broker, cert=cert, key=key))
        assert broker.connections == 0
