"""The API of a running daemon: signs in, asks, follows."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp

from gateway.console.access import Access, Role
from gateway.control import NotRunningError, ask
from tests.support.daemon import daemon
from tests.support.nats import nats_broker
from tests.support.publish import publish

PASSWORD = "a long password"
CONFIG = """
console: {{listen: "127.0.0.1:0"{console}}}
adapters:
  bus:
    type: mqtt
    url: {url}
    subscribe: [{{topic: 'site/{{device}}/telemetry', points: {{v: {{unit: V}}, s: {{kind: state}}}}}}]
pipelines:
  live: {{from: ["**"], steps: [{{deadband: {{absolute: 0.5}}}}], to: [sums, out]}}
  sums: {{steps: [{{window: {{every: 1s, stats: [mean], lateness: 100ms}}}}], to: [out]}}
  none: {{from: ["nobody/**"], to: [out]}}
uplinks:
  out: {{type: file, path: {out}}}
"""


def config(folder, url, console="", more=""):
    return CONFIG.format(url=url, out=folder / "out", console=console) + more


@asynccontextmanager
async def gateway(folder, console="", more=""):
    """The daemon, with its broker as ``.broker``."""
    async with (
        nats_broker(folder / "nats") as broker,
        daemon(folder, config(folder, broker.mqtt_url, console, more)) as process,
    ):
        process.broker = broker
        await process.until(lambda s: s["adapters"]["bus"]["link"] == "up")
        yield process


@asynccontextmanager
async def fed(process, devices=3):
    """Devices publish meanwhile: ``v`` counts up, ``s`` is on or off."""

    async def feed():
        number = 0
        while True:
            number += 1
            state = "on" if number % 10 < 5 else "off"
            messages = [(f"site/m{n}/telemetry", {"v": number + n, "s": state}) for n in range(devices)]
            await publish(process.broker.mqtt_port, messages)
            await asyncio.sleep(0.05)

    feeding = asyncio.create_task(feed())
    try:
        await process.until(lambda s: s["adapters"]["bus"]["samples"] > 20)
        yield
    finally:
        while not feeding.done():
            feeding.cancel()
            await asyncio.wait((feeding,), timeout=1)


class Api:
    """What a script has: a token, or a cookie after ``login``."""

    def __init__(self, url: str, session: aiohttp.ClientSession, token: str = "") -> None:
        self.url = url
        self.session = session
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    async def get(self, path: str, status: int = 200, **headers: str):
        """The answer of a GET, decoded if it is JSON."""
        return (await self.whole("GET", path, status, headers=headers))[1]

    async def post(self, path: str, body=None, status: int = 200, **headers: str):
        """The answer of a POST with a JSON body."""
        content = json.dumps({} if body is None else body)
        headers = {"content-type": "application/json", "x-onpath": "1", **headers}
        return (await self.whole("POST", path, status, headers=headers, data=content))[1]

    async def whole(self, method: str, path: str, status: int, *, headers=None, data=None):
        """Headers and body."""
        sent = {**self.headers, **(headers or {})}
        async with self.session.request(method, self.url + path, headers=sent, data=data, ssl=False) as answer:
            text = await answer.text()
            assert answer.status == status, f"{method} {path}: {answer.status}: {text[:500]}"
            return answer.headers, json.loads(text) if answer.content_type == "application/json" and text else text

    async def events(self, path: str, count: int, timeout_s: float = 20.0) -> list[tuple[str, dict]]:
        """The first so many events of a stream: names and payloads."""
        found = []
        async with (
            asyncio.timeout(timeout_s),
            self.session.get(self.url + path, headers=self.headers, ssl=False) as one,
        ):
            assert one.status == 200, await one.text()
            name = ""
            async for line in one.content:
                text = line.decode().rstrip("\n")
                if text.startswith("event: "):
                    name = text[7:]
                elif text.startswith("data: "):
                    found.append((name, json.loads(text[6:])))
                    name = ""
                if len(found) == count:
                    break
        return found


async def until(process, condition, timeout_s: float = 30.0) -> dict:
    """Wait until the daemon answers ``console`` as wanted; that answer."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                answer = await ask(process.state, "console")
            except NotRunningError:
                answer = {"ok": False}
            if condition(answer):
                return answer
            await asyncio.sleep(0.05)


async def address_of(process, different: str = "") -> str:
    """Where the console of a daemon listens, once it does (elsewhere than ``different``)."""
    answer = await until(process, lambda answer: answer["ok"] and answer["url"] != different)
    return answer["url"]


@asynccontextmanager
async def api(process, role: Role | None = Role.ADMIN):
    """A client of a daemon's console, with a token of this role or none."""
    token = Access(process.state).add_token(f"test-{role}", role) if role is not None else ""
    url = await address_of(process)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, auto_decompress=True) as session:
        yield Api(url, session, token)
