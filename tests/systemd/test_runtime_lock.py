"""What goes into a release is what the gateway needs, and nothing that is for development."""

import re
import subprocess
import sys
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.documents import ROOT


def lines(*words):
    command = [
        sys.executable,
        ROOT / "systemd" / "runtime_lock.py",
        ROOT / "pyproject.toml",
        ROOT / "requirements.lock",
    ]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    return done.stdout


def names(*words):
    return set(re.findall(r"^([\w.-]+)==", lines(*words), re.MULTILINE))


def needed(package, seen):
    """A package and all that it needs here, as installed packages say it themselves."""
    for line in requires(package) or []:
        one = Requirement(line)
        name = canonicalize_name(one.name)
        if name not in seen and (one.marker is None or one.marker.evaluate({"extra": ""})):
            seen.add(name)
            needed(name, seen)
    return seen


def test_it_is_complete():
    """Whatever a package in it needs is in it, too."""
    found = names(f"{sys.version_info[0]}.{sys.version_info[1]}", "x86_64")
    for name in found:
        assert needed(name, set()) <= found, name
    assert {"apsw", "msgspec", "numpy", "starlette", "uvicorn"} <= found


@pytest.mark.parametrize("extras", [[], ["kafka", "infer", "parquet"]])
def test_no_tool_of_development_is_in_it(extras):
    found = names("3.11", "x86_64", *extras)
    assert not found & {
        "pytest",
        "ruff",
        "mypy",
        "playwright",
        "hypothesis",
        "mkdocs",
        "hatchling",
        "pandas",
        "onnx",
        "pip",
    }
    assert ("confluent-kafka" in found) == ("onnxruntime" in found) == ("pyarrow" in found) == bool(extras)


def test_every_line_has_hashes_and_one_version():
    text = lines("3.11", "aarch64", "kafka", "infer")
    packages = re.split(r"\n(?=\S)", text.strip())
    assert len(packages) == len({one.split("==")[0] for one in packages})
    assert all("--hash=sha256:" in one for one in packages)
    assert ";" not in text


def test_the_version_follows_the_python():
    of = {python: re.search(r"^numpy==(\S+)", lines(python, "x86_64"), re.MULTILINE)[1] for python in ("3.11", "3.13")}
    assert of["3.11"] != of["3.13"]
