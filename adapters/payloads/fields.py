"""Options of one value in raw bytes: which bytes, and how they are read. Light.

Written as keys of a point, or as one text, in this order:

    @4 uint16 little bits 3:5 x2/8 *0.1 +20

The types are ``int8`` to ``int64`` and ``uint8`` to ``uint64`` (24 and 48 bits too), ``float16``, ``float32``,
``float64``, ``bool`` (a byte that is not 0), ``bcd:N`` (2 N decimal digits in N bytes) and ``text:N`` (N bytes
of UTF-8, cut at the first NUL, blanks at the ends left out).
"""

from __future__ import annotations

import enum
import math
import re
from typing import Annotated, Final, NamedTuple

import msgspec

from gateway.errors import FieldError
from gateway.point import PointOptions

MAX_BYTES: Final = 65_536
"""No layout is longer."""
MAX_WIDE: Final = 256
"""Most bytes of a text or of a BCD number."""

SIZES: Final = {
    "int8": 1, "int16": 2, "int24": 3, "int32": 4, "int48": 6, "int64": 8,
    "uint8": 1, "uint16": 2, "uint24": 3, "uint32": 4, "uint48": 6, "uint64": 8,
    "float16": 2, "float32": 4, "float64": 8, "bool": 1,
}  # fmt: skip
_WIDE = re.compile(r"(?:bcd|text):([1-9][0-9]{0,3})\Z", re.ASCII)
_TEXT = re.compile(
    r"@(?P<at>\d{1,9})\s+(?P<kind>[a-z]+[0-9]*(?::\d+)?)(?:\s+(?P<order>big|little))?"
    r"(?:\s+bits\s+(?P<bits>\S+))?(?:\s+x(?P<repeat>\d{1,9})(?:/(?P<step>\d{1,9}))?)?"
    r"(?:\s+\*(?P<scale>[-+]?[0-9.]+(?:[eE][-+]?\d+)?))?(?:\s+(?P<offset>[-+][0-9.]+(?:[eE][-+]?\d+)?))?\s*\Z",
    re.ASCII,
)


class Order(enum.StrEnum):
    """Which byte of a value comes first."""

    BIG = "big"
    """The most significant one."""
    LITTLE = "little"


class FieldOptions(PointOptions, frozen=True, kw_only=True):
    """A point whose value stands in raw bytes."""

    at: Annotated[int, msgspec.Meta(ge=0, lt=MAX_BYTES)] | None = None
    """First byte of the value in a payload of raw bytes, from 0."""
    as_: str = msgspec.field(default="", name="as")
    """Type in a payload of raw bytes: ``int8`` to ``int64``, ``uint8`` to ``uint64`` (24 and 48 too), ``float16``,
    ``float32``, ``float64``, ``bool``, ``bcd:N`` or ``text:N`` (N bytes)."""
    order: Order = Order.BIG
    """Which byte comes first: that of the highest value (``big``), or of the lowest (``little``)."""
    bits: str = ""
    """The part of an integer that is the value: a bit (``"3"``, 0 is the lowest), a range (``"3:5"``, both
    included) or a mask (``"0x38"``, one run of ones)."""
    repeat: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    """How many such values follow each other; more than one are points of their own: ``phase.0``, ``phase.1``."""
    step: Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)] = 0
    """Bytes from one repetition to the next; 0: they follow at once."""
    scale: float = 1.0
    """The value is the raw number times this ..."""
    offset: float = 0.0
    """... plus this."""

    @property
    def is_field(self) -> bool:
        """Whether any of these was given."""
        given = (self.at, self.as_, self.order, self.bits, self.repeat, self.step, self.scale, self.offset)
        return given != (None, "", Order.BIG, "", 1, 0, 1.0, 0.0)


class Field(NamedTuple):
    """One value of a payload. Made by :func:`field` or :func:`parse_field`, which check it."""

    name: str
    at: int
    """First byte."""
    kind: str
    """The type, without its number of bytes."""
    size: int
    """Bytes."""
    little: bool
    low: int
    """Lowest bit taken."""
    width: int
    """Bits taken; 0: all of them."""
    scale: float
    offset: float
    repeat: int
    step: int
    """Bytes from one repetition to the next."""

    @property
    def names(self) -> list[str]:
        """The names of its values: ``phase.0``, ``phase.1`` ... if it repeats."""
        return [self.name] if self.repeat == 1 else [f"{self.name}.{number}" for number in range(self.repeat)]

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.at + (self.repeat - 1) * self.step + self.size

    @property
    def is_text(self) -> bool:
        """Whether it is a text rather than a number."""
        return self.kind == "text"


