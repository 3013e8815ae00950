"""A real HTTP server on port 0 that answers as a test scripts it, and remembers what it took."""

from __future__ import annotations

import gzip
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import zstandard
from aiohttp import web


@dataclass
class Took:
    """One request."""

    path: str
    query: str
    method: str
    headers: dict[str, str]
    body: bytes
    """Decompressed."""
    peer: tuple
    """The client's address: one for each connection."""

    @property
    def records(self) -> list[dict]:
        """The batches of JSON lines."""
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def seqs(self) -> list[int]:
        return [record["seq"] for record in self.records]


@dataclass
class HttpServer:
    """``script`` answers a request with a response, a status, or None for 204."""

    script: object = None
    took: list[Took] = field(default_factory=list)
    accepted: list[Took] = field(default_factory=list)
    """Those that were answered with 2xx."""
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def seqs(self) -> list[int]:
        """Of all accepted batches, repetitions included."""
        return [seq for took in self.accepted for seq in took.seqs]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        took = Took(
            request.path, request.query_string, request.method, dict(request.headers), _plain(request, body),
            request.transport.get_extra_info("peername"),
        )  # fmt: skip
        self.took.append(took)
        answer = self.script(took) if self.script else None
        if hasattr(answer, "__await__"):
            answer = await answer
        if callable(answer):
            return await answer(request)
        if answer is None or isinstance(answer, int):
            answer = web.Response(status=answer or 204)
        if 200 <= answer.status < 300:
            self.accepted.append(took)
        return answer


def _plain(request: web.Request, body: bytes) -> bytes:
    match request.headers.get("Content-Encoding"):
        case "gzip":
            return gzip.decompress(body)
        case "zstd":
            return zstandard.ZstdDecompressor().decompress(body)
    return body


@asynccontextmanager
async def http_server(script=None, *, tls=None, port: int = 0):
    """A running server."""
    server = HttpServer(script)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2, auto_decompress=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        server.port = runner.addresses[0][1]
        server.scheme = "https" if tls else "http"
        yield server
    finally:
        await runner.cleanup()
