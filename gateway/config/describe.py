"""What the source says of the options: the docstrings below fields, and defaults as users write them."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
from functools import lru_cache
from typing import Any

import msgspec

from gateway.units import Bandwidth, Duration, Rate, Size

_DURATIONS = (("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000))
_SHORT = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1))
_SIZES = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1))


@lru_cache(maxsize=512)
def field_docs(cls: type[msgspec.Struct]) -> dict[str, str]:
    """The string literal below each field of a struct, by the field's Python name, those of bases included."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            docs |= _own_docs(base)
    return docs


def _own_docs(cls: type) -> dict[str, str]:
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return {}  # made while running, or installed without its source
    (body,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(body, ast.ClassDef)  # what getsource gives for a class
    docs: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                docs[name] = one_line(text)
    return docs


def summary(cls: type) -> str:
    """The first paragraph of a class's docstring."""
    return one_line(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0])


def one_line(text: str) -> str:
    """A docstring as running text, with reStructuredText's double backticks made single."""
    text = re.sub(r":(?:\w+:)?\w+:`~?([^`]+)`", r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


def written(value: Any) -> Any:
    """A default as it would be written in YAML: ``50ms``, ``64MiB``, an enumeration's word."""
    if isinstance(value, Duration):
        # minutes and up only where they are whole: 90s stays 90s
        units = _DURATIONS + _SHORT if value.ns % 60_000_000_000 == 0 else _SHORT
        return _in_units(value.ns, units)
    if isinstance(value, Size):
        return _in_units(value, _SIZES)
    if isinstance(value, Bandwidth | Rate):
        return f"{value:g}/s" if isinstance(value, Rate) else f"{_in_units(value, _SIZES)}/s"
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [written(item) for item in value]
    return value


def _in_units(amount: int, units: tuple[tuple[str, int], ...]) -> str:
    if amount == 0:
        return f"0{units[-1][0]}" if units[-1][0] == "B" else "0s"
    return next(f"{amount // size}{unit}" for unit, size in units if amount % size == 0)
