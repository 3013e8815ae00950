"""What must not hurt: bad requests, large ones, slow and many readers, foreign names, ports that are taken."""

import asyncio
import contextlib
import io
import json
import socket
import ssl
import subprocess
import sys

import aiohttp
import pytest
import trustme

from gateway.control import ask
from tests.support.console import address_of, api, fed, gateway, until


def place(url):
    host, _, port = url.partition("//")[2].rpartition(":")
    return host, int(port)


async def raw(url, content, timeout_s=20.0):
    """What is answered to these bytes, until the other side closes or has said all."""
    reader, writer = await asyncio.open_connection(*place(url))
    try:
        writer.write(content)
        async with asyncio.timeout(timeout_s):
            return await reader.read(1 << 20)
    finally:
        writer.close()


async def test_foreign_names_are_refused(running, admin):
    assert "not a name" in (await admin.get("/api/overview", 403, host="evil.example"))["error"]
    assert "not a name" in (await admin.get("/", 403, host="evil.example:8321"))["error"]
    await admin.get("/api/overview", host="localhost:1")


async def test_names_may_be_listed(tmp_path):
    async with gateway(tmp_path, console=", hosts: [gw7.example.com]") as process, api(process) as client:
        await client.get("/api/overview", host="gw7.example.com")
        await client.get("/api/overview", 403, host="gw8.example.com")


async def test_large_bodies_are_refused(running, admin):
    headers = {"content-type": "application/json", "x-onpath": "1"}
    body = json.dumps({"keys": ["x" * (1 << 21)]})
    _, answer = await admin.whole("POST", "/api/findings/accept", 413, headers=headers, data=io.BytesIO(body.encode()))
    assert "1 MiB" in answer["error"]
    await admin.get("/api/overview")


@pytest.mark.parametrize(
    "content",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        (
            b"POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 3\r\n\r\n{{{"
        ),
        b"GET /static/../../pyproject.toml HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        b"GET /static/%2e%2e/%2e%2e/config.py HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        b"GET /static//etc/passwd HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    ],
)
async def test_nonsense_gets_an_error(running, admin, content):
    answer = await raw(admin.url, content) if b"POST" not in content else await _first(admin.url, content)
    assert answer.split(b" ", 2)[1][:1] == b"4", answer[:200]
    await admin.get("/api/overview")
    assert "Traceback" not in running.log.read_text()


async def _first(url, content):
    reader, writer = await asyncio.open_connection(*place(url))
    writer.write(content)
    line = await reader.readline()
    writer.close()
    return line


@pytest.mark.alone
async def test_who_never_asks_is_cut_off(running, admin):
    reader, writer = await asyncio.open_connection(*place(admin.url))
    writer.write(b"GET / HTTP/1.1\r\nhost: loc")
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(40):  # 15 s, on a machine that is not busy
            while await reader.read(1000):
                pass
    writer.close()


async def test_a_slow_browser_gets_the_newest_and_holds_up_nobody(running, admin):
    async with fed(running, devices=20):
        reader, writer = await asyncio.open_connection(*place(admin.url), limit=1024)
        request = "GET /api/live?topics=overview,graph,pipelines HTTP/1.1\r\nhost: localhost\r\n"
        writer.write(f"{request}authorization: {admin.headers['authorization']}\r\n\r\n".encode())
        await reader.readline()
        await asyncio.sleep(3)  # and reads nothing
        events = await admin.events("/api/live?topics=overview", 3)
        assert events[-1][1]["uptime_s"] > events[0][1]["uptime_s"]
        writer.close()


async def test_streams_have_a_bound_and_end(running, admin):
    streams = [asyncio.create_task(_hold(admin)) for _ in range(50)]
    try:
        await until(running, lambda answer: answer["streams"] == 50)
        assert "50 streams" in (await admin.get("/api/live?topics=overview", 503))["error"]
        await admin.get("/api/overview")
    finally:
        for one in streams:
            one.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    await until(running, lambda answer: not answer["streams"])


async def _hold(client):
    path = client.url + "/api/live?topics=overview"
    async with aiohttp.ClientSession() as session, session.get(path, headers=client.headers) as answer:
        async for _ in answer.content:
            pass


