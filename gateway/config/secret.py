"""Which options hold secrets: shown as :data:`HIDDEN` wherever a configuration is shown."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from gateway.config.describe import field_docs

HIDDEN: Final = "***"

_NAMES: Final = frozenset({"password", "passphrase", "token", "bearer", "basic", "secret"})
_FREE: Final = frozenset({"headers", "properties", "options"})
"""Options that are mappings of the user's own keys, of which some may hold secrets."""
_KEY = re.compile(r"passw|secret|token|api[-_]?key|auth|credential|cookie|private", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*(?=@)")


@lru_cache(maxsize=256)
def secret_options(cls: type[msgspec.Struct]) -> frozenset[str]:
    """Python names of the fields that hold secrets: by their name, or because their text says to use a credential.

    A field whose value is a mapping is not one of them; see :func:`is_secret_key`.
    """
    docs = field_docs(cls)
    return frozenset(
        field
        for field in cls.__struct_fields__
        if field not in _FREE and (field in _NAMES or "${credential:" in docs.get(field, ""))
    )


def is_secret_key(option: str, key: str) -> bool:
    """Whether ``key`` of a mapping that the user fills as he likes, such as ``headers``, is named like a secret."""
    return option in _FREE and _KEY.search(key) is not None


def without_login(value: Any) -> Any:
    """A text with the password in a URL hidden; anything else as it is."""
    return _LOGIN.sub(rf"\1:{HIDDEN}", value) if isinstance(value, str) else value
