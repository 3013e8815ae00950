"""What the person before ``onpath top`` has chosen, and what his keys do to it. Pure: no terminal, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.cli.top_table import Chosen
from gateway.cli.top_views import VIEWS

EVERY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""How often the screen is renewed; the gateway looks once a second."""
HELP: Final = (
    ("1 2 3 4 5 6", "adapters, devices, pipelines, uplinks, alerts, events"),
    ("Tab  Shift-Tab", "the next view, the one before"),
    ("← →  h l", "likewise"),
    ("↑ ↓  k j", "the line above, below"),
    ("PgUp PgDn", "a page up, down (also Ctrl-B, Ctrl-F)"),
    ("Home End  g G", "the first line, the last"),
    ("Enter", "all about the chosen line; Enter or Esc goes back"),
    ("/", "show only lines with a word; Enter keeps it, Esc drops it"),
    ("s  S", "sort by the next column, by the one before; after the last as it comes"),
    ("r", "the other way round"),
    ("p  Space", "hold the picture, and go on"),
    ("+ -", "renew it more often, less often"),
    ("?", "this help"),
    ("q  Ctrl-C", "quit"),
)
"""Keys and what they do, as the help shows them."""


@dataclass
class State:
    """The view and how each of them is looked at."""

    view: str = "adapters"
    chosen: dict[str, Chosen] = field(default_factory=lambda: {name: Chosen() for name in VIEWS})
    typing: bool = False
    """A filter is being typed."""
    paused: bool = False
    help: bool = False
    detail: bool = False
    scrolled: int = 0
    """Lines of the detail that are above the screen."""
    pace: int = 0
    """Place in :data:`EVERY_S`."""
    ended: bool = False
    page: int = 10
    """Lines that the screen shows; it is told by who draws."""
    lines: int = 0
    """Lines that the view has, likewise."""
    columns: int = 0
    """Columns that the view has, likewise."""

    @property
    def now(self) -> Chosen:
        """How the view is looked at that is shown."""
        return self.chosen[self.view]

    @property
    def every_s(self) -> float:
        """How often the screen is renewed."""
        return EVERY_S[self.pace]

    def press(self, key: str) -> None:
        """A key: a character, or a name such as ``up`` or ``escape``."""
        if key == "ctrl-c":
            self.ended = True
        elif self.typing:
            self._type(key)
        elif self.help:
            self.help = False
            self.ended = key == "q"
        elif self.detail:
            self._read(key)
        else:
            self._act(key)

    def _type(self, key: str) -> None:
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self.typing, self.now.filter = False, ""
        elif key == "backspace":
            self.now.filter = self.now.filter[:-1]
        elif len(key) == 1 and key.isprintable():
            self.now.filter += key
        self.now.at = self.now.first = 0

    def _read(self, key: str) -> None:
        """Keys while the detail is shown."""
        if key in {"enter", "escape", "q", "backspace"}:
            self.detail = False
        else:
            self.scrolled = max(0, self.scrolled + self._distance(key, self.scrolled))

    def _act(self, key: str) -> None:
        match key:
            case "q":
                self.ended = True
            case "?" | "f1":
                self.help = True
            case "/":
                self.typing, self.now.filter = True, ""
            case "escape":
                self.now.filter = ""
            case "enter":
                self.detail, self.scrolled = self.lines > 0, 0
            case "p" | " ":
                self.paused = not self.paused
            case "+" | "=":
                self.pace = max(0, self.pace - 1)
            case "-":
                self.pace = min(len(EVERY_S) - 1, self.pace + 1)
            case "s" | "S" | "r":
                self._sort(key)
            case _:
                self._move(key)

    def _sort(self, key: str) -> None:
        if key == "r":
            self.now.reverse = not self.now.reverse
            return
        choices = self.columns + 1  # the last is: as it comes
        self.now.sort = (self.now.sort + 1 + (1 if key == "s" else -1)) % choices - 1
        self.now.reverse = False

    def _move(self, key: str) -> None:
        names = list(VIEWS)
        if key.isdecimal() and 1 <= int(key) <= len(names):
            self.view = names[int(key) - 1]
        elif key in {"tab", "right", "l", "backtab", "left", "h"}:
            step = 1 if key in {"tab", "right", "l"} else -1
            self.view = names[(names.index(self.view) + step) % len(names)]
        else:
            self.now.at += self._distance(key, self.now.at)

    def _distance(self, key: str, at: int) -> int:
        """How many lines a key goes; who draws keeps the result within what there is."""
        far = 1 << 30
        return {
            "up": -1, "k": -1, "down": 1, "j": 1, "page-up": -self.page, "ctrl-b": -self.page,
            "page-down": self.page, "ctrl-f": self.page, " ": self.page, "home": -at, "g": -at, "end": far, "G": far,
        }.get(key, 0)  # fmt: skip
