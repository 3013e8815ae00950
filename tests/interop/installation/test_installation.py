"""The life of an installed gateway in a fresh Debian, from the first installation to the last trace."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from tests.interop.installation import releases
from tests.interop.installation.box import Box
from tests.interop.installation.site import CONFIG, Site

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and debootstrap need root"),
    pytest.mark.skipif(shutil.which("debootstrap") is None, reason="debootstrap is not installed"),
]

ASK = """
import json, sys, urllib.error, urllib.request
address, body = sys.argv[1:3]
request = urllib.request.Request(address, body.encode() or None, {"Content-Type": "application/json"})
try:
    answer = urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, json.loads(answer.read() or b"null")]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """This version, the next one, one with another format of the store, and two broken ones."""
    folder = tmp_path_factory.mktemp("releases")
    return {
        "first": releases.release(folder, "7.0.0"),
        "next": releases.release(folder, "7.1.0"),
        "broken": releases.release(folder, "7.2.0", releases.that_fails_once_it_has_the_store),
        "format": releases.release(folder, "7.3.0", releases.with_next_format),
        "hanging": releases.release(folder, "7.4.0", releases.that_never_gets_ready),
    }


@pytest.fixture
def box(built, tmp_path):
    box = Box(tmp_path / "box")
    for release in built.values():
        os.link(release.deb, box.inbox / release.deb.name)
    box.boot()
    yield box
    box.shut()


def dpkg(box, release, *, check=True):
    began = time.monotonic()
    done = box.run("dpkg", "--install", f"/mnt/in/{release.deb.name}", check=check)
    print(f"dpkg --install {release.version}: {time.monotonic() - began:.1f} s, exit {done.returncode}")
    return done


def ask(box, path, body="", port=8321):
    return json.loads(box.run("python3", "-c", ASK, f"http://127.0.0.1:{port}{path}", body).stdout)


def running(box):
    """The version that runs and that the status names."""
    return box.status()["version"]


def pid(box, unit="onpath"):
    return box.sh(f"systemctl show --property MainPID --value {unit}")


def password_in(said):
    return re.search(r"^([a-z0-9]+(?:-[a-z0-9]+)+)$", said, re.MULTILINE)[1]


def test_the_life_of_a_gateway(box, built, tmp_path):
    box.sh("mkdir -m 700 /etc/credstore")
    untouched = box.files()
    site = Site(box, tmp_path)
    installs_without_a_network(box, built["first"])
    fills_its_spool(box, site)
    a_configuration_that_the_new_version_refuses_changes_nothing(box, built["next"])
    upgrades_with_a_full_spool(box, built["next"])
    goes_back_by_itself_when_the_new_version_fails(box, built["broken"], built["next"])
    site.upstream()
    site.nothing_lost_nothing_doubled()
    assert any(batch["pipeline"] == "meters" for batch in site.batches().values())
    goes_back_over_a_change_of_format(box, site, built["format"], built["next"])
    with a_hub_and_a_controller(box):
        is_downgraded(box, site, built["first"])
    several_run_beside_each_other(box, built["next"])
    is_removed_and_comes_back(box, site, built["next"])
    box.run("dpkg", "--purge", "onpath")
    assert box.files() - untouched == set()
    assert box.sh("getent passwd onpath", check=False) == ""


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is not installed")
def test_the_package_is_a_proper_one(built):
    command = ["lintian", "--allow-root", built["first"].deb]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if line[:2] in {"E:", "W:"}] == []


def installs_without_a_network(box, release):
    assert box.sh("ip -o addr | grep -v ' lo ' || true") == ""
    said = dpkg(box, release).stdout
    assert box.sh("systemctl is-active onpath; systemctl is-enabled onpath") == "active\nenabled"
    assert running(box) == release.version
    assert ask(box, "/health")[0] == 200
    assert ask(box, "/api/overview")[0] == 401
    login = json.dumps({"password": password_in(said)})
    assert ask(box, "/api/login", login) == [200, {"role": "admin"}]
    assert box.sh("stat -c '%U %a' /var/lib/onpath /etc/onpath") == "onpath 700\nroot 2770"
    exposure = box.sh("systemd-analyze security --no-pager onpath | tail -1")  # as it runs, not as a file
    assert float(re.search(r"exposure level for onpath.service: ([\d.]+)", exposure)[1]) <= 1.2
    for word in ("--uninstall", "--uninstall --purge"):
        assert "apt purge onpath" in box.run("onpath-install", *word.split(), check=False).stderr
    missing = "find /opt/onpath/current/ -name '*.so*' -type f -exec ldd {} + 2>/dev/null | grep 'not found' || true"
    assert box.sh(missing) == ""
    size = box.sh("du -sm /opt/onpath /usr/lib/onpath | tr '\\n' ' '")
    print(f"deb {release.deb.stat().st_size / 1e6:.0f} MB; installed, MB: {size}")


