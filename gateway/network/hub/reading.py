"""The hub's YAML file to its typed struct, or every problem of it at once."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from pathlib import Path

from gateway.config.convert import convert
from gateway.config.expand import Expander
from gateway.config.load import MAX_FILE, read_tree
from gateway.errors import ConfigError, Problem
from gateway.network.hub.config import HubConfig, HubFile

FILES = ("cert", "key", "client_ca")
CLUSTER_FILES = ("cert", "key", "ca")


def read_hub(path: Path, env: MappingABC[str, str]) -> HubConfig:
    """The hub of a file.

    Args:
        path: the file; its spelling is what problems show.
        env: where ``${VAR}`` comes from, and ``CREDENTIALS_DIRECTORY``.

    Raises:
        ConfigError: with every problem of it.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), 1, 1, "", f"cannot be read: {error.strerror}")]) from error
    problems: list[Problem] = []
    tree = read_tree(data, str(path), problems)
    if tree is None:
        raise ConfigError(problems)
    expander = Expander(env)
    config, wrong = convert(HubFile, expander.mapping(tree))
    problems += expander.problems + wrong
    if config is None or problems:
        raise ConfigError([expander.hide(problem) for problem in problems])
    return config.hub


def missing_files(hub: HubConfig) -> list[str]:
    """What the configuration names and nobody can read here, as sentences; for a machine that is to run it."""
    named = [(f"hub.{field}", getattr(hub, field)) for field in FILES]
    if hub.cluster is not None:
        named += [(f"hub.cluster.{field}", getattr(hub.cluster, field)) for field in CLUSTER_FILES]
    found = []
    for field, file in named:
        if not file:
            continue
        try:
            with Path(file).open("rb"):
                pass
        except OSError as error:
            found.append(f"{field}: {file} cannot be read: {error.strerror}")
    return found
