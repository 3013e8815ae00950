"""Who is to be connected to: name, port, TLS; and ports to listen at."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import psutil
from cryptography import x509

from gateway.doctor.certificates import SOON_DAYS, in_time
from gateway.doctor.diagnosis import Diagnosis, Severity, fine, found
from gateway.doctor.links import Listener, Target, shakes_hands_first
from gateway.doctor.patient import Patient
from gateway.errors import LinkError
from gateway.tls import client_context, failure

CONNECT_S = 2.0


def check_target(target: Target) -> Iterator[Diagnosis]:
    """Its name has an address, somebody accepts, and TLS is what it should be."""
    place = f"{target.host}:{target.port}"
    words = {"host": target.host, "port": target.port}
    kind = socket.SOCK_DGRAM if target.protocol == "udp" else socket.SOCK_STREAM
    try:
        addresses = socket.getaddrinfo(target.host, target.port, type=kind)
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, socket.gaierror) else str(error)
        yield found("name-unknown", f"{target.host}: {why}", target.owner, **words)
        return
    if target.protocol == "udp":
        yield fine("reach", f"{place} has an address ({addresses[0][4][0]})", target.owner)
        return
    try:
        with socket.create_connection((target.host, target.port), CONNECT_S) as sock:
            if target.tls and shakes_hands_first(target):
                yield from _handshake(target, sock)
            else:
                yield fine("reach", f"{place} accepts", target.owner)
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        yield found("not-reachable", f"{place}: {why}", target.owner, **words)


def answers(target: Target) -> bool:
    """Whether it can be connected to, so that there is something to ask."""
    return all(one.severity is not Severity.PROBLEM for one in check_target(target))


def _handshake(target: Target, sock: socket.socket) -> Iterator[Diagnosis]:
    options, place = target.options, f"{target.host}:{target.port}"
    words = {"host": target.host, "port": target.port}
    name = getattr(options, "server_name", "") or target.host
    try:
        context = client_context(_file(options, "ca"), _file(options, "cert"), _file(options, "key"))
    except LinkError as error:
        yield found("tls-refused", str(error), target.owner, **words)
        return
    try:
        with context.wrap_socket(sock, server_hostname=name) as secure:
            certificate = secure.getpeercert(binary_form=True)
            version = secure.version()
    except ssl.SSLError as error:
        what = f"{place}: {failure(error, 'server')}"
        yield found("tls-refused", what + _dates(target), target.owner, **words)
        return
    yield fine("reach", f"{place} accepts, {version}, and its certificate is trusted", target.owner)
    if certificate is not None:
        yield from _age(target, x509.load_der_x509_certificate(certificate))


def _age(target: Target, certificate: x509.Certificate) -> Iterator[Diagnosis]:
    for one in in_time(certificate, target.owner, f"{target.host}:{target.port}"):
        if one.severity is not Severity.OK:
            yield found(
                "peer-certificate-expires", one.what, target.owner, host=target.host, port=target.port, days=SOON_DAYS
            )


def _dates(target: Target) -> str:
    """What a certificate that is refused says of itself. Nothing is sent over this connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((target.host, target.port), CONNECT_S) as sock,
            context.wrap_socket(sock, server_hostname=target.host) as secure,
        ):
            raw = secure.getpeercert(binary_form=True)
    except OSError:
        return ""
    if raw is None:
        return ""
    certificate = x509.load_der_x509_certificate(raw)
    return f" (it is {certificate.subject.rfc4514_string()}, valid until {certificate.not_valid_after_utc:%Y-%m-%d})"


def _file(options: Any, name: str) -> str | None:
    return getattr(options, name, None) or None


def check_listener(patient: Patient, listener: Listener) -> Iterator[Diagnosis]:
    """The port is free, or ours."""
    kind = socket.SOCK_DGRAM if listener.protocol == "udp" else socket.SOCK_STREAM
    place = f"{listener.protocol} {listener.host}:{listener.port}"
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    try:
        with socket.socket(family, kind) as sock:
            if listener.protocol == "tcp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else TIME_WAIT looks taken
            sock.bind((listener.host, listener.port))
    except OSError as error:
        yield _occupied(patient, listener, place, error)
    else:
        yield fine("ports", f"{place} is free", listener.owner)


def _occupied(patient: Patient, listener: Listener, place: str, error: OSError) -> Diagnosis:
    if error.errno in {errno.EADDRNOTAVAIL, errno.ENODEV} or isinstance(error, socket.gaierror):
        return found("port-not-ours", f"{place}: {error.strerror}", listener.owner)
    if error.errno == errno.EACCES:
        why = "ports below 1024 are for root" if listener.port < 1024 else error.strerror
        return found("port-taken", f"{place}: {why}", listener.owner, port=listener.port)
    holder = _holder(listener)
    if patient.status is not None and (patient.within or holder is None or _ours(holder, patient)):
        return fine("ports", f"{place} is the running gateway's", listener.owner)
    who = f"{holder.name()} (process {holder.pid})" if holder is not None else "another process"
    return found("port-taken", f"{place} is taken by {who}", listener.owner, port=listener.port)


def _holder(listener: Listener) -> psutil.Process | None:
    """Who listens there, if that may be seen."""
    try:
        connections = psutil.net_connections(listener.protocol)
    except (psutil.Error, OSError):
        return None
    for one in connections:
        listens = listener.protocol == "udp" or one.status == psutil.CONN_LISTEN
        if listens and one.laddr and one.laddr.port == listener.port and one.pid:
            try:
                return psutil.Process(one.pid)
            except psutil.Error:
                return None
    return None


def _ours(holder: psutil.Process, patient: Patient) -> bool:
    """The gateway itself, or its broker."""
    try:
        return patient.pid in {holder.pid, holder.ppid()}
    except psutil.Error:
        return False
