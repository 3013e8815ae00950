"""``onpath top`` on a terminal: curses draws what :mod:`gateway.cli.top_screen` composes, and hears the keys."""

from __future__ import annotations

import asyncio
import contextlib
import curses
import locale
import os
import signal
import sys
from pathlib import Path
from typing import Final

from gateway.cli.top_feed import Feed
from gateway.cli.top_header import Seen
from gateway.cli.top_screen import screen
from gateway.cli.top_state import State
from gateway.cli.top_table import STYLES, Spans
from gateway.errors import OnpathError

ESCAPE_MS: Final = 25
"""How long an Escape waits for what would make another key of it."""
GONE: Final = 50
"""So often the keyboard may have nothing when it says that it has."""
KEYS: Final[dict[int | str, str]] = {
    curses.KEY_UP: "up", curses.KEY_DOWN: "down", curses.KEY_LEFT: "left", curses.KEY_RIGHT: "right",
    curses.KEY_PPAGE: "page-up", curses.KEY_NPAGE: "page-down", curses.KEY_HOME: "home", curses.KEY_END: "end",
    curses.KEY_BTAB: "backtab", curses.KEY_BACKSPACE: "backspace", curses.KEY_ENTER: "enter", curses.KEY_F1: "f1",
    "\t": "tab", "\n": "enter", "\r": "enter", "\x1b": "escape", "\x7f": "backspace", "\b": "backspace",
    "\x02": "ctrl-b", "\x06": "ctrl-f", "\x03": "ctrl-c",
}  # fmt: skip


def run(where: Path, state: State, for_s: float | None) -> None:
    """Show it until the person quits, a signal ends it, or the time is over. The terminal is always restored.

    Raises:
        OnpathError: the terminal cannot, or the gateway refuses.
    """
    locale.setlocale(locale.LC_ALL, "")
    os.environ.setdefault("ESCDELAY", str(ESCAPE_MS))
    try:
        curses.wrapper(lambda window: asyncio.run(_Terminal(window, where, state).show(for_s)))
    except curses.error as error:
        raise OnpathError(f"this terminal cannot show it ({error}); onpath top | cat prints it once") from error


class _Terminal:
    """The screen, the keyboard, and what they show and say."""

    def __init__(self, window: curses.window, where: Path, state: State) -> None:
        self._window = window
        self._state = state
        self._feed = Feed(where, state.view, self._heard)
        self._styles = _styles()
        self._drawn: list[Spans] = []
        self._shown = Seen()
        self._wake = asyncio.Event()
        self._urgent = False
        self._silent = 0

    async def show(self, for_s: float | None) -> None:
        """Until it is ended."""
        self._window.nodelay(True)
        with contextlib.suppress(curses.error):
            curses.curs_set(0)
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._keys)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._press, "ctrl-c")
        loop.add_signal_handler(signal.SIGWINCH, self._resized)
        feeding = asyncio.create_task(self._feed.run(), name="top: feed")
        feeding.add_done_callback(lambda _: self._wake.set())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(for_s):
                    await self._draw_on(feeding)
        finally:
            loop.remove_reader(sys.stdin.fileno())
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _draw_on(self, feeding: asyncio.Task[None]) -> None:
        """Draw at once what keys do, and news at the pace that was chosen."""
        loop = asyncio.get_running_loop()
        due_s = 0.0
        while not self._state.ended:
            if feeding.done():
                feeding.result()
            if loop.time() >= due_s or self._urgent:
                due_s, self._urgent = loop.time() + self._state.every_s, False
                if not self._state.paused:
                    self._shown = self._feed.seen
            self._draw()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await self._wake.wait()
            self._wake.clear()

    def _heard(self, *, urgent: bool) -> None:
        """The feed has news: such that cannot wait for their turn, or others."""
        if urgent:
            self._urgent = True
            self._wake.set()

    def _keys(self) -> None:
        """All that were pressed."""
        self._silent += 1
        with contextlib.suppress(curses.error):
            while True:
                key = self._window.get_wch()
                self._silent = 0
                self._press(KEYS.get(key, key if isinstance(key, str) else ""))
        if self._silent > GONE:
            self._press("ctrl-c")  # it can be read, and has nothing: the terminal is gone

    def _press(self, key: str) -> None:
        paused = self._state.paused
        self._state.press(key)
        self._feed.show(self._state.view)
        self._urgent = self._urgent or (paused and not self._state.paused)
        self._wake.set()

    def _resized(self) -> None:
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        curses.resizeterm(lines, columns)
        self._window.clear()
        self._drawn = []
        self._wake.set()

    def _draw(self) -> None:
        """Write the lines that differ from those that stand there."""
        height, width = self._window.getmaxyx()
        lines = screen(self._shown, self._state, width, height)
        for y, line in enumerate(lines):
            if y < len(self._drawn) and line == self._drawn[y]:
                continue
            with contextlib.suppress(curses.error):  # of the last corner, which cannot be written without scrolling
                self._window.move(y, 0)
                self._window.clrtoeol()
                for text, style in line:
                    self._window.addstr(_writable(text), self._styles[style])
        self._drawn = lines
        self._window.refresh()


def _writable(text: str) -> str:
    """What the terminal's character set has; ``?`` for the rest."""
    coding = locale.getpreferredencoding(do_setlocale=False)
    return text if coding.lower() in {"utf-8", "utf8"} else text.encode(coding, "replace").decode(coding)


def _styles() -> dict[str, int]:
    """Attributes of curses by the names of styles."""
    colours = dict.fromkeys(STYLES, 0)
    if curses.has_colors():
        curses.use_default_colors()
        for number, colour in enumerate(
            (curses.COLOR_GREEN, curses.COLOR_YELLOW, curses.COLOR_RED, curses.COLOR_CYAN), 1
        ):
            curses.init_pair(number, colour, -1)
        colours |= {"good": curses.color_pair(1), "warn": curses.color_pair(2), "bad": curses.color_pair(3)}
        colours |= {"title": curses.color_pair(4), "accent": curses.color_pair(4)}
    extra = {"bold": curses.A_BOLD, "bad": curses.A_BOLD, "chosen": curses.A_REVERSE, "dim": curses.A_DIM}
    return {name: attribute | extra.get(name, 0) for name, attribute in colours.items()}
