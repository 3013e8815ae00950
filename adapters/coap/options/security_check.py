"""Whether keys, devices and served paths go together; said when the configuration is read. Light."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.coap.options.credentials import Keys, check_asked, check_keys, check_recipients, check_served
from adapters.coap.options.device import DeviceOptions
from adapters.coap.options.serve import ServeOptions
from gateway.errors import FieldError


def check_security(keys: Keys, devices: Mapping[str, DeviceOptions], serve: ServeOptions | None) -> None:
    """Refuse what could not be secure, or could never work.

    Raises:
        FieldError: with the path of the option, below the adapter's.
    """
    check_keys(keys)
    peers: dict[str, str] = {}
    for name, device in devices.items():
        check_asked(("devices", name), device.url, device.security, keys)
        key = keys.get(device.security)
        if key is not None and key.oscore is not None:
            first = peers.setdefault(device.security, device.url)
            if first != device.url:
                message = f"{device.security} is the key of {first} already; each device has an OSCORE key of its own"
                raise FieldError(("devices", name, "security"), message)
    if serve is not None:
        _check_serve(keys, serve)


def _check_serve(keys: Keys, serve: ServeOptions) -> None:
    secured = bool(serve.secure_listen)
    check_served(("serve", "security"), serve.security, keys, secured=secured)
    for path, served in serve.resources.items():
        check_served(("serve", "resources", path, "security"), served.security, keys, secured=secured)
    used = [*serve.security, *(name for served in serve.resources.values() for name in served.security)]
    check_recipients(("serve", "security"), used, keys)
    if secured and not any(keys[name].psk is not None for name in used):
        message = 'nobody could come in: name a key with "psk" in the security of serve or of a path'
        raise FieldError(("serve", "secure_listen"), message)