def field(name: str, options: FieldOptions) -> Field:
    """A field out of the options of a point.

    Raises:
        FieldError: naming the option, with the way out in it.
    """
    if options.at is None:
        raise FieldError("at", "say at which byte the value begins: at: 0")
    kind, size = options.as_, _size(options.as_)
    low, width = _bits(options.bits, kind, size) if options.bits else (0, 0)
    if 0 < options.step < size:
        raise FieldError("step", f"repetitions of {size} bytes cannot follow each other every {options.step}")
    if kind.startswith(("text", "bool")) and (options.scale != 1 or options.offset):
        raise FieldError("scale" if options.scale != 1 else "offset", "a text or boolean has no scale and no offset")
    if not (math.isfinite(options.scale) and math.isfinite(options.offset)) or abs(options.scale) < 1e-300:
        raise FieldError("scale", "scale and offset are finite numbers, and scale is not 0")
    little, step = options.order is Order.LITTLE, options.step or size
    plain = kind.split(":", maxsplit=1)[0]
    made = Field(name, options.at, plain, size, little, low, width, options.scale, options.offset, options.repeat, step)
    if made.end > MAX_BYTES:
        raise FieldError("at", f"the field lies outside of the first {MAX_BYTES:,} bytes")
    return made


def parse_field(name: str, text: str) -> Field:
    """A field out of one text, such as ``@4 uint16 little *0.1``.

    Raises:
        FieldError: with the way out in it.
    """
    found = _TEXT.match(text.strip())
    if found is None:
        raise FieldError(
            "value",
            f'{text!r} is not a field of raw bytes: write "@4 uint16 little bits 3:5 x2/8 *0.1 +20", '
            "of which @4 uint16 is needed",
        )
    given = found.groupdict(default="")
    try:
        scale, offset = float(given["scale"] or 1), float(given["offset"] or 0)
    except ValueError:
        raise FieldError("value", f"{text!r}: scale and offset are numbers") from None
    options = FieldOptions(
        at=int(given["at"]),
        as_=given["kind"],
        order=Order(given["order"] or "big"),
        bits=given["bits"],
        repeat=int(given["repeat"] or 1),
        step=int(given["step"] or 0),
        scale=scale,
        offset=offset,
    )
    if options.repeat < 1:
        raise FieldError("value", f"{text!r} repeats less than once")
    return field(name, options)


def is_field(text: str) -> bool:
    """Whether a text is meant to be a field: it begins with ``@`` and a digit."""
    return text[:1] == "@" and text[1:2].isdigit()


def _size(kind: str) -> int:
    """Bytes of a type."""
    if kind in SIZES:
        return SIZES[kind]
    wide = _WIDE.match(kind)
    if wide is None or int(wide[1]) > MAX_WIDE:
        raise FieldError(
            "as", f"{kind!r} is not a type: {', '.join(SIZES)}, bcd:N or text:N (N bytes, 1 to {MAX_WIDE})"
        )
    return int(wide[1])


def _bits(text: str, kind: str, size: int) -> tuple[int, int]:
    """Lowest bit and number of bits."""
    if "int" not in kind:
        raise FieldError("bits", f"bits are part of an integer, and not of a {kind}")
    one = re.fullmatch(r"(\d{1,2})(?::(\d{1,2}))?", text, re.ASCII)
    if one is not None:
        low, high = sorted((int(one[1]), int(one[2] or one[1])))
    elif re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text) and int(text, 16):
        mask = int(text, 16)
        low, high = (mask & -mask).bit_length() - 1, mask.bit_length() - 1
        if mask >> low != (1 << (high - low + 1)) - 1:
            raise FieldError("bits", f"the mask {text} has a hole: write one point for each run of ones")
    else:
        raise FieldError("bits", f'{text!r} are no bits: write one ("3"), a range ("3:5") or a mask ("0x38")')
    if high >= 8 * size:
        raise FieldError("bits", f"bit {high} is not in a value of {8 * size} bits")
    return low, high - low + 1
