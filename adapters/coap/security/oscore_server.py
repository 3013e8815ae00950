"""Requests under OSCORE keys: a site around the site, which sees who has signed a request by its remote.

aiocoap's own wrapper needs libraries of EDHOC that are of no use here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiocoap import Message, interfaces
from aiocoap.numbers import codes
from aiocoap.numbers.types import NON
from aiocoap.pipe import IterablePipe, error_to_message, run_driving_pipe

from adapters.coap.security.not_secure import NotSecureError
from adapters.coap.security.oscore import ChallengeError, OscoreKey, ReplayedError, option_of
from adapters.coap.security.oscore_address import OscoreAddress

Refused = Callable[[str, Any, str], None]
"""Told of each request that was not taken: the reason, the message, the detail."""


class OscoreSite(interfaces.Resource):  # type: ignore[misc]  # aiocoap ships no types
    """Takes the protection off requests and puts it on responses; what has none goes through as it is."""

    def __init__(self, inner: Any, keys: Mapping[str, OscoreKey], refused: Refused) -> None:
        self._inner = inner
        self._keys: Sequence[OscoreKey] = list(keys.values())
        self._refused = refused

    async def needs_blockwise_assembly(self, request: Any) -> bool:
        """Called by aiocoap; the inner site puts blocks together itself."""
        del request
        return False

    async def render(self, request: Any) -> Any:
        """Not used; see :meth:`render_to_pipe`."""
        raise NotImplementedError(f"requests come by a pipe ({request.code})")

    async def render_to_pipe(self, request: Any) -> None:
        """Called by aiocoap in a task of its own for each request (``request`` is the pipe to answer on)."""
        message = request.request
        if message.opt.oscore is None:
            await self._inner.render_to_pipe(request)
            return
        try:
            key = self._key(message)
            plain, request_id = key.open_request(message)
            await key.taken()
        except ChallengeError as challenge:
            await self._challenge(key, challenge, request)
        except ReplayedError as cause:
            self._refuse(request, "replayed", codes.UNAUTHORIZED, "Replay detected", str(cause))
        except LookupError as cause:
            self._refuse(request, "not-secure", codes.UNAUTHORIZED, "Security context not found", str(cause))
        except NotSecureError as cause:
            self._refuse(request, "not-secure", codes.BAD_REQUEST, "Decryption failed", str(cause))
        else:
            plain.mtype = message.mtype
            plain.remote = OscoreAddress(key, message.remote)
            await self._answer(key, plain, request_id, request)

    def _key(self, message: Any) -> OscoreKey:
        if message.code not in {codes.POST, codes.FETCH}:
            raise NotSecureError(f"{message.code} is no code of a protected request")
        option = option_of(message)
        for key in self._keys:
            if key.fits(option):
                return key
        raise LookupError(f"no key has the recipient {(option.kid or b'').hex()!r}")

    def _refuse(self, pipe: Any, reason: str, code: Any, text: str, detail: str) -> None:
        """Count it, and say so in the clear (RFC 8613, 8.2) to who waits for an acknowledgement."""
        self._refused(reason, pipe.request, detail)
        if pipe.request.mtype is not NON:
            pipe.add_response(Message(code=code, payload=text.encode(), max_age=0), is_last=True)

    async def _challenge(self, key: OscoreKey, challenge: ChallengeError, pipe: Any) -> None:
        await key.ready()
        inner = Message(code=codes.UNAUTHORIZED, echo=challenge.echo)
        outer, _ = key.protect(inner, challenge.request_id)
        pipe.add_response(outer, is_last=True)

    async def _answer(self, key: OscoreKey, plain: Any, request_id: Any, pipe: Any) -> None:
        inner = IterablePipe(plain)
        checked = error_to_message(inner, pipe.log)
        run_driving_pipe(checked, self._inner.render_to_pipe(checked), name=f"coap request under {key.name}")
        order = 0
        async for event in inner:
            response, last = event.message, event.is_last
            if response is None:
                response, last = Message(code=codes.INTERNAL_SERVER_ERROR), True
            no_response, response.opt.no_response = response.opt.no_response, None
            if not last:
                response.opt.observe = 0
            await key.ready()
            outer, _ = key.protect(response, request_id)
            if response.opt.observe is not None:
                outer.opt.observe = order & 0xFF_FFFF
                order += 1
            outer.opt.no_response = no_response
            pipe.add_response(outer, is_last=last)
            if last:
                return
