"""Quality of a sample: the 16-bit word, its lossless text form, and reasons for missing values.

The word is the Quality type of IEC 61850-7-3 in the bit order of IEC 61850-8-1, plus "historical":

    bit  0-1   validity: 00 good, 01 invalid, 10 reserved, 11 questionable
    bit  2-9   overflow, outOfRange, badReference, oscillatory, failure, oldData, inconsistent, inaccurate
    bit  10    source: substituted
    bit  11    test
    bit  12    operatorBlocked
    bit  13    historical (ours: sent later than live; Sparkplug's is_historical)
    bit  14    clock-not-synchronised (as IEC 61850-7-2 says it of a time stamp): stamped by a clock in doubt
    bit  15    zero

A sample that has no value carries a quiet NaN; its payload (low 16 bits) holds a :class:`Reason`,
so that "why" travels in the value column and costs nothing where all is well.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

GOOD = 0
INVALID = 1
RESERVED = 2
QUESTIONABLE = 3
VALIDITY = 3
"""Mask of the validity bits."""

OVERFLOW = 1 << 2
OUT_OF_RANGE = 1 << 3
BAD_REFERENCE = 1 << 4
OSCILLATORY = 1 << 5
FAILURE = 1 << 6
OLD_DATA = 1 << 7
INCONSISTENT = 1 << 8
INACCURATE = 1 << 9
SUBSTITUTED = 1 << 10
TEST = 1 << 11
OPERATOR_BLOCKED = 1 << 12
HISTORICAL = 1 << 13
CLOCK_NOT_SYNCHRONISED = 1 << 14

_VALIDITY_NAMES = ("good", "invalid", "reserved", "questionable")
_FLAGS = {
    "overflow": OVERFLOW,
    "out-of-range": OUT_OF_RANGE,
    "bad-reference": BAD_REFERENCE,
    "oscillatory": OSCILLATORY,
    "failure": FAILURE,
    "old-data": OLD_DATA,
    "inconsistent": INCONSISTENT,
    "inaccurate": INACCURATE,
    "substituted": SUBSTITUTED,
    "test": TEST,
    "operator-blocked": OPERATOR_BLOCKED,
    "historical": HISTORICAL,
    "clock-not-synchronised": CLOCK_NOT_SYNCHRONISED,
    "bit15": 1 << 15,
}
# Worst first when two validities meet: invalid, then questionable, then good.
_SEVERITY = np.array([0, 3, 2, 1], np.uint8)
_BY_SEVERITY = np.array([GOOD, QUESTIONABLE, RESERVED, INVALID], np.uint16)


class Reason(enum.IntEnum):
    """Why a sample has no value. Codes are stored: never renumber, only append."""

    NONE = 0
    TIMEOUT = 1
    LINK_DOWN = 2
    ILLEGAL_FUNCTION = 3
    ILLEGAL_DATA_ADDRESS = 4
    ILLEGAL_DATA_VALUE = 5
    DEVICE_FAILURE = 6
    DEVICE_BUSY = 7
    GATEWAY_PATH_UNAVAILABLE = 8
    GATEWAY_TARGET_FAILED = 9
    OTHER_EXCEPTION = 10
    MALFORMED_ANSWER = 11
    UNPARSABLE = 12
    MISSING = 13
    NOT_FOUND = 14
    REFUSED = 15
    NOT_IMPLEMENTED = 16
    NO_VALID_SAMPLES = 17
    NOT_A_NUMBER = 18
    UNIT_SUSPENDED = 19
    STALE = 20

    @property
    def text(self) -> str:
        """The word used in messages and logs: ``illegal-data-address``."""
        return self.name.lower().replace("_", "-")


_QUIET_NAN = 0x7FF8_0000_0000_0000
_PAYLOAD = 0xFFFF


def no_value(reason: Reason) -> float:
    """The NaN that stands for "no value, because of ``reason``"."""
    return float(np.array([_QUIET_NAN | reason], np.uint64).view(np.float64)[0])


def reason_codes(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    """The reason code of each value, [n]; 0 where the value is a number or a plain NaN."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    return np.where(np.isnan(values), bits & _PAYLOAD, 0).astype(np.uint16)


def reason_text(code: int) -> str:
    """The word for a stored code, also for one that a newer version wrote."""
    try:
        return Reason(code).text
    except ValueError:
        return f"reason-{code}"


@lru_cache(maxsize=4096)
def to_text(word: int) -> str:
    """``good``, ``questionable,out-of-range`` ...; lossless, see :func:`from_text`."""
    names = [_VALIDITY_NAMES[word & VALIDITY]]
    names += [name for name, bit in _FLAGS.items() if word & bit]
    return ",".join(names)


def from_text(text: str) -> int:
    """The inverse of :func:`to_text`.

    Raises:
        ValueError: on an unknown word or a missing validity.
    """
    validity, *flags = [part.strip() for part in text.split(",")]
    if validity not in _VALIDITY_NAMES:
        raise ValueError(f"{validity!r} is not a validity ({', '.join(_VALIDITY_NAMES)})")
    word = _VALIDITY_NAMES.index(validity)
    for flag in flags:
        if flag not in _FLAGS:
            raise ValueError(f"{flag!r} is not a quality flag")
        word |= _FLAGS[flag]
    return word


def is_invalid(words: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Where the validity is invalid (or the reserved code), [n]."""
    result: npt.NDArray[np.bool_] = ((words & VALIDITY) == INVALID) | ((words & VALIDITY) == RESERVED)
    return result


def severity(words: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """How bad each validity is, [n]: good 0, questionable 1, reserved 2, invalid 3."""
    result: npt.NDArray[np.uint8] = _SEVERITY[words & VALIDITY]
    return result


def validity_of(severities: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """The inverse of :func:`severity`, [n]."""
    result: npt.NDArray[np.uint16] = _BY_SEVERITY[severities]
    return result


def worse(words: npt.NDArray[np.uint16], validity: int, flags: int) -> npt.NDArray[np.uint16]:
    """``words`` made at least as bad as ``validity`` and with ``flags`` set, [n]."""
    least = np.uint8(_SEVERITY[validity])
    merged = validity_of(np.maximum(severity(words), least))
    kept = words & np.uint16(0xFFFF ^ VALIDITY)
    return merged | kept | np.uint16(flags)


def worst(words: Iterable[int]) -> int:
    """The worst validity among ``words`` with all their flags joined."""
    flags = 0
    level = 0
    for word in words:
        flags |= word & ~VALIDITY
        level = max(level, int(_SEVERITY[word & VALIDITY]))
    return flags | int(_BY_SEVERITY[level])
