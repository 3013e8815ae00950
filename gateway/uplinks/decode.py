"""The names that gateway.wire.message and gateway.wire.stream had here before."""

from gateway.wire.message import FrameDecoder
from gateway.wire.stream import messages

__all__ = ["FrameDecoder", "messages"]
