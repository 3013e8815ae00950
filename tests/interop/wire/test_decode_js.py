"""The decoder in JavaScript of docs/wire reads every vector.

Needs node with the packages of tests/interop/package.json.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.wire_vectors import FOLDER

HERE = Path(__file__).parent
NODE = shutil.which("node")
SCRIPT = FOLDER.parent / "decode.js"
ENVIRONMENT = os.environ | {"NODE_PATH": os.environ.get("NODE_PATH") or str(HERE.parent / "node_modules")}

assert NODE, "node is not installed"


def decode(raw: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([NODE, SCRIPT], input=raw, capture_output=True, env=ENVIRONMENT, check=False)


def comparable(line: str) -> dict:
    """JavaScript knows no difference between 1 and 1.0."""
    record = json.loads(line)
    for sample in record["samples"]:
        if isinstance(sample["value"], int | float):
            sample["value"] = repr(float(sample["value"]))
    return record


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.bin")))
def test_vectors(name):
    done = decode((FOLDER / f"{name}.bin").read_bytes())
    assert done.stderr == b""
    expected = (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
    assert [comparable(line) for line in done.stdout.decode().splitlines()] == [comparable(line) for line in expected]


@pytest.mark.parametrize(("place", "why"), [(-3, b"the checksum is wrong"), (8, b"a message of version 3")])
def test_what_it_cannot_read_it_refuses(place, why):
    raw = bytearray((FOLDER / "one-time.bin").read_bytes())
    raw[place] ^= 1
    done = decode(bytes(raw))
    assert done.returncode == 1
    assert why in done.stderr
