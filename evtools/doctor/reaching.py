"""Checks on the way to the broker: its kind, name, port, TLS, login."""

import ipaddress
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from evtools.doctor.case import Case
from evtools.doctor.finding import Finding
from evtools.doctor.inspect import examine, remedy
from evtools.doctor.netprobe import (
    Certificate,
    Place,
    certificate_of,
    handshake,
    open_socket,
    places,
    resolve,
    speaks_tls,
    spoken,
)
from evtools.text import human_age
from evtools.transport import ConnectionSettings, connect
from evtools.transport.errors import FAILURES, Diagnosis, diagnose

_DAY: Final = 86400.0
#: Who renews certificates by hand wants to know so long before, in seconds.
_SOON: Final = 14 * _DAY
_NAMES_SHOWN: Final = 5
_ADDRESSES_MAX: Final = 16

#: Where a driver says that it went wrong: the check that is about it.
_CHECKS: Final[Mapping[str, str]] = {
    "DNS": "name",
    "TCP": "port",
    "TLS": "tls",
    "permission": "permissions",
    "vhost": "vhost",
    "database": "database",
    "timeout": "answer",
}
#: Layers where it may be that the other side speaks something else.
_BEFORE_LOGIN: Final = ("TCP", "TLS", "timeout", "")
#: By protocol: what to call it, and what to do about it.
_SPOKEN: Final[Mapping[str, tuple[str, str]]] = {
    "amqp": ("AMQP", "Use amqp:// in the URL"),
    "redis": ("the protocol of Redis", "Use redis:// in the URL"),
    "http": (
        "HTTP",
        ("RabbitMQ has its pages at port 15672; events come from port 5672, or 5671 with TLS."),
    ),
}


def check_kind(case: Case) -> Iterator[Finding]:
    """See whether this kind of broker can carry events; nothing is connected."""
    settings = case.settings
    settings.refresh()
    for attempt, _ in enumerate(settings.addresses()):
        connect(settings, attempt=attempt).release()  # which connects nothing yet
    case.places = dict(enumerate(places(settings)[:_ADDRESSES_MAX]))
    yield Finding("broker", "ok", f"{settings.masked()} ({settings.source_of_url})")


def check_name(case: Case) -> Iterator[Finding]:
    """Look the hosts up."""
    return _sift(case, _look_up)


def check_port(case: Case) -> Iterator[Finding]:
    """Connect to the ports."""
    return _sift(case, _knock)


def check_tls(case: Case) -> Iterator[Finding]:
    """Shake hands where encryption is asked for, and look at the certificates."""
    now = case.clock.wall()
    return _sift(case, lambda place: _encrypt(place, case.settings, now))


def _sift(case: Case, probe: Callable[[Place], Finding]) -> Iterator[Finding]:
    """Yield what the probe finds at each place; go on with those that passed."""
    found = {number: probe(place) for number, place in case.places.items()}
    passed = [n for n, finding in found.items() if finding.severity != "problem"]
    for finding in found.values():
        # The tools take the next address then.
        tolerable = finding.severity == "problem" and passed
        yield replace(finding, severity="warning") if tolerable else finding
    case.places = {number: case.places[number] for number in passed}


def _look_up(place: Place) -> Finding:
    try:
        found = ", ".join(dict.fromkeys(resolve(place)))
    except OSError as error:
        return Finding(
            "name",
            "problem",
            f"the name {place.host} has no address: {error.strerror or error}",
            f"Is it right, and does this host know it?\n  getent hosts {place.host}",
        )
    if found == place.host:
        return Finding("name", "ok", f"{found} is an address, no name")
    return Finding("name", "ok", f"{place.host} is {found}")


def _knock(place: Place) -> Finding:
    where = f"port {place.port} of {place.host}"
    try:
        open_socket(place).close()
    except TimeoutError:
        text = f"{where} does not answer within {place.connect_timeout:g}s"
        advice = "A firewall may drop what we send, or the host is down."
        return Finding("port", "problem", text, advice)
    except OSError as error:
        text = f"{where}: {(error.strerror or str(error)).lower()}"
        advice = "Does the broker run, and does it listen on this port and address?"
        return Finding("port", "problem", text, advice)
    return Finding("port", "ok", f"{where} is open")


# -- TLS ------------------------------------------------------------------------


def _encrypt(place: Place, settings: ConnectionSettings, now: float) -> Finding:
    if place.tls is None:
        return _unencrypted(place)
    try:
        certificate = handshake(place)
    except ssl.SSLCertVerificationError as error:
        return _untrusted(error, place, now)
    except OSError as error:
        told = diagnose(error, settings)
        return _stranger(place) or _unnamed(told, place)
    if place.tls.verify == "none":
        return Finding(
            "tls",
            "warning",
            "the broker's certificate is not checked",
            "Whoever answers at that address gets the password: leave out"
            " --tls-verify none, and name the CA with --tls-ca FILE.",
        )
    return _trusted(certificate, now)


