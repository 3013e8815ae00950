"""Which payload formats there are, and what a CoAP Content-Format number stands for.

Numbers are those of IANA's "CoAP Content-Formats" registry: RFC 7252 (0, 42, 50), RFC 8949 (60), RFC 8428
(110 to 113). Of RFC 8428's others EXI (114, 115) and XML (310, 311) are not decoded.
"""

from __future__ import annotations

import enum

from gateway.errors import PayloadError


class Format(enum.StrEnum):
    """How a payload is to be read."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    CBOR = "cbor"
    SENML = "senml"
    OCTETS = "octets"


class Encoding(enum.Enum):
    """What a payload is on the wire."""

    TEXT = "text"
    JSON = "json"
    CBOR = "cbor"
    SENML_JSON = "senml+json"
    SENML_CBOR = "senml+cbor"
    OCTETS = "octets"
    """Raw bytes, read by a layout."""
    UNKNOWN = "unknown"
    """Nobody said: a number or a boolean as text, else JSON."""

    @property
    def is_senml(self) -> bool:
        """Whether it is a SenML pack."""
        return self in {Encoding.SENML_JSON, Encoding.SENML_CBOR}


_ENCODINGS = {
    0: Encoding.TEXT,
    42: Encoding.OCTETS,
    50: Encoding.JSON,
    60: Encoding.CBOR,
    110: Encoding.SENML_JSON,
    111: Encoding.SENML_JSON,
    112: Encoding.SENML_CBOR,
    113: Encoding.SENML_CBOR,
}
_FIXED = {
    Format.TEXT: Encoding.TEXT,
    Format.JSON: Encoding.JSON,
    Format.CBOR: Encoding.CBOR,
    Format.OCTETS: Encoding.OCTETS,
}
_SENML = {50: Encoding.SENML_JSON, 60: Encoding.SENML_CBOR}


def encoding_of(wanted: Format, content_format: int | None, payload: bytes) -> Encoding:
    """What to decode a payload as.

    What the user says wins over what the device says, because devices mislabel; for SenML the device's
    word (or else the first byte, which no two encodings of an array share) tells JSON from CBOR.

    Raises:
        PayloadError: ``unsupported-format``, if the format is left to a Content-Format that is not known.
    """
    if wanted in _FIXED:
        return _FIXED[wanted]
    if wanted is Format.SENML:
        told = _SENML.get(content_format, _ENCODINGS.get(content_format)) if content_format is not None else None
        if told in {Encoding.SENML_JSON, Encoding.SENML_CBOR}:
            return told
        # A CBOR array begins with 0x80 to 0x9f, which is never the first byte of JSON text.
        return Encoding.SENML_CBOR if payload[:1] >= b"\x80" else Encoding.SENML_JSON
    if content_format is None:
        return Encoding.UNKNOWN
    try:
        return _ENCODINGS[content_format]
    except KeyError:
        raise PayloadError("unsupported-format", f"Content-Format {int(content_format)} is not decoded here") from None
