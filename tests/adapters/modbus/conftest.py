"""Real servers on free ports."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from pymodbus.server import ModbusTcpServer


@pytest.fixture
async def tcp_server():
    """Starts pymodbus servers: ``await tcp_server(devices)`` gives the URL."""
    async with AsyncExitStack() as stack:

        async def start(devices, **more):
            server = ModbusTcpServer(devices, address=("127.0.0.1", 0), **more)
            await server.serve_forever(background=True)
            stack.push_async_callback(server.shutdown)
            start.server = server
            return f"tcp://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"

        yield start
