"""sd_notify against a real datagram socket."""

import os
import secrets
import socket
import time

import pytest

from gateway import notify


@pytest.fixture
def listen(monkeypatch):
    opened = []

    def bind(address: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.append(sock)
        sock.bind(address)
        sock.settimeout(5)
        return sock

    yield bind
    for sock in opened:
        sock.close()


def test_a_message_is_one_datagram(tmp_path, monkeypatch, listen):
    path = str(tmp_path / "notify")
    sock = listen(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify.notify("READY=1", "STATUS=2 adapters")
    assert sock.recv(4096) == b"READY=1\nSTATUS=2 adapters"


def test_an_abstract_address(monkeypatch, listen):
    name = f"onpath-test-{secrets.token_hex(8)}"
    sock = listen("\0" + name)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    notify.notify("STOPPING=1")
    assert sock.recv(4096) == b"STOPPING=1"


def test_reloading_tells_the_monotonic_time(tmp_path, monkeypatch, listen):
    path = str(tmp_path / "notify")
    sock = listen(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    before = time.monotonic_ns() // 1000
    notify.reloading()
    first, _, usec = sock.recv(4096).decode().partition("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert before <= int(usec) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "/" + "x" * 200])
def test_nobody_listens(monkeypatch, address):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", None, 15.0),
        ("30000000", "", 15.0),
        pytest.param("30000000", str(os.getpid()), 15.0, id="our-own-pid"),  # one name in all processes
        ("30000000", "1", None),
        (None, None, None),
        ("", None, None),
        ("0", None, None),
        ("soon", None, None),
        ("\u00b2", None, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time(monkeypatch, usec, pid, expected):
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_interval_s() == expected
