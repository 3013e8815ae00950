"""``onpath decode``: frame messages from files and standard input to JSON lines."""

import base64
import csv
import io
import json
import os
import sys
import threading

import msgpack
import pytest

from gateway.batch import Batch, Loss
from gateway.frame import EMPTY, Frame
from gateway.wire.message import FrameEncoder
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


def apart(*batches: Batch) -> tuple[bytes, bytes]:
    """Directory messages, and what refers to them."""
    encoder = FrameEncoder("g", directory_of("m1/power", "m2/power"))
    made = [encoder.encode(one) for one in batches]
    return b"".join(raw for _, announced in made for _, raw in announced), b"".join(message for message, _ in made)


def test_directories_may_come_later(onpath, stdin, tmp_path):
    told, sent = apart(batch(1), batch(2))
    late, other = tmp_path / "late", tmp_path / "other"
    late.write_bytes(sent)
    other.write_bytes(told)
    stdin(sent + told)
    for files in ([late, other], []):
        code, out, err = onpath("decode", *files)
        assert (code, err) == (0, "")
        assert [json.loads(line)["seq"] for line in out.splitlines()] == [1, 2]


def test_a_pipe_is_read_once(onpath, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(stream(batch(1))))
    writer.start()
    code, out, _ = onpath("decode", path)
    writer.join()
    assert code == 0
    assert json.loads(out)["seq"] == 1


@pytest.mark.parametrize("option", ["--hex", "--base64"])
def test_messages_as_text(onpath, stdin, option):
    encode = bytes.hex if option == "--hex" else lambda raw: base64.b64encode(raw).decode()
    told, sent = apart(batch(1), batch(2))
    stdin(f"{encode(told)}\n  {encode(sent)}\n\n".encode())
    code, out, _ = onpath("decode", option)
    assert code == 0
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [1, 2]
    stdin(f"{encode(told)} *\n".encode())
    code, _, err = onpath("decode", option)
    assert code == 1
    assert f"bad-stream: word 2 is not {option[2:]}: b'*'" in err


def test_csv(onpath, stdin):
    frame = Frame.of([0, 1], 1_500_000_000, [1.5, float("inf")])
    stdin(stream(Batch(1, "p", 0, frame, historical=True), Batch(2, "p", 0, EMPTY, Loss(1, 2, 3, "spool-full"))))
    code, out, err = onpath("decode", "--csv", "--ns")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    shared = {"gateway": "g", "epoch": "0", "seq": "1", "pipeline": "p", "historical": "true", "time": "1500000000"}
    assert rows == [
        shared | {"point": "m1/power", "value": "1.5", "quality": "good", "reason": ""},
        shared | {"point": "m2/power", "value": "", "quality": "good", "reason": "infinity"},
    ]
    assert err == "g/0/2 (p): 3 samples lost from 1 to 2, spool-full\n"


def test_what_messages_cost(onpath, stdin):
    raw = stream(batch(1), Batch(2, "p", 0, EMPTY, Loss(1, 2, 3, "spool-full")))
    stdin(raw)
    code, out, _ = onpath("decode", "--stats", "--json")
    assert code == 0
    told = json.loads(out)
    assert {name: told[name] for name in ("batches", "samples", "losses", "directories")} == {
        "batches": 2, "samples": 1, "losses": 1, "directories": 1,
    }  # fmt: skip
    assert told["bytes"]["all"] == len(raw)
    assert told["before compression"].keys() == {"points", "times", "quality", "values"}
    stdin(raw)
    code, out, _ = onpath("decode", "--stats")
    assert out.startswith("2 batches, 1 samples, 1 losses, 1 directories\n")


def test_a_newer_version_is_told(onpath, stdin):
    stdin(msgpack.packb({"onpath": 3, "h": b"", "c": b""}) + stream(batch(1)))
    code, out, err = onpath("decode")
    assert code == 1
    assert json.loads(out)["seq"] == 1
    assert "standard input: bad-version: message of version 3; this one reads up to 2" in err


def test_options_that_exclude_each_other(onpath):
    for pair in (("--hex", "--base64"), ("--csv", "--stats")):
        assert onpath("decode", *pair)[0] == 2
