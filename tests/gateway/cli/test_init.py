"""``onpath init``: a first configuration that passes ``check``, from flags and by asking on a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import load

EVERYTHING = (
    "--gateway", "g1", "--state", "/tmp/onpath-state",
    "--modbus", "tcp://10.0.0.5:502", "--modbus", "rtu:///dev/ttyUSB0?baudrate=9600", "--profile", "eastron-sdm630",
    "--unit", "7",
    "--mqtt", "mqtt://10.0.0.6:1883", "--topic", "plant/{device}/values",
    "--coap", "coap://10.0.0.9/sensors/temp", "--coap", "coap://[fe80::1]", "--uplink", "mqtt://10.0.0.1:1883",
)  # fmt: skip


def read(path):
    return load(path, {})


def test_everything_from_flags(onpath, tmp_path):
    path = tmp_path / "first.yaml"
    code, out, _ = onpath("init", path, *EVERYTHING)
    assert code == 0
    assert out == f"wrote {path}; next: onpath check -c {path} && onpath run -c {path}\n"
    config = read(path)
    assert (config.gateway, config.state) == ("g1", "/tmp/onpath-state")
    assert set(config.adapters) == {"meters", "meters2", "bus", "sensors"}
    assert config.adapters["meters"].devices["m1"].unit == 7
    assert config.adapters["bus"].subscribe[0].topic == "plant/{device}/values"
    assert set(config.adapters["sensors"].devices) == {"s1", "s2"}
    assert config.uplinks["out"].url == "mqtt://10.0.0.1:1883"
    assert onpath("check", path)[0] == 0


@pytest.mark.parametrize(
    ("source", "adapter"),
    [
        (("--modbus", "tcp://10.0.0.5"), "meters"),
        (("--mqtt", "mqtt://10.0.0.6"), "bus"),
        (("--coap", "coap://10.0.0.9/temp"), "sensors"),
        (("--coap", "coap://10.0.0.9"), "sensors"),
    ],
)
def test_one_source_is_enough(onpath, tmp_path, source, adapter):
    path = tmp_path / "first.yaml"
    assert onpath("init", path, *source)[0] == 0
    config = read(path)
    assert list(config.adapters) == [adapter]
    assert type(config.uplinks["out"]).__struct_config__.tag == "stdout"


def test_an_uplink_that_is_a_file(onpath, tmp_path):
    path = tmp_path / "first.yaml"
    assert onpath("init", path, "--mqtt", "mqtt://h", "--uplink", "/tmp/out.jsonl")[0] == 0
    assert read(path).uplinks["out"].path == "/tmp/out.jsonl"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--modbus", "10.0.0.5:502"), "adapters.meters.url"),
        (("--modbus", "tcp://10.0.0.5", "--profile", "nope"), "profile"),
        (("--mqtt", "http://h"), "adapters.bus.url"),
        (("--mqtt", "mqtt://h", "--topic", "site/#/x"), "topic"),
        (("--coap", "10.0.0.9/temp"), "adapters.sensors"),
        (("--coap", "coap://[::1"), "Invalid IPv6"),
        (("--mqtt", "mqtt://h", "--uplink", "mqtt://h:0"), "uplinks.out.url"),
        (("--mqtt", "mqtt://h", "--gateway", "a b"), "gateway"),
    ],
)
def test_answers_that_make_no_configuration_leave_no_file(onpath, tmp_path, args, told):
    path = tmp_path / "first.yaml"
    code, out, err = onpath("init", path, *args)
    assert (code, out) == (1, "")
    assert err.startswith("onpath: these answers make no usable configuration: ")
    assert told in err
    assert len(err.splitlines()) == 1
    assert not path.exists()


def test_an_existing_file_is_kept_unless_forced(onpath, tmp_path):
    path = tmp_path / "first.yaml"
    path.write_text("mine")
    code, _, err = onpath("init", path, "--mqtt", "mqtt://h")
    assert (code, err) == (1, f"onpath: {path} exists; --force overwrites it\n")
    assert path.read_text() == "mine"
    assert onpath("init", path, "--mqtt", "mqtt://h", "--force")[0] == 0
    assert "bus" in read(path).adapters


def test_a_folder_that_is_not_there(onpath, tmp_path):
    code, _, err = onpath("init", tmp_path / "no" / "first.yaml", "--mqtt", "mqtt://h")
    assert code == 1
    assert err == f"onpath: {tmp_path}/no/first.yaml: No such file or directory\n"


def test_without_a_terminal_it_says_what_is_missing(onpath, tmp_path, monkeypatch):
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        code, _, err = onpath("init", tmp_path / "first.yaml")
    assert (code, err) == (1, "onpath: name a source: --modbus URL, --mqtt URL or --coap URL\n")


def ask(path, answers, *args) -> tuple[int, str]:
    """Answer the questions on a real terminal; exit code and all that was shown."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "gateway.cli.main", "init", str(path), *args]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.write(ours, "".join(answer + "\n" for answer in answers).encode())
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # EIO: the other side is closed
        pass
    finally:
        os.close(ours)
    return process.wait(20), shown.decode()


def test_by_asking(tmp_path):
    path = tmp_path / "first.yaml"
    answers = ["g9", "tcp://10.0.0.5:502", "3", "", "mqtt://10.0.0.6:1883", "", "coap://10.0.0.9/temp", ""]
    code, shown = ask(path, answers)
    assert code == 0, shown
    assert "Name of this gateway" in shown
    config = read(path)
    assert config.gateway == "g9"
    assert set(config.adapters) == {"meters", "bus", "sensors"}
    assert config.adapters["meters"].devices["m1"].unit == 3
    assert config.adapters["meters"].devices["m1"].profile == "eastron-sdm630"


def test_by_asking_for_one_source_only(tmp_path):
    path = tmp_path / "first.yaml"
    code, shown = ask(path, ["", "", "coap://10.0.0.9/temp"], "--gateway", "g1", "--uplink", "stdout")
    assert code == 0, shown
    assert "Name of this gateway" not in shown
    assert list(read(path).adapters) == ["sensors"]
