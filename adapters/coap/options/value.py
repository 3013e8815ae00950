"""Options that the asking and the serving side share: a value's place in a payload. Light."""

from __future__ import annotations

from adapters.payloads.fields import is_field, parse_field
from adapters.payloads.pointer import parse_pointer
from adapters.payloads.times import TimeUnit
from gateway.errors import FieldError
from gateway.point import PointOptions


class ValueOptions(PointOptions, frozen=True, kw_only=True):
    """A point and where its value is found in a payload."""

    value: str = ""
    """JSON pointer (RFC 6901) to the value in a JSON or CBOR payload, ``/rh``. Left out, a map is asked
    for the member with the point's name, and everything else is the value itself. In a SenML pack the name
    of the record to take; left out, the one with the point's name, or the only one. In raw bytes a field:
    ``@4 uint16 little bits 3:5 x2/8 *0.1 +20``, of which ``@4 uint16`` (first byte, type) is needed."""
    time: str = ""
    """JSON pointer to the source time in a JSON or CBOR payload; left out, the time of arrival is taken.
    SenML records carry their own times."""
    time_unit: TimeUnit = TimeUnit.AUTO
    """What a numeric source time counts since 1970: ``s``, ``ms``, ``us``, ``ns``; ``auto`` guesses by
    magnitude. Text is RFC 3339."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if is_field(self.value):
            parse_field("value", self.value)
        else:
            check_pointer("value", self.value)
        check_pointer("time", self.time)


def check_path(field: str | tuple[str, ...], path: str) -> None:
    """Refuse what is not an absolute path.

    Raises:
        FieldError: for ``field``.
    """
    if not path.startswith("/") or "#" in path or any(character.isspace() for character in path):
        raise FieldError(field, f'{path!r} is not a path; it begins with "/", such as "/temp"')


def check_pointer(field: str, text: str) -> None:
    """Refuse what is not a JSON pointer (RFC 6901).

    Raises:
        FieldError: for ``field``.
    """
    try:
        parse_pointer(text)
    except ValueError as error:
        raise FieldError(field, str(error)) from None
