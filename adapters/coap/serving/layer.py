"""The message layer of a server: it answers, and it asks too, from the port that peers know (through their NAT)."""

from __future__ import annotations

from typing import Any

from adapters.coap.asking.questions import Asking
from adapters.coap.messages import Messages


class Serving(Asking):
    """As that of a client, but requests are taken."""

    def dispatch_message(self, message: Any) -> None:
        """Called by the transport for each message."""
        Messages.dispatch_message(self, message)
