"""What a GET is answered with: formats, ETag (RFC 7252, 5.10.6), and blocks of what is large (RFC 7959, Block2).

The blocks of one transfer come from one representation, kept while they are fetched: values that change
meanwhile neither mix nor keep a transfer from ending. All that is kept together has a bound.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final, NamedTuple

from aiocoap import Message
from aiocoap.numbers import codes

from adapters.coap.serving.refusal import RefusedError

BLOCK_EXPONENT: Final = 6
"""1,024 bytes: the largest block."""
KEPT_S: Final = 60.0
MAX_KEPT: Final = 256
MAX_KEPT_BYTES: Final = 8 * 1024 * 1024


class Representation(NamedTuple):
    """One state of a resource."""

    payload: bytes
    content_format: int | None
    max_age: int | None = None
    """Seconds; None: 60, as the protocol has it."""

    @property
    def etag(self) -> bytes:
        """A name of the content."""
        return hashlib.blake2b(self.payload, digest_size=8, salt=str(self.content_format).encode()).digest()


class _Kept(NamedTuple):
    until_s: float
    representation: Representation


class Transfers:
    """Answers, and what is left of those that are larger than a block."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def continued(self, message: Any, now_s: float) -> Representation | None:
        """What a request for a later block is about; None if it is for a first one, or nothing is kept.

        Raises:
            RefusedError: 4.00, a block beyond the end.
        """
        option = message.opt.block2
        if option is None or option.block_number == 0:
            return None
        kept = self._kept.get(_key(message))
        return kept.representation if kept is not None and kept.until_s > now_s else None

    def answer(self, message: Any, found: Representation, now_s: float) -> Any:
        """The response to a GET: all of it, the block asked for, or 2.03 if the client has it.

        Raises:
            RefusedError: 4.00, a block beyond the end.
        """
        etag = found.etag
        first = message.opt.block2 is None or message.opt.block2.block_number == 0
        if first and etag in message.opt.etags:
            response = Message(code=codes.VALID)
        else:
            response = Message(code=codes.CONTENT)
            response.opt.content_format = found.content_format
            self._put_block(response, message, found, now_s)
        response.opt.etag = etag
        response.opt.max_age = found.max_age
        return response

    def _put_block(self, response: Any, message: Any, found: Representation, now_s: float) -> None:
        option = message.opt.block2
        exponent = min(option.size_exponent, BLOCK_EXPONENT) if option is not None else BLOCK_EXPONENT
        size = 16 << exponent
        number = option.block_number if option is not None else 0
        at = number * size
        if option is None and len(found.payload) <= size:
            response.payload = found.payload
            return
        if at and at >= len(found.payload):
            raise RefusedError(codes.BAD_REQUEST, "a block beyond the end")
        more = at + size < len(found.payload)
        response.payload = found.payload[at : at + size]
        response.opt.block2 = (number, more, exponent)
        if number == 0:
            response.opt.size2 = len(found.payload)
        self._keep(_key(message), found if more else None, now_s)

    def _keep(self, key: Hashable, found: Representation | None, now_s: float) -> None:
        self._drop(key)
        if found is None:
            return
        self._kept[key] = _Kept(now_s + KEPT_S, found)
        self._bytes += len(found.payload)
        while len(self._kept) > MAX_KEPT or self._bytes > MAX_KEPT_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept.representation.payload)


def _key(message: Any) -> Hashable:
    return message.remote.blockwise_key, message.opt.uri_path, message.opt.uri_query, message.opt.accept
