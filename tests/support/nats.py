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
jetstream {{ store_dir: "{store}", {jetstream} }}
{mqtt}
{extra}
"""

_MQTT_CONFIG = 'mqtt {{ listen: "127.0.0.1:{port}", ack_wait: "{ack_wait}", max_ack_pending: {pending} }}'

NATS_WEB = 'websocket { listen: "127.0.0.1:-1", no_tls: true }'
"""As ``extra``: MQTT over WebSockets as well; see :func:`nats_web_url`."""


class Nats:
    """A broker process; ``stop`` and ``start`` again keep its ports and its store."""

    def __init__(
        self,
        folder: Path,
        *,
        ack_wait: str = "30s",
        pending: int = 1024,
        extra: str = "",
        jetstream: str = "",
        mqtt: bool = True,
    ) -> None:
        self.folder = folder
        self.mqtt_port = -1
        self.client_port = -1
        self._options = {"extra": extra, "jetstream": jetstream}
        self._mqtt = {"ack_wait": ack_wait, "pending": pending} if mqtt else None
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
        mqtt = "" if self._mqtt is None else _MQTT_CONFIG.format(port=self.mqtt_port, **self._mqtt)
        store = self.folder / "js"
        config.write_text(_CONFIG.format(client=self.client_port, mqtt=mqtt, store=store, **self._options))
        log.unlink(missing_ok=True)
        command = [str(Path(sysconfig.get_path("scripts")) / "nats-server"), "-c", str(config), "-l", str(log)]
        self._process = _spawn(command)
        async with asyncio.timeout(timeout_s):
            while not log.exists() or "Server is ready" not in (text := log.read_text()):
                if self._process.poll() is not None:
                    raise RuntimeError(f"nats-server ended: {log.read_text() if log.exists() else 'no log'}")
                await asyncio.sleep(0.01)
        self.mqtt_port = int(_MQTT.search(text)[1]) if self._mqtt is not None else -1
        self.client_port = int(_CLIENTS.search(text)[1])

    @property
    def monitor(self) -> str:
        """URL of its monitoring port, with ``http: "127.0.0.1:-1"`` as ``extra``."""
        text = (self.folder / "nats.log").read_text()
        return f"http://127.0.0.1:{re.search(r'Starting http monitor on 127.0.0.1:([0-9]+)', text)[1]}"

    @property
    def store(self) -> Path:
        """The folder of its streams."""
        return self.folder / "js" / "jetstream"

    def kill(self) -> None:
        """As kill -9 does; ``start`` comes back on the same ports."""
        process, self._process = self._process, None
        process.kill()
        process.wait()

    def signal(self, number: int) -> None:
        """Such as SIGSTOP: it still accepts connections, and answers nothing."""
        self._process.send_signal(number)

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
