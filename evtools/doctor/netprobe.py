"""The way to a broker, one step at a time: its name, its port, its certificate."""

import queue
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evtools.transport.brokers import kind_of
from evtools.transport.settings import TLS, ConnectionSettings
from evtools.transport.tls import context_of, tls_for
from evtools.transport.url import Address, parse

#: By family: the port without TLS and the one with it.
_PORTS: Final[Mapping[str, tuple[int, int]]] = {
    "amqp": (5672, 5671),
    "redis": (6379, 6379),
    "sentinel": (26379, 26379),
}
_PROTOCOLS: Final[Mapping[str, str]] = {"amqp": "amqp", "redis": "redis", "sentinel": "redis"}
#: Families where TLS is spoken by whom the address names; Sentinels name a
#: master, and it is the master that may speak TLS.
_DIRECT: Final = ("amqp", "redis")
#: A name may have very many addresses; nobody tries more than some.
_ADDRESSES_MAX: Final = 8
#: As long as the header of AMQP, and no such: whoever hears it says who he is.
_GREETING: Final = b"PING\r\n\r\n"
#: How answers to that begin.  Redis has errors for whom it does not know.
_VOICES: Final[Mapping[bytes, str]] = {
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
class Place:
    """Where an address of the broker leads; `tls` is None without encryption.

    `protocol` is what we mean to speak there.
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


def places(settings: ConnectionSettings) -> list[Place]:
    """Return where the addresses of the broker lead.

    There are none for brokers that are not reached by host and port.  Raise
    UsageError or ImproperlyConfigured for TLS settings that cannot work.
    """
    return [place for url in settings.addresses() for place in _place(parse(url), settings)]


def _place(address: Address, settings: ConnectionSettings) -> Iterator[Place]:
    family = kind_of(address.scheme).family
    if family not in _PORTS:
        return
    tls = tls_for(settings.tls, address) if family in _DIRECT else None
    port = address.port or _PORTS[family][tls is not None]
    yield Place(
        address.hostname or "localhost", port, tls, settings.connect_timeout, _PROTOCOLS[family]
    )


def resolve(place: Place) -> list[str]:
    """Return the addresses of the host; raise OSError, in time."""
    return [str(found[4][0]) for found in _resolved(place)]


def _resolved(place: Place) -> _Found:
    # The system's resolver takes as long as it likes, and cannot be stopped.
    answers: queue.SimpleQueue[_Found | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            answers.put(socket.gaierror(socket.EAI_NONAME, "it is no name of a host"))

    threading.Thread(target=ask, name="evtools-resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=place.connect_timeout)
    except queue.Empty:
        raise socket.gaierror(
            socket.EAI_AGAIN, f"no answer in {place.connect_timeout:g}s"
        ) from None
    if isinstance(answer, OSError):
        raise answer
    return answer[:_ADDRESSES_MAX]


def open_socket(place: Place) -> socket.socket:
    """Connect to the port, on the first address that lets us; raise OSError."""
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "it has no address")
    for family, kind, protocol, _, address in _resolved(place):
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(place.connect_timeout)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def handshake(place: Place) -> Certificate:
    """Return the certificate of a broker that is trusted.

    Raise ssl.SSLError for one that is not, and OSError.
    """
    assert place.tls is not None
    return _certificate(_told(place, context_of(place.tls)))


def certificate_of(place: Place) -> Certificate:
    """Return the certificate a broker shows, trusted or not; raise OSError."""
    with _wrapped(place, _credulous()) as sock:
        der = sock.getpeercert(binary_form=True)
    # Python takes apart only what it trusts: so let it trust just this one.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _ANY_TIME
    context.load_verify_locations(cadata=der or b"")
    return _certificate(_told(place, context))


def speaks_tls(place: Place) -> bool:
    """Return whether whoever listens there answers a TLS handshake."""
    try:
        with _wrapped(place, _credulous()):
            return True
    except OSError:
        return False


def spoken(place: Place) -> str:
    """Return what is spoken there without TLS: amqp, redis or http, "" if unknown."""
    answer = b""
    try:
        with open_socket(place) as sock:
            sock.sendall(_GREETING)
            answer = sock.recv(_ANSWER_BYTES)
    except OSError:
        return ""
    voices = (name for begin, name in _VOICES.items() if answer.startswith(begin))
    return next(voices, "")


def _credulous() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _wrapped(place: Place, context: ssl.SSLContext) -> ssl.SSLSocket:
    sock = open_socket(place)
    try:
        return context.wrap_socket(sock, server_hostname=place.server_name)
    except BaseException:
        sock.close()
        raise


def _told(place: Place, context: ssl.SSLContext) -> Mapping[str, Any]:
    with _wrapped(place, context) as sock:
        return sock.getpeercert() or {}


def _certificate(told: Mapping[str, Any]) -> Certificate:
    return Certificate(
        subject=_name(told.get("subject", ())),
        issuer=_name(told.get("issuer", ())),
        names=tuple(str(name) for _, name in told.get("subjectAltName", ())),
        not_before=_moment(told.get("notBefore")),
        not_after=_moment(told.get("notAfter")),
    )


def _name(parts: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Return a distinguished name, shortly: the common name if there is one."""
    pairs = dict(pair for part in parts for pair in part)
    common = pairs.get("commonName") or pairs.get("organizationName")
    return common or ", ".join(pairs.values()) or "(no name)"


def _moment(text: str | None) -> float:
    return float(ssl.cert_time_to_seconds(text)) if text else float("nan")
