"""Messages that are almost right: a named error or a record, soon, and no more memory than the bounds allow."""

from __future__ import annotations

import io
import tracemalloc
import zlib

import msgpack
import numpy as np
import pytest
import zstandard

from gateway.errors import PayloadError
from gateway.frame import Frame
from gateway.wire import columns
from gateway.wire.envelope import seal, unseal
from gateway.wire.integers import write_varint
from gateway.wire.message import FrameDecoder
from gateway.wire.stream import messages
from tests.support.malformed import survives
from tests.support.wire_vectors import vectors

STREAMS = [stream for stream, _ in vectors().values() if len(stream) < 800]


def decode_stream(raw: bytes) -> None:
    """All messages of a stream; those that are none must not keep the others from being read."""
    decoder = FrameDecoder()
    failed: PayloadError | None = None
    for message in messages(io.BytesIO(raw)):
        try:
            decoder.decode(message)
        except PayloadError as error:
            failed = error
    if failed:
        raise failed


def test_streams():
    assert survives(decode_stream, STREAMS) > 5000


def test_what_is_inside_the_envelopes():
    """The checksums are right here, so that what lies behind them is reached."""
    seeds = [unseal(message["c"]) for raw in STREAMS for message in messages(io.BytesIO(raw)) if "c" in message]
    assert survives(lambda raw: columns.decode(seal(raw)), seeds) > 3000


def test_heads_and_directories():
    found = [message for raw in STREAMS for message in messages(io.BytesIO(raw))]
    heads = [unseal(message["h"]) for message in found if "h" in message]
    whole = next(message for message in found if "c" in message)

    def decode(raw: bytes) -> None:
        decoder = FrameDecoder()
        for message in found:
            if "points" in message:
                decoder.decode(message)
        decoder.decode(whole | {"h": seal(raw)})

    assert survives(decode, heads, 3000) > 1000


def _zeros(size: int) -> bytes:
    """An envelope of so many zeros."""
    return seal(bytes(size))


def _bomb(claimed: int) -> bytes:
    """An envelope that says to hold more than it does."""
    packed = bytearray(zstandard.ZstdCompressor().compress(bytes(1 << 20)))
    size = packed.index((1 << 20).to_bytes(4, "little"))
    packed[size : size + 4] = claimed.to_bytes(4, "little")
    head = b"\x02\x01" + bytes(packed)
    return head + zlib.crc32(head).to_bytes(4, "little")


def _many(n: int) -> bytes:
    """Columns of very many samples that are all alike."""
    out = bytearray(b"\x02\x00")
    write_varint(out, n)
    return seal(bytes(out) + b"\x01\x00\x00\x00" + _signed(n) + b"\x00\x00\x00\x00\x00" + b"\x00\x00\x00")


def _signed(number: int) -> bytes:
    out = bytearray()
    write_varint(out, 2 * number)
    return bytes(out)


BOMBS = {
    "zeros": _zeros(1 << 27),
    "claims more": _bomb(1 << 31),
    "claims four gigabytes": _bomb((1 << 32) - 1),
    "samples": _many(1 << 24),
    "samples beyond all": _many(1 << 60),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_grow(name):
    raw = BOMBS[name]
    assert len(raw) < 20_000
    message = {"onpath": 2, "h": seal(msgpack.packb(["g", 1, 1, "p", False, b"", 0, 0])), "c": raw}
    told = {"onpath": 2, "h": raw}
    tracemalloc.start()
    try:
        for one in (message, told):
            with pytest.raises(PayloadError):
                FrameDecoder().decode(one)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.alone
def test_the_largest_message_that_is_taken_stalls_nobody():
    def decode(raw: bytes) -> Frame:
        return columns.decode(raw, 1 << 20)

    survives(decode, [_many(1 << 20), columns.encode(Frame.of([0] * (1 << 20), 0, np.zeros(1 << 20)))], 0)
