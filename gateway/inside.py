"""What is shown of a running gateway hangs on this: the daemon as its onlookers see it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gateway.alerts.board import Board
    from gateway.clock import Clock
    from gateway.config import GatewayConfig, Loaded
    from gateway.console.link import ConsoleLink
    from gateway.directory import Directory
    from gateway.editing.editor import Editor
    from gateway.embedded import BrokerLink
    from gateway.events import Events
    from gateway.history import History
    from gateway.intake import Intake
    from gateway.joining import Joining
    from gateway.links import AdapterLink, Shared, UplinkLink
    from gateway.network.node import Network
    from gateway.own.source import Own
    from gateway.reduction.link import ReductionLink
    from gateway.reload import Changes
    from gateway.tapping import Taps
    from gateway.view.views import Views


class Inside(Protocol):
    """The daemon from within. Onlookers read; what changes something is a method. Use it on the event loop only."""

    path: Path
    """What the configuration is read from: a file or a folder."""
    env: Mapping[str, str]
    """The environment that the configuration refers to."""
    config: GatewayConfig
    """In effect now; another object after a reload."""
    loaded: Loaded
    """What it was read from, without what has joined by discovery."""
    clock: Clock
    directory: Directory
    adapters: dict[str, AdapterLink]
    uplinks: dict[str, UplinkLink]
    intake: Intake
    shared: Shared
    """Latest values, liveness, what was rejected, the state folder."""
    joining: Joining
    taps: Taps
    views: Views
    """What onlookers are shown, as plain JSON types."""
    alerts: Board
    """What is raised now, and what was."""
    own: Own
    """The gateway's own metrics."""
    network: Network
    """This gateway as a node."""
    console: ConsoleLink
    reduction: ReductionLink
    history: History
    events: Events
    editing: Editor
    """What changes the configuration, and its versions."""
    broker: BrokerLink | None
    reloads: dict[str, int]
    began: float
    """Of the event loop's clock, s."""

    async def status(self) -> dict[str, Any]:
        """Everything the daemon counts, as plain JSON types: what ``onpath status --json`` prints."""

    async def reload(self) -> Changes:
        """Read the configuration again and change only what changed.

        Raises:
            ConfigError: nothing was changed.
        """
