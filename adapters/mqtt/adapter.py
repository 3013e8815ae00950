"""The MQTT adapter: one connection after the other, as the supervisor asks."""

from __future__ import annotations

from typing import Final

from adapters.base import Adapter, AdapterConfig, Context
from adapters.mqtt.config import MqttConfig
from adapters.mqtt.link import Link
from gateway.errors import LinkError

_LIVE: Final = frozenset({"subscribe", "max_payload", "linger", "timeout", "stale_after"})
"""Options that can change while a connection stays."""


class MqttAdapter(Adapter):
    """Subscribes at one broker."""

    def __init__(self, config: MqttConfig) -> None:
        self._config = config
        self._link: Link | None = None

    async def run(self, ctx: Context) -> None:
        """See the base class."""
        link = Link(ctx, self._config)
        try:
            kept = await link.open()
            self._link = link
            lost = False
            try:
                await link.serve(kept=kept)
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

    async def reconfigure(self, config: AdapterConfig) -> bool:
        """See the base class: subscriptions change on the connection that there is."""
        link = self._link
        if link is None or not isinstance(config, MqttConfig) or not _same_session(self._config, config):
            return False
        try:
            changed = await link.change(config)
        except LinkError:
            return False  # a fresh start tells the reason
        if changed:
            self._config = config
        return changed


def _same_session(old: MqttConfig, new: MqttConfig) -> bool:
    fixed = (field for field in old.__struct_fields__ if field not in _LIVE)
    return all(getattr(old, field) == getattr(new, field) for field in fixed)
