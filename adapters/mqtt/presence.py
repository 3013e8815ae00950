"""The gateway's own state at the broker: a retained message, and a will for when the link is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.mqtt.publish import Publish


class Presence:
    """Messages for one connection, made at ``now_ns`` (UTC). All are retained and have QoS 1."""

    def __init__(self, topic: str, now_ns: int) -> None:
        self._topic = topic
        self._since = _rfc3339(now_ns)

    def will(self) -> Publish:
        """What the broker says when the link is lost; when that will be nobody can know, so it has no time."""
        return self._message(state="offline", time=None, since=self._since, why="link lost")

    def online(self, now_ns: int) -> Publish:
        """What to say once all is subscribed."""
        return self._message(state="online", time=_rfc3339(now_ns), since=self._since)

    def offline(self, now_ns: int) -> Publish:
        """What to say before an orderly end."""
        return self._message(state="offline", time=_rfc3339(now_ns), since=self._since, why="stopped")

    def _message(self, **state: Any) -> Publish:
        return Publish(self._topic, msgspec.json.encode(state), qos=1, retain=True)


def _rfc3339(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 1_000_000 / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
