"""Sparkplug 3.0, statement by statement: what it asks of an edge node, under the ids of the specification.

Left out are statements about hosts and brokers, about ids that only users can keep unique, about several servers
(the uplink knows one), about MQTT 5 (it speaks 3.1.1), about templates and data sets (it sends none), and those
that forbid nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.gateway.uplinks.sparkplug.scenario import Recorded
from tests.gateway.uplinks.sparkplug.scripted import Publish


class Statements(dict[str, Callable[[Recorded], None]]):
    """Checks by the id of what they check, without ``tck-id-``."""

    def __call__(self, *ids: str):
        def note(check):
            for name in ids:
                assert name not in self
                self[name] = check
            return check

        return note

    @property
    def ids(self) -> list[str]:
        return [f"tck-id-{name}" for name in self]

    def check(self, name: str, recorded: Recorded) -> None:
        self[name.removeprefix("tck-id-")](recorded)


def sessions(r: Recorded):
    return r.first, r.second, r.waited


def everything(r: Recorded) -> list[Publish]:
    return [packet for broker in sessions(r) for packet in broker.published]


def of(r: Recorded, *verbs: str) -> list[Publish]:
    found = [packet for packet in everything(r) if packet.verb in verbs]
    assert found
    return found


def metrics(r: Recorded, *verbs: str):
    return [metric for packet in of(r, *verbs) for metric in packet.payload.metrics]
