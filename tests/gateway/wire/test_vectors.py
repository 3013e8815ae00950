"""The stored vectors: what is written is these bytes, and every reader reads them, of version 1 too."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gateway.errors import PayloadError
from gateway.frame import Frame
from gateway.quality import INVALID, Reason, from_text, no_value
from gateway.store import segments
from gateway.uplinks.options import TimeFormat
from gateway.wire import columns
from gateway.wire.message import FrameDecoder
from gateway.wire.stream import messages
from tests.support.wire_vectors import FOLDER, T0, read_all, value_of, vectors

ROOT = Path(__file__).parents[3]
OLD = ROOT / "tests" / "cases" / "wire"
MADE = vectors()
NAMES = sorted(path.stem for path in FOLDER.glob("*.bin"))


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()]


def test_what_is_stored_is_what_the_script_makes():
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.{kind}" for name in MADE for kind in ("bin", "jsonl")}


@pytest.mark.parametrize("name", MADE)
def test_the_same_bytes_are_written(name):
    stream, said = MADE[name]
    assert (FOLDER / f"{name}.bin").read_bytes() == stream, "python -m tests.support.wire_vectors, and say why"
    assert (FOLDER / f"{name}.jsonl").read_text("utf-8") == said


@pytest.mark.parametrize("name", NAMES)
def test_the_gateway_reads_them_bit_for_bit(name):
    found = read_all((FOLDER / f"{name}.bin").read_bytes())
    expected = lines(name)
    assert len(found) == len(expected)
    for (received, names), record in zip(found, expected, strict=True):
        batch, frame = received.batch, received.batch.frame
        assert (received.gateway, batch.epoch, batch.seq) == (record["gateway"], record["epoch"], record["seq"])
        assert (batch.pipeline, batch.historical) == (record["pipeline"], record["historical"])
        assert batch.chain == ((record["chain"], record["prev"]) if "chain" in record else None)
        assert list(batch.bounds) == record.get("bounds", [])
        assert (batch.loss is not None) == ("loss" in record)
        texts = {facts["name"]: facts.get("states") for facts in received.points.values()}
        samples = zip(names, frame.time.tolist(), frame.value.tolist(), frame.quality.tolist(), strict=True)
        assert [(n, t, repr(value_of(texts[n], v)), q) for n, t, v, q in samples] == [
            (sample["point"], sample["time"], repr(sample["value"]), sample["quality"]) for sample in record["samples"]
        ]


def test_the_decoder_in_plain_python_reads_them():
    script = ROOT / "docs" / "wire" / "decode.py"
    text = script.read_text()
    assert len(text.splitlines()) <= 60
    assert "import onpath" not in text
    assert "gateway.wire" not in text
    stream = b"".join((FOLDER / f"{name}.bin").read_bytes() for name in NAMES)
    done = subprocess.run([sys.executable, "-I", script], input=stream, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == [
        line for name in NAMES for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
    ]


@pytest.mark.parametrize("change", ["flip", "newer"])
def test_the_decoder_in_plain_python_refuses_what_it_cannot_read(change):
    raw = bytearray((FOLDER / "one-time.bin").read_bytes())
    at = raw.index(b"\xa6onpath") + 7
    raw[at if change == "newer" else -3] ^= 1
    script = ROOT / "docs" / "wire" / "decode.py"
    done = subprocess.run([sys.executable, "-I", script], input=bytes(raw), capture_output=True, check=False)
    assert done.returncode == 1
    assert (
        b"ValueError: " + (b"a message not of version 2" if change == "newer" else b"damaged or newer") in done.stderr
    )


def test_messages_of_version_1_stay_readable():
    decoder = FrameDecoder(TimeFormat.NS)
    with (OLD / "version-1.bin").open("rb") as stream:
        records = [record for message in messages(stream) if (record := decoder.decode(message)) is not None]
    for sample in (sample for record in records for sample in record["samples"]):
        sample["quality"] = from_text(sample["quality"])  # words of bits may get names later
    assert records == [json.loads(line) for line in (OLD / "version-1.jsonl").read_text().splitlines()]
    assert len(records) == 10


def old_frame() -> Frame:
    time = np.repeat(T0 + np.arange(200) * 10**9, 3)
    frame = Frame.of(np.tile([0, 1, 2], 200), time, np.round(np.sin(np.arange(600)) * 100, 1))
    return frame.take(np.argsort(frame.point, kind="stable"))


def test_blocks_of_version_1_stay_readable():
    assert columns.decode((OLD / "version-1.spool").read_bytes()) == old_frame()
    first, second, tick, step = segments.decode((OLD / "version-1.journal").read_bytes())
    assert first == old_frame()
    values = [no_value(Reason.TIMEOUT), float("inf"), -float("inf"), -0.0, 0.0, 1.5]
    assert second == Frame.of([0] * 6, T0, values, [INVALID, 0, 0x2000, 1, 2, 0xFFFF])
    assert (tick, step) == (segments.Tick(7), segments.Step(-3))


def test_a_flipped_bit_of_an_old_block_changes_nothing_unseen():
    """zstd may ignore a bit of its own header; then nothing may have changed."""
    raw = (OLD / "version-1.spool").read_bytes()
    for bit in range(0, 8 * len(raw), 13):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert columns.decode(bytes(damaged)) == old_frame()
        except PayloadError as error:
            assert error.reason


def test_every_flipped_bit_of_a_message_is_found():
    """It is an error, or the message is not one any more; never another batch."""
    stream = (FOLDER / "one-time.bin").read_bytes()
    whole = {hashlib.sha256(repr(record).encode()).hexdigest() for record in _decoded(stream)}
    for bit in range(8 * len(stream)):
        damaged = bytearray(stream)
        damaged[bit // 8] ^= 1 << bit % 8
        found = {hashlib.sha256(repr(record).encode()).hexdigest() for record in _decoded(bytes(damaged))}
        assert found < whole


def _decoded(stream: bytes) -> list[dict]:
    import io

    decoder = FrameDecoder()
    records = []
    try:
        for message in messages(io.BytesIO(stream)):
            try:
                record = decoder.decode(message)
            except PayloadError:
                continue
            if record is not None:
                records.append(record)
    except PayloadError:
        pass
    return records
