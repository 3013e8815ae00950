"""The names that gateway.wire.record and gateway.wire.message had here before."""

from gateway.wire.message import WIRE_VERSION, FrameEncoder
from gateway.wire.record import encode_json, loss_of, samples

__all__ = ["WIRE_VERSION", "FrameEncoder", "encode_json", "loss_of", "samples"]
