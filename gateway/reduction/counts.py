"""What a node counts."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Traffic:
    """Bytes of messages, both ways, as they are on the connection."""

    received: int = 0
    sent: int = 0


@dataclass
class Counts:
    """Since the node began."""

    rounds: int = 0
    """Rounds of which all results were known here."""
    parts: int = 0
    """Sums taken or refused."""
    repeats: int = 0
    """Sums that added nothing, for all in them were there."""
    overlaps: int = 0
    """Sums that were not taken because only some in them were there."""
    fallbacks: int = 0
    """Workers and nodes that came because another node did not answer."""
    refused: int = 0
    """Connections that were turned away."""
    traffic: dict[str, Traffic] = field(
        default_factory=lambda: {"workers": Traffic(), "nodes": Traffic(), "parent": Traffic()}
    )
    """By who is at the other end."""
