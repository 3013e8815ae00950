"""What comes from hosts: the STATE of the primary one, and commands. Pure.

STATE is JSON, retained, at ``spBv1.0/STATE/<host>``: ``{"online": true, "timestamp": 1700000000000}``. A message with
an older timestamp than the last one says nothing (it was the will of a connection that is long replaced).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from adapters.payloads.sparkplug.codec import Metric, decode, read
from adapters.payloads.sparkplug.model import DataType
from gateway.errors import PayloadError
from gateway.uplinks.sparkplug.writer import REBIRTH


class _State(msgspec.Struct, frozen=True):
    online: bool
    timestamp: int


_STATE = msgspec.json.Decoder(_State)


class PrimaryHost:
    """Whether the primary host is online, as far as this broker says."""

    def __init__(self) -> None:
        self.online = False
        self._timestamp = -1

    def take(self, payload: bytes) -> None:
        """A STATE message.

        Raises:
            PayloadError: ``bad-state``: it is not one of Sparkplug 3.0; what was known stays.
        """
        try:
            state = _STATE.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PayloadError("bad-state", str(error)) from None
        if state.timestamp >= self._timestamp:
            self._timestamp = state.timestamp
            self.online = state.online


class Commands(NamedTuple):
    """What an NCMD or DCMD asks for."""

    rebirth: bool
    others: list[Metric]
    """Writes, which are refused: there is no way for commands yet."""


def parse_commands(payload: bytes, *, to_node: bool) -> Commands:
    """The commands in a payload.

    Raises:
        PayloadError: it is no Sparkplug payload, or the value of the rebirth command is no boolean.
    """
    rebirth, others = False, []
    for metric in decode(payload).metrics:
        if to_node and metric.name == REBIRTH:
            rebirth = rebirth or read(metric, DataType.BOOLEAN) is True
        else:
            others.append(metric)
    return Commands(rebirth, others)
