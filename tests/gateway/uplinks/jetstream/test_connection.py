"""Logging in, TLS that fails closed, several servers; what is wrong is said in plain words."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.errors import LinkError
from gateway.units import Duration
from gateway.uplinks.config import NatsUplinkConfig
from gateway.uplinks.nats import login
from tests.support.nats import nats_broker
from tests.support.uplink import running


def seed_of(key: Ed25519PrivateKey, first: int = 18 << 3 | 20 << 3 >> 5, second: int = (20 << 3 & 31) << 3) -> str:
    """A seed as text: S and U in front, CRC-16 behind."""
    body = bytes([first, second]) + key.private_bytes_raw()
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


async def works(config, ctx, sample) -> None:
    before = len(ctx.acknowledged)
    ctx.put(sample(1))
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == before + 1)


async def refusal(config, ctx) -> str:
    with pytest.raises(LinkError) as caught:
        await asyncio.wait_for(config.create().run(ctx), 10)
    assert not ctx.links
    return str(caught.value)


@pytest.mark.parametrize("users", ['user: u, password: "p w"', 'token: "p w"'])
async def test_logins(tmp_path, ctx, sample, users):
    way = {"username": "u", "password": "p w"} if "user" in users else {"token": "p w"}
    async with nats_broker(tmp_path / "b", extra=f"authorization {{ {users} }}") as broker:
        await works(NatsUplinkConfig(url=broker.url, **way), ctx, sample)
        ctx.links.clear()
        wrong = dict.fromkeys(way, "wrong")
        for options in ({}, wrong):
            said = await refusal(NatsUplinkConfig(url=broker.url, **options), ctx)
            assert said == f"{broker.url}: the server refuses the login (Authorization Violation)"


async def test_an_nkey(tmp_path, ctx, sample):
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    (tmp_path / "nkey").write_text(f"# ours\n{seed_of(key)}\n")
    (tmp_path / "other").write_text(seed_of(other))
    public = login.from_nkey(str(tmp_path / "nkey")).public
    assert public[0] == "U"
    async with nats_broker(tmp_path / "b", extra=f"authorization {{ users: [{{ nkey: {public} }}] }}") as broker:
        await works(NatsUplinkConfig(url=broker.url, nkey=str(tmp_path / "nkey")), ctx, sample)
        ctx.links.clear()
        said = await refusal(NatsUplinkConfig(url=broker.url, nkey=str(tmp_path / "other")), ctx)
        assert "refuses the login" in said


def jwt(payload: dict, key: Ed25519PrivateKey) -> str:
    """Signed as NATS has it: ed25519-nkey."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    header = part(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = f"{header}.{part(json.dumps(payload).encode())}"
    return f"{body}.{part(key.sign(body.encode()))}"


def public_of(key: Ed25519PrivateKey, kind: int) -> str:
    body = bytes([kind]) + key.public_key().public_bytes_raw()
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


async def test_a_creds_file(tmp_path, ctx, sample):
    """Operator, account and user as nsc makes them, in the server's memory resolver."""
    operator, account, user, system = (Ed25519PrivateKey.generate() for _ in range(4))
    names = {
        "O": public_of(operator, 14 << 3),
        "A": public_of(account, 0),
        "U": public_of(user, 20 << 3),
        "S": public_of(system, 0),
    }
    plain = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1}
    limits = plain | {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}

    def claims(subject: str, issuer: str, **nats_: object) -> dict:
        return {"jti": "x", "iat": 1, "iss": issuer, "name": "n", "sub": subject, "nats": {"version": 2, **nats_}}

    tokens = {
        "O": jwt(claims(names["O"], names["O"], type="operator"), operator),
        "A": jwt(claims(names["A"], names["O"], type="account", limits=limits), operator),
        "S": jwt(claims(names["S"], names["O"], type="account", limits=plain), operator),
        "U": jwt(claims(names["U"], names["A"], type="user", subs=-1, data=-1, payload=-1), account),
    }
    creds = tmp_path / "user.creds"
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{tokens['U']}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed_of(user)}\n------END USER NKEY SEED------\n"
    )
    preload = ", ".join(f'{names[one]}: "{tokens[one]}"' for one in "AS")
    extra = f'operator: "{tokens["O"]}"\nresolver: MEMORY\nresolver_preload: {{ {preload} }}'
    extra += f"\nsystem_account: {names['S']}"
    async with nats_broker(tmp_path / "b", extra=extra, mqtt=False) as broker:
        await works(NatsUplinkConfig(url=broker.url, creds=str(creds)), ctx, sample)
        ctx.links.clear()
        assert "refuses the login" in await refusal(NatsUplinkConfig(url=broker.url), ctx)


