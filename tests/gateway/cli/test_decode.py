"""``onpath decode``: frame messages from files and standard input to JSON lines."""

import io
import json
import sys

import msgpack
import pytest

from gateway.batch import Batch, Loss
from gateway.frame import EMPTY, Frame
from gateway.uplinks.formats import FrameEncoder
from tests.support.build import directory_of


def stream(*batches: Batch) -> bytes:
    encoder = FrameEncoder("g", directory_of("m1/power", "m2/power"))
    out = b""
    for batch in batches:
        message, announced = encoder.encode(batch)
        out += b"".join(directory for _, directory in announced) + message
    return out


def batch(seq: int, point: int = 0) -> Batch:
    return Batch(seq, "p", 0, Frame.of([point], 1_500_000_000, [seq + 0.5]))


@pytest.fixture
def stdin(monkeypatch):
    def give(raw: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return give


def test_files_back_to_back(onpath, tmp_path):
    first, second = tmp_path / "a.frames", tmp_path / "b.frames"
    first.write_bytes(stream(batch(1), batch(2, 1)))
    second.write_bytes(stream(Batch(3, "p", 0, EMPTY, Loss(1, 2, 3, "spool-full"))))
    code, out, err = onpath("decode", first, second)
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [record["seq"] for record in records] == [1, 2, 3]
    assert records[0]["samples"] == [
        {"point": "m1/power", "time": "1970-01-01T00:00:01.500Z", "value": 1.5, "quality": "good"}
    ]
    assert records[2]["loss"]["reason"] == "spool-full"


def test_standard_input_and_times_as_numbers(onpath, stdin):
    stdin(stream(batch(1)))
    code, out, _ = onpath("decode", "--ns")
    assert code == 0
    assert json.loads(out)["samples"][0]["time"] == 1_500_000_000


def test_nothing_is_no_error(onpath, stdin):
    stdin(b"")
    assert onpath("decode") == (0, "", "")


@pytest.mark.parametrize("from_file", [True, False])
def test_a_stream_cut_short_gives_what_came_before_and_fails(onpath, stdin, tmp_path, from_file):
    raw = stream(batch(1), batch(2))[:-3]
    path = tmp_path / "cut"
    path.write_bytes(raw)
    stdin(raw)
    code, out, err = onpath("decode", *([path] if from_file else []))
    assert code == 1
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [1]
    name = path if from_file else "standard input"
    assert err.splitlines()[0].startswith(f"{name}: bad-stream: cut short after byte ")
    assert err.splitlines()[1] == "onpath: 1 message(s) could not be decoded"


def test_a_bad_message_costs_itself_only(onpath, stdin):
    stdin(stream(batch(1)) + msgpack.packb({"hello": 1}) + msgpack.packb(5) + stream(batch(2)))
    code, out, err = onpath("decode")
    assert code == 1
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [1, 2]
    assert err.count("standard input: bad-message") == 2


def test_a_message_whose_directory_never_came(onpath, stdin):
    message, _ = FrameEncoder("g", directory_of("a")).encode(batch(1))
    stdin(message)
    code, out, err = onpath("decode")
    assert (code, out) == (1, "")
    assert "unknown-directory" in err


def test_files_that_are_none(onpath, tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        code, _, err = onpath("decode", path)
        assert code == 1
        assert err.startswith(f"onpath: {path}: ")
