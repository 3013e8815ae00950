"""Journal blocks: round trip, and any bytes give segments or a named error."""

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, by_point
from gateway.store import segments
from gateway.store.segments import Step, Tick

INT64 = st.integers(-(2**63), 2**63 - 1)
ROWS = st.lists(st.tuples(st.integers(0, 9), INT64, st.floats(), st.integers(0, 0xFFFF)), max_size=8)
FRAMES = ROWS.map(lambda rows: Frame.of(*map(list, zip(*rows, strict=True))) if rows else EMPTY)
BLOCKS = st.lists(st.one_of(FRAMES, INT64.map(Tick), INT64.map(Step)), max_size=6)


def grouped(items):
    return [item.take(by_point(item.point)) if isinstance(item, Frame) else item for item in items]


@given(BLOCKS)
def test_round_trip_keeps_the_order_of_frames_ticks_and_steps(items):
    assert segments.decode(segments.encode(items)) == grouped(items)


@given(BLOCKS, st.data())
def test_damaged_blocks_are_found(items, data):
    raw = bytearray(segments.encode(items))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        decoded = segments.decode(bytes(raw))
    except PayloadError:
        return
    assert decoded == grouped(items)  # zstd may ignore a bit of its own header; then nothing changed


@given(BLOCKS, st.data())
def test_blocks_cut_short_are_found(items, data):
    raw = segments.encode(items)
    with pytest.raises(PayloadError):
        segments.decode(raw[: data.draw(st.integers(0, len(raw) - 1))])


@given(st.binary(max_size=200))
def test_any_bytes_give_segments_or_a_named_error(raw):
    for block in (raw, zstandard.compress(raw)):
        try:
            segments.decode(block)
        except PayloadError as error:
            assert error.reason


@pytest.mark.parametrize(
    "items", [5, {}, [5], [[3, 1]], [[1]], [[1, "x"]], [[0, b""]], [[0, 5]], [[2, None]], [[[], 1]]]
)
def test_a_block_of_something_else(items):
    with pytest.raises(PayloadError):
        segments.decode(zstandard.compress(msgpack.packb(items)))


def test_a_size_beyond_the_bound_is_refused_before_anything_is_allocated():
    compressor = zstandard.ZstdCompressor()
    huge = compressor.compressobj(size=segments.MAX_BYTES + 1)
    with pytest.raises(PayloadError, match="content of"):
        segments.decode(huge.compress(b"x") + huge.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
