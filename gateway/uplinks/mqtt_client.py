"""aiomqtt's client, and what it does not tell: why a message was refused, and what the broker said when it let us in.

Under MQTT 5 a PUBACK may say that the broker has *not* taken the message (not authorised, quota exceeded). aiomqtt 2.5
looks at the packet id only and returns from ``publish`` as if all were well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any, Final, TypeVar

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.errors import LinkError

T = TypeVar("T")
LARGEST: Final = 268_435_455
"""Bytes that MQTT can write the length of."""
NOBODY: Final = 0x10
"""Reason code of a PUBACK: taken, and nobody has subscribed to it."""


class RefusedError(LinkError):
    """The broker has answered that it does not take a message."""


class Client(aiomqtt.Client):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pending_calls_threshold = 100_000  # ours to bound; the library would warn of each above ten
        self.said: Properties | None = None
        """Properties of the broker's CONNACK; None under MQTT 3.1.1."""
        self.unheard = 0
        """Messages that nobody has subscribed to, as far as the broker says so; for the uplink to read and reset."""
        self._refused: dict[int, str] = {}

    def limit(self, name: str, default: int) -> int:
        """A number of the CONNACK by the name of its property."""
        return int(getattr(self.said, name, default)) if self.said is not None else default

    def _on_connect(
        self,
        client: PahoClient,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.said = properties
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self, client: PahoClient, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        if reason_code.is_failure:
            self._refused[mid] = str(reason_code)
        elif reason_code.value == NOBODY:
            self.unheard += 1
        super()._on_publish(client, userdata, mid, reason_code, properties)

    @contextlib.contextmanager
    def _pending_call(self, mid: int, value: T, pending_dict: dict[int, T]) -> Generator[None, None, None]:
        """Around the library's wait for an answer: the one place where it knows the packet id."""
        self._refused.pop(mid, None)
        with super()._pending_call(mid, value, pending_dict):
            yield
        if (why := self._refused.pop(mid, None)) is not None:
            raise RefusedError(why)
