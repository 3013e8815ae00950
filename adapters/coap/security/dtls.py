"""DTLS 1.2 with pre-shared keys (RFC 6347, RFC 7252 9.1.3.1), without I/O: datagrams in, messages and datagrams out.

It is OpenSSL by pyOpenSSL's memory BIOs. Two things go around pyOpenSSL: it has no way to set the callbacks
for pre-shared keys, and its callbacks for cookies need memory that is writable and executable, which the
service is forbidden (MemoryDenyWriteExecute). Those of ctypes do not.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from adapters.coap.security.dtls_records import MTU, datagrams

CIPHERS: Final = (
    b"PSK-AES128-CCM8:PSK-AES128-GCM-SHA256:PSK-AES256-GCM-SHA384:PSK-AES128-CCM:PSK-AES256-CCM:"
    # CCM8 has a tag of 64 bits, which OpenSSL puts at level 0; RFC 7252 makes it mandatory
    b"@SECLEVEL=0"
)
MAX_RECORD: Final = 16_384
_LIBRARY: Final = Binding().lib  # what pyOpenSSL itself stands on
_FFI: Final = Binding().ffi
_DTLS_1_2: Final = 0xFEFD
_COOKIE_BYTES: Final = 32

# The types of OpenSSL's callbacks: (ssl, hint, identity, room, key, room) and so on, see SSL_CTX_set_psk_*(3)
_AS_CLIENT = ctypes.CFUNCTYPE(
    ctypes.c_uint,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_void_p,
    ctypes.c_uint,
)
_AS_SERVER = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint)
_GENERATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint))
_VERIFY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)


class DtlsError(Exception):
    """The session is over."""


class Psk(NamedTuple):
    """A pre-shared key."""

    identity: bytes
    key: bytes


class Session:
    """One side of one session."""

    def __init__(self, connection: SSL.Connection, keys: object) -> None:
        self.connection = connection
        self._keys = keys  # what OpenSSL calls back lives as long as the session
        self.established = False
        self.heard = False
        """Whether anything came from the other side, whoever that is."""

    def start(self) -> None:
        """The first flight, to be sent: a client's, or a server's once it has been greeted.

        Raises:
            DtlsError: it cannot be made.
        """
        self._advance()

    def feed(self, datagram: bytes) -> list[bytes]:
        """The messages that a datagram brings. What is not authentic brings none.

        Raises:
            DtlsError: the other side has ended the session, or it cannot come about.
        """
        if not datagram:
            return []
        self.heard = True
        self.connection.bio_write(datagram)
        return self._advance()

    def _advance(self) -> list[bytes]:
        received: list[bytes] = []
        try:
            if not self.established:
                self.connection.do_handshake()
                self.established = True
            while True:
                received.append(self.connection.recv(MAX_RECORD))
        except SSL.WantReadError:
            return received
        except SSL.ZeroReturnError:
            raise DtlsError("the other side has closed the session") from None
        except SSL.Error as error:
            raise DtlsError(words_of(error)) from None

    def send(self, message: bytes) -> None:
        """Put a message into a datagram.

        Raises:
            DtlsError: there is no session, or it does not fit.
        """
        if not self.established:
            raise DtlsError("there is no session")
        try:
            self.connection.send(message)
        except SSL.Error as error:
            raise DtlsError(words_of(error)) from None

    def outgoing(self) -> list[bytes]:
        """The datagrams to be sent."""
        stream = bytearray()
        while True:
            try:
                stream += self.connection.bio_read(65_536)
            except SSL.WantReadError:
                return datagrams(bytes(stream))

    def timeout_s(self) -> float | None:
        """When to call :meth:`repeat`; None: there is nothing to wait for."""
        return self.connection.DTLSv1_get_timeout()

    def repeat(self) -> None:
        """The last flight again, if its time has come.

        Raises:
            DtlsError: it was repeated too often.
        """
        try:
            self.connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            raise DtlsError(words_of(error)) from None

    def close(self) -> None:
        """Take leave; the word for it is to be sent."""
        if self.established:
            try:
                self.connection.shutdown()
            except SSL.Error:
                return  # it is over already


class ClientKeys:
    """Makes the sessions of a client."""

    def __init__(self, psk: Psk) -> None:
        def give(_ssl: Any, _hint: Any, identity: int, identity_room: int, key: int, key_room: int) -> int:
            if len(psk.identity) >= identity_room or len(psk.key) > key_room:
                return 0
            ctypes.memmove(identity, psk.identity + b"\0", len(psk.identity) + 1)
            ctypes.memmove(key, psk.key, len(psk.key))
            return len(psk.key)

        self._give = _AS_CLIENT(give)  # OpenSSL does not hold it
        self._context = _context()
        raw = self._context._context  # noqa: SLF001  # pyOpenSSL has no other way
        kind = "unsigned int (*)(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)"
        _LIBRARY.SSL_CTX_set_psk_client_callback(raw, _pointer(kind, self._give))

    def session(self) -> Session:
        """A session that begins with :meth:`Session.start`."""
        connection = _connection(self._context)
        connection.set_connect_state()
        return Session(connection, self)


class ServerKeys:
    """Makes the sessions of a server, which begin when a client has shown that it can be reached (cookies)."""

    def __init__(self, keys: Mapping[str, Psk]) -> None:
        self._keys = {psk.identity: (name, psk.key) for name, psk in keys.items()}
        self._secret = secrets.token_bytes(32)
        self._address = b""
        """Whom the datagram at hand is from."""
        self._used: dict[int, str] = {}
        """Name of the key by OpenSSL's pointer of the session."""
        self.unknown: list[bytes] = []
        """Identities that were asked for and are not known, for the caller to take."""
        self._callbacks = (_AS_SERVER(self._give), _GENERATE(self._generate), _VERIFY(self._verify))
        self._context = _context()
        raw = self._context._context  # noqa: SLF001  # pyOpenSSL has no other way
        give, generate, verify = self._callbacks
        kind = "unsigned int (*)(SSL *, const char *, unsigned char *, unsigned int)"
        _LIBRARY.SSL_CTX_set_psk_server_callback(raw, _pointer(kind, give))
        _LIBRARY.SSL_CTX_set_cookie_generate_cb(
            raw, _pointer("int (*)(SSL *, unsigned char *, unsigned int *)", generate)
        )
        _LIBRARY.SSL_CTX_set_cookie_verify_cb(
            raw, _pointer("int (*)(SSL *, const unsigned char *, unsigned int)", verify)
        )
        assert SSL.OP_COOKIE_EXCHANGE is not None  # OpenSSL has it for longer than this code
        self._context.set_options(SSL.OP_COOKIE_EXCHANGE)
        self._listener = self._listening()

    def _listening(self) -> SSL.Connection:
        connection = _connection(self._context)
        connection.set_accept_state()
        return connection

    def greet(self, datagram: bytes, address: bytes) -> tuple[Session | None, list[bytes]]:
        """A ClientHello: the new session, if it brings back the cookie of its address, and what to send.

        Nothing is kept of those that do not.
        """
        if not datagram:
            return None, []
        self._address = address
        listener = self._listener
        listener.bio_write(datagram)
        session = Session(listener, self)
        try:
            listener.DTLSv1_listen()
        except SSL.WantReadError:
            return None, session.outgoing()
        except SSL.Error:
            self._listener = self._listening()
            return None, []
        self._listener = self._listening()
        session.heard = True
        return session, []

    def name_of(self, session: Session) -> str:
        """Name of the key that an established session was made with."""
        return self._used[_number(session)]

    def forget(self, session: Session) -> None:
        """The session is over."""
        self._used.pop(_number(session), None)

    def _give(self, ssl: int, identity: bytes, key: int, room: int) -> int:
        known = self._keys.get(identity)
        if known is None or len(known[1]) > room:
            self.unknown.append(identity)
            return 0
        self._used[ssl] = known[0]
        ctypes.memmove(key, known[1], len(known[1]))
        return len(known[1])

    def _generate(self, _ssl: int, cookie: int, length: Any) -> int:
        ctypes.memmove(cookie, self._cookie(), _COOKIE_BYTES)
        length[0] = _COOKIE_BYTES
        return 1

    def _verify(self, _ssl: int, cookie: int, length: int) -> int:
        return int(hmac.compare_digest(ctypes.string_at(cookie, length), self._cookie()))

    def _cookie(self) -> bytes:
        return hmac.digest(self._secret, self._address, hashlib.sha256)


def words_of(error: SSL.Error) -> str:
    """What went wrong, for people; it holds nothing of the keys."""
    reasons = [str(entry[-1]) for entry in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    text = "; ".join(filter(None, reasons)) or "the session broke off"
    if "unknown psk identity" in text or "psk identity not found" in text:
        return "the identity is not known there"
    if "decrypt" in text or "bad record mac" in text:
        return "the key does not fit"
    if "no shared cipher" in text or "handshake failure" in text:
        return f"no common cipher, or no key ({text})"
    return text


def _context() -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _connection(context: SSL.Context) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_ciphertext_mtu(MTU)
    return connection


def _pointer(kind: str, callback: Any) -> Any:
    address = ctypes.cast(callback, ctypes.c_void_p).value
    return _FFI.cast(kind, address)  # the two foreign function interfaces meet here


def _number(session: Session) -> int:
    pointer = session.connection._ssl  # noqa: SLF001  # what OpenSSL hands to its callbacks
    return int(_FFI.cast("uintptr_t", pointer))
