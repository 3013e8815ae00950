"""From a file or a folder of YAML to one :class:`GatewayConfig`, or to every problem of every file.

read, compose, merge, expand, convert, check: each stage goes on over what the one before could save, so
that one run shows all that is wrong; only the cross references wait until all else is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.config.check import check
from gateway.config.compose import mark_at, parse
from gateway.config.convert import convert
from gateway.config.expand import Expander
from gateway.config.grow import grown, tree_of
from gateway.config.model import GatewayConfig
from gateway.config.nodes import Entry, Mapping, Mark, Node, Scalar, path_text, resolve
from gateway.config.plugins import installed
from gateway.errors import ConfigError, Problem

MAX_FILE: Final = 16 << 20
"""Bytes of one file."""
MERGED: Final = ("adapters", "pipelines", "uplinks", "alerts")
"""Top-level keys whose names may come from several files."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be run."""

    config: GatewayConfig
    warnings: list[Problem] = field(default_factory=list)
    """What can be run and is probably not meant."""
    files: list[Path] = field(default_factory=list)
    """The files it was read from, in the order of merging."""
    secrets: frozenset[str] = frozenset()
    """Contents of the credentials that are part of it: never to be shown."""
    root: Mapping = field(default_factory=lambda: Mapping(Mark("", 1, 1), {}))
    """The tree that it was made of."""
    texts: MappingABC[str, bytes] = field(default_factory=dict)
    """What was in each file, by its name without the folder."""


def load(path: Path, env: MappingABC[str, str]) -> GatewayConfig:
    """The configuration of a file, or of all ``*.yaml`` and ``*.yml`` of a folder together.

    Args:
        path: the file or the folder; its spelling is what problems show.
        env: where ``${VAR}`` comes from, and ``CREDENTIALS_DIRECTORY``.

    Raises:
        ConfigError: with every problem of every file.
    """
    return load_checked(path, env).config


def load_checked(path: Path, env: MappingABC[str, str], expander: Expander | None = None) -> Loaded:
    """The same with warnings, the files read, and the secrets; ``expander`` in place of one for ``env``.

    Raises:
        ConfigError: with every problem of every file.
    """
    problems: list[Problem] = []
    found = {file: _read(file, problems) for file in _files(path, problems)}
    texts = {file: data for file, data in found.items() if data is not None}
    return load_texts(texts, expander or Expander(env), problems)


def load_texts(texts: MappingABC[Path, bytes], expander: Expander, found: Iterable[Problem] = ()) -> Loaded:
    """The same of texts that are in memory; nothing is read from a disk but credentials.

    Args:
        texts: what is in each file, in the order of merging; problems show the names as they are spelt here.
        expander: where ``${...}`` comes from.
        found: problems of the files themselves.

    Raises:
        ConfigError: with every problem of every file.
    """
    problems = [*installed().problems, *found]
    trees = [tree for file, data in texts.items() if (tree := read_tree(data, str(file), problems)) is not None]
    root = expander.mapping(merge(trees, problems))
    config, wrong = convert(GatewayConfig, root)
    problems += expander.problems + wrong
    warnings: list[Problem] = []
    if config is not None and not problems:
        problems, warnings = check(config, root)
    if config is None or problems:
        raise ConfigError([expander.hide(problem) for problem in problems])
    warnings = sorted(expander.hide(warning) for warning in warnings)
    names = {file.name: data for file, data in texts.items()}
    return Loaded(config, warnings, list(texts), frozenset(expander.secrets), root, names)


def extended(loaded: Loaded, additions: MappingABC[str, dict[str, Any]]) -> tuple[GatewayConfig, list[str]]:
    """The configuration with what was found added to its adapters, and the keys of what does not fit.

    What the user wrote wins. Additions are data of devices: nothing in them is expanded.
    """
    config, _ = _with(loaded.root, additions.values())
    if config is not None:
        return config, []
    root, kept, refused = loaded.root, loaded.config, []
    for key, addition in additions.items():
        config, tree = _with(root, [addition])
        if config is None:
            refused.append(key)
        else:
            root, kept = tree, config
    return kept, refused


def _with(root: Mapping, additions: Iterable[dict[str, Any]]) -> tuple[GatewayConfig | None, Mapping]:
    for addition in additions:
        root = grown(root, tree_of({"adapters": addition.get("adapters", {})}, "discovery"))
    config, wrong = convert(GatewayConfig, root)
    if config is None or wrong or check(config, root)[0]:
        return None, root
    return config, root


def _files(path: Path, problems: list[Problem]) -> list[Path]:
    """The files that ``path`` stands for. Pipeline tests are left out, and hidden ones: editors leave them about."""
    try:
        if not path.is_dir():
            return [path]
        found = sorted(file for file in path.iterdir() if is_config(file.name) and not file.is_dir())
    except OSError as error:
        problems.append(_at_top(path, f"cannot be read: {error.strerror}"))
        return []
    if not found:
        problems.append(_at_top(path, "no *.yaml or *.yml file in this folder"))
    return found


def is_config(name: str) -> bool:
    """Whether a file of this name in a folder is part of the configuration."""
    hidden = name.startswith(".") or name.endswith((".test.yaml", ".test.yml"))
    return not hidden and Path(name).suffix in {".yaml", ".yml"}


def _at_top(path: Path, message: str) -> Problem:
    return Problem(str(path), 1, 1, "", message)


def _read(file: Path, problems: list[Problem]) -> bytes | None:
    """What is in one file, or None if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_FILE + 1)
    except OSError as error:
        problems.append(_at_top(file, f"cannot be read: {error.strerror}"))
        return None


def read_tree(data: bytes, file: str, problems: list[Problem]) -> Mapping | None:
    """The tree of one file's content, or None if there is none to speak of."""
    if len(data) > MAX_FILE:
        problems.append(_at_top(Path(file), f"larger than {MAX_FILE >> 20} MiB"))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        mark = mark_at(before, len(before), file)
        problems.append(mark.problem("", f"byte 0x{data[error.start]:02X} is not UTF-8; save it as UTF-8"))
        return None
    tree, wrong = parse(text, file)
    problems += wrong
    return tree


def merge(trees: list[Mapping], problems: list[Problem]) -> Mapping:
    """One tree of several: adapters, pipelines and uplinks by name; anything else may stand only once."""
    if not trees:
        return Mapping(Mark("", 1, 1), {})
    entries: dict[str, Entry] = {}
    for tree in trees:
        for key, entry in tree.entries.items():
            first = entries.get(key)
            entries[key] = entry if first is None else _join(key, first, entry, problems)
    return Mapping(trees[0].mark, entries)


def _join(key: str, first: Entry, second: Entry, problems: list[Problem]) -> Entry:
    if key in MERGED:
        if _is_nothing(second.value):
            return first
        if _is_nothing(first.value):
            return second
        if isinstance(first.value, Mapping) and isinstance(second.value, Mapping):
            return Entry(first.key, _join_maps(key, first.value, second.value, problems))
    problems.append(_twice((key,), first, second))
    return first


def _join_maps(key: str, first: Mapping, second: Mapping, problems: list[Problem]) -> Mapping:
    entries = dict(first.entries)
    for name, entry in second.entries.items():
        if name in entries:
            problems.append(_twice((key, name), entries[name], entry))
        else:
            entries[name] = entry
    return Mapping(first.mark, entries)


def _twice(path: tuple[str, ...], first: Entry, second: Entry) -> Problem:
    return second.key.problem(path_text(path), f"defined twice; also defined at {first.key}")


def _is_nothing(node: Node) -> bool:
    return isinstance(node, Scalar) and resolve(node) is None