@pytest.mark.parametrize("text", ["", "SU", "S" + "A" * 57, None, "account"])
async def test_files_that_are_no_keys(tmp_path, ctx, text):
    file = tmp_path / "nkey"
    if text == "account":
        text = seed_of(Ed25519PrivateKey.generate(), 18 << 3, 0)
    if text is not None:
        file.write_text(text)
    for option in ("nkey", "creds"):
        said = await refusal(NatsUplinkConfig(url="nats://127.0.0.1:1", **{option: str(file)}), ctx)
        assert said.startswith(f"{option} {file}: ")


@pytest.fixture
def certificates(tmp_path):
    """Files for TLS: (ca, server's chain with key, client's cert, client's key)."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    client = authority.issue_cert("gateway")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    return tmp_path


def tls(folder, more: str = "") -> str:
    server = folder / "server.pem"
    return f'tls {{ cert_file: "{server}", key_file: "{server}", ca_file: "{folder / "ca.pem"}", {more} }}'


async def test_tls(tmp_path, ctx, sample, certificates):
    async with nats_broker(tmp_path / "b", extra=tls(certificates, "verify: true")) as broker:
        url = broker.url.replace("nats:", "tls:")
        own = {"cert": str(certificates / "client.pem"), "key": str(certificates / "client.key")}
        await works(NatsUplinkConfig(url=url, ca=str(certificates / "ca.pem"), **own), ctx, sample)
        ctx.links.clear()
        said = await refusal(NatsUplinkConfig(url=url), ctx)
        assert "the server's certificate is refused" in said
        said = await refusal(NatsUplinkConfig(url=url, ca=str(certificates / "ca.pem")), ctx)
        assert "certificate" in said, "either its own word (TLS alert), or the connection just ends"


async def test_nothing_is_sent_to_a_server_that_does_not_speak_tls(ctx):
    """Also if it is somebody on the way who has taken TLS out of the greeting."""
    heard = bytearray()

    async def serve(reader, writer) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.11.0","max_payload":1048576,"headers":true}\r\n')
        heard.extend(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        said = await refusal(NatsUplinkConfig(url=url, username="u", password="secret"), ctx)
        assert said == f"{url}: the server does not speak TLS; nothing was sent to it"
    assert not heard


async def test_tls_that_the_server_offers_and_does_not_ask_for_is_used(tmp_path, ctx, sample, certificates):
    async with nats_broker(tmp_path / "b", extra=tls(certificates) + "\nallow_non_tls: true") as broker:
        url = broker.url.replace("nats:", "tls:")
        await works(NatsUplinkConfig(url=url, ca=str(certificates / "ca.pem")), ctx, sample)
        ctx.links.clear()
        assert "certificate is refused" in await refusal(NatsUplinkConfig(url=url), ctx)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_certificates_that_cannot_be_used(tmp_path, ctx, content):
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_text(content)
    assert str(ca) in await refusal(NatsUplinkConfig(url="tls://127.0.0.1:1", ca=str(ca)), ctx)


async def test_several_servers(broker, ctx, sample):
    down = "nats://127.0.0.1:1"
    for _ in range(4):
        await works(NatsUplinkConfig(url=[down, broker.url]), ctx, sample)
    ctx.links.clear()
    said = await refusal(NatsUplinkConfig(url=[down, "nats://127.0.0.1:2"]), ctx)
    assert "127.0.0.1:1: " in said
    assert "127.0.0.1:2: " in said


@pytest.mark.parametrize(
    "greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO {\r\n", b"INFO {}\r\nnonsense\r\n", b"x" * 100_000]
)
async def test_what_is_no_nats_server(ctx, greeting):
    async def serve(reader, writer) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await refusal(NatsUplinkConfig(url=url, timeout=Duration(2)), ctx)).startswith(url)


async def test_a_server_that_says_nothing(ctx):
    async def serve(reader, writer) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        said = await refusal(NatsUplinkConfig(url=url, timeout=Duration(0.2)), ctx)
    assert said == f"{url}: no answer in time"


async def test_a_login_that_may_not_publish_there(tmp_path, ctx, sample):
    users = '{ user: u, password: p, permissions: { publish: ["$JS.API.>"], subscribe: ["_INBOX.>"] } }'
    async with nats_broker(tmp_path / "b", extra=f"authorization {{ users: [{users}] }}") as broker:
        ctx.put(sample(1))
        with pytest.raises(LinkError, match=r"permissions violation for publish to .onpath\.test\.p"):
            await asyncio.wait_for(NatsUplinkConfig(url=broker.url, username="u", password="p").create().run(ctx), 10)
        assert not ctx.acknowledged


async def test_a_server_that_stops_in_order_is_left_at_once(broker, ctx):
    task = asyncio.create_task(NatsUplinkConfig(url=broker.url).create().run(ctx))
    await ctx.until(lambda: ctx.links)
    await broker.stop()
    with pytest.raises(LinkError):
        await asyncio.wait_for(task, 2)
