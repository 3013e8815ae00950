# noqa: INP001 - a script, no package
"""What a gateway needs while it runs, out of the lock of everything, for one Python on one kind of machine.

``runtime_lock.py PYPROJECT LOCK PYTHON MACHINE [EXTRA...]`` prints lines of a requirements file with hashes. The lock
says by its ``# via`` comments who needs what, so no network and no resolver is asked: what is installed is what was
tested.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "onpath"


@dataclass
class Pin:
    """One package of the lock."""

    name: str
    version: str
    marker: str = ""
    hashes: list[str] = field(default_factory=list)
    needed_by: set[str] = field(default_factory=set)


def pins(text: str) -> list[Pin]:
    """The packages of a lock; one may be there twice, with markers that exclude each other."""
    found: list[Pin] = []
    for line in text.splitlines():
        if head := re.match(r"([\w.-]+)==([^ ;]+)(?: ; (.*?))? *\\?$", line):
            found.append(Pin(canonicalize_name(head[1]), head[2], head[3] or ""))
        elif digest := re.match(r" +--hash=(sha256:\w+)", line):
            found[-1].hashes.append(digest[1])
        elif user := re.match(r" +# +(?:via +)?([\w.-]+)", line):
            found[-1].needed_by.add(canonicalize_name(user[1]))
    return found


def wanted(project: dict[str, Any], extras: list[str]) -> set[str]:
    """The names that the project itself asks for."""
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def chosen(found: list[Pin], names: set[str], environment: dict[str, str]) -> list[Pin]:
    """The packages with these names and all that they need, where their markers hold."""
    names = set(names)
    while more := {pin.name for pin in found if pin.needed_by & names} - names:
        names |= more
    kept = [pin for pin in found if pin.name in names]
    return [pin for pin in kept if not pin.marker or Marker(pin.marker).evaluate(environment)]


def main(pyproject: str, lock: str, python: str, machine: str, *extras: str) -> None:
    """Print the lines."""
    project = tomllib.loads(Path(pyproject).read_text())["project"]
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.99",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found = pins(Path(lock).read_text())
    if missing := wanted(project, list(extras)) - {pin.name for pin in found}:
        sys.exit(f"not in {lock}: {', '.join(sorted(missing))}; run make lock")
    for pin in chosen(found, wanted(project, list(extras)), environment):
        words = [f"{pin.name}=={pin.version}", *(f"--hash={value}" for value in pin.hashes)]
        sys.stdout.write(" \\\n    ".join(words) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
