"""Signing in: password, one-time codes, tokens, roles; and what is refused."""

import asyncio
import json
import re
import stat
import subprocess
import sys

import pytest

from gateway.console.access import Access, Role
from gateway.control import ask
from tests.support.console import PASSWORD, api, gateway, until


def onpath(process, *arguments, given=None, code=0):
    """The command line, against a daemon's configuration."""
    command = [sys.executable, "-m", "gateway.cli.main", "console", *arguments, "-c", str(process.config)]
    done = subprocess.run(command, capture_output=True, text=True, input=given, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout.strip()


async def run(process, *arguments, **more):
    return await asyncio.to_thread(onpath, process, *arguments, **more)


async def test_the_password_that_is_made_signs_in(running):
    password = await run(running, "password")
    assert re.fullmatch(r"([a-z0-9]{5}-){3}[a-z0-9]{5}", password)
    async with api(running, None) as client:
        assert (await client.post("/api/login", {"password": password})) == {"role": "admin"}
        session = await client.get("/api/session")
        assert session["role"] == "admin"
        assert session["gateway"] == "g1"
        await client.post("/api/logout")
        assert "sign in" in (await client.get("/api/session", 401))["error"]
    kept = running.state / "console" / "access.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert password not in kept.read_text()


async def test_another_password_ends_all_sessions(running):
    await run(running, "password", "--set", given=PASSWORD + "\n")
    async with api(running, None) as client:
        await client.post("/api/login", {"password": PASSWORD})
        await client.get("/api/overview")
        await run(running, "password", "--set", given="another long one\n")
        await client.get("/api/overview", 401)
        assert await run(running, "password", "--if-none") == ""
        assert "10 characters" in subprocess_error(running, "password", "--set", given="short\n")


def subprocess_error(process, *arguments, given=None):
    command = [sys.executable, "-m", "gateway.cli.main", "console", *arguments, "-c", str(process.config)]
    done = subprocess.run(command, capture_output=True, text=True, input=given, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


async def test_a_code_signs_in_once(running):
    url = await run(running, "url")
    address, _, code = url.partition("/#code=")
    async with api(running, None) as client:
        assert client.url == address
        headers, _ = await client.whole(
            "POST", "/api/login", 200, headers={"content-type": "application/json"}, data=json.dumps({"code": code})
        )
        cookie = headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie  # there is no TLS here
        await client.get("/api/overview")
        assert "not valid" in (await client.post("/api/login", {"code": code}, 401))["error"]


async def test_without_a_password_it_says_so(running):
    async with api(running, None) as client:
        assert "no password is set" in (await client.post("/api/login", {"password": "x" * 12}, 401))["error"]
        assert "either" in (await client.post("/api/login", {}, 400))["error"]
        assert "extra" in (await client.post("/api/login", {"password": "x", "extra": 1}, 400))["error"]


async def test_guessing_is_slowed_down(running):
    Access(running.state).set_password(PASSWORD)
    async with api(running, None) as client:
        for _ in range(4):
            await client.post("/api/login", {"password": "wrong password"}, 401)
        headers, body = await client.whole(
            "POST", "/api/login", 429, headers={"content-type": "application/json"}, data=b'{"password": "wrong again"}'
        )
        assert int(headers["retry-after"]) >= 1
        assert "wait" in body["error"]
        await asyncio.sleep(1.2)
        await client.post("/api/login", {"password": PASSWORD})


async def test_tokens_come_and_go(running):
    made = json.loads(await run(running, "token", "grafana", "--json"))
    assert made["role"] == "read"
    async with api(running, None) as client:
        client.headers = {"authorization": f"Bearer {made['token']}"}
        assert (await client.get("/api/session"))["role"] == "read"
        await client.get("/api/overview")
        assert (
            "role admin"
            in (await client.post("/api/bound", {"pipeline": "live", "step": "0", "bound": 1}, 403))["error"]
        )
        await client.get("/api/config", 403)  # it may hold passwords
        await client.get("/api/config/effective")
        assert "grafana" in await run(running, "tokens")
        subprocess_error(running, "token", "grafana")  # there is one
        await run(running, "revoke", "grafana")
        await client.get("/api/overview", 401)
        assert json.loads(await run(running, "tokens", "--json")) == {"tokens": []}


async def test_a_cookie_alone_changes_nothing(running):
    async with api(running, None) as client:
        code = (await ask(running.state, "console", code=True))["code"]
        await client.post("/api/login", {"code": code})
        content = {"content-type": "application/json"}
        for path in ("/api/bound", "/api/findings/accept", "/api/config/apply"):
            _, answer = await client.whole("POST", path, 403, headers=content, data=b"{}")
            assert "X-Onpath" in answer["error"]
        await client.whole("POST", "/api/findings/accept", 400, headers={"x-onpath": "1"}, data=b"{}")  # what type?
        await client.post("/api/findings/accept", {"keys": []})


async def test_sessions_outlive_a_restart_and_tokens_too(running):
    async with api(running, Role.ADMIN) as admin, api(running, None) as client:
        await client.post("/api/login", {"code": (await ask(running.state, "console", code=True))["code"]})
        await asyncio.to_thread(running.stop)
        port = client.url.rpartition(":")[2]
        running.config.write_text(running.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        await running.start()
        await until(running, lambda answer: answer["ok"])
        await client.get("/api/overview")
        await admin.get("/api/overview")


async def test_a_password_of_the_configuration_holds(tmp_path):
    async with gateway(tmp_path, console=f', password: "{PASSWORD}"') as process, api(process, None) as client:
        Access(process.state).set_password("what the store says")
        await client.post("/api/login", {"password": "what the store says"}, 401)
        await client.post("/api/login", {"password": PASSWORD})
        await client.get("/api/overview")


async def test_read_only_means_that(tmp_path):
    async with gateway(tmp_path, console=", read_only: true") as process, api(process) as client:
        assert (await client.get("/api/session"))["read_only"] is True
        for path, body in (
            ("/api/bound", {"pipeline": "live", "step": "0", "bound": 1}),
            ("/api/findings/accept", {"keys": []}),
            ("/api/config/apply", {"files": []}),
            ("/api/config/rollback", {"version": 1}),
        ):
            assert "read-only" in (await client.post(path, body, 403))["error"]
        file = {"name": process.config.name, "text": process.config.read_text()}
        await client.post("/api/config/check", {"files": [file]})


@pytest.mark.parametrize("token", ["", "nonsense", "onp_", "onp_" + "x" * 43])
async def test_a_wrong_token_is_nobody(running, token):
    async with api(running, None) as client:
        client.headers = {"authorization": f"Bearer {token}"}
        await client.get("/api/overview", 401)


async def test_metrics_may_be_open(tmp_path):
    async with gateway(tmp_path, console=", metrics: open") as process, api(process, None) as client:
        assert "onpath_" in await client.get("/metrics")
        await client.get("/api/overview", 401)


async def test_without_a_console_the_command_says_so(tmp_path):
    async with gateway(tmp_path) as process:
        text = process.config.read_text()
        process.config.write_text("\n".join(line for line in text.splitlines() if not line.startswith("console:")))
        assert (await ask(process.state, "reload"))["ok"]
        error = await asyncio.to_thread(subprocess_error, process, "url")
        assert "no section console" in error
        await until(process, lambda _: not (process.state / "console" / "address").exists())
