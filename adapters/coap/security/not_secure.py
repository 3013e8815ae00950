"""Errors of protected messages and sessions. They are of the network for aiocoap, so that the link is down."""

from __future__ import annotations

from aiocoap import error


class SessionError(error.NetworkError):  # type: ignore[misc]  # aiocoap ships no types
    """A session is over, or does not come about."""

    def __str__(self) -> str:
        return str(self.args[0])


class NotSecureError(SessionError):
    """A message, or a session, is not protected as it should be; nothing of it may be used."""
