"""The table of findings: remedies are commands, and the documentation shows the same table."""

import re
import shlex
from pathlib import Path

import pytest
import typer

import gateway.doctor
from gateway.cli.main import app
from gateway.doctor.diagnosis import Severity, found
from gateway.doctor.kinds import KINDS
from gateway.doctor.run import ORDER
from tests.support.documents import ROOT, rows, section

VERBS = typer.main.get_command(app).commands
WORDS = {
    "config": "/etc/onpath", "state": "/var/lib/onpath", "unit": "onpath", "user": "onpath", "name": "mqtt-password",
    "mount": "/", "device": "mmcblk0", "pid": 1, "port": 502, "host": "broker.example", "file": "/etc/onpath/cert.pem",
    "key": "/etc/onpath/key.pem", "group": "dialout", "path": "uplinks.cloud", "size": 65536, "stream": "onpath",
}  # fmt: skip
SHELL = {
    "sudo", "journalctl", "openssl", "ls", "ps", "getent", "nc", "ip", "iostat", "systemctl", "systemd-analyze", "nats",
    "python3", "timedatectl", "echo",
}  # fmt: skip
"""Programs of a Linux box, or of the peer, that are named with what they do."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_remedy_is_a_command(kind):
    one = found(kind, "what", "subject", **WORDS)
    assert one.why.endswith(".")
    assert not re.search(r"\{\w+\}", one.remedy), "all words are filled in"
    command, _, _ = one.remedy.partition("  # ")
    words = shlex.split(command)
    if words[0] != "onpath":
        assert words[0] in SHELL
        return
    verb = VERBS[words[1]]
    rest = words[2:]
    if hasattr(verb, "commands"):
        verb, rest = verb.commands[rest[0]], rest[1:]
    verb.make_context(words[1], rest)  # as the command line reads it


def test_every_kind_is_found_somewhere():
    """Nothing is documented that cannot be found, and nothing found that is not in the table."""
    folder = Path(gateway.doctor.__file__).parent
    code = "\n".join(path.read_text() for path in folder.glob("*.py") if path.name != "kinds.py")
    assert [kind for kind in KINDS if f'"{kind}"' not in code] == []


def test_checks_have_a_place_in_the_order():
    assert {kind.check for kind in KINDS.values()} <= set(ORDER)
    assert {kind.severity for kind in KINDS.values()} <= set(Severity) - {Severity.OK}


def test_the_documentation_has_the_same_table():
    shown = {row[0].strip("`"): row for row in rows(section(ROOT / "docs" / "configuring.md", "What it can find"))}
    assert shown.keys() == KINDS.keys()
    for name, kind in KINDS.items():
        assert shown[name][1:3] == [kind.check, kind.severity]
        assert shown[name][3] == kind.why
