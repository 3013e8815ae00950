"""Where the daemon of a configuration keeps its state."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.config import load
from gateway.config.expand import Expander
from gateway.config.load import is_config, merge, read_tree
from gateway.config.model import GatewayConfig
from gateway.config.nodes import Scalar
from gateway.errors import ConfigError, Problem


def state_of(config: Path) -> Path:
    """The state folder that a configuration names.

    It is found also where the rest of the configuration cannot be used here: credentials are the service's only,
    and a gateway runs on while somebody edits.

    Raises:
        ConfigError: the configuration is not usable, and does not say where the state is.
    """
    try:
        return Path(load(config, os.environ).state)
    except ConfigError:
        found = _state_alone(config)
        if found is None:
            raise
        return Path(found)


def _state_alone(config: Path) -> str | None:
    """What ``state`` says, whatever else is wrong; None where that cannot be known."""
    problems: list[Problem] = []
    try:
        files = sorted(file for file in config.iterdir() if is_config(file.name)) if config.is_dir() else [config]
        trees = [read_tree(file.read_bytes(), str(file), problems) for file in files]
    except OSError:
        return None
    entry = merge([tree for tree in trees if tree is not None], problems).entries.get("state")
    if entry is None:
        return None if problems or not trees else GatewayConfig().state
    value = Expander(os.environ).node(entry.value)
    return value.text if isinstance(value, Scalar) and not value.failed and value.text else None
