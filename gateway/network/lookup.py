"""How a verb finds the carrier: ``--carrier URL``, the configuration of a node, or the environment.

Of a configuration only ``network.carrier`` is read, so that a verb works also where the rest of it cannot be used:
credentials of other sections are the service's only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from collections.abc import Mapping as MappingABC
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.config.convert import BAD, Converter, Place, convert, type_info
from gateway.config.expand import Expander
from gateway.config.load import is_config, merge, read_tree
from gateway.config.nodes import Entry as Line
from gateway.config.nodes import Mapping, Mark, Scalar
from gateway.errors import ConfigError, OnpathError, Problem
from gateway.network.carrier.opening import carrier_of
from gateway.network.config import CarrierConfig

if TYPE_CHECKING:
    from gateway.network.carrier.base import Carrier, Entry

T = TypeVar("T")
CARRIER: Final = "ONPATH_CARRIER"
"""The variable that holds the URL; with ``_USERNAME``, ``_PASSWORD``, ``_CA``, ``_CERT`` and ``_KEY`` behind it what
goes with the URL, also with one that is given by ``--carrier``."""
OPTIONS: Final = ("username", "password", "ca", "cert", "key")


class NoCarrierError(OnpathError):
    """Nobody said where the network is."""

    exit_code = 2


def carrier_config(url: str | None, config: Path | None, env: MappingABC[str, str] = os.environ) -> CarrierConfig:
    """Where the network is; what is said by an option goes before the environment.

    Args:
        url: of ``--carrier``.
        config: file or folder of ``-c``, of a gateway that is a node.
        env: the environment.

    Raises:
        NoCarrierError: neither says it.
        ConfigError: what is said is not usable.
    """
    if url is not None:
        return _of_url(url, "--carrier", env)
    if config is not None:
        return _of_node(config, env)
    if env.get(CARRIER):
        return _of_url(env[CARRIER], f"${CARRIER}", env)
    raise NoCarrierError(
        "which network? Say it by --carrier URL (local:/folder, nats://host:4222), by -c CONFIG of one of its nodes, "
        f"or in ${CARRIER}"
    )


def _of_url(url: str, word: str, env: MappingABC[str, str]) -> CarrierConfig:
    mark = Mark(word, 1, 1)
    words = {"url": url}
    if not url.startswith("local:"):
        words |= {name: text for name in OPTIONS if (text := env.get(f"{CARRIER}_{name.upper()}"))}
    tree = Mapping(mark, {name: Line(mark, Scalar(mark, text, plain=False)) for name, text in words.items()})
    config, problems = convert(CarrierConfig, tree)
    if config is None:
        raise OnpathError(f"{word}: {'; '.join(problem.message for problem in problems)}")
    return config


def _of_node(path: Path, env: MappingABC[str, str]) -> CarrierConfig:
    problems: list[Problem] = []
    try:
        files = sorted(file for file in path.iterdir() if is_config(file.name)) if path.is_dir() else [path]
        trees = [read_tree(file.read_bytes(), str(file), problems) for file in files]
    except OSError as error:
        raise ConfigError([Problem(str(path), 1, 1, "", f"cannot be read: {error.strerror}")]) from error
    if problems:
        raise ConfigError(problems)
    entry = merge([tree for tree in trees if tree is not None], problems).entries.get("network")
    section = entry.value if entry is not None else None
    if not isinstance(section, Mapping):
        message = "no such section: this gateway is no node of a network"
        raise ConfigError([Problem(str(path), 1, 1, "network", message)])
    return _of_section(section, env)


def _of_section(section: Mapping, env: MappingABC[str, str]) -> CarrierConfig:
    entry = section.entries.get("carrier")
    if entry is None or not isinstance(entry.value, Mapping):
        raise ConfigError([section.mark.problem("network.carrier", "required key is missing")])
    expander, converter, path = Expander(env), Converter(), ("network", "carrier")
    node = expander.mapping(entry.value, path)
    config = converter.value(type_info(CarrierConfig), node, Place(path, entry.key))
    problems = [expander.hide(problem) for problem in (*expander.problems, *converter.problems)]
    if problems or config is BAD:
        raise ConfigError(problems)
    assert isinstance(config, CarrierConfig)
    return config


@contextlib.asynccontextmanager
async def opened(config: CarrierConfig, *, make: bool = False, name: str = "onpath-cli") -> AsyncIterator[Carrier]:
    """The carrier, open; closed at the end.

    Args:
        config: where it is.
        make: whether a folder that is not there is made; else it is a slip.
        name: who connects.

    Raises:
        OnpathError: the folder is not there.
        CarrierError: it cannot be reached.
    """
    if config.is_local and not make and not config.path.is_dir():
        raise OnpathError(f"{config.path}: no such folder; the first node that runs there makes it")
    carrier = carrier_of(config, name)
    await carrier.open()
    try:
        yield carrier
    finally:
        await carrier.close()


async def everything(carrier: Carrier, bucket: str, pattern: str = "**") -> dict[str, Entry]:
    """The keys that there are in a bucket, in the order of their names."""
    async with ending(carrier.watch(bucket, pattern)) as changes:
        async for entries in changes:
            return {entry.key: entry for entry in sorted(entries, key=lambda one: one.key) if entry.value is not None}
    return {}


@contextlib.asynccontextmanager
async def ending(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """An iterator of a carrier, which lets go at the end of the block and not some time later."""
    try:
        yield iterator
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()