def fills_its_spool(box, site):
    site.begin()
    box.sh("printf secret >/etc/credstore/onpath.field-password")
    box.sh("mkdir -p /etc/systemd/system/onpath.service.d")
    text = (releases.ROOT / "systemd" / "drop-ins" / "credential.conf").read_text()
    box.write("/etc/systemd/system/onpath.service.d/credential.conf", text.replace("mqtt-password", "field-password"))
    box.write("/etc/onpath/onpath.yaml", CONFIG)
    box.sh("systemctl daemon-reload && systemctl restart onpath")
    box.until(lambda status: status["adapters"]["bus"]["link"] == "up")
    site.send(24_000)
    status = box.until(lambda status: status["uplinks"]["cloud"]["spool"]["bytes"] >= 2**20)
    assert status["uplinks"]["cloud"]["link"] != "up"


def a_configuration_that_the_new_version_refuses_changes_nothing(box, release):
    was = pid(box)
    box.write("/etc/onpath/onpath.yaml", CONFIG.replace("every: 1s", "evry: 1s"))
    done = dpkg(box, release, check=False)
    assert done.returncode != 0
    assert 'did you mean "every"?' in done.stderr
    assert "does not accept /etc/onpath: nothing was changed" in done.stderr
    assert pid(box) == was
    assert "evry" in box.sh("cat /etc/onpath/onpath.yaml")
    refused = box.run("systemctl", "reload", "onpath", check=False)
    assert refused.returncode != 0
    assert pid(box) == was
    box.write("/etc/onpath/onpath.yaml", CONFIG)
    box.run("systemctl", "reload", "onpath")
    assert pid(box) == was


def upgrades_with_a_full_spool(box, release):
    full = box.status()["uplinks"]["cloud"]["spool"]
    was = box.status()["version"]
    box.run("dpkg", "--configure", "onpath")  # what apt does next, too
    status = box.until(lambda status: status["adapters"]["bus"]["link"] == "up")
    assert status["version"] == release.version != was
    spool = status["uplinks"]["cloud"]["spool"]
    assert spool["rows"] >= full["rows"]
    assert spool["bytes"] >= 2**20
    assert spool["lost"] == 0
    assert box.sh("cat /etc/onpath/onpath.yaml") == CONFIG.strip()


def goes_back_by_itself_when_the_new_version_fails(box, broken, before):
    epoch = box.status()["store"]["epoch"]
    full = box.status()["uplinks"]["cloud"]["spool"]
    done = dpkg(box, broken, check=False)
    assert done.returncode != 0
    assert f"version {before.version}-" in done.stderr
    assert "runs again, with all its data" in done.stderr
    assert "a defect of this version" in done.stderr
    status = box.until(lambda status: status["adapters"]["bus"]["link"] == "up")
    assert status["version"] == before.version
    assert status["store"]["epoch"] == epoch
    assert status["uplinks"]["cloud"]["spool"]["rows"] >= full["rows"]
    assert "iF" in box.sh("dpkg --list onpath | tail -1")  # dpkg knows that it is not done
    dpkg(box, before)
    assert running(box) == before.version


def goes_back_over_a_change_of_format(box, site, newer, before):
    epoch = box.status()["store"]["epoch"]
    dpkg(box, newer)
    assert running(box) == newer.version
    site.send(500)
    site.nothing_lost_nothing_doubled()
    highest = max(seq for _, seq in site.batches())
    said = dpkg(box, before).stdout
    assert "is the store again, the newer one is kept as newer-3-onpath.db" in said
    assert box.status()["store"]["epoch"] == epoch
    assert running(box) == before.version
    site.send(500)
    site.nothing_lost_nothing_doubled()
    assert max(seq for _, seq in site.batches()) > highest


def is_downgraded(box, site, release):
    dpkg(box, release)
    assert running(box) == release.version
    site.send(500)
    site.nothing_lost_nothing_doubled()


@contextlib.contextmanager
def a_hub_and_a_controller(box):
    """They run beside the gateway, and go from version to version with it."""
    units = ["onpath-hub", "onpath-controller"]
    box.sh("mkdir -p /etc/onpath/hub")
    box.write("/etc/onpath/hub/hub.yaml", "hub: {name: hub-1, listen: '127.0.0.1:4222'}\n")
    box.write("/etc/onpath/network.yaml", "network: {carrier: {url: 'nats://127.0.0.1:4222'}, tier: core}\n")
    box.sh(f"systemctl enable --now {units[0]} && systemctl reload onpath && systemctl enable --now {units[1]}")
    box.until(lambda status: status["network"]["link"] == "up")
    before = {pid(box, unit) for unit in units}
    yield
    assert before.isdisjoint({pid(box, unit) for unit in units})
    box.until(lambda status: status["network"]["link"] == "up")
    assert json.loads(box.run("onpath", "hub", "status", "--json").stdout)
    box.sh("timeout 60 sh -c 'until journalctl -u onpath-controller | grep -q leads; do sleep 1; done'")
    assert "onpath-hub.service is active running" in box.run("onpath-install", "--status").stdout
    box.sh("rm /etc/onpath/network.yaml && systemctl reload onpath")


