"""One connection to a NATS server, by nats-py; what the library does not see to is seen to here.

* One attempt a server and no reconnecting behind our back: what was not acknowledged is the feed's to send again.
* With ``tls://`` a server that does not offer TLS gets nothing. nats-py goes on in the clear when the server's
  greeting, which anybody on the way can change, does not ask for TLS.
* Publishing never waits for the network (``pending_size=0``); the window bounds what is in memory. A publisher that
  waits in nats-py's flush cannot be cancelled, since that swallows the cancellation.
* The end never waits for a peer that does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec
from nats.aio.client import Client
from nats.errors import Error, NoRespondersError

from gateway.errors import LinkError
from gateway.tls import client_context, failure
from gateway.uplinks.nats import login
from gateway.uplinks.nats.config import NatsUplinkConfig

FAREWELL_S: Final = 0.5
"""How long an orderly end may take to write what is left."""


class _Client(Client):
    """nats-py's client, which fails closed."""

    def __init__(self, *, secure: bool) -> None:
        super().__init__()
        self._secure = secure
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why the connection is of no use any more."""

    def lose(self, why: str) -> None:
        """Note that the connection is of no use."""
        if not self.lost.done():
            self.lost.set_result(why)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002  the library's
        """Look at the server's greeting before anything is sent. Servers it names are not followed."""
        if info.get("ldm"):
            self.lose("the server is about to stop")
        if not initial_connection or not self._secure:
            return
        if not (info.get("tls_required") or info.get("tls_available")):
            raise LinkError("the server does not speak TLS; nothing was sent to it")
        info["tls_required"] = True  # the same dictionary that the library looks into next

    async def _process_op_err(self, e: Exception) -> None:
        """Say it before the library closes, which may wait for a peer that does not read."""
        self.lose(plain(e))
        self.abort()
        await super()._process_op_err(e)

    async def _process_err(self, err_msg: str) -> None:
        """The server's own word: a login that has expired, a message too large, a subject that is not allowed."""
        self.lose(f"the server says: {err_msg.strip(chr(39))}")
        await super()._process_err(err_msg)

    def abort(self) -> None:
        """Drop the connection at once, and what was not written."""
        self._pending.clear()
        self._pending_data_size = 0
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


