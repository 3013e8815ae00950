"""The units are accepted, rated, and alike; so is each drop-in; what the documents say of the installer is true."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.support.documents import ROOT, blocks

SYSTEMD = ROOT / "systemd"
DROP_INS = {path.stem: path.read_text() for path in sorted((SYSTEMD / "drop-ins").glob("*.conf"))}
UNITS = {"onpath.service": "onpath.service", "onpath@.service": "onpath@north.service"}
UNITS |= {name: name for name in ("onpath-hub.service", "onpath-controller.service")}
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
needs_shellcheck = pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")


def placed(folder, unit, *drop_ins):
    """The unit as one file with drop-ins, with a program that is on this machine."""
    text = (SYSTEMD / unit).read_text().replace("/opt/onpath/current/bin/onpath", sys.executable)
    path = folder / UNITS[unit]
    path.write_text(text + "".join("\n" + DROP_INS[name] for name in drop_ins))
    return path


def analyze(*words):
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("drop_in", [None, *DROP_INS])
def test_systemd_accepts_it(tmp_path, unit, drop_in):
    path = placed(tmp_path, unit, *[drop_in] if drop_in else [])
    said = analyze("verify", path)
    assert [line for line in said.stderr.splitlines() if path.name in line] == []


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("drop_ins", [(), *((name,) for name in DROP_INS), ("serial", "addresses")], ids="+".join)
def test_exposure(tmp_path, unit, drop_ins):
    rated = analyze("security", "--offline=true", placed(tmp_path, unit, *drop_ins))
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", rated.stdout)
    assert exposure, rated.stderr
    assert float(exposure[1]) <= (1.3 if "serial" in drop_ins else 1.2)


def test_the_template_differs_in_nothing_but_the_folders():
    def settings(unit):
        lines = (SYSTEMD / unit).read_text().splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    one, many = settings("onpath.service"), settings("onpath@.service")
    assert [line for line in one if line not in many] == [
        "Description=onpath edge gateway",
        "ExecStart=/opt/onpath/current/bin/onpath run -c /etc/onpath",
        "ExecReload=/opt/onpath/current/bin/onpath reload -c /etc/onpath",
        "StateDirectory=onpath",
        "ReadWritePaths=-/etc/onpath",
    ]
    assert [re.sub(r"[ /]%i", "", line) for line in many] == one


@pytest.mark.parametrize("unit", ["onpath-hub.service", "onpath-controller.service"])
def test_the_network_s_units_are_closed_as_the_gateway_s(unit):
    def closed(unit):
        text = (SYSTEMD / unit).read_text()
        return [
            line
            for line in text[text.index("NoNewPrivileges") :].splitlines()
            if "Socket" not in line and line[:1] != "#"
        ]

    assert closed(unit) == closed("onpath.service")


@needs_shellcheck
@pytest.mark.parametrize("script", ["install", "package", "debian/postinst", "debian/prerm", "debian/postrm"])
def test_scripts_are_sound(script):
    text = (SYSTEMD / script).read_text().replace("#PURGE#", "purge() { :; }")
    shell = "bash" if "bash" in text.splitlines()[0] else "dash"
    done = subprocess.run(["shellcheck", "-s", shell, "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_installer_knows_what_the_documents_say():
    usage = subprocess.run([SYSTEMD / "install", "--help"], capture_output=True, text=True, check=True).stdout
    text = (ROOT / "docs" / "installation.md").read_text()
    table = text[: text.index("## First steps")]
    documented = set(re.findall(r"^\| `(--[a-z-]+)[ `]", table, re.MULTILINE)) | {"--purge"}
    assert documented == set(re.findall(r"--[a-z-]+", usage))
    # The exit codes in the same words
    flat = " ".join(text.split())
    assert " ".join(usage[usage.index("Exit codes: 0 done; 1") :].split())[:120] in flat
    for block in blocks(ROOT / "docs" / "installation.md"):
        for option in re.findall(r"(?:onpath-install|/install) (--[a-z-]+)", block.text):
            assert option in usage


def test_every_drop_in_is_documented():
    named = set(re.findall(r"^\| `([\w-]+)\.conf`", (ROOT / "docs" / "installation.md").read_text(), re.MULTILINE))
    assert named == set(DROP_INS)


def test_the_first_configuration_is_one(tmp_path):
    shutil.copy(SYSTEMD / "onpath.yaml", tmp_path / "onpath.yaml")
    command = [sys.executable, "-m", "gateway.cli.main", "check", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_installer_wants_root():
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    command = ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-s"]
    text = (SYSTEMD / "install").read_text()
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 77
    assert "must be run as root" in done.stderr
