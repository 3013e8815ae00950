"""Send (LwM2M 1.1): a client reports values unasked, with POST to ``/dp``, for several objects in one SenML pack."""

from __future__ import annotations

from aiocoap.numbers import codes

from adapters.base import Context
from adapters.coap.lwm2m.contents import read_all
from adapters.coap.lwm2m.session import Session
from adapters.coap.serving.refusal import RefusedError
from gateway.errors import PayloadError, StoreError
from gateway.frame import Frame


async def store(ctx: Context, session: Session, payload: bytes, content_format: int | None) -> None:
    """Take what was sent; returns when it is on disk.

    Raises:
        RefusedError: 4.00, 4.15, 5.03.
    """
    now_ns = ctx.now_ns()
    try:
        found = read_all(payload, content_format, now_ns)
    except PayloadError as error:
        ctx.reject(error.reason, f"{session.device}/dp", payload, str(error))
        unsupported = error.reason == "unsupported-format"
        code = codes.UNSUPPORTED_CONTENT_FORMAT if unsupported else codes.BAD_REQUEST
        raise RefusedError(code, str(error)[:200]) from error
    ctx.stats.messages += 1
    rows = [row for path, items in found.items() for row in session.sent(path, items, now_ns)]
    if not rows:
        return
    points, values, words = zip(*(row for row, _ in rows), strict=True)
    try:
        receipt = await ctx.emit(Frame.of(points, [time_ns for _, time_ns in rows], values, words))
        await receipt.durable()
    except StoreError as error:
        ctx.stats.reasons["not-durable"] += 1
        raise RefusedError(codes.SERVICE_UNAVAILABLE, f"not stored: {error}") from error
