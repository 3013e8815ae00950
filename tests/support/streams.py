"""What a stream of a real nats-server holds, seen by a client of its own."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager

import nats


@asynccontextmanager
async def client(url: str, **options):
    """A plain nats-py client."""
    connection = await nats.connect(url, allow_reconnect=False, **options)
    try:
        yield connection
    finally:
        await connection.close()


async def api(connection, subject: str, **request) -> dict:
    """An answer of JetStream's API."""
    payload = json.dumps(request).encode() if request else b""
    return json.loads((await connection.request(f"$JS.API.{subject}", payload, timeout=10)).data)


async def stored(connection, stream: str = "onpath") -> list[tuple[str, dict[str, str], bytes]]:
    """(subject, headers, payload) of all messages of a stream, in order."""
    found, seq = [], 1
    while True:
        answer = await api(connection, f"STREAM.MSG.GET.{stream}", seq=seq, next_by_subj=">")
        if "error" in answer:
            return found
        message = answer["message"]
        lines = base64.b64decode(message.get("hdrs", "")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        found.append((message["subject"], headers, base64.b64decode(message.get("data", ""))))
        seq = message["seq"] + 1


async def seqs(connection, stream: str = "onpath") -> list[int]:
    """Seqs of the batches in a stream, in order."""
    return [int(headers["seq"]) for _, headers, _ in await stored(connection, stream) if "seq" in headers]
