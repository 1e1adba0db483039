"""Probes of the way to a broker: name, port, TLS, and what is spoken there."""

import queue
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evtools.transport.settings import TLS, ConnectionSettings
from evtools.transport.tls import context_of, tls_for
from evtools.transport.url import kind_of, parse

#: By family: the protocol, the port without TLS and the one with it.
_FAMILIES: Final[Mapping[str, tuple[str, int, int]]] = {
    "amqp": ("amqp", 5672, 5671),
    "redis": ("redis", 6379, 6379),
    "sentinel": ("redis", 26379, 26379),
}
#: Families where the address itself speaks TLS; Sentinels name a master, and it is the
#: master that may speak TLS.
_DIRECT: Final = ("amqp", "redis")
#: A name may have very many addresses; only the first are tried.
_ADDRESSES_MAX: Final = 8
#: As long as the header of AMQP, and not one: every server answers with what it speaks.
_GREETING: Final = b"PING\r\n\r\n"
#: How answers to that begin.  Redis has errors for strangers.
_ANSWERS: Final[Mapping[bytes, str]] = {
    b"AMQP": "amqp",
    b"+PONG": "redis",
    b"-NOAUTH": "redis",
    b"-DENIED": "redis",
    b"HTTP/": "http",
}
_ANSWER_BYTES: Final = 64
#: X509_V_FLAG_NO_CHECK_TIME, which Python has no name for.
_ANY_TIME: Final = 0x200000

_Found = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an address of the broker leads, and the `protocol` we mean to speak there.

    `tls` is None without encryption; `connect_timeout` is in seconds.
    """

    host: str
    port: int
    tls: TLS | None = None
    connect_timeout: float = 4.0
    protocol: str = ""

    @property
    def server_name(self) -> str:
        """The name that the certificate must be for."""
        return (self.tls and self.tls.server_name) or self.host


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a broker's certificate says; times are UTC epoch seconds."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float
    not_after: float


def endpoints(settings: ConnectionSettings) -> list[Endpoint]:
    """Return where the addresses of the broker lead.

    There are none for brokers that are not reached by host and port.  Raise UsageError or
    ImproperlyConfigured for TLS settings that cannot work.
    """
    found = []
    for url in settings.addresses():
        address = parse(url)
        family = kind_of(address.scheme).family
        if family in _FAMILIES:
            tls = tls_for(settings.tls, address) if family in _DIRECT else None
            protocol, *ports = _FAMILIES[family]
            port = address.port or ports[tls is not None]
            host = address.hostname or "localhost"
            found.append(Endpoint(host, port, tls, settings.connect_timeout, protocol))
    return found


def resolve(endpoint: Endpoint) -> list[str]:
    """Return the addresses of the host; raise OSError within `connect_timeout`."""
    return [str(found[4][0]) for found in _resolved(endpoint)]


def _resolved(endpoint: Endpoint) -> _Found:
    # The system's resolver takes its time, and cannot be stopped.
    answers: queue.SimpleQueue[_Found | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            answers.put(socket.gaierror(socket.EAI_NONAME, "it is no name of a host"))

    threading.Thread(target=ask, name="evtools-resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=endpoint.connect_timeout)
    except queue.Empty:
        text = f"no answer in {endpoint.connect_timeout:g}s"
        raise socket.gaierror(socket.EAI_AGAIN, text) from None
    if isinstance(answer, OSError):
        raise answer
    return answer[:_ADDRESSES_MAX]


def open_socket(endpoint: Endpoint) -> socket.socket:
    """Connect to the port, on the first address that lets us; raise OSError."""
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "it has no address")
    for family, kind, protocol, _, address in _resolved(endpoint):
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(endpoint.connect_timeout)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def handshake(endpoint: Endpoint) -> Certificate:
    """Return the certificate of a broker that is trusted.

    Raise ssl.SSLError for one that is not, and OSError.
    """
    assert endpoint.tls is not None
    with _wrapped(endpoint, context_of(endpoint.tls)) as sock:
        return _certificate(sock.getpeercert() or {})


def certificate_of(endpoint: Endpoint) -> Certificate:
    """Return the certificate a broker shows, trusted or not; raise OSError."""
    with _wrapped(endpoint, _credulous()) as sock:
        der = sock.getpeercert(binary_form=True)
    # Python parses only what it trusts: so let it trust just this one.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _ANY_TIME
    context.load_verify_locations(cadata=der or b"")
    with _wrapped(endpoint, context) as sock:
        return _certificate(sock.getpeercert() or {})


def speaks_tls(endpoint: Endpoint) -> bool:
    """Return whether a TLS handshake is answered there."""
    try:
        with _wrapped(endpoint, _credulous()):
            return True
    except OSError:
        return False


def spoken(endpoint: Endpoint) -> str:
    """Return what is spoken there without TLS: amqp, redis or http, "" if unknown."""
    try:
        with open_socket(endpoint) as sock:
            sock.sendall(_GREETING)
            answer = sock.recv(_ANSWER_BYTES)
    except OSError:
        return ""
    names = (name for begin, name in _ANSWERS.items() if answer.startswith(begin))
    return next(names, "")


def _credulous() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _wrapped(endpoint: Endpoint, context: ssl.SSLContext) -> ssl.SSLSocket:
    sock = open_socket(endpoint)
    try:
        return context.wrap_socket(sock, server_hostname=endpoint.server_name)
    except BaseException:
        sock.close()
        raise


def _certificate(fields: Mapping[str, Any]) -> Certificate:
    return Certificate(
        subject=_common_name(fields.get("subject", ())),
        issuer=_common_name(fields.get("issuer", ())),
        names=tuple(str(name) for _, name in fields.get("subjectAltName", ())),
        not_before=_seconds(fields.get("notBefore")),
        not_after=_seconds(fields.get("notAfter")),
    )


def _common_name(parts: Sequence[Sequence[tuple[str, str]]]) -> str:
    pairs = dict(pair for part in parts for pair in part)
    common = pairs.get("commonName") or pairs.get("organizationName")
    return common or ", ".join(pairs.values()) or "(no name)"


def _seconds(text: str | None) -> float:
    return float(ssl.cert_time_to_seconds(text)) if text else float("nan")
