"""The frame adapter: one connection after the other, as the supervisor asks."""

from __future__ import annotations

from typing import Final

from adapters.base import Adapter, AdapterConfig, Context
from adapters.frame.config import FrameConfig
from adapters.frame.link import Link
from gateway.errors import LinkError

_LIVE: Final = frozenset({"children", "every", "stale_after"})
"""Options that can change while a connection stays."""


class FrameAdapter(Adapter):
    """Takes what other gateways send to a broker."""

    def __init__(self, config: FrameConfig) -> None:
        self._config = config
        self._link: Link | None = None

    async def run(self, ctx: Context) -> None:
        """See the base class."""
        link = self.link(ctx)
        try:
            ctx.link("", up=True, detail=await link.open())
            self._link = link
            lost = False
            try:
                await link.serve()
            except LinkError:
                lost = True
                raise
            finally:
                self._link = None
                await link.wind_up(lost=lost)
        except LinkError as error:
            ctx.link("", up=False, detail=str(error))
            raise
        finally:
            await link.close()

    def link(self, ctx: Context) -> Link:
        """A connection, not yet open."""
        return Link(ctx, self._config)

    async def reconfigure(self, config: AdapterConfig) -> bool:
        """See the base class: children come and go on the connection that there is."""
        link = self._link
        if link is None or not isinstance(config, FrameConfig):
            return False
        fixed = (field for field in config.__struct_fields__ if field not in _LIVE)
        if any(getattr(self._config, field) != getattr(config, field) for field in fixed):
            return False
        self._config = config
        link.change(config)
        return True
