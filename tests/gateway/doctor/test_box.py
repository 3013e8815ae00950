"""The box: clock, disk, state folder, store, memory, limits, serial lines, systemd's words."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.doctor import clock, disk, folder, links, machine, serial, service
from gateway.doctor.diagnosis import Severity
from gateway.editing.change import Change, ChangeRecord
from gateway.store.config import StoreConfig
from gateway.store.store import StateLock, Store
from tests.gateway.doctor.conftest import kinds
from tests.support.mounts import remount, tmpfs

MIB = 1 << 20


def test_the_clock_is_what_the_kernel_says(patient_of, monkeypatch):
    patient = patient_of()
    for answer, kind in ((False, "clock-not-synchronised"), (None, "clock-unknown")):
        monkeypatch.setattr(clock, "kernel_synchronised", lambda answer=answer: answer)
        assert kind in kinds(clock.check_clock(patient))
    monkeypatch.setattr(clock, "kernel_synchronised", lambda: True)
    assert not kinds(clock.check_clock(patient))
    stepped = patient_of(status={"clock": {"steps": 3}, "pid": os.getpid()})
    assert "3 steps" in kinds(clock.check_clock(stepped))["clock-steps"].what


def test_the_real_time_clock(patient_of, tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "RTC", tmp_path / "since_epoch")
    assert "clock-no-rtc" in kinds(clock.check_rtc(patient_of()))
    (tmp_path / "since_epoch").write_text(f"{int(time.time()) - 4000}\n")
    assert "clock-rtc-off" in kinds(clock.check_rtc(patient_of()))
    (tmp_path / "since_epoch").write_text(f"{int(time.time())}\n")
    assert not kinds(clock.check_rtc(patient_of()))


def test_who_keeps_the_clock_is_seen_by_its_process(patient_of, tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "kernel_synchronised", lambda: False)
    program = tmp_path / "chronyd"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            found = list(clock.check_keeper(patient_of()))
            assert [(one.severity, one.what) for one in found] == [(Severity.OK, "chronyd runs")]
        finally:
            process.kill()


def state_on(tmp_path, patient_of, options):
    @contextlib.contextmanager
    def mounted():
        with tmpfs(tmp_path / "state", options) as mount:
            yield patient_of(), mount

    return mounted()


def test_a_full_disk(tmp_path, patient_of):
    with state_on(tmp_path, patient_of, "size=80m") as (patient, mount):
        assert "disk-full" not in kinds(disk.check_disk(patient))
        (mount / "fill").write_bytes(bytes(60 * MIB))
        found = kinds(disk.check_disk(patient))
        assert "of 80 MiB are free" in found["disk-full"].what
        assert found["disk-full"].remedy == f"sudo du -xh --max-depth=2 {mount} | sort -h | tail"


def test_bounds_that_the_disk_cannot_hold(tmp_path, patient_of):
    with tmpfs(tmp_path / "state", "size=200m"):
        big = patient_of("uplinks: {a: {type: stdout}, b: {type: stdout, spool: {max_size: 20MiB}}}\n")
        assert disk.bounds_of(big.config) == (256 + 1024 + 20) * MIB
        assert "there is room for 200 MiB" in kinds(disk.check_disk(big))["disk-bounds"].what
        small = patient_of(
            "store: {journal: {max_size: 20MiB}, spool: {max_size: 20MiB}}\nuplinks: {a: {type: stdout}}\n"
        )
        assert "disk-bounds" not in kinds(disk.check_disk(small))


def test_few_inodes(tmp_path, patient_of):
    with state_on(tmp_path, patient_of, "size=100m,nr_inodes=20") as (patient, mount):
        assert "disk-inodes" not in kinds(disk.check_disk(patient))
        for number in range(19):
            (mount / str(number)).touch()
        assert "of 20 inodes" in kinds(disk.check_disk(patient))["disk-inodes"].what


def test_a_disk_that_became_read_only_and_one_in_memory(tmp_path, patient_of):
    with state_on(tmp_path, patient_of, "size=100m") as (patient, mount):
        assert "lies on tmpfs, in memory" in kinds(disk.check_mount(patient))["disk-volatile"].what
        remount(mount, "ro")
        assert "disk-read-only" in kinds(disk.check_disk(patient))
        assert list(disk.check_sync(patient)) == []


def test_a_sync_is_measured_and_leaves_nothing(patient_of):
    patient = patient_of()
    (one,) = disk.check_sync(patient)
    assert "a sync takes" in one.what
    assert list(patient.state.iterdir()) == []


def test_a_slow_disk(patient_of, monkeypatch):
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (time.sleep(0.11), real(fd))[1])
    assert "disk-slow" in kinds(disk.check_sync(patient_of()))


def test_an_emmc_tells_its_age(tmp_path):
    device = tmp_path / "mmcblk0" / "device"
    device.mkdir(parents=True)
    (device / "life_time").write_text("0x02 0x09\n")
    assert disk.life_used("mmcblk0", tmp_path) == 9
    assert disk.life_used("mmcblk1", tmp_path) == 0


def test_the_mount_of_a_folder(tmp_path):
    with tmpfs(tmp_path / "a b", "size=1m") as mount:
        inner = mount / "state"
        inner.mkdir()
        found = disk.mount_of(inner)
        assert (found.point, found.type, found.read_only) == (str(mount), "tmpfs", False)
    assert disk.existing(tmp_path / "a" / "b") == tmp_path


def test_a_state_folder_that_others_may_enter(patient_of, tmp_path):
    patient = patient_of()
    assert not kinds(folder.check_state(patient))
    patient.state.chmod(0o755)
    one = kinds(folder.check_state(patient))["state-open"]
    assert "mode 0755" in one.what
    assert one.remedy == f"sudo chmod 700 {patient.state}"
    shutil.rmtree(patient.state)
    assert "state-missing" in kinds(folder.check_state(patient))


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders away")
def test_a_state_folder_of_somebody_else(patient_of):
    class Nobody(type(patient_of())):
        user = "nobody"

    patient = Nobody(**vars(patient_of()))
    assert "state-not-ours" in kinds(folder.check_state(patient)), "root's, 0700"
    shutil.chown(patient.state, "nobody")
    assert "state-not-ours" not in kinds(folder.check_state(patient))


def test_what_a_state_folder_tells(patient_of):
    patient = patient_of()
    (patient.state / "corrupt-1-onpath.db").touch()
    ChangeRecord(patient.state).begin(Change(path="/x", before={}, after={}))
    assert kinds(folder.check_state(patient)).keys() == {"state-set-aside", "state-change-open"}


def test_a_process_that_holds_the_folder_and_is_silent(patient_of):
    patient = patient_of()
    lock = StateLock(patient.state)
    try:
        one = kinds(folder.check_lock(patient))["state-held"]
        assert f"process {os.getpid()} holds" in one.what
    finally:
        lock.release()
    assert not kinds(folder.check_lock(patient))


def test_the_store_is_looked_through_and_damage_is_said(patient_of):
    patient = patient_of()
    assert list(folder.check_store_health(patient)) == []
    store = Store(patient.state, StoreConfig(), 0)
    store.close()
    (one,) = folder.check_store_health(patient)
    assert "all whole" in one.what
    database = patient.state / "onpath.db"
    data = bytearray(database.read_bytes())
    data[4096:8192] = os.urandom(4096)
    database.write_bytes(data)
    found = kinds(folder.check_store_health(patient))
    assert found.keys() & {"store-damaged", "store-unreadable"}
    assert next(iter(found.values())).remedy == f"onpath spool verify -c {patient.path}"


def test_a_large_store_is_looked_at_for_a_while_only(patient_of, monkeypatch):
    patient = patient_of()
    store = Store(patient.state, StoreConfig(), 0)
    store.close()
    monkeypatch.setattr(folder, "LOOK_S", 0.0)
    assert "store-partly-read" in kinds(folder.check_store_health(patient))


def test_a_failing_store_is_said(patient_of):
    status = {"store": {"healthy": False, "detail": "disk full"}, "pid": os.getpid()}
    assert "disk full" in kinds(folder.check_store_health(patient_of(status=status)))["store-failing"].what


def test_memory_against_settings(patient_of):
    assert "memory-settings" not in kinds(machine.check_memory(patient_of()))
    assert "memory-settings" in kinds(machine.check_memory(patient_of("max_points: 10000000\n"))) or (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") > 20 << 30
    )


def test_the_bound_of_a_control_group(tmp_path):
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text("0::/system.slice/onpath.service\n")
    group = tmp_path / "cgroup/system.slice/onpath.service"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("104857600\n")
    assert machine.cgroup_limit(7, tmp_path / "cgroup", tmp_path / "proc") == 100 * MIB
    (group / "memory.max").write_text("max\n")
    assert machine.cgroup_limit(7, tmp_path / "cgroup", tmp_path / "proc") is None


def test_too_few_files_may_be_open(patient_of):
    """Of the process that is named, whatever we may ourselves."""
    script = "import resource as r, time; r.setrlimit(r.RLIMIT_NOFILE, (64, 64)); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            one = kinds(machine.check_limits(patient_of(status={"pid": process.pid})))["open-files"]
            assert one.what.startswith("64 files may be open")
        finally:
            process.kill()


def test_datagrams_that_were_dropped(tmp_path):
    (tmp_path / "snmp").write_text("Ip: a b\nIp: 1 2\nUdp: InDatagrams NoPorts RcvbufErrors\nUdp: 5 6 7\n")
    assert machine.udp_dropped(tmp_path / "snmp") == 7
    assert machine.udp_dropped(tmp_path / "none") == 0


def test_what_is_installed(patient_of):
    assert not kinds(machine.check_software(patient_of("broker: embedded\n")))
    assert machine._unmet("no-such-library>=1") == "no-such-library is not installed"
    assert machine._unmet("msgspec>=99.1").startswith("msgspec ")
    assert machine._unmet("msgspec>=0.1,<0.2").endswith("is wanted")
    assert machine._unmet("msgspec>=0.1") == ""


LINE = "adapters: {m: {type: modbus, url: 'rtu://%s', devices: {d: {points: {v: {at: 'holding:0'}}}}}}\n"
HOLDS = "print(1, flush=True); import time; time.sleep(60)"


def test_a_serial_line_there_and_in_use(patient_of, tmp_path):
    leader, follower = pty.openpty()
    name = os.ttyname(follower)
    patient = patient_of(LINE % name)
    (line,) = links.lines(patient.config)
    assert line.device == name
    assert not kinds(serial.check_line(patient, line))
    command = [sys.executable, "-c", HOLDS]
    holding = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[follower])
    try:
        holding.stdout.readline()
        one = kinds(serial.check_line(patient, line))["serial-in-use"]
        assert f"(process {holding.pid})" in one.what
    finally:
        holding.kill()
        holding.communicate()
        os.close(leader)
        os.close(follower)
    assert "serial-missing" in kinds(serial.check_line(patient, links.Line(owner="x", device=str(tmp_path / "none"))))
    (tmp_path / "file").touch()
    assert "is no serial device" in str(
        kinds(serial.check_line(patient, links.Line(owner="x", device=str(tmp_path / "file"))))
    )


def test_rights_of_a_serial_line(patient_of):
    """By its mode, for another user than the one who asks."""

    class Nobody(type(patient_of())):
        user = "nobody"

    leader, follower = pty.openpty()
    os.fchmod(follower, 0o620)
    try:
        line = links.Line(owner="x", device=os.ttyname(follower))
        one = kinds(serial.check_line(Nobody(**vars(patient_of())), line))["serial-not-ours"]
        assert "nobody may not open it" in one.what
        assert one.remedy.startswith("sudo usermod -aG ")
    finally:
        os.close(leader)
        os.close(follower)


GOOD = {
    "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled", "NRestarts": "0",
    "Type": "notify", "WatchdogUSec": "30s", "FragmentPath": "", "DropInPaths": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"LoadState": "not-found"}, "unit-missing"),
        ({"ActiveState": "failed"}, "unit-failed"),
        ({"ActiveState": "inactive"}, "unit-inactive"),
        ({"UnitFileState": "disabled"}, "unit-disabled"),
        ({"NRestarts": "7"}, "unit-restarts"),
        ({"WatchdogUSec": "0"}, "unit-no-watchdog"),
        ({"Type": "notify-reload"}, "unit-type"),
        ({"DropInPaths": "/etc/systemd/system/onpath.service.d/a.conf"}, "unit-drop-ins"),
    ],
)
def test_a_unit_as_systemd_shows_it(patient_of, changed, kind):
    patient = patient_of()
    assert not kinds(service.judge(patient, GOOD, 252))
    text = "\n".join(f"{name}={value}" for name, value in (GOOD | changed).items())
    assert kinds(service.judge(patient, service.properties(text), 252)).keys() == {kind}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_exposure_of_a_unit(tmp_path):
    score = service.exposure(Path(__file__).parents[3] / "systemd" / "onpath.service")
    assert score is not None
    assert score < service.EXPOSED
    (tmp_path / "open.service").write_text("[Service]\nExecStart=/bin/true\n")
    assert service.exposure(tmp_path / "open.service") > service.EXPOSED
    assert service.exposure(tmp_path / "none.service") is None