async def test_with_browsers_open_it_stops_in_time(running, admin):
    holding = asyncio.create_task(_hold(admin))
    await until(running, lambda answer: answer["streams"])
    assert await asyncio.to_thread(running.stop) == 0
    await asyncio.gather(holding, return_exceptions=True)
    assert "Traceback" not in running.log.read_text()


async def test_a_port_that_is_taken_is_tried_again(tmp_path):
    async with gateway(tmp_path) as process, contextlib.AsyncExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = taken.getsockname()[1]
        text = process.config.read_text()
        process.config.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        assert (await ask(process.state, "reload"))["ok"]
        await until(process, lambda _: "the console cannot be served" in process.log.read_text())
        assert "in use" in process.log.read_text()
        assert "in use" in (await ask(process.state, "console"))["error"]
        assert (await process.status())["adapters"]["bus"]["link"] == "up"
        taken.close()
        assert await address_of(process) == f"http://127.0.0.1:{port}"


async def test_a_reload_moves_it_and_nothing_else(tmp_path):
    async with gateway(tmp_path) as process, api(process) as client:
        before = client.url
        pid = (await process.status())["pid"]
        text = process.config.read_text()
        process.config.write_text(text.replace('127.0.0.1:0"', '127.0.0.1:0", read_only: true'))
        answer = await ask(process.state, "reload")
        assert answer["ok"]
        client.url = await address_of(process, different=before)
        assert (await client.get("/api/session"))["read_only"] is True
        status = await process.status()
        assert status["pid"] == pid
        assert process.log.read_text().count("adapter bus: link up") == 1
        assert (process.state / "console" / "address").read_text().strip() == client.url


async def test_by_tls_and_another_certificate_is_taken_at_a_reload(tmp_path):
    first, second = trustme.CA(), trustme.CA()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def write(authority):
        issued = authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(str(key))
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    write(first)
    async with gateway(tmp_path, console=f", cert: {cert}, key: {key}") as process, api(process, None) as client:
        assert client.url.startswith("https://")
        code = (await ask(process.state, "console", code=True))["code"]
        headers, _ = await client.whole(
            "POST", "/api/login", 200, headers={"content-type": "application/json"}, data=json.dumps({"code": code})
        )
        assert "secure" in headers["set-cookie"].lower()
        assert "max-age" in headers["strict-transport-security"]
        assert await _trusted(client.url, first)
        write(second)
        assert (await ask(process.state, "reload"))["ok"]
        url = await address_of(process, different=client.url)
        assert await _trusted(url, second)
        assert not await _trusted(url, first)


async def _trusted(url, authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url + "/health", ssl=context) as answer:
                return answer.status == 200
        except aiohttp.ClientConnectorCertificateError:
            return False


async def test_a_certificate_that_is_none_is_told(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    async with gateway(tmp_path) as process:
        text = process.config.read_text()
        process.config.write_text(text.replace('127.0.0.1:0"', f'127.0.0.1:0", cert: {bad}, key: {bad}'))
        await ask(process.state, "reload")
        await until(process, lambda _: "cannot be used" in process.log.read_text())
        assert (await process.status())["adapters"]["bus"]["link"] == "up"


async def test_browsers_are_told_to_be_careful(running, admin):
    headers, page = await admin.whole("GET", "/", 200)
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    if 'type="importmap"' in page:
        assert "'sha256-" in policy
    headers, _ = await admin.whole("GET", "/api/overview", 200)
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"


async def test_files_are_asked_for_again_and_not_sent_again(running, admin):
    headers, _ = await admin.whole("GET", "/", 200)
    assert headers["etag"]
    await admin.whole("GET", "/", 304, headers={"if-none-match": headers["etag"]})
    await admin.get("/static/no-such-file.js", 404)
    async with admin.session.get(admin.url + "/api/about", headers={**admin.headers, "accept-encoding": "gzip"}) as one:
        assert one.headers.get("content-encoding") == "gzip"
        assert (await one.json())["gateway"] == "g1"


def test_a_gateway_without_a_console_loads_nothing_of_it():
    heavy = ["starlette", "uvicorn", "h11", "psutil", "gateway.console.app"]
    code = f"import sys, gateway.cli.run; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
