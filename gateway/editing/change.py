"""A change of the configuration that is under way, or waits to be confirmed, written down in the state folder.

Several files cannot be replaced in one step. What is needed to put the former ones back lies in
``<state>/config/change.json`` before the first is touched, and until the gateway runs with the new ones (and, where
that was asked for, until somebody has confirmed it). A daemon that finds it at its start puts the former ones back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.config.expand import Expander
from gateway.config.load import is_config, read_tree
from gateway.config.model import GatewayConfig
from gateway.config.nodes import Scalar
from gateway.editing.files import ConfigFiles
from gateway.errors import OnpathError, Problem
from gateway.store.files import SYSTEM
from gateway.store.store import StateLock

log = logging.getLogger(__name__)

FOLDER: Final = "config"
"""Below the state folder: changes and versions of the configuration."""
_FILE: Final = "change.json"
_STATE: Final = re.compile(rb"^(?:state|'state'|\"state\")[ \t]*:[ \t]+\S.*$", re.MULTILINE)
"""The line alone, so that it is found in a file that is no YAML elsewhere."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Files that are replaced: what was in them, and what will be. None: no such file."""

    path: str
    """The configuration's file or folder."""
    before: dict[str, bytes | None]
    after: dict[str, bytes | None]


class ChangeRecord:
    """The place where a change is written down."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER
        self._file = self._folder / _FILE

    def begin(self, change: Change) -> None:
        """Write it down, durably.

        Raises:
            OnpathError: it cannot be; nothing may be changed then.
        """
        fresh = self._file.with_suffix(".new")
        try:
            self._folder.mkdir(0o700, exist_ok=True)
            SYSTEM.write_new(fresh, [msgspec.json.encode(change)])
            SYSTEM.rename(fresh, self._file)
        except OSError as error:
            raise OnpathError(f"{self._file}: {error.strerror}; nothing was changed") from error

    def end(self) -> None:
        """It is done, or undone."""
        with contextlib.suppress(OSError):
            SYSTEM.remove(self._file)
            SYSTEM.sync_folder(self._folder)

    def found(self) -> Change | None:
        """What was written down and not ended; one that cannot be read never began."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Change)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read and is left out: %s", self._file, error)
            return None


def undo(change: Change, files: ConfigFiles) -> bool:
    """Put the former files back; whether that was right: not if somebody has changed them by hand since.

    Raises:
        OnpathError: they cannot be written.
    """
    now = files.read()
    hand = [name for name in change.before if now.get(name) not in {change.before[name], change.after[name]}]
    if hand:
        log.warning("the configuration is left as it is: %s was changed by hand", ", ".join(hand))
        return False
    files.put({name: text for name, text in change.before.items() if now.get(name) != text})
    return True


def recover(path: Path, env: Mapping[str, str]) -> None:
    """Before the configuration is read: undo a change that a crash or a stop has cut off.

    Raises:
        StateInUseError: another daemon runs, whose change it is.
    """
    state = state_folder(path, env)
    record = ChangeRecord(state)
    if not (state / FOLDER / _FILE).exists():
        return
    lock = StateLock(state)
    try:
        change = record.found()
        if change is not None and Path(change.path) == path.absolute():
            if undo(change, ConfigFiles(path)):
                log.warning("a change of the configuration was cut off or not confirmed: the former files are back")
            record.end()
    except OnpathError as error:
        log.error("a change of the configuration was cut off and cannot be undone: %s", error)  # noqa: TRY400
    finally:
        lock.release()


def state_folder(path: Path, env: Mapping[str, str]) -> Path:
    """The state folder, also where the configuration as a whole cannot be used."""
    try:
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if is_config(one.name) and not one.is_dir())
        else:
            files = [path]
        texts = [file.read_bytes() for file in files]
    except OSError:
        texts = []
    ignored: list[Problem] = []
    for text in texts:
        line = _STATE.search(text)
        tree = read_tree(line[0], os.fspath(path), ignored) if line is not None else None
        entry = tree.entries.get("state") if tree is not None else None
        if entry is not None and isinstance(entry.value, Scalar):
            node = Expander(env).node(entry.value)
            assert isinstance(node, Scalar)
            if node.text and not node.failed:
                return Path(node.text)
    return Path(GatewayConfig().state)
