"""Makes the connection of a session: TCP or TLS, and WebSockets above either."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.tls import client_context

if TYPE_CHECKING:
    from adapters.mqtt.config import Address

Files = tuple[str | None, str | None, str | None]
"""``ca``, ``cert`` and ``key``."""


async def dial(loop: asyncio.AbstractEventLoop, session: asyncio.Protocol, at: Address, files: Files) -> None:
    """Connect; ``session`` can then write.

    Raises:
        LinkError, OSError: it cannot be.
    """
    context = await asyncio.to_thread(client_context, *files) if at.secure else None
    if not at.path:
        await loop.create_connection(lambda: session, at.host, at.port, ssl=context)
        return
    from adapters.mqtt.websocket import WebSocket

    web = WebSocket(session, at.authority, at.path)
    await loop.create_connection(lambda: web, at.host, at.port, ssl=context)
    try:
        await web.opened
    except BaseException:
        web.abort()
        raise
