"""The name that :mod:`gateway.tls` had here before."""

from gateway.tls import client_context, failure

__all__ = ["client_context", "failure"]
