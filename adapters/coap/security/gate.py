"""Who may ask for what of the server: a site around the site, which refuses before anything is read."""

from __future__ import annotations

from typing import Any

from aiocoap import Message, interfaces
from aiocoap.numbers import codes, uri_path_abbrev

from adapters.base import Context
from adapters.coap.options.credentials import Keys
from adapters.coap.options.serve import ServeOptions
from adapters.coap.serving.routes import compile_routes, find


class Gate(interfaces.Resource):  # type: ignore[misc]  # aiocoap ships no types
    """Looks at the key that a request came under, which its remote states, and at its path."""

    def __init__(self, options: ServeOptions, keys: Keys, inner: Any, ctx: Context) -> None:
        self._inner = inner
        self._keys = keys
        self._ctx = ctx
        self._everywhere = frozenset(options.security)
        self._routes = compile_routes(options.resources)
        self._named = {path: frozenset(served.security) for path, served in options.resources.items()}

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
        refusal = self._refusal(message)
        if refusal is None:
            await self._inner.render_to_pipe(request)
            return
        code, detail = refusal
        self._ctx.reject("not-secure", "/" + "/".join(message.opt.uri_path), bytes(message.payload), detail)
        response = Message(code=code, payload=detail.encode())
        response.opt.no_response = message.opt.no_response
        request.add_response(response, is_last=True)

    def _refusal(self, message: Any) -> tuple[Any, str] | None:
        """Code and reason, or None if the request may go on."""
        claims = frozenset(message.remote.authenticated_claims)
        target = find(self._routes, _path_of(message))
        wanted = (self._named[target.route.pattern] if target is not None else frozenset()) or self._everywhere
        if wanted and not wanted & claims:
            return codes.UNAUTHORIZED, "only for those who have a key"
        owner = next((self._keys[claim].device for claim in claims if claim in self._keys), "")
        if target is not None and owner and target.device != owner:
            return codes.FORBIDDEN, f"this key is for {owner}"
        return None


def _path_of(message: Any) -> tuple[str, ...]:
    """The path, an abbreviated one written out as the site does."""
    abbreviated = message.opt.uri_path_abbrev
    if abbreviated is None:
        return tuple(message.opt.uri_path)
    return tuple(uri_path_abbrev._map.get(abbreviated, ()))  # noqa: SLF001  # the only table of them