def several_run_beside_each_other(box, release):
    said = box.run("onpath-install", "--instance", "north").stdout
    assert "onpath@north runs; its console: http://127.0.0.1:8322" in said
    login = json.dumps({"password": password_in(said)})
    assert ask(box, "/api/login", login, port=8322) == [200, {"role": "admin"}]
    status = box.status("/etc/onpath/north")
    assert status["gateway"] == "box-north"
    assert status["store"]["epoch"] != box.status()["store"]["epoch"]
    pids = {pid(box), pid(box, "onpath@north")}
    dpkg(box, release)  # both are upgraded together
    assert box.status("/etc/onpath/north")["version"] == running(box) == release.version
    assert len(pids | {pid(box), pid(box, "onpath@north")}) == 4
    assert box.run("onpath-install", "--instance", "console", check=False).returncode == 2
    assert "onpath@north.service is active running" in box.run("onpath-install", "--status").stdout


def is_removed_and_comes_back(box, site, release):
    epoch = box.status()["store"]["epoch"]
    box.run("dpkg", "--remove", "onpath")
    assert box.sh("pgrep -u onpath || true") == ""
    assert box.sh("ls -d /opt/onpath /usr/lib/onpath 2>&1 | grep -c 'cannot access'") == "2"
    assert box.sh("cat /etc/onpath/onpath.yaml") == CONFIG.strip()
    site.send(500)  # the field's broker holds it
    dpkg(box, release)
    status = box.until(lambda status: status["uplinks"]["cloud"]["link"] == "up")
    assert status["store"]["epoch"] == epoch
    site.nothing_lost_nothing_doubled()


def serves_an_index(box, installer):
    """The release's wheels go to a package index in the box's network."""
    wheels = installer.replace("/install", "/wheels")
    box.sh(
        f"for wheel in {wheels}/*; do name=$(basename $wheel | cut -d- -f1 | tr A-Z_. a-z--); "
        "mkdir -p /root/index/$name && mv $wheel /root/index/$name/; done; rmdir " + wheels
    )
    box.write("/etc/pip.conf", "[global]\nindex-url = http://127.0.0.1:9000/\n")
    box.sh("systemd-run --unit index python3 -m http.server --directory /root/index --bind 127.0.0.1 9000")


def test_the_installer_without_a_package(box, built):
    untouched = box.files()
    box.sh("mkdir -p /root/release")
    for name in ("first", "next", "hanging"):
        os.link(built[name].tarball, box.inbox / built[name].tarball.name)
        box.sh(f"tar -xzf /mnt/in/{built[name].tarball.name} -C /root/release")
    at = {name: f"/root/release/{built[name].tarball.name.removesuffix('.tar.gz')}/install" for name in built}

    serves_an_index(box, at["first"])
    said = box.run(at["first"]).stdout
    assert "fetched from the package index" in said
    assert password_in(said)
    assert running(box) == "7.0.0"
    box.sh("systemctl stop index && rm /etc/pip.conf")
    was = pid(box)
    assert "was installed already" in box.run(at["first"]).stdout  # once more: nothing happens
    assert pid(box) == was
    assert "/usr/local/lib/systemd/system/onpath.service" in box.sh("systemctl show -p FragmentPath onpath")

    box.sh(f"mv {at['next'].replace('/install', '/wheels')} /root/wheelhouse")
    box.run(at["next"], "--offline", "/root/wheelhouse")
    assert running(box) == "7.1.0"
    began = time.monotonic()
    hung = box.run(at["hanging"], "--timeout", "8", check=False)
    assert hung.returncode == 3
    assert "was not ready within 8 s" in hung.stderr
    assert running(box) == "7.1.0"
    print(f"a version that hangs: back after {time.monotonic() - began:.1f} s")

    box.run("onpath-install", "--rollback")
    assert running(box) == "7.0.0"
    box.run("onpath-install", "--rollback")
    assert running(box) == "7.1.0"
    assert box.run(at["next"], "--nonsense", check=False).returncode == 2
    assert box.run("setpriv", "--reuid=1", "--clear-groups", "onpath-install", check=False).returncode == 77

    box.run("onpath-install", "--uninstall")
    assert box.sh("ls -A /etc/onpath") == "onpath.yaml"
    assert box.sh("test -e /var/lib/onpath/onpath.db && echo kept") == "kept"
    box.run(at["next"], "--no-start", "--offline", "/root/wheelhouse")
    assert box.sh("systemctl is-active onpath", check=False) == "inactive"
    box.run("onpath-install", "--uninstall", "--purge")
    assert box.files() - untouched == set()
