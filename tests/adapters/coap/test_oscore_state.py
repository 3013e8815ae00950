import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import aiocoap
import pytest
from aiocoap import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.coap.options.credentials import OscoreOptions
from adapters.coap.security.not_secure import NotSecureError
from adapters.coap.security.oscore import SENT_STEP, OscoreKey, option_of
from adapters.coap.security.oscore_state import FIRST_SECOND, MAX_NUMBER, Bounds, first_bounds, load, store
from gateway.errors import LinkError
from tests.adapters.coap.oscore_peers import KEY
from tests.support.trials import trials

NOW_NS = (FIRST_SECOND + 1000) * 10**9
ROOT = Path(__file__).parents[3]
BOUNDS = st.builds(
    Bounds,
    sent=st.integers(0, MAX_NUMBER),
    received=st.integers(0, MAX_NUMBER),
    window=st.none() | st.tuples(st.integers(0, MAX_NUMBER), st.integers(0, 2**1024 - 1).map("{:x}".format)),
)


def make(**options) -> OscoreKey:
    return OscoreKey("plant", OscoreOptions(**KEY | options))


async def number_of(key: OscoreKey) -> int:
    await key.ready()
    outer, _ = key.protect(Message(code=aiocoap.GET))
    return option_of(outer).number


@given(bounds=BOUNDS)
def test_what_is_stored_is_loaded(bounds):
    with tempfile.TemporaryDirectory() as folder:
        store(Path(folder, "a.oscore"), bounds)
        assert load(Path(folder, "a.oscore")) == bounds
        assert [path.name for path in Path(folder).iterdir()] == ["a.oscore"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"sent": 1}', b'{"sent": -1, "received": 0}', b"\xff" * 40])
def test_a_file_that_cannot_be_read_is_never_guessed(tmp_path, content):
    (tmp_path / "a.oscore").write_bytes(content)
    with pytest.raises(LinkError, match=r"cannot be read: .*a\.oscore"):
        load(tmp_path / "a.oscore")


def test_a_lost_file_begins_beyond_what_was_used():
    assert first_bounds(NOW_NS).sent == 256_000
    assert first_bounds(0).sent == 0
    assert first_bounds(2**63 - 1).sent <= MAX_NUMBER


@settings(max_examples=trials(40), deadline=None)
@given(lives=st.lists(st.tuples(st.integers(0, 3 * SENT_STEP), st.sampled_from(["crash", "stop"])), max_size=4))
def test_no_number_is_used_twice_whatever_happens(lives):
    async def live(folder):
        used = []
        for count, end in lives:
            key = await make().open(Path(folder), NOW_NS)
            used += [await number_of(key) for _ in range(count)]
            if end == "stop":
                await key.close()
            else:
                await crash(key)
        return used

    with tempfile.TemporaryDirectory() as folder:
        used = asyncio.run(live(folder))
    assert used == sorted(set(used))


async def crash(key):
    """A crash leaves the old file or the new one; here the new one."""
    key.closed = True
    if key._writing is not None:
        await key._writing


async def test_a_key_of_two_adapters_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    key = await make().open(tmp_path / "a", NOW_NS)
    with pytest.raises(LinkError, match="of two adapters"):
        await make().open(tmp_path / "b", NOW_NS)
    await key.close()
    await (await make().open(tmp_path / "b", NOW_NS)).close()


async def test_a_clean_stop_wastes_nothing(tmp_path):
    for expected in range(256_000, 256_003):
        key = await make().open(tmp_path, NOW_NS)
        assert await number_of(key) == expected
        await key.close()
        with pytest.raises(NotSecureError, match="not in use"):
            await key.ready()


async def test_the_state_goes_by_the_key_and_not_by_its_name(tmp_path):
    for name, options in (("a", {}), ("b", {}), ("c", {"window": 64, "recipient": "03"}), ("d", {"sender": "05"})):
        key = await OscoreKey(name, OscoreOptions(**KEY | options)).open(tmp_path, NOW_NS)
        await number_of(key)
        await key.close()
    first, second = sorted(load(path).sent for path in tmp_path.glob("*.oscore"))
    assert (first, second) == (256_001, 256_003)


async def test_nothing_is_sent_that_cannot_be_reserved(tmp_path):
    key = await make().open(tmp_path, NOW_NS)
    (tmp_path / "gone").mkdir()
    key.path = tmp_path / "gone" / "no" / "a.oscore"
    for _ in range(SENT_STEP):
        await number_of(key)
    with pytest.raises(NotSecureError, match="cannot be kept"):
        await number_of(key)
    key.path = tmp_path / "a.oscore"  # the disk is there again
    assert await number_of(key) == 256_000 + SENT_STEP
    await key.close()


async def test_the_last_number_ends_a_key(tmp_path):
    key = await make().open(tmp_path, NOW_NS)
    key.sender_sequence_number = MAX_NUMBER - 2
    await number_of(key)
    await number_of(key)
    with pytest.raises(NotSecureError, match="give both sides a new one"):
        await number_of(key)
    await key.close()


def test_no_number_is_used_twice_by_a_process_that_is_killed(tmp_path):
    seen: list[tuple[bytes, int]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as capture:
        capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_000_000)
        capture.bind(("127.0.0.1", 0))
        capture.settimeout(30)
        command = [sys.executable, "-m", "tests.adapters.coap.oscore_sender", tmp_path, str(capture.getsockname()[1])]
        for wanted in (1, 700, 1500, 2600, 300):
            with subprocess.Popen(command, cwd=ROOT) as process:
                before = len(seen)
                while len(seen) < before + wanted:
                    seen.append(kid_and_number(capture.recv(2048)))
                os.kill(process.pid, signal.SIGKILL)
            seen += rest_of(capture)
    assert len(seen) > 5000
    assert len(set(seen)) == len(seen)
    assert {kid for kid, _ in seen} == {b"\1"}
    assert [number for _, number in seen] == sorted(number for _, number in seen)


def rest_of(capture):
    capture.setblocking(False)
    try:
        while True:
            yield kid_and_number(capture.recv(2048))
    except BlockingIOError:
        capture.settimeout(30)


def kid_and_number(datagram):
    message = Message.decode(datagram)
    option = option_of(message)
    return option.kid, option.number
