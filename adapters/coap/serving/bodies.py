"""The body of a request: as it came, or put together from its blocks; with a bound either way."""

from __future__ import annotations

import asyncio
from typing import Any

from aiocoap.numbers import codes

from adapters.base import Context
from adapters.coap.serving.blocks import Assembly, Block, BusyError, IncompleteError, TooLargeError
from adapters.coap.serving.refusal import RefusedError


class Bodies:
    """Bodies of all requests to one server."""

    def __init__(self, ctx: Context, max_payload: int) -> None:
        self._ctx = ctx
        self._max_payload = max_payload
        self.assembly = Assembly(max_payload)

    def take(self, message: Any) -> bytes | None:
        """The body, or None while blocks are missing (2.31 tells the sender to go on).

        Raises:
            RefusedError: 4.08, 4.13, or 5.03 where too many transfers are under way.
        """
        option, payload = message.opt.block1, message.payload
        if option is None:
            if len(payload) > self._max_payload:
                raise self._too_large(message)
            return bytes(payload)
        announced = message.opt.size1 or 0
        block = Block(option.start, option.size, more=option.more, announced=announced, bert=option.is_bert)
        key = (message.remote.blockwise_key, message.code, message.opt.uri_path, message.opt.uri_query)
        try:
            return self.assembly.feed(
                (*key, message.opt.request_tag), block, payload, asyncio.get_running_loop().time()
            )
        except TooLargeError:
            raise self._too_large(message) from None
        except IncompleteError:
            self._ctx.reject("incomplete", _path(message), payload, f"block {option.block_number}")
            raise RefusedError(codes.REQUEST_ENTITY_INCOMPLETE, "blocks are missing") from None
        except BusyError:
            self._ctx.stats.reasons["busy"] += 1
            raise RefusedError(codes.SERVICE_UNAVAILABLE, "too many block-wise transfers") from None

    def _too_large(self, message: Any) -> RefusedError:
        detail = f"at most {self._max_payload} bytes"
        self._ctx.reject("too-large", _path(message), message.payload, detail)
        return RefusedError(codes.REQUEST_ENTITY_TOO_LARGE, detail, size1=self._max_payload)


def _path(message: Any) -> str:
    return "/" + "/".join(message.opt.uri_path)
