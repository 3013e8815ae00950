"""JSON, CBOR and MessagePack payloads to plain Python documents, with bounds on what a payload may cost.

CBOR tags that build something other than data are refused: big integers (their hashes collide at will, and
so do maps of them), shared references (cyclic documents), regular expressions, sets, strings by reference.
Kept are times (tags 0 and 1), decimal fractions (4, which SenML uses) and the self-described mark (55799).
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, NoReturn

import cbor2
import msgpack
import msgspec

from gateway.errors import PayloadError

MAX_DEPTH = 32
"""Deepest nesting of a CBOR document; JSON's is the interpreter's recursion limit, MessagePack's 1024."""
MAX_ITEMS = 65_536
"""Most items of one MessagePack array or map: room is made for as many as it says, before they are there."""

_REFUSED_TAGS = (2, 3, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000)
_JSON = msgspec.json.Decoder()


def decode_json(payload: bytes) -> Any:
    """Dictionaries, lists, texts, numbers, booleans, None.

    Raises:
        PayloadError: ``unparsable``, ``too-deep``.
    """
    try:
        return _JSON.decode(payload)
    except RecursionError:
        raise PayloadError("too-deep", "nested JSON") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PayloadError("unparsable", str(error)) from None


def decode_cbor(payload: bytes) -> Any:
    """As :func:`decode_json`, and also byte strings, times as ``datetime``, decimal fractions as ``Decimal``.

    Raises:
        PayloadError: ``unparsable``, also for bytes behind the item.
    """
    stream = BytesIO(payload)
    decoder = cbor2.CBORDecoder(stream, semantic_decoders=_SEMANTICS, max_depth=MAX_DEPTH)
    try:
        document = decoder.decode()
    except (cbor2.CBORError, RecursionError) as error:
        raise PayloadError("unparsable", str(error)) from None
    if stream.tell() != len(payload):
        raise PayloadError("unparsable", f"{len(payload) - stream.tell()} bytes behind the CBOR item")
    return document


def decode_msgpack(payload: bytes) -> Any:
    """As :func:`decode_json`, and also byte strings, and times (extension -1) as ``datetime``.

    Raises:
        PayloadError: ``unparsable``, also for bytes behind the item.
    """
    most = min(len(payload), MAX_ITEMS)
    try:
        return msgpack.unpackb(payload, strict_map_key=False, timestamp=3, max_array_len=most, max_map_len=most // 2)
    # Among these: not UTF-8 (ValueError), a list as a key (TypeError), a time that no datetime holds.
    except (ValueError, TypeError, OverflowError) as error:
        raise PayloadError("unparsable", str(error)[:200] or type(error).__name__) from None


def _refuse(_decoder: object) -> NoReturn:
    raise cbor2.CBORDecodeError("a tag that is not plain data")


_SEMANTICS: dict[int, Callable[[object], Any]] = dict.fromkeys(_REFUSED_TAGS, _refuse)
