"""``onpath top``: the running gateway, live."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from bisect import bisect_left
from pathlib import Path

from gateway.cli.events import rows
from gateway.cli.printing import lines_of, room, show
from gateway.cli.top_feed import looks, snapshot
from gateway.cli.top_header import Seen, header
from gateway.cli.top_state import EVERY_S, State
from gateway.cli.top_views import VIEWS
from gateway.control import ask
from gateway.errors import OnpathError

EVENTS = 10
"""Lines of the log in the picture that is printed once."""


def show_top(where: Path, view: str, for_s: float | None, *, every: int, as_json: bool) -> None:
    """On a terminal until the person quits; elsewhere once, as text. With ``as_json`` an object every so many seconds.

    Raises:
        NotRunningError: nobody answers.
        OnpathError: the gateway refuses, or the terminal cannot show it.
    """
    if as_json:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_print_json(where, for_s, every))
    elif sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        answer = asyncio.run(ask(where, "overview"))  # a clear word and the right exit code if there is nobody
        if not answer["ok"]:
            raise OnpathError(answer["error"])
        from gateway.cli.top_terminal import run

        run(where, State(view=view, pace=bisect_left(EVERY_S[:-1], every)), for_s)
    else:
        asyncio.run(_print_once(where))


async def _print_json(where: Path, for_s: float | None, every: int) -> None:
    number = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(for_s), contextlib.aclosing(looks(where)) as seen:
            async for found in seen:
                number += 1
                if number % every == 0:
                    print(json.dumps({"time_ms": time.time_ns() // 1_000_000, **found}), flush=True)


async def _print_once(where: Path) -> None:
    found = await snapshot(where)
    async with contextlib.aclosing(rows(where, EVENTS, following=False)) as newest:
        found["events"] = [row async for row in newest]
    lines = header(Seen(found), room() or 120)
    for name, (_, view) in VIEWS.items():
        lines += lines_of(view(found), name.upper())
    show(lines)
