"""Blobs in JetStream: pieces under a subject of their own, and one message that says which they are.

That message is written last and by compare-and-set, and names the pieces by a number that was drawn for this writing:
whoever reads sees the old blob or the new one. Pieces that nothing names go with the next writing of the same name.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from typing import Final

import msgspec

from gateway.network.carrier.base import CarrierError
from gateway.network.carrier.nats_keys import acknowledged
from gateway.network.carrier.nats_link import Line, RefusedError
from gateway.network.carrier.nats_pull import Pull
from gateway.network.carrier.nats_streams import BLOBS
from gateway.network.carrier.subjects import BLOB, escape

PIECE: Final = 256 * 1024
IN_FLIGHT: Final = 8
TRIES: Final = 5
PAUSE_S: Final = 0.1
_NO_MESSAGE: Final = 10037
_WRONG_LAST: Final = frozenset({10071, 10164})


class _Head(msgspec.Struct, frozen=True):
    """Says which pieces are the blob."""

    drawn: str
    pieces: int
    size: int
    sha256: str


def _subject(name: str) -> str:
    return f"{BLOB}.{escape(name)}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def _head(line: Line, name: str) -> tuple[_Head | None, int]:
    """What says which pieces there are, and its revision."""
    try:
        answer = await line.api(f"STREAM.MSG.GET.{BLOBS}", {"last_by_subj": f"{_subject(name)}.head"})
        message = answer["message"]
        return msgspec.json.decode(base64.b64decode(message["data"]), type=_Head), int(message["seq"])
    except RefusedError as error:
        if error.code == _NO_MESSAGE:
            return None, 0
        raise
    except msgspec.DecodeError as error:
        raise CarrierError(f"{line.url}: blob {name} is damaged: {error}") from None


async def put(line: Line, name: str, data: bytes) -> None:
    """Store; see the protocol of the carrier."""
    digest = await asyncio.to_thread(_digest, data)
    for _ in range(TRIES):
        _, revision = await _head(line, name)
        drawn = secrets.token_hex(8)
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        first = await _upload(line, f"{_subject(name)}.piece.{drawn}", pieces)
        head = _Head(drawn, len(pieces), len(data), digest)
        headers = {"Nats-Expected-Last-Subject-Sequence": str(revision), "Nats-Rollup": "sub"}
        message = await line.ask(f"{_subject(name)}.head", msgspec.json.encode(head), headers)
        try:
            ack = acknowledged(message.data, f"{line.url}: blob {name}")
        except RefusedError as error:
            if error.code not in _WRONG_LAST:
                raise
            continue  # somebody else has written it meanwhile
        await line.api(f"STREAM.PURGE.{BLOBS}", {"filter": f"{_subject(name)}.piece.>", "seq": first or ack.seq})
        return
    raise CarrierError(f"{line.url}: blob {name}: others write it all the time")


async def _upload(line: Line, prefix: str, pieces: list[bytes]) -> int:
    """Store pieces; the number of the first, 0 if there is none."""
    first = 0
    for at in range(0, len(pieces), IN_FLIGHT):
        answers = await asyncio.gather(
            *(
                line.ask(f"{prefix}.{number}", piece)
                for number, piece in enumerate(pieces[at : at + IN_FLIGHT], start=at)
            )
        )
        seqs = [acknowledged(message.data, f"{line.url}: {prefix}").seq for message in answers]
        first = first or min(seqs)
    return first


async def get(line: Line, name: str) -> bytes | None:
    """What is stored; see the protocol of the carrier."""
    for _ in range(TRIES):
        head, _ = await _head(line, name)
        if head is None:
            return None
        pieces = await _download(line, f"{_subject(name)}.piece.{head.drawn}", head.pieces)
        data = b"".join(pieces)
        digest = await asyncio.to_thread(_digest, data)
        if digest == head.sha256:
            return data
        await asyncio.sleep(PAUSE_S)  # it was written anew while we read
    raise CarrierError(f"{line.url}: blob {name}: its pieces are not all there")


async def _download(line: Line, prefix: str, count: int) -> list[bytes]:
    """Pieces in their order; fewer if they are not all there."""
    found = dict[int, bytes]()
    if not count:
        return []
    pull = Pull(line, BLOBS, f"{prefix}.*", {"deliver_policy": "all"})
    try:
        if await pull.open() < count:
            return []
        while len(found) < count and (raws := await pull.take()):
            found.update((int(raw.subject.rpartition(".")[2]), raw.data) for raw in raws)
    finally:
        await pull.close()
    return [found[number] for number in sorted(found)]


async def delete(line: Line, name: str) -> None:
    """Remove; see the protocol of the carrier."""
    await line.api(f"STREAM.PURGE.{BLOBS}", {"filter": f"{_subject(name)}.>"})
