"""What the documentation says in tables and examples is what the code does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import quality as q
from gateway.batch import Batch, Loss
from gateway.config import load_checked
from gateway.control import NotRunningError
from gateway.directory import Directory
from gateway.errors import ConfigError, OnpathError
from gateway.frame import EMPTY, Frame
from gateway.point import Point
from gateway.uplinks.config import UPLINKS, TimeFormat
from gateway.uplinks.nats.config import CreateStream
from gateway.uplinks.options import BatchOptions, UplinkConfig
from gateway.wire.record import encode_json
from pipelines.base import OperatorConfig
from pipelines.registry import OPERATORS
from tests.support.documents import ROOT, blocks, rows, section

DOCS = ROOT / "docs"
NS = 1_000_000_000


def options_in(text):
    """Names in the first column of the tables."""
    return {option for row in rows(text) for option in re.findall(r"`(\w+)`", row[0])}


def fields(cls, base):
    return set(cls.__struct_encode_fields__) - set(base.__struct_encode_fields__)


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_have_these_options(operator):
    assert options_in(section(DOCS / "operators.md", operator)) == fields(OPERATORS[operator], OperatorConfig)


@pytest.mark.parametrize("uplink", UPLINKS, ids=lambda cls: cls.__struct_config__.tag)
def test_uplinks_have_these_options(uplink):
    tag = uplink.__struct_config__.tag
    page = DOCS / "uplinks" / f"{tag}.md"
    text = section(page, "Options") if page.exists() else section(DOCS / "uplinks.md", tag)
    assert options_in(text) == fields(uplink, BatchOptions if issubclass(uplink, BatchOptions) else UplinkConfig)


def test_streams_have_these_options():
    table = section(DOCS / "uplinks" / "nats.md", "The stream")
    assert options_in(table) - {"create"} == set(CreateStream.__struct_encode_fields__)


def test_quality_words():
    table = rows((DOCS / "quality.md").read_text().split("\n## ")[0])
    found = {int(bit): word.strip("`") for bit, word, _ in table if bit.isdecimal() and word}
    assert found.keys() == set(range(2, 15))
    for bit, word in found.items():
        assert q.to_text(1 << bit) == f"good,{word}"
    assert [q.to_text(int(code, 2)) for code in re.findall(r"\((\d\d)\)", table[0][1])] == re.findall(
        r"`(\w+)`", table[0][1]
    )


def test_reasons():
    documented = {int(code): word.strip("`") for code, word, _ in rows(section(DOCS / "quality.md", "Reasons"))}
    assert documented == {reason.value: reason.text for reason in q.Reason if reason}


def test_loss_reasons():
    documented = {row[0].strip("`") for row in rows(section(DOCS / "formats.md", "Loss markers"))}
    files = [ROOT / "gateway" / "store" / name for name in ("spool.py", "room.py")]
    assert documented >= set(re.findall(r'"(spool-[a-z]+|thinned)"', "".join(map(Path.read_text, files))))


def exit_codes(cls=OnpathError):
    """Of the error and all that derive from it, as far as they are imported."""
    return {cls.exit_code}.union(*map(exit_codes, cls.__subclasses__()))


@pytest.mark.parametrize("file", ["README.md", "docs/operations.md", "docs/reference/words.md"])
def test_exit_codes(file):
    text = (ROOT / file).read_text()
    shown = section(ROOT / file, "Exit codes") if "## Exit codes" in text else text
    codes = {int(row[0]) for row in rows(shown) if row[0].isdecimal()}
    assert NotRunningError.exit_code in codes
    assert codes == exit_codes() | {0, 2}


def test_json_is_as_shown():
    shown = [json.loads(block.text) for block in blocks(DOCS / "formats.md") if block.language == "json"]
    directory = Directory()
    voltage, mode, power = (directory.add(Point(name=f"m1/{name}")) for name in ("voltage", "mode", "power"))
    time = 1769860800 * NS + 250_000_000
    auto = directory.state(mode, "auto")
    frame = Frame.of(
        [voltage, mode, power], time, [230.1, auto, q.no_value(q.Reason.TIMEOUT)], [0, 0, q.INVALID | q.FAILURE]
    )
    loss = Loss(time, 1769865004 * NS, 48210, "spool-full")
    epoch = shown[0]["epoch"]
    made = [Batch(42, "live", 0, frame, epoch=epoch), Batch(977, "live", 0, EMPTY, loss, epoch=epoch)]
    assert [json.loads(encode_json(batch, "feeder-7", directory, TimeFormat.RFC3339)) for batch in made] == shown


def test_the_receiver_drops_doubles():
    (example,) = [block for block in blocks(DOCS / "delivery.md") if block.language == "python"]
    sample = {"point": "m1/power", "time": "t", "value": 1.5, "quality": "good"}
    lines = [json.dumps({"gateway": "g", "epoch": 1, "seq": seq, "samples": [sample]}) for seq in (1, 2, 1, 3, 2, 3)]
    done = subprocess.run(
        [sys.executable, "-c", example.text], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["m1/power t 1.5 good"] * 3


@pytest.mark.parametrize(
    ("file", "every", "written"),
    [("README.md", "every: 1s", "evry: 1s"), ("docs/tutorial.md", "every: 500ms", "evry: 500ms")],
)
def test_the_mistake_is_found_as_shown(file, every, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = blocks(ROOT / file)
    (config,) = [block.text for block in found if block.language == "yaml" and "devices:" in block.text]
    (message,) = [block.text.strip() for block in found if block.text.startswith("site.yaml:")]
    assert every in config
    (tmp_path / "site.yaml").write_text(config.replace(every, written))
    with pytest.raises(ConfigError) as caught:
        load_checked(Path("site.yaml"), {})
    assert str(caught.value) == message


def test_sizing_quotes_the_benchmarks():
    """Each figure stands in the last figures, with its unit."""
    figures = {row[0]: row for row in rows(section(DOCS / "benchmarks.md", "Last figures"))}
    quoted = [row for row in rows(section(DOCS / "sizing.md", "Processor and memory")) if row[0].startswith("`")]
    assert len(quoted) > 5
    assert [row[0] for row in quoted if row[1] != f"{figures[row[0]][1]} {figures[row[0]][3]}"] == []
