"""The tree of a service's nodes, those that are alike as one: so that a thousand gateways can be looked at. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from gateway.network.config import Tier

MOST: Final = 60
"""Boxes that can be looked at; where there are more, nodes count as alike by less and less."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node with a part in a service, and those below it."""

    name: str
    tier: Tier
    stages: tuple[str, ...]
    """What runs there, in order."""
    bytes_s: float
    """That leave it, a second."""
    raw_s: float
    """That would leave it if everything went to the core as it came, as JSON, a second."""
    cpu: float = 0.0
    """Cores that it takes there."""
    children: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that are alike: the same tier, the same stages, and below them the same kinds of nodes."""

    names: tuple[str, ...]
    tier: Tier
    stages: tuple[str, ...]
    bytes_s: float
    """Of all of them together, as all figures here."""
    raw_s: float
    cpu: float
    children: tuple[Group, ...] = ()

    @property
    def title(self) -> str:
        """Its name, or how many there are."""
        return self.names[0] if len(self.names) == 1 else f"{len(self.names):,} {self.tier} nodes"

    @property
    def span(self) -> str:
        """The first and the last name of several; empty for one."""
        return "" if len(self.names) == 1 else f"{self.names[0]} … {self.names[-1]}"

    def __len__(self) -> int:
        """How many boxes it and what is below it take."""
        return 1 + sum(len(child) for child in self.children)


def grouped(root: Place, most: int = MOST) -> Group:
    """The tree with siblings that are alike as one, where it is too large to be shown whole."""
    whole = _one(root)
    if len(whole) <= most:
        return whole
    for likeness in (2, 1, 0):
        small = _merged([whole], likeness)
        if len(small) <= most:
            break
    return small


def _one(place: Place) -> Group:
    children = tuple(_one(child) for child in place.children)
    return Group((place.name,), place.tier, place.stages, place.bytes_s, place.raw_s, place.cpu, children)


def _key(group: Group, likeness: int) -> tuple[object, ...]:
    """What groups that are alike have in common: with the kinds below them (2), by what they run (1), by the tier."""
    if likeness == 0:
        return (group.tier.value,)
    below = {_key(child, likeness) for child in group.children} if likeness == 2 else ()
    return (group.tier.value, group.stages, bool(group.children), *sorted(below, key=repr))


def _merged(alike: Sequence[Group], likeness: int) -> Group:
    """One of several that are alike, and their children likewise."""
    below = sorted((child for group in alike for child in group.children), key=lambda one: repr(_key(one, likeness)))
    families = [list(family) for _, family in groupby(below, key=lambda one: _key(one, likeness))]
    stages = max((group.stages for group in alike), key=len)
    return Group(
        names=tuple(sorted(name for group in alike for name in group.names)),
        tier=alike[0].tier,
        stages=stages,
        bytes_s=sum(group.bytes_s for group in alike),
        raw_s=sum(group.raw_s for group in alike),
        cpu=sum(group.cpu for group in alike),
        children=tuple(sorted((_merged(family, likeness) for family in families), key=lambda one: one.names)),
    )
