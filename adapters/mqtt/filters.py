"""Which topic filters a session is to have, which it has from before, and which retained messages are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from adapters.mqtt.packets import Wanted
from adapters.mqtt.subscribe import Retained
from adapters.mqtt.topics import Pattern, parse

if TYPE_CHECKING:
    from adapters.mqtt.batch import Batch
    from adapters.mqtt.config import MqttConfig
    from adapters.mqtt.subscribe import Subscribe

KEY: Final = "filters"
"""What the adapter remembers under it: the filters that the broker keeps for the session."""
_HANDLING: Final = {Retained.TAKE: 0, Retained.NEW: 1, Retained.IGNORE: 2}


class Kept(msgspec.Struct, frozen=True):
    """The filters of a session that a broker keeps."""

    session: str
    """Broker and client id: other ones are another session."""
    filters: list[str]


def text_of(entry: Subscribe) -> str:
    """The topic filter as the broker is asked for it."""
    text = parse(entry.topic).filter
    return f"$share/{entry.share}/{text}" if entry.share else text


def wanted(config: MqttConfig, asks: Iterable[tuple[str, int]] = ()) -> dict[str, Wanted]:
    """By filter, what to subscribe to; ``asks`` are (filter, QoS) beyond the options.

    What another filter takes as well is left to that one, for there are brokers (nats-server, EMQX) that send a message
    once for each filter that fits. Topics that devices have named are asked for all the same: a retained value
    comes only then.
    """
    found: dict[str, Wanted] = {}
    for entry in config.subscribe:
        text = text_of(entry)
        found[text] = Wanted(text, entry.qos, _HANDLING[entry.retained])
    for text, qos in asks:
        known = found.get(text)
        if known is None or known.qos < qos:
            found[text] = Wanted(text, qos, 0)
    named = {text for text, _ in asks if not {"+", "#"} & set(text.split("/"))}
    return _without_covered(found, named)


def _without_covered(found: dict[str, Wanted], kept: set[str]) -> dict[str, Wanted]:
    """Less those that a wider filter with the same handling takes, which gets their QoS."""
    left = dict(found)
    for text, one in found.items():
        wider = next((other for other in left if other != text and _covers(other, text)), None)
        if wider is None or text in kept or left[wider].handling != one.handling:
            continue
        del left[text]
        left[wider] = left[wider]._replace(qos=max(left[wider].qos, one.qos))
    return left


def _covers(wide: str, narrow: str) -> bool:
    """Whether every topic of ``narrow`` is one of ``wide``. Shared filters stand for themselves."""
    if wide.startswith("$share/") or narrow.startswith("$share/"):
        return False
    if narrow.startswith("$") != wide.startswith("$"):  # wildcards do not take topics of the broker's own
        return False
    widths, parts = wide.split("/"), narrow.split("/")
    for at, level in enumerate(widths):
        if level == "#":
            return True
        if at >= len(parts) or parts[at] == "#" or (level != "+" and level != parts[at]):
            return False
    return len(widths) == len(parts)


def remembered(session: str, filters: Iterable[str]) -> bytes:
    """What to remember."""
    return msgspec.json.encode(Kept(session, sorted(filters)))


def recalled(session: str, value: bytes | None) -> set[str]:
    """The filters that were remembered for this session; none if it was another one."""
    if value is None:
        return set()
    try:
        kept = msgspec.json.decode(value, type=Kept)
    except msgspec.DecodeError:
        return set()
    return set(kept.filters) if kept.session == session else set()


class RetainedFilter:
    """Leaves out retained messages that are not wanted, where the broker sends them all the same.

    MQTT 3.1.1 has no way to say so in SUBSCRIBE, and not each broker of MQTT 5 listens.
    """

    def __init__(self, config: MqttConfig, known: Iterable[str]) -> None:
        """``known`` are the filters that the session had before it was subscribed to this time."""
        had = set(known)
        self._drops: list[tuple[Pattern, bool]] = []
        for entry in config.subscribe:
            pattern = parse(entry.topic)
            dropped = entry.retained is Retained.IGNORE or (entry.retained is Retained.NEW and pattern.filter in had)
            self._drops.append((pattern, dropped))
        self._any = any(dropped for _, dropped in self._drops)

    def of(self, batch: Batch) -> Batch:
        """The batch without them; they are acknowledged all the same."""
        if not batch.retained or not self._any:
            return batch
        gone = {i for i in batch.retained if self._dropped(batch.topics[i])}
        return batch.less(gone) if gone else batch

    def _dropped(self, topic: bytes) -> bool:
        text = topic.decode(errors="replace")
        return next((dropped for pattern, dropped in self._drops if pattern.match(text) is not None), False)
