"""What verbs end with: every exit code, errors in one line to standard error, quiet ends."""

import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.exits import SECTIONS
from gateway.errors import EXIT_CODES, OnpathError
from gateway.store.store import StateLock
from tests.gateway.cli.test_json import VERBS
from tests.support.documents import ROOT, rows, section
from tests.support.metered import metered

CONFIG = """
state: STATE
adapters: {bus: {type: mqtt, url: "mqtt://127.0.0.1:1", subscribe: [{topic: "s/{device}", payload: json}]}}
pipelines: {live: {from: "**", to: [out]}}
uplinks: {out: {type: stdout}}
"""

ENDS = [
    (0, "plugins"),
    (0, "schema"),
    (0, "check GOOD"),
    (0, "graph GOOD"),
    (0, "completion zsh"),
    (1, "graph GOOD -o NOWHERE/x"),
    (1, "decode NOWHERE"),
    (1, "init GOOD --gateway g"),
    (1, "tap --save GOOD --state EMPTY"),
    (1, "modbus read tcp://127.0.0.1:1 --at input:0"),
    (1, "coap get coap://127.0.0.1:1/x --timeout 200ms"),
    (1, "simulate GOOD --input NOWHERE"),
    (1, "spool export NOWHERE/x --state EMPTY --gateway g"),
    (1, "receive mqtt://127.0.0.1:1 --for 1s --out NOWHERE/x"),
    (1, "import telegraf NOWHERE"),
    (2, ""),
    (2, "nothing"),
    (2, "status --nothing"),
    (2, "tap --rejected --after live/0"),
    (2, "graph --format png"),
    (2, "points --quality best"),
    (2, "points --sort colour"),
    (2, "points --watch --limit 5000"),
    (2, "top --view everything"),
    (2, "completion tcsh"),
    (2, "tap --for soon --state EMPTY"),
    (2, "simulate GOOD"),
    (2, "decode --hex --base64"),
    (69, "history --state EMPTY"),
    (69, "status --state EMPTY"),
    (69, "top --state EMPTY"),
    (69, "points --state EMPTY"),
    (69, "points --watch --state EMPTY"),
    (69, "graph --live --state EMPTY"),
    (69, "tap --state EMPTY"),
    (69, "tap --rejected --state EMPTY"),
    (69, "tap --save NEW --state EMPTY"),
    (69, "events --state EMPTY"),
    (69, "reload --state EMPTY"),
    (69, "bound live 0 1 --state EMPTY"),
    (69, "spool drain --state EMPTY"),
    (69, "console url --state EMPTY"),
    (75, "run -c HELD"),
    (78, "check BAD"),
    (78, "run -c BAD"),
    (78, "graph BAD"),
    (78, "show-config -c BAD"),
    (78, "simulate BAD --input GOOD"),
    (78, "modbus plan BAD"),
]
"""Exit code, and what ends with it."""


@pytest.fixture
def places(tmp_path):
    """Files and folders by the words that stand for them."""
    found = {name: tmp_path / name.lower() for name in ("GOOD", "BAD", "HELD", "EMPTY", "NOWHERE", "NEW")}
    found["EMPTY"].mkdir()
    found["GOOD"] = tmp_path / "good.yaml"
    found["GOOD"].write_text(CONFIG.replace("STATE", str(tmp_path / "state")))
    found["BAD"].write_text(CONFIG.replace("live", "li ve").replace("s/{device}", ""))
    found["HELD"].write_text(CONFIG.replace("STATE", str(tmp_path / "held-state")))
    return found


def filled(text, places):
    words = shlex.split(text)
    return [re.sub(r"[A-Z]{3,}", lambda match: str(places[match[0]]), word) for word in words]


@pytest.mark.parametrize(("code", "text"), ENDS, ids=[text or "(nothing)" for _, text in ENDS])
def test_every_end(onpath, places, tmp_path, code, text):
    lock = StateLock(tmp_path / "held-state") if code == 75 else None
    try:
        ended, out, err = onpath(*filled(text, places))
    finally:
        if lock is not None:
            lock.release()
    assert ended == code, err
    assert "Traceback" not in err
    if code in {1, 69, 75}:
        assert out == ""
        assert len(err.splitlines()) == 1
        assert err.startswith("onpath: ")
    elif code == 78:
        assert re.match(rf"{places['BAD']}:\d+:\d+: ", err)
    elif code == 2 and text:
        assert err.strip()


def test_every_code_has_an_example():
    assert {code for code, _ in ENDS} | {130} == EXIT_CODES.keys()


def codes_of(error):
    return {error.exit_code}.union(*map(codes_of, error.__subclasses__()))


def test_errors_have_codes_of_the_table():
    assert codes_of(OnpathError) <= EXIT_CODES.keys()


def test_the_page_has_the_table():
    table = {int(code): meaning for code, meaning in rows(section(ROOT / "docs" / "command-line.md", "Exit codes"))}
    assert table == EXIT_CODES


def test_the_help_has_every_verb_in_one_section(onpath):
    named = [name for names in SECTIONS.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) == {verb.split()[0] for verb in VERBS}
    code, out, _ = onpath("--help")
    assert code == 0
    assert all(f"\n{title}:\n" in out for title in SECTIONS)
    assert max(map(len, out.splitlines())) <= 80


def onpath_process(*args, **options):
    return subprocess.Popen([sys.executable, "-m", "gateway.cli.main", *map(str, args)], text=True, **options)


def test_ctrl_c_before_it_is_done(places):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(60)
        address = f"coap://127.0.0.1:{silent.getsockname()[1]}/x"
        with onpath_process("coap", "get", address, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
            silent.recv(2048)
            asking.send_signal(signal.SIGINT)
            out, err = asking.communicate(timeout=20)
    assert (asking.returncode, out, err) == (130, "", "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with metered(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.mark.parametrize("verb", ["tap", "tap --after live/0", "points m1 --watch", "top --json", "events -f"])
def test_ctrl_c_ends_what_goes_on_until_then(site, verb):
    pipe = subprocess.PIPE
    with onpath_process(*verb.split(), "--state", site.state, stdout=pipe, stderr=pipe, env=site.env) as going:
        assert going.stdout.readline()
        going.send_signal(signal.SIGINT)
        _, err = going.communicate(timeout=20)
    assert (going.returncode, err) == (0, "")


@pytest.mark.parametrize("verb", ["tap", "tap --json", "points --watch", "top --json", "points --limit 5000", "schema"])
def test_a_pipe_that_closes_is_no_error(site, verb):
    """As in ``onpath tap | head -n 1``."""
    of = [] if verb == "schema" else ["--state", site.state]
    pipe = subprocess.PIPE
    with onpath_process(*verb.split(), *of, stdout=pipe, stderr=pipe, env=site.env) as going:
        assert going.stdout.readline()
        going.stdout.close()
        err = going.stderr.read()
        going.wait(30)
    assert (going.returncode, err.replace(" points; --limit shows more", "")) == (0, "")


def test_a_full_disk_is_an_error():
    for verb in ("schema", "--version"):  # a short text is written at the very end
        with Path("/dev/full").open("w") as full, onpath_process(verb, stdout=full, stderr=subprocess.PIPE) as done:
            err = done.stderr.read()
        assert (done.returncode, err) == (1, "onpath: it cannot be written: No space left on device\n")
