"""OSCORE keys (RFC 8613): aiocoap's protection of messages, with numbers that outlive a crash.

Three things differ from aiocoap's own ``FilesystemSecurityContext``. Numbers are reserved on disk by a thread
before the last one is used, so that the event loop never waits for the disk. A response never borrows the
number of its request, so that all nonces of a key hang on the one bound that is on disk. And where the replay
window was lost, a peer that does not know Echo (B.1.2) gets in again once its numbers pass the bound below
which all of those were that were ever taken.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from weakref import WeakValueDictionary

from aiocoap import error, oscore

from adapters.coap.options.credentials import OscoreOptions, secret_bytes
from adapters.coap.security.not_secure import NotSecureError
from adapters.coap.security.oscore_option import OscoreOption, parse_option
from adapters.coap.security.oscore_state import Bounds, first_bounds, load, store
from gateway.errors import LinkError, PayloadError

SENT_STEP: Final = 1024
"""Numbers reserved at once; what a crash wastes."""
RECEIVED_STEP: Final = 64
"""How far the bound goes ahead of what was taken; after a crash so many messages of a peer that does not know
Echo are refused at most."""


class ReplayedError(NotSecureError):
    """A request was seen before, or is too old to tell."""


class ChallengeError(Exception):
    """It cannot be told whether a request is a replay: the peer is to repeat it with this Echo (B.1.2)."""

    def __init__(self, echo: bytes, request_id: Any) -> None:
        self.echo = echo
        self.request_id = request_id
        super().__init__("the replay window was lost")


class OscoreKey(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]
    """One security context. ``open`` it, ask for ``ready`` before each ``protect``, ``close`` it."""

    _open: ClassVar[WeakValueDictionary[str, OscoreKey]] = WeakValueDictionary()
    """Keys in use in this process, by the name of their file: two adapters must not share one."""

    def __init__(self, name: str, options: OscoreOptions) -> None:
        self.name = name
        self.authenticated_claims = [name]
        self.alg_aead = oscore.algorithms[options.algorithm.value]
        self.hashfun = oscore.hashfunctions[options.hash.value]
        self.sender_id = bytes.fromhex(options.sender)
        self.recipient_id = bytes.fromhex(options.recipient)
        self.id_context = bytes.fromhex(options.id_context) or None
        self.derive_keys(secret_bytes(options.salt), secret_bytes(options.secret))
        self.recipient_replay_window = oscore.ReplayWindow(options.window, lambda: None)
        self.echo_recovery = secrets.token_bytes(8)
        self.sender_sequence_number = 0
        self.path = Path()
        self._bounds = Bounds(sent=0, received=0)
        """What is on disk."""
        self._received = 0
        """One more than the largest number taken."""
        self._writing: asyncio.Task[None] | None = None
        self._failed: OSError | None = None
        self.closed = False

    def __repr__(self) -> str:
        return f"<OSCORE key {self.name}>"

    # the state on disk

    async def open(self, folder: Path, now_ns: int) -> Self:
        """Take up the numbers where they were left; returns when the first ones are reserved.

        Raises:
            LinkError: they cannot be read, or another adapter uses the key.
            OSError: they cannot be written.
        """
        # By the key itself, so that neither a new name nor two names make it begin again.
        own = hashlib.sha256(b"onpath OSCORE" + self.sender_key + self.common_iv + self.sender_id).hexdigest()[:32]
        self.path = folder / f"{own}.oscore"
        other = self._open.get(own)
        if other is not None and other.path != self.path and not other.closed:
            raise LinkError(f"the keys {other.name} and {self.name} of two adapters are the same; keep it in one")
        self._open[own] = self
        kept = await asyncio.to_thread(load, self.path)
        known = first_bounds(now_ns) if kept is None else kept
        self.sender_sequence_number = known.sent
        self._received = known.received
        window: dict[str, int] | None = None
        if kept is None:
            window = {"index": 0, "bitfield": 0}
        elif known.window is not None:
            window = {"index": known.window[0], "bitfield": int(known.window[1], 16)}
        if window is not None:
            self.recipient_replay_window.initialize_from_persisted(window)
        self._bounds = known
        await self._write()
        if self._failed is not None:
            raise self._failed
        return self

    async def close(self) -> None:
        """Keep exactly what was used, and the replay window if there is one.

        Raises:
            OSError: it cannot be written; the bounds that are on disk hold all the same.
        """
        self.closed = True
        if self._writing is not None:
            await asyncio.wait({self._writing})
        window = self.recipient_replay_window.persist() if self.recipient_replay_window.is_initialized() else None
        bounds = Bounds(
            sent=self.sender_sequence_number,
            received=self._received,
            window=None if window is None else (window["index"], f"{window['bitfield']:x}"),
        )
        self._bounds = Bounds(sent=0, received=0)  # nothing may be sent any more
        await asyncio.to_thread(store, self.path, bounds)

    async def ready(self) -> None:
        """Wait until a number is reserved; ``protect`` must follow at once, without another await.

        Raises:
            NotSecureError: none can be.
        """
        await self._until(lambda: self.sender_sequence_number < self._bounds.sent)

    async def taken(self) -> None:
        """Wait until the bound on disk covers all that was taken; only then may a request be carried out.

        Raises:
            NotSecureError: it cannot be written.
        """
        await self._until(lambda: self._received <= self._bounds.received)
        if self._bounds.received - self._received < RECEIVED_STEP // 2:
            self._extend()

    async def _until(self, enough: Callable[[], bool]) -> None:
        while not enough():
            if self.closed:
                raise NotSecureError("its OSCORE key is not in use any more")
            if self.sender_sequence_number > oscore.MAX_SEQNO - 1:
                raise NotSecureError("its OSCORE key has used up all numbers; give both sides a new one")
            await asyncio.shield(self._extend())  # who waits may be cancelled, the write goes on
            if self._failed is not None:
                raise NotSecureError(f"the numbers of its OSCORE key cannot be kept: {self._failed}")

    def _extend(self) -> asyncio.Task[None]:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name=f"coap key {self.name}")
        return self._writing

    async def _write(self) -> None:
        bounds = Bounds(
            sent=min(self.sender_sequence_number + SENT_STEP, oscore.MAX_SEQNO),
            received=self._received + RECEIVED_STEP,
        )
        try:
            await asyncio.to_thread(store, self.path, bounds)
        except OSError as cause:
            self._failed = cause
        else:
            self._failed = None
            self._bounds = bounds
        finally:
            self._writing = None

    # what aiocoap asks of a security context

    def new_sequence_number(self) -> int:
        """The number of the next message; one that the disk knows of."""
        if self.sender_sequence_number >= self._bounds.sent:
            raise oscore.ContextUnavailable("no number is reserved")
        number: int = super().new_sequence_number()
        return number

    def post_seqnoincrease(self) -> None:
        """Reserve more in good time, so that nobody has to wait."""
        if self._bounds.sent - self.sender_sequence_number < SENT_STEP // 2 and not self.closed:
            self._extend()

    # messages

    def fits(self, option: OscoreOption) -> bool:
        """Whether a request with this option is for the key."""
        return option.kid == self.recipient_id and option.kid_context == self.id_context

    def open_request(self, message: Any) -> tuple[Any, Any]:
        """The request inside, and what its response has to be bound to.

        Raises:
            ReplayedError: it was taken before, or is too old to tell.
            ChallengeError: the replay window was lost in a crash.
            NotSecureError: it was not made with this key, or is malformed.
        """
        number = option_of(message).number
        if number is None:
            raise NotSecureError("a request without a number")
        try:
            plain, request_id = self._decrypted(message, number)
        except oscore.ReplayErrorWithEcho as cause:
            raise ChallengeError(cause.echo, cause.request_id) from None
        except oscore.ReplayError as cause:
            raise ReplayedError(str(cause)) from None
        except (error.Error, ValueError, IndexError) as cause:
            raise NotSecureError("it does not fit the key") from cause
        self._received = max(self._received, number + 1)
        request_id.can_reuse_nonce = False
        return plain, request_id

    def _decrypted(self, message: Any, number: int) -> tuple[Any, Any]:
        try:
            return self.unprotect(message)  # type: ignore[no-any-return]
        except oscore.ReplayErrorWithEcho:
            # It is authentic. Beyond the bound nothing was ever taken, so it is new, Echo or not.
            if number < self._received:
                raise
            self.recipient_replay_window.initialize_from_persisted({"index": self._received, "bitfield": 0})
            return self.unprotect(message)  # type: ignore[no-any-return]

    def open_response(self, message: Any, request_id: Any) -> Any:
        """The response inside.

        Raises:
            NotSecureError: it is not protected, or was not made with this key for this request.
        """
        if message.opt.oscore is None:
            text = bytes(message.payload[:60]).decode("ascii", "replace")
            raise NotSecureError(f"answers without protection, which is not taken: {message.code} {text}".rstrip())
        try:
            option_of(message)
            plain, _ = self.unprotect(message, request_id)
        except (error.Error, ValueError, IndexError) as cause:
            raise NotSecureError("its answer does not fit the key") from cause
        return plain


def option_of(message: Any) -> OscoreOption:
    """The OSCORE option of a message that has one.

    Raises:
        NotSecureError: it is malformed.
    """
    try:
        return parse_option(message.opt.oscore)
    except PayloadError as cause:
        raise NotSecureError(str(cause)) from None
