"""How a scene is run from the command line, and what stays of it: a picture, a summary, an exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import typer

from gateway.errors import OnpathError


class Judged(Protocol):
    """A report of a scene."""

    @property
    def exact(self) -> bool:
        """Whether all that came out is what it should be."""


R = TypeVar("R", bound=Judged)


def run_to_the_end(
    scene: Callable[[], Coroutine[Any, Any, R]], summary: Callable[[R], str], drawn: Callable[[R], str],
    picture: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Exits with 0 if the report says exact, else with 1; 130 after Ctrl-C.

    Raises:
        OnpathError: the picture cannot be written.
    """
    with asyncio.Runner() as runner:
        final = runner.run(_until_signal(scene()))
    if final is None:
        print("interrupted: everything is stopped", file=sys.stderr)
        raise typer.Exit(130)
    if picture is not None:
        try:
            picture.write_text(drawn(final), "utf-8")
        except OSError as error:
            raise OnpathError(f"{picture}: {error.strerror}") from None
    print(msgspec.json.encode(final).decode() if as_json else summary(final))
    if not final.exact:
        raise typer.Exit(1)


async def _until_signal(scene: Coroutine[Any, Any, R]) -> R | None:
    """The report; None if Ctrl-C or SIGTERM came first. Either way every process has ended."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(scene, name="demo")
    stopped = False

    def end() -> None:
        nonlocal stopped
        if not stopped:  # a second one must not interrupt what cleans up
            stopped = True
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        return await running
    except asyncio.CancelledError:
        if not stopped:
            raise
        return None
