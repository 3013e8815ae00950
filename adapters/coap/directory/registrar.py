"""How another kind of registration (LwM2M) shares the server with the directory of RFC 9176."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from adapters.coap.directory.links import Link


class Registrar(Protocol):
    """Takes some of the requests that come to the server; asked before the directory and the pushes.

    Every method may raise :class:`adapters.coap.refusal.RefusedError`, which becomes the response. ``remote``
    is aiocoap's address of the peer: a request to it is a ``Message`` whose ``remote`` it is, sent through
    the context given to :meth:`attach`, so that it leaves from the port that the peer knows (and so through
    its NAT). Bodies are whole: the server has put their blocks together, bounded by ``max_payload``.
    """

    def attach(self, context: Any) -> None:
        """The server listens; this is its aiocoap context, which can ask too. Called once, before requests."""

    def owns(self, path: tuple[str, ...], query: Mapping[str, str]) -> bool:
        """Whether a request is for this registrar. Called for each POST, PUT and DELETE: cheap.

        Such are ``("rd",)`` with ``lwm2m`` in its query, locations that :meth:`register` gave, and ``("dp",)``.
        """

    async def register(self, remote: Any, query: dict[str, str], links: list[Link]) -> tuple[str, ...]:
        """POST with links to ``/rd``: the path segments of the location, such as ``("rd", "5a3d")``."""

    async def update(self, path: tuple[str, ...], remote: Any, query: dict[str, str], links: list[Link] | None) -> None:
        """POST to a location; ``links`` is None if it came without a body. RefusedError 4.04 if not known."""

    async def deregister(self, path: tuple[str, ...], remote: Any) -> None:
        """DELETE of a location."""

    async def other(
        self, path: tuple[str, ...], remote: Any, query: dict[str, str], payload: bytes, content_format: int | None
    ) -> Any:
        """POST to any other path that it owns (``/bs``, ``/dp``); the response, a ``Message``."""

    def links(self) -> Sequence[Link]:
        """What ``/.well-known/core`` shall list of it."""
