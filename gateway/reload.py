"""What differs between two configurations. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config.model import GatewayConfig
from gateway.errors import ConfigError, Problem

FIXED = ("gateway", "state", "store", "broker")
"""Keys that hold for the life of the process."""


@dataclass(frozen=True)
class Difference:
    """Names of one section."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def stop(self) -> tuple[str, ...]:
        """What runs and must not go on as it is."""
        return self.changed + self.removed

    @property
    def start(self) -> tuple[str, ...]:
        """What must begin."""
        return self.added + self.changed

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    @classmethod
    def between(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> Difference:
        """Compare by name and by value."""
        return cls(
            tuple(name for name in new if name not in old),
            tuple(name for name in new if name in old and new[name] != old[name]),
            tuple(name for name in old if name not in new),
        )


@dataclass(frozen=True)
class Changes:
    """What a reload does."""

    adapters: Difference
    pipelines: Difference
    uplinks: Difference
    alerts: Difference

    def as_dict(self) -> dict[str, dict[str, list[str]]]:
        """For the answer to ``reload``."""
        return {
            section: {kind: list(getattr(found, kind)) for kind in ("added", "changed", "removed")}
            for section, found in vars(self).items()
        }

    def __str__(self) -> str:
        parts = [
            f"{section}: {kind} {', '.join(names)}"
            for section, kinds in self.as_dict().items()
            for kind, names in kinds.items()
            if names
        ]
        return "; ".join(parts) or "nothing changed"


def compare(old: GatewayConfig, new: GatewayConfig) -> Changes:
    """What has to be done to come from one to the other.

    Raises:
        ConfigError: a key changed that holds for the life of the process.
    """
    fixed = [key for key in FIXED if getattr(old, key) != getattr(new, key)]
    if fixed:
        raise ConfigError([Problem("reload", 0, 0, key, "cannot change while running; restart") for key in fixed])
    return Changes(
        Difference.between(old.adapters, new.adapters),
        Difference.between(old.pipelines, new.pipelines),
        Difference.between(old.uplinks, new.uplinks),
        Difference.between(old.alerts, new.alerts),
    )
