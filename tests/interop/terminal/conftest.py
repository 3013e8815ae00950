"""A real terminal: tmux, with what its pane shows."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.support.metered import metered

WAIT_S = 30.0


class Terminal:
    """One tmux server with one window, in which a shell runs."""

    def __init__(self, folder: Path, env: dict[str, str], width: int = 80, height: int = 24) -> None:
        self.folder = folder
        self.socket = folder / "tmux"
        self.seen: list[str] = []
        """Pictures that were kept, for whoever looks at a test that failed."""
        plain = ["bash", "--noprofile", "--norc", "-i"]
        env = {**env, "PS1": "> ", "LC_ALL": "C.UTF-8", "HOME": str(folder), "TERM": "xterm-256color"}
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "-c", str(folder), *plain,
            env=env,
        )  # fmt: skip

    def _tmux(self, *args: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), *args], capture_output=True, text=True, check=True, timeout=30, env=env
        )
        return done.stdout

    def keys(self, *names: str) -> None:
        """Press keys by their names (``Enter``, ``Down``, ``C-c``), or type a character each."""
        self._tmux("send-keys", *names)

    def type(self, text: str) -> None:
        """Type a line, and Enter."""
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def screen(self, *, colours: bool = False) -> str:
        """What stands there now."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def lines(self) -> list[str]:
        return self.screen().splitlines()

    def until(self, condition, what: str = "") -> list[str]:
        """Wait until ``condition(lines)`` holds; those lines. A text stands for: some line has it."""
        holds = condition if callable(condition) else lambda lines: any(condition in line for line in lines)
        deadline = time.monotonic() + WAIT_S
        while True:
            lines = self.lines()
            if holds(lines):
                self.seen.append("\n".join(lines))
                return lines
            if time.monotonic() > deadline:
                wanted = what or (condition if isinstance(condition, str) else "")
                raise AssertionError(f"not seen: {wanted}\n" + "\n".join(lines))
            time.sleep(0.1)

    def modes(self) -> tuple[str, str]:
        """Whether the alternate screen is shown, and the cursor."""
        on, cursor = self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split()
        return on, cursor

    def close(self) -> None:
        subprocess.run(["tmux", "-S", str(self.socket), "kill-server"], check=False, capture_output=True, timeout=30)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A gateway over simulated meters; a test that kills it starts it again."""
    with metered(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def terminal(tmp_path, site):
    """A terminal of 80 columns by 24 lines, in which ``onpath`` is found."""
    opened = Terminal(tmp_path, dict(site.env))
    yield opened
    opened.close()
