"""Where the daemon of a configuration keeps its state."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.config import load


def state_of(config: Path) -> Path:
    """The state folder that a configuration names.

    Raises:
        ConfigError: the configuration is not usable.
    """
    return Path(load(config, os.environ).state)
