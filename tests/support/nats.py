"""A real nats-server with its MQTT listener (3.1.1) and JetStream, on free ports of the loopback."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sysconfig
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

_MQTT = re.compile(r"Listening for MQTT clients on mqtt://127\.0\.0\.1:(\d+)")
_CLIENTS = re.compile(r"Listening for client connections on 127\.0\.0\.1:(\d+)")
_CONFIG = """
server_name: test
listen: "127.0.0.1:{client}"
max_payload: 8MB
jetstream {{ store_dir: "{store}" }}
mqtt {{ listen: "127.0.0.1:{mqtt}", ack_wait: "{ack_wait}", max_ack_pending: {pending} }}
{extra}
"""

NATS_WEB = 'websocket { listen: "127.0.0.1:-1", no_tls: true }'
"""As ``extra``: MQTT over WebSockets as well; see :func:`nats_web_url`."""


class Nats:
    """A broker process; ``stop`` and ``start`` again keep its ports and its store."""

    def __init__(self, folder: Path, *, ack_wait: str = "30s", pending: int = 1024, extra: str = "") -> None:
        self.folder = folder
        self.mqtt_port = -1
        self.client_port = -1
        self._options = {"ack_wait": ack_wait, "pending": pending, "extra": extra}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def mqtt_url(self) -> str:
        return f"mqtt://127.0.0.1:{self.mqtt_port}"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.client_port}"

    async def start(self, timeout_s: float = 15.0) -> None:
        """Start, and wait until it accepts connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config, log = self.folder / "nats.conf", self.folder / "nats.log"
        config.write_text(
            _CONFIG.format(client=self.client_port, mqtt=self.mqtt_port, store=self.folder / "js", **self._options)
        )
        log.unlink(missing_ok=True)
        command = [str(Path(sysconfig.get_path("scripts")) / "nats-server"), "-c", str(config), "-l", str(log)]
        self._process = _spawn(command)
        async with asyncio.timeout(timeout_s):
            while not log.exists() or "Server is ready" not in (text := log.read_text()):
                if self._process.poll() is not None:
                    raise RuntimeError(f"nats-server ended: {log.read_text() if log.exists() else 'no log'}")
                await asyncio.sleep(0.01)
        self.mqtt_port = int(_MQTT.search(text)[1])
        self.client_port = int(_CLIENTS.search(text)[1])

    async def stop(self) -> None:
        """End the process and wait for it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def nats_web_url(broker: Nats) -> str:
    """Where a broker with :data:`NATS_WEB` speaks MQTT over WebSockets."""
    text = (broker.folder / "nats.log").read_text()
    return f"ws://127.0.0.1:{re.search(r'websocket clients on ws://127.0.0.1:([0-9]+)', text)[1]}/mqtt"


def _spawn(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@asynccontextmanager
async def nats_broker(folder: Path | None = None, **options):
    """A running :class:`Nats`; its store is in ``folder`` or in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="nats-") as spare:
        broker = Nats(folder or Path(spare), **options)
        try:
            await broker.start()
            yield broker
        finally:
            await broker.stop()
