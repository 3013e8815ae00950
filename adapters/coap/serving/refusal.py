"""A request that is not carried out, as an exception that becomes the response."""

from __future__ import annotations

from typing import Any, Final

from aiocoap import Message
from aiocoap.numbers import codes

RETRY_AFTER_S: Final = 5
"""What a 5.03 says of when to try again (Max-Age)."""


class RefusedError(Exception):
    """A request is refused; ``code`` is one of aiocoap's."""

    def __init__(self, code: Any, detail: str = "", *, size1: int | None = None, echo: bytes | None = None) -> None:
        self.code = code
        self.size1 = size1
        self.echo = echo
        super().__init__(detail)

    def message(self) -> Any:
        """The response, with the reason as its diagnostic payload (RFC 7252, 5.5.2)."""
        response = Message(code=self.code, payload=str(self).encode())
        response.opt.size1 = self.size1
        response.opt.echo = self.echo
        if self.code == codes.SERVICE_UNAVAILABLE:
            response.opt.max_age = RETRY_AFTER_S
        return response
