"""Changing the configuration where the gateway itself may not write it, or does not run: as who is at the terminal."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from gateway.config.lenient import LenientExpander
from gateway.config.load import load_texts
from gateway.control import NotRunningError, ask
from gateway.editing.editor import RefusedError
from gateway.editing.files import ConfigFiles, Texts, digest
from gateway.editing.overlay import plain_files, row
from gateway.errors import ConfigError, OnpathError


class Outside:
    """One configuration, and the daemon of its state folder if there is one."""

    def __init__(self, config: Path, state: Path) -> None:
        self._files = ConfigFiles(config)
        self._state = state

    def problems(self, texts: Texts) -> list[dict[str, Any]]:
        """What the daemon says of these files, or else what we see: credentials are not to be had here then."""
        self._files.check_names(texts)
        try:
            answer = asyncio.run(ask(self._state, "config-check", files=plain_files(texts)))
        except NotRunningError:
            return self._own_problems(texts)
        if not answer["ok"]:
            raise OnpathError(answer["error"])
        problems: list[dict[str, Any]] = answer["problems"]
        return problems

    @staticmethod
    def _own_problems(texts: Texts) -> list[dict[str, Any]]:
        try:
            loaded = load_texts({Path(name): texts[name] for name in sorted(texts)}, LenientExpander(os.environ))
        except ConfigError as error:
            return [row(problem, "error") for problem in error.problems]
        return [row(problem, "warning") for problem in loaded.warnings]

    def apply(self, texts: Texts, comment: str, by: str) -> dict[str, Any]:
        """Check, write, have the daemon reload; put the former files back if it refuses.

        Raises:
            RefusedError: nothing was changed.
            OnpathError: the daemon refused, and the former files are back.
        """
        errors = [one for one in self.problems(texts) if one["severity"] == "error"]
        if errors:
            raise RefusedError(errors)
        now = self._files.read()
        names = [name for name in now.keys() | texts.keys() if now.get(name) != texts.get(name)]
        self._files.put({name: texts.get(name) for name in names})
        try:
            asyncio.run(ask(self._state, "config-announce", hash=digest(texts), comment=comment, by=by))
            answer = asyncio.run(ask(self._state, "reload"))
        except NotRunningError:
            return {"version": 0, "changes": None}
        if not answer["ok"]:
            self._files.put({name: now.get(name) for name in names})
            asyncio.run(ask(self._state, "reload"))
            raise OnpathError(f"the gateway refused, and the former files are back: {answer['error']}")
        newest = asyncio.run(ask(self._state, "config-versions"))["versions"][0]["version"]
        return {"version": newest, "changes": answer["reload"]}
