"""``onpath run``."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import uvloop

from gateway.config.model import LogConfig
from gateway.daemon import Daemon
from gateway.logs import set_up

SWITCH_S = 0.0005
"""How long the store's thread may keep the loop waiting while it runs Python; the default is ten times that."""


def run_gateway(config: Path) -> None:
    """Run the daemon of a configuration until it is told to stop."""
    # A hang-up or stop that arrives before the daemon's own handlers stand may not kill it unheard
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_S)
    set_up(LogConfig())
    logging.captureWarnings(capture=True)

    async def main() -> None:
        await Daemon(config).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
