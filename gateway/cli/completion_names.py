"""Names that can be typed: from the running gateway, else from its state folder and configuration. Light and quick.

Nobody waits for a completion: what takes long, or fails, offers nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.naming import continued

PATIENCE_S: Final = 1.5
LONGEST: Final = 1 << 22
_STATE: Final = re.compile(r"""^state:[ \t]*["']?([^"'#\n]+?)["']?[ \t]*(?:#.*)?$""", re.MULTILINE)
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_SECTION: Final = re.compile(r"^(adapters|pipelines|uplinks):[ \t]*(?:#.*)?\n((?:[ \t]+.*\n|#.*\n|\n)*)", re.MULTILINE)
_KEY: Final = re.compile(r"^([ \t]+)([\w.-]+):", re.MULTILINE)


def known(given: Mapping[str, str], kind: str, prefix: str) -> list[str]:
    """Names of a kind with this beginning; ``given`` are the options of the command line, by parameter."""
    config = Path(given.get("config") or "/etc/onpath")
    folder = Path(given["state"]) if "state" in given else state_in(config)
    with contextlib.suppress(OSError, ValueError, KeyError):
        return _asked(folder, kind, prefix)
    if kind == "points":
        return continued(_stored(folder), prefix)
    return continued(_written(config, kind), prefix)


def _asked(folder: Path, kind: str, prefix: str) -> list[str]:
    """From the running gateway, over its control socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)  # a path of any length fits the address in this way
        try:
            connection.connect(f"/proc/self/fd/{handle}/control.sock")
        finally:
            os.close(handle)
        connection.sendall(json.dumps({"verb": "names", "of": kind, "prefix": prefix}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            return [str(name) for name in json.loads(lines.readline(LONGEST))["names"]]


def _texts(config: Path) -> Iterator[str]:
    files = [config] if config.is_file() else sorted([*config.glob("*.yaml"), *config.glob("*.yml")])
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            yield file.read_text() + "\n"


def state_in(config: Path) -> Path:
    """The state folder that a configuration names, without reading it whole."""
    found = [match[1] for text in _texts(config) for match in _STATE.finditer(text)]
    text = found[0] if found else "/var/lib/onpath"
    return Path(_VARIABLE.sub(lambda match: os.environ.get(match[1], match[2] or ""), text))


def _written(config: Path, kind: str) -> Iterator[str]:
    """Keys of a section in the files, as people write it: indented by the same."""
    for text in _texts(config):
        for section in _SECTION.finditer(text):
            if section[1] == kind:
                keys = [(match[1], match[2]) for match in _KEY.finditer(section[2])]
                yield from (name for indent, name in keys if indent == keys[0][0])


def _stored(folder: Path) -> Iterator[str]:
    """Names of points in the store of a gateway that does not run."""
    path = folder / "onpath.db"
    if not path.is_file():
        return
    import apsw
    import msgspec

    with contextlib.suppress(apsw.Error, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        with contextlib.closing(connection):
            for (row,) in connection.execute("SELECT row FROM directory"):
                yield str(msgspec.msgpack.decode(row)["point"]["name"])


def profiles(prefix: str) -> list[str]:
    """Profiles that are shipped."""
    import adapters

    folder = Path(adapters.__file__).parent / "modbus" / "profiles"
    return sorted(file.stem for file in folder.glob(f"{prefix}*.yaml"))
