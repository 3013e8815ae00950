"""A real daemon in this process, over a folder of files, so that tests may talk to its editor."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from gateway.daemon import Daemon

BASE = "gateway: g1\nstate: {state}\n"
OUT = "uplinks: {{out: {{type: file, path: {folder}/out}}}}\npipelines: {{all: {{from: ['**'], to: [out]}}}}\n"


@pytest.fixture
def folder(tmp_path):
    """A configuration of two files."""
    config = tmp_path / "etc"
    config.mkdir()
    (config / "a.yaml").write_text(BASE.format(state=tmp_path / "state"))
    (config / "b.yaml").write_text(OUT.format(folder=tmp_path))
    return config


@asynccontextmanager
async def gateway(path, env=None):
    """The daemon, until the block ends; it stops in order."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    running = Daemon(path, env or {})
    task = asyncio.create_task(running.run(), name="daemon")
    try:
        async with asyncio.timeout(30):
            while not (hasattr(running, "intake") and running.uplinks):
                await asyncio.sleep(0.01)
                if task.done():
                    await task
        yield running
    finally:
        running._stop.set()
        await asyncio.gather(task, return_exceptions=True)
        root.handlers[:], root.level = handlers, level
    task.result()


@pytest.fixture
def a_gateway():
    return gateway