class Connection:
    """A server that has let us in."""

    def __init__(self, client: _Client, url: str, timeout_s: float) -> None:
        self.client = client
        self.url = url
        self._timeout_s = timeout_s

    @property
    def server_id(self) -> str:
        """As the server names itself in its greeting and on its monitoring port."""
        return str(self.client._server_info.get("server_id", ""))  # noqa: SLF001  nowhere else

    @property
    def max_payload(self) -> int:
        """Bytes that a message may have, headers included."""
        return self.client.max_payload

    async def gone(self) -> None:
        """Wait until the connection is of no use any more.

        Raises:
            LinkError: it is not; with why.
        """
        await asyncio.wait((self.client.lost,))
        raise LinkError(f"{self.url}: {self.client.lost.result()}")

    async def ask(self, subject: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An answer of JetStream's API, as a map; ``error`` in it if there is one.

        Raises:
            LinkError: nobody answers.
        """
        payload = b"" if request is None else msgspec.json.encode(request)
        try:
            message = await self.client.request(f"$JS.API.{subject}", payload, timeout=self._timeout_s)
            answer = msgspec.json.decode(message.data, type=dict[str, Any])
        except NoRespondersError:
            raise LinkError(f"{self.url}: JetStream is not enabled at the server, or not for this login") from None
        except (Error, TimeoutError) as error:
            raise LinkError(f"{self.url}: no answer to {subject}: {plain(error)}") from None
        except msgspec.DecodeError as error:
            raise LinkError(f"{self.url}: the answer to {subject} cannot be read: {error}") from None
        return answer


@contextlib.asynccontextmanager
async def connected(config: NatsUplinkConfig, name: str) -> AsyncIterator[Connection]:
    """A connection to the first server that lets us in, in a random order.

    Raises:
        LinkError: none does; with what each says.
    """
    context = await asyncio.to_thread(client_context, config.ca, config.cert, config.key) if config.secure else None
    key = await asyncio.to_thread(_key, config)
    connection = await _first(config, name, context, key)
    try:
        yield connection
    finally:
        await _end(connection.client)


def _key(config: NatsUplinkConfig) -> login.KeyLogin | None:
    if config.creds is not None:
        return login.from_creds(config.creds)
    return login.from_nkey(config.nkey) if config.nkey is not None else None


async def _first(
    config: NatsUplinkConfig, name: str, context: ssl.SSLContext | None, key: login.KeyLogin | None
) -> Connection:
    """The first server of the list that lets us in."""
    refusals: list[str] = []
    for url in random.sample(config.servers, len(config.servers)):
        try:
            return await _connect(config, url, name, context, key)
        except LinkError as error:
            refusals.append(str(error))
    raise LinkError("; ".join(refusals))


async def _connect(
    config: NatsUplinkConfig, url: str, name: str, context: ssl.SSLContext | None, key: login.KeyLogin | None
) -> Connection:
    client = _Client(secure=config.secure)
    connection = Connection(client, url, config.timeout)
    options = _options(config, name, context)
    open_ = False

    async def on_error(error: Exception) -> None:
        if not client.is_connected and not open_:
            raise error  # out of the library's loop over servers: one attempt is what was asked for

    async def on_close() -> None:
        client.lose(plain(client.last_error) if client.last_error else "the server closed the connection")

    if key is not None:
        options["signature_cb"] = key.sign
        if key.jwt:
            options["user_jwt_cb"] = key.jwt.encode
        client._public_nkey = key.public  # noqa: SLF001  else only the package nkeys can set it
        client._auth_configured = True  # noqa: SLF001  likewise
    try:
        async with asyncio.timeout(config.timeout):
            await client.connect(url, error_cb=on_error, closed_cb=on_close, **options)
        open_ = client.is_connected
    except (LinkError, Error, OSError, EOFError, ValueError) as error:
        hint = " (does the server want a certificate of ours?)" if _cut_off(error, config) else ""
        raise LinkError(f"{url}: {plain(error)}{hint}") from None
    finally:
        if not open_:
            await _end(client)
    if not open_:
        raise LinkError(f"{url}: the server closed the connection during log-in")
    return connection


def _cut_off(error: Exception, config: NatsUplinkConfig) -> bool:
    """Whether TLS was ended without a word: in TLS 1.3 the server judges our certificate when we are done already."""
    return config.secure and config.cert is None and isinstance(error, ConnectionError)


def _options(config: NatsUplinkConfig, name: str, context: ssl.SSLContext | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "name": name,
        "allow_reconnect": False,
        "connect_timeout": config.timeout,
        "ping_interval": float(config.keepalive),
        "max_outstanding_pings": 1,
        "pending_size": 0,
        "inbox_prefix": config.inbox,
        "no_echo": True,
    }
    if context is not None:
        options["tls"] = context
    if config.username:
        options |= {"user": config.username, "password": config.password}
    if config.token:
        options["token"] = config.token
    return options


async def _end(client: _Client) -> None:
    """Close in order if that is quick, else drop the connection."""
    with contextlib.suppress(Error, OSError, TimeoutError):
        if client.is_connected:
            async with asyncio.timeout(FAREWELL_S):
                await client.close()
                return
    client.abort()
    with contextlib.suppress(Error, OSError, TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await client.close()


def plain(error: Exception) -> str:
    """One line without the library's prefix."""
    if isinstance(error, ssl.SSLError):
        return failure(error, "server")
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    text = (str(error) or type(error).__name__).removeprefix("nats: ").strip("'\" ")
    if text.lower().startswith("authorization violation"):
        return "the server refuses the login (Authorization Violation)"
    return text
