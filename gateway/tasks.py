"""Small helpers around asyncio tasks. A leaf."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, ParamSpec, Protocol, TypeVar

CANCEL_AGAIN_S = 3.0
"""How long a task may take to end in order before it is cancelled once more."""

P = ParamSpec("P")
R = TypeVar("R")


class Closable(Protocol):
    """What holds something until it is closed."""

    def close(self) -> None:
        """Let it go."""


C = TypeVar("C", bound=Closable)


@contextlib.asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup that raises the first error of its tasks by itself instead of an ExceptionGroup.

    For groups whose tasks share one fate (a link): whoever catches ``OSError`` or ``LinkError`` around
    it gets that, and the rest were cancelled because of it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a (nested) group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def ended(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel until all have ended: ``asyncio.wait_for`` of Python 3.11 loses a cancellation that meets an answer.

    What they raised is fetched and forgotten.
    """
    running = [task for task in tasks if task is not None]
    while waiting := [task for task in running if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*running, return_exceptions=True)


async def in_thread(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function in a thread; a cancellation takes effect when it has ended.

    For what must not be cut in the middle, such as a write to a file that is closed afterwards.
    """
    working = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # fetched, so that the loop does not complain about it
        raise


async def opened(call: Callable[P, C], *args: P.args, **kwargs: P.kwargs) -> C:
    """Likewise, for what has to be closed: a cancellation closes it."""
    working = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        if not working.cancelled() and working.exception() is None:
            await asyncio.to_thread(working.result().close)
        raise
