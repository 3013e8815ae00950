"""Reading a configuration from where its credentials are not: by a person at a terminal, not by the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.config.expand import Expander, ExpandError

STAND_IN: Final = "0" * 64
"""In place of a credential that is not to be had: long enough for a key, and hex."""


class LenientExpander(Expander):
    """Takes a stand-in for credentials that cannot be read, and notes which; nothing may be sent with it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        super().__init__(env)
        self.missing: dict[str, str] = {}
        """Why each that is missing could not be read, by name."""

    def read_credential(self, name: str) -> str:
        """See the base class."""
        try:
            return super().read_credential(name)
        except ExpandError as error:
            self.missing[name] = str(error)
            return STAND_IN
