"""What the stream had when it last acknowledged, and whether it still has it.

JetStream acknowledges before it has synced to disk, so a power cut takes the end of a stream away; a stream can be
deleted, or restored from an older copy. Its sequence numbers then begin again where it ends, and soon somebody
else's messages stand where ours stood: so the message itself is compared, by its record id, and not numbers alone.
"""

from __future__ import annotations

import msgspec

from gateway.uplinks.nats.connection import Connection
from gateway.uplinks.nats.stream import Stream, id_at


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The acknowledged message that stands last in the stream."""

    stream: str
    created: str
    """When the stream was made, as the server writes it; another time is another stream."""
    seq: int
    """Its number in the stream."""
    id: str
    """Its record id; empty if it is not known which message that is."""

    def encode(self) -> bytes:
        """For the store."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes | None) -> Mark | None:
        """What was encoded; None if that was nothing, or nothing of ours."""
        try:
            return None if data is None else msgspec.msgpack.decode(data, type=cls)
        except msgspec.DecodeError:
            return None


async def lost(mark: Mark, name: str, stream: Stream, connection: Connection) -> str:
    """Why to think that the stream has lost what it acknowledged; empty if there is no reason to.

    A message that limits, or a consumer of a stream that is a queue, have removed is not lost.
    """
    if mark.stream != name:
        return ""  # another stream was configured: the one before is not our business any more
    if mark.created != stream.created:
        return f"it was made anew at {stream.created}"
    state = stream.state
    if state.last_seq < mark.seq:
        return f"it ends at {state.last_seq}, and had {mark.seq} messages"
    if not mark.id or mark.seq < state.first_seq:
        return ""
    there = await id_at(connection, name, mark.seq)
    if there is None:
        return "" if stream.config.retention != "limits" else f"message {mark.seq} is not there any more"
    return "" if there == mark.id else f"message {mark.seq} is another one now"
