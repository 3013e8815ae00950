"""The control socket, over real sockets."""

import asyncio
import json
import logging
import socket
import stat

import pytest

from gateway.control import SOCKET, NotRunningError, ask, serving
from gateway.errors import ConfigError, Problem, StoreError


async def echo(request):
    return {"echo": request}


async def refuse(_request):
    raise ConfigError([Problem("a.yaml", 1, 2, "x", "wrong"), Problem("a.yaml", 3, 4, "y", "worse")])


async def fail(_request):
    raise StoreError("disk full")


async def defect(_request):
    raise LookupError("nobody foresaw this")


VERBS = {"echo": echo, "refuse": refuse, "fail": fail, "defect": defect}


@pytest.fixture
def deep(tmp_path):
    """A folder whose socket would not fit sun_path."""
    folder = tmp_path
    while len(str(folder)) < 300:
        folder /= "state-of-the-gateway"
    folder.mkdir(parents=True)
    return folder


async def test_a_verb_gets_its_request_and_gives_its_answer(tmp_path):
    async with serving(tmp_path, VERBS):
        answer = await ask(tmp_path, "echo", number=1)
        mode = (tmp_path / SOCKET).stat().st_mode
    assert answer == {"ok": True, "echo": {"verb": "echo", "number": 1}}
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / SOCKET).exists()


async def test_a_deep_state_folder(deep):
    async with serving(deep, VERBS):
        assert (await ask(deep, "echo"))["ok"]
        assert (deep / SOCKET).is_socket()
    assert not (deep / SOCKET).exists()
    with pytest.raises(NotRunningError):
        await ask(deep, "echo")


async def test_errors_cross_the_socket(tmp_path):
    async with serving(tmp_path, VERBS):
        refused = await ask(tmp_path, "refuse")
        failed = await ask(tmp_path, "fail")
        unknown = await ask(tmp_path, "dance")
    assert refused["problems"] == ["a.yaml:1:2: x: wrong", "a.yaml:3:4: y: worse"]
    assert (refused["ok"], refused["exit_code"]) == (False, 78)
    assert (failed["error"], failed["exit_code"]) == ("disk full", 1)
    assert unknown == {"ok": False, "error": "unknown request; verbs: defect, echo, fail, refuse"}


GARBAGE = [b"hello", b"", b"5", b"[]", b"null", b'{"verb": []}', b'{"verb": null}', b"{}", b"\xff\xfe", b"[" * 100_000]


async def test_garbage_is_answered_and_the_connection_goes_on(tmp_path):
    async with serving(tmp_path, VERBS):
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        for line in GARBAGE:
            writer.write(line + b"\n")
            answer = json.loads(await reader.readline())
            assert answer["ok"] is False
            assert "verbs:" in answer["error"]
        writer.write(b'{"verb": "echo"}\n')
        assert json.loads(await reader.readline())["ok"]
        writer.close()
        await writer.wait_closed()


async def test_many_ask_at_once(tmp_path):
    async with serving(tmp_path, VERBS):
        answers = await asyncio.gather(*(ask(tmp_path, "echo", n=n) for n in range(50)))
    assert [answer["echo"]["n"] for answer in answers] == list(range(50))


async def test_an_answer_longer_than_a_streams_usual_limit(tmp_path):
    async def long(_request):
        return {"text": "x" * 1_000_000}

    async with serving(tmp_path, {"long": long}):
        assert len((await ask(tmp_path, "long"))["text"]) == 1_000_000


async def test_a_defect_in_a_verb_ends_the_connection_and_not_the_server(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, "asyncio")  # asyncio reports the task that failed, as it should
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with serving(tmp_path, VERBS):
        with pytest.raises(NotRunningError, match="closed the connection"):
            await asyncio.wait_for(ask(tmp_path, "defect"), 5)
        assert (await ask(tmp_path, "echo"))["ok"]


@pytest.mark.parametrize("folder", ["", "missing"])
async def test_nobody_answers(tmp_path, folder):
    with pytest.raises(NotRunningError, match="no onpath daemon answers") as caught:
        await ask(tmp_path / folder, "status")
    assert caught.value.exit_code == 69


async def test_a_socket_left_by_a_killed_daemon_is_replaced(tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET))
    left.close()
    with pytest.raises(NotRunningError):
        await ask(tmp_path, "echo")
    async with serving(tmp_path, VERBS):
        assert (await ask(tmp_path, "echo"))["ok"]


@pytest.mark.parametrize("said", [b"", b'{"ok": tr'])
async def test_a_daemon_that_dies_in_the_middle_of_its_answer(tmp_path, said):
    async def die(reader, writer):
        await reader.readline()
        writer.write(said)
        writer.close()

    server = await asyncio.start_unix_server(die, tmp_path / SOCKET)
    async with server:
        with pytest.raises(NotRunningError, match="closed the connection"):
            await ask(tmp_path, "echo")
