"""Task groups that raise what their tasks raised, and threads that are not cut short."""

import asyncio
import threading

import pytest

from gateway.errors import LinkError
from gateway.tasks import first_error, in_thread, opened, task_group


async def fail(error: BaseException) -> None:
    raise error


async def test_the_first_error_comes_out_by_itself_and_the_rest_is_cancelled():
    other = asyncio.Event()
    cancelled = []

    async def wait() -> None:
        try:
            await other.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def grouped() -> None:
        async with task_group() as tasks:
            tasks.create_task(wait())
            tasks.create_task(fail(LinkError("gone")))

    with pytest.raises(LinkError, match="gone"):
        await grouped()
    assert cancelled


async def test_an_error_of_the_body_comes_out_too():
    with pytest.raises(ConnectionResetError):
        async with task_group():
            raise ConnectionResetError


async def test_a_cancellation_stays_one():
    async def grouped() -> None:
        async with task_group() as tasks:
            tasks.create_task(asyncio.Event().wait())

    task = asyncio.create_task(grouped())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_first_error_looks_into_nested_groups():
    inner = ExceptionGroup("b", [OSError("x"), ValueError("y")])
    assert str(first_error(ExceptionGroup("a", [inner, KeyError()]))) == "x"
    error = ValueError("alone")
    assert first_error(error) is error


async def test_a_cancelled_thread_is_waited_for():
    began, go = threading.Event(), threading.Event()
    ended = []

    def work() -> None:
        began.set()
        go.wait(5)
        ended.append(True)

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(began.wait, 5)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_results_and_errors_of_a_thread_come_back():
    assert await in_thread(max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_what_was_opened_meanwhile_is_closed_by_a_cancellation(tmp_path):
    begun, go, files = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        go.wait(10)
        files.append((tmp_path / "file").open("w"))
        return files[0]

    opening = asyncio.create_task(opened(slow))
    await asyncio.to_thread(begun.wait, 10)
    opening.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert files[0].closed
    file = await opened((tmp_path / "file").open)
    assert not file.closed
    file.close()
