"""A service's YAML to its typed struct, or every problem of it at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.config.convert import convert
from gateway.config.load import read_tree
from gateway.config.nodes import Mapping, Mark
from gateway.config.plugins import installed
from gateway.errors import ConfigError, Problem
from gateway.network.service import ServiceConfig
from gateway.network.sound import sound

MAX_TEXT: Final = 256 << 10
"""Bytes of a service: its text goes to every node that has a part in it."""


@dataclass(frozen=True, slots=True)
class ReadService:
    """A service that can be applied."""

    config: ServiceConfig
    text: str
    """As it was written."""
    file: str = ""
    """Where it was read from."""
    warnings: list[Problem] = field(default_factory=list)
    """What can be applied and is probably not meant."""
    root: Mapping = field(default_factory=lambda: Mapping(Mark("", 1, 1), {}))
    """The tree that it was made of, to say where things stand."""


def read_service(path: Path) -> ReadService:
    """The service of a file; its spelling is what problems show.

    Raises:
        ConfigError: with every problem of it.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_TEXT + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), 1, 1, "", f"cannot be read: {error.strerror}")]) from error
    return service_of(data, str(path))


def service_of(data: bytes | str, file: str = "service") -> ReadService:
    """The service of a text.

    Args:
        data: the text.
        file: what problems call it.

    Raises:
        ConfigError: with every problem of it.
    """
    data = data.encode() if isinstance(data, str) else data
    problems: list[Problem] = [*installed().problems]
    if len(data) > MAX_TEXT:
        raise ConfigError([*problems, Problem(file, 1, 1, "", f"larger than {MAX_TEXT >> 10} KiB")])
    root = read_tree(data, file, problems)
    config: ServiceConfig | None = None
    warnings: list[Problem] = []
    if root is not None:
        config, wrong = convert(ServiceConfig, root)
        problems += wrong
        if config is not None and not problems:
            problems, warnings = sound(config, root)
    if root is None or config is None or problems:
        raise ConfigError(problems)
    return ReadService(config, data.decode("utf-8-sig"), file, sorted(warnings), root)


def read_services(paths: Iterable[Path]) -> list[ReadService]:
    """The services of several files, and of the ``*.yaml`` of folders among them.

    Raises:
        ConfigError: with every problem of all files; also of two services of one name.
    """
    problems: list[Problem] = []
    found: dict[str, ReadService] = {}
    for path in _files(paths, problems):
        try:
            service = read_service(path)
        except ConfigError as error:
            problems += error.problems
            continue
        first = found.setdefault(service.config.service, service)
        if first is not service:
            mark = service.root.entries["service"].key
            problems.append(mark.problem("service", f"{service.config.service} is also in {first.file}"))
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return list(found.values())


def _files(paths: Iterable[Path], problems: list[Problem]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"} and file.is_file())
        if not inside:
            problems.append(Problem(str(path), 1, 1, "", "no *.yaml or *.yml file in this folder"))
        files += inside
    return files
