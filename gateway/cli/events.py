"""``onpath events``: the newest lines of the running gateway's log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from gateway.cli.figures import moment
from gateway.control import follow

STYLES: Final = {"warning": "yellow", "error": "red", "critical": "bold red"}


def show_events(where: Path, last: int, for_s: float | None, *, following: bool, as_json: bool) -> None:
    """Print the newest ``last`` lines, and if wanted each as it comes.

    Raises:
        NotRunningError: nobody answers.
    """
    with contextlib.suppress(KeyboardInterrupt) if following else contextlib.nullcontext():
        asyncio.run(_print(where, last, for_s, following=following, as_json=as_json))


async def _print(where: Path, last: int, for_s: float | None, *, following: bool, as_json: bool) -> None:
    console = Console(highlight=False)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(for_s), contextlib.aclosing(rows(where, last, following=following)) as answers:
            async for row in answers:
                if as_json:
                    print(json.dumps(row))
                else:
                    console.print(_line(row), soft_wrap=True)
                sys.stdout.flush()


def _line(row: dict[str, Any]) -> Text:
    style = STYLES.get(row["level"], "")
    return Text.assemble(
        (moment(row["time_ms"]), "dim"), " ", (f"{row['level']:<8}", style or "dim"), " ", (row["text"], style)
    )


async def rows(where: Path, last: int, *, following: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Lines of the log, the newest last: ``{"number", "time_ms", "level", "source", "text"}``.

    Raises:
        NotRunningError: nobody answers.
    """
    async with contextlib.aclosing(follow(where, "events", last=last, follow=following)) as answers:
        async for answer in answers:
            if "end" in answer:
                return
            event = answer["event"]
            event["time_ms"] = event.pop("time_ns") // 1_000_000
            yield event
