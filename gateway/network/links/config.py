"""The hidden ends of a link: not for YAML, made by :mod:`gateway.network.extended`. Light."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.frame.config import FrameConfig
from gateway.network.config import CarrierConfig
from gateway.network.names import TRANSIT
from gateway.units import Duration
from gateway.uplinks.options import BatchOptions, Format

if TYPE_CHECKING:
    from adapters.base import Adapter
    from gateway.uplinks.base import Uplink


class ParentConfig(BatchOptions, frozen=True, kw_only=True, tag="network"):
    """To the parent, or to the partition of the core."""

    carrier: CarrierConfig
    node: str
    to: str
    """The word for the receiver in subjects."""
    format: Format = Format.FRAME
    in_flight: int = 64
    receipt_timeout: Duration = Duration(30)

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.network.links.sending import ParentUplink

        return ParentUplink(self)


class ChildrenConfig(FrameConfig, frozen=True, kw_only=True, tag="network"):
    """From the children, and from neighbours."""

    carrier: CarrierConfig
    node: str
    url: str = "mqtt://network"
    name: str = TRANSIT + "{pipeline}/{point}"
    receipts: bool = True

    def __post_init__(self) -> None:
        """Nobody writes it, so that there is nothing to check."""

    def create(self) -> Adapter:
        """See the base class."""
        from gateway.network.links.receiving import ChildrenAdapter

        return ChildrenAdapter(self)
