"""How a verb ends when its reader or its user has enough; and the order of the verbs in the help."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

import typer
from typer.core import TyperGroup

SECTIONS: Final = {
    "Set up": ("init", "check", "schema", "plugins", "discover", "import", "demo"),
    "Run": ("run", "reload", "bound", "config", "console"),
    "Look": ("status", "top", "points", "graph", "tap", "history", "events", "spool"),
    "Find what is wrong": ("doctor", "show-config", "modbus", "coap"),
    "Try": ("test", "simulate"),
    "Upstream": ("receive", "decode"),
    "A network of gateways": ("service", "nodes", "controller", "hub"),
    "This shell": ("completion",),
}
"""The verbs as the help lists them; what is in none of them comes last."""
SENTENCE: Final = 300
"""Characters of the help of a verb in the list of all: its first sentence, whole."""


class Verbs(TyperGroup):
    """All verbs: their help in sections, and a quiet end if nobody reads any more."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb. A pipe that closed is no error: ``onpath tap | head``."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(0) from None  # what is left in the buffer goes nowhere, see ending()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The help: a section a purpose."""
        left = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        sections = {title: [name for name in names if name in left] for title, names in SECTIONS.items()}
        named = {name for names in SECTIONS.values() for name in names}
        sections["More"] = [name for name in left if name not in named]
        for title, names in sections.items():
            rows = [
                (name, command.get_short_help_str(SENTENCE)) for name in names if (command := left[name]) is not None
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Write out what is left at the end; not to a pipe that nobody reads, and not silently to a full disk."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT} or error.filename is not None:
            raise
        _forget_output()
        print(f"onpath: it cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def _forget_output() -> None:
    """Python flushes once more at its end; let that go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