def _unnamed(told: Diagnosis, place: Place) -> Finding:
    """Say that the handshake failed, and what may be missing in it."""
    if place.tls is None or place.tls.server_name or not _is_address(place.host):
        return Finding("tls", "problem", told.text, told.hint)
    return Finding(
        "tls",
        "problem",
        f"{told.text}; {place.host} is an address, so that we asked for no name",
        "Where several brokers share a port, each goes by its name:"
        f" --tls-server-name NAME. {told.hint}",
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _trusted(certificate: Certificate, now: float) -> Finding:
    left = certificate.not_after - now
    text = (
        f"certificate of {certificate.subject}, signed by {certificate.issuer},"
        f" good for another {human_age(left)}"
    )
    if left < _SOON:
        return Finding("tls", "warning", text, "Renew it on the broker in time.")
    return Finding("tls", "ok", text)


def _unencrypted(place: Place) -> Finding:
    text = f"the connection to {place.host} is not encrypted"
    if _is_local(place.host):
        return Finding("tls", "ok", text)
    advice = (
        "Passwords and events can be read on the way. Where the broker offers TLS:"
        " amqps://, rediss:// or --tls."
    )
    return Finding("tls", "note", text, advice)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _untrusted(error: ssl.SSLCertVerificationError, place: Place, now: float) -> Finding:
    """Say what is wrong with a certificate, from what stands in it."""
    text, advice = f"the certificate: {error.verify_message}", ""
    tell = _DEFECTS.get(error.verify_code)
    if tell is not None:
        with suppress(OSError):
            text, advice = tell(certificate_of(place), place, now)
    return Finding("tls", "problem", text, advice)


def _expired(shown: Certificate, place: Place, now: float) -> tuple[str, str]:
    del place
    ago = human_age(now - shown.not_after)
    return (
        f"the certificate of {shown.subject} expired {ago} ago",
        "Renew it on the broker. Or is this host's clock wrong?\n  date -u",
    )


def _early(shown: Certificate, place: Place, now: float) -> tuple[str, str]:
    del place
    ahead = human_age(shown.not_before - now)
    return (
        f"the certificate of {shown.subject} begins to be good in {ahead}",
        "Is this host's clock wrong?\n  date -u",
    )


def _unknown_signer(shown: Certificate, place: Place, now: float) -> tuple[str, str]:
    del now
    assert place.tls is not None
    trusted = place.tls.ca or "this system"
    return (
        f"the certificate is signed by {shown.issuer}, whom {trusted} does not trust",
        "Get the certificate of that CA from the broker's administrator: --tls-ca FILE",
    )


def _wrong_host(shown: Certificate, place: Place, now: float) -> tuple[str, str]:
    del now
    names = ", ".join(shown.names[:_NAMES_SHOWN]) or shown.subject
    return (
        f"the certificate is for {names}, and not for {place.server_name}",
        "Use such a name in the URL; or, if that cannot be: --tls-server-name NAME",
    )


#: By OpenSSL's X509_V_ERR_* codes.
_DEFECTS: Final[Mapping[int, Callable[[Certificate, Place, float], tuple[str, str]]]] = {
    9: _early,
    10: _expired,
    18: _unknown_signer,
    19: _unknown_signer,
    20: _unknown_signer,
    21: _unknown_signer,
    62: _wrong_host,
    64: _wrong_host,
}


# -- login ----------------------------------------------------------------------


def check_login(case: Case) -> Iterator[Finding]:
    """Connect, log in, choose the virtual host or database."""
    settings = case.settings
    try:
        case.examined = examine(settings, attempt=case.attempt)
    except FAILURES as error:
        yield _refused(diagnose(error, settings), case)
    else:
        yield Finding("login", "ok", f"{case.examination.server} lets us in")


def _refused(told: Diagnosis, case: Case) -> Finding:
    place = case.places.get(case.attempt)
    if place is not None and told.layer in _BEFORE_LOGIN:
        finding = _stranger(place) or _broken_off(told, place)
        if finding is not None:
            return finding
    check = _CHECKS.get(told.layer, "login")
    text = told.text
    if check == "answer":
        text = f"the port is open, and nobody speaks there: {told.text}"
    return Finding(check, "problem", text, advise(told, case))


def advise(told: Diagnosis, case: Case) -> str:
    """Return what to do about a refusal, with the command for it if there is one."""
    command = remedy(told, case.settings, attempt=case.attempt)
    return f"{told.hint}\n  {command}" if command else told.hint


def _stranger(place: Place) -> Finding | None:
    """Say what is spoken there, if it is not what we speak."""
    text = f"port {place.port} of {place.host} speaks"
    protocol = spoken(place)
    if protocol not in _SPOKEN:
        if place.tls is None and speaks_tls(place):
            advice = "Use amqps:// or rediss:// in the URL, or --tls"
            return Finding("tls", "problem", f"{text} TLS, and we do not", advice)
        return None
    name, advice = _SPOKEN[protocol]
    if place.tls is not None:
        return Finding("tls", "problem", f"{text} {name} without TLS", advice)
    if protocol != place.protocol:
        return Finding("answer", "problem", f"{text} {name}", advice)
    return None


def _broken_off(told: Diagnosis, place: Place) -> Finding | None:
    """Explain an end after a handshake that went well for us."""
    if told.layer != "TLS" or place.tls is None:
        return None
    text = f"the handshake is broken off after the certificate was shown: {told.text}"
    advice = "Whoever administers the broker knows of whom it takes certificates."
    if not place.tls.cert:
        text = f"the broker wants a certificate of us: {told.text}"
        advice = "Give it one: --tls-cert FILE --tls-key FILE"
    return Finding("tls", "problem", text, advice)
