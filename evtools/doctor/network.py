"""Checks on the way to the broker: its kind, name, port, TLS, login, and what is spoken there."""

import ipaddress
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias

from evtools.doctor.context import Context, Endpoint, Finding
from evtools.doctor.inspect import BrokerInspector
from evtools.doctor.inspect.amqp import AMQPInspector
from evtools.doctor.inspect.redis import RedisInspector
from evtools.text import human_age
from evtools.transport import ConnectionSettings, connect
from evtools.transport.errors import FAILURES, Diagnosis, diagnose
from evtools.transport.tls import context_of, tls_for
from evtools.transport.url import kind_of, parse

#: By family: the protocol, the port without TLS and the one with it.  Sentinels name a
#: master, and it is the master that may speak TLS.
_FAMILIES: Final[Mapping[str, tuple[str, int, int | None]]] = {
    "amqp": ("amqp", 5672, 5671),
    "redis": ("redis", 6379, 6379),
    "sentinel": ("redis", 26379, None),
}
_INSPECTORS: Final[Mapping[str, type[BrokerInspector]]] = {
    "amqp": AMQPInspector,
    **dict.fromkeys(("redis", "socket", "sentinel"), RedisInspector),
}
_ENDPOINTS_MAX: Final = 16


def check_kind(context: Context) -> Iterator[Finding]:
    """See whether this kind of broker can carry events; nothing is connected."""
    settings = context.settings
    settings.refresh()
    for attempt, url in enumerate(settings.addresses()):
        connect(settings, attempt=attempt).release()  # which connects nothing yet
        address = parse(url)
        family = kind_of(address.scheme).family
        if family in _FAMILIES and attempt < _ENDPOINTS_MAX:
            protocol, port, tls_port = _FAMILIES[family]
            tls = tls_for(settings.tls, address) if tls_port else None
            port = address.port or (tls_port if tls and tls_port else port)
            context.endpoints[attempt] = Endpoint(
                address.hostname or "localhost", port, tls, settings.connect_timeout, protocol
            )
    yield Finding("ok", f"{settings.masked()} ({settings.source_of_url})")


def _of_each(
    probe: Callable[[Endpoint, Context], Finding],
) -> Callable[[Context], Iterator[Finding]]:
    # The check that yields what is found at each endpoint, and goes on with those that passed.
    def check(context: Context) -> Iterator[Finding]:
        found = {number: probe(end, context) for number, end in context.endpoints.items()}
        passed = [number for number, finding in found.items() if finding.severity != "problem"]
        for number, finding in found.items():
            # The tools take the next address then.
            tolerable = passed and number not in passed
            yield replace(finding, severity="warning") if tolerable else finding
        context.endpoints = {number: context.endpoints[number] for number in passed}

    return check


# --- name and port ------------------------------------------------------------------

#: A name may have very many addresses; only the first are tried.
_ADDRESSES_MAX: Final = 8
_Found: TypeAlias = list[tuple[Any, ...]]


def _look_up(endpoint: Endpoint, _: Context) -> Finding:
    host = endpoint.host
    try:
        found = ", ".join(dict.fromkeys(str(found[4][0]) for found in _resolved(endpoint)))
    except OSError as error:
        text = f"the name {host} has no address: {error.strerror or error}"
        advice = f"Check the spelling and this host's DNS:\n  getent hosts {host}"
        return Finding("problem", text, advice)
    text = f"{found} is an address, not a name" if found == host else f"{host} is {found}"
    return Finding("ok", text)


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
        answer = socket.gaierror(socket.EAI_AGAIN, text)
    if isinstance(answer, OSError):
        raise answer
    return answer[:_ADDRESSES_MAX]


def _connected(endpoint: Endpoint) -> socket.socket:
    # To the first address of the name that lets us.
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


def _connect_to(endpoint: Endpoint, _: Context) -> Finding:
    where = f"port {endpoint.port} of {endpoint.host}"
    try:
        _connected(endpoint).close()
    except TimeoutError:
        text = f"{where} does not answer within {endpoint.connect_timeout:g}s"
        return Finding("problem", text, "A firewall may drop what we send, or the host is down.")
    except OSError as error:
        text = f"{where}: {(error.strerror or str(error)).lower()}"
        advice = "Does the broker run, and does it listen on this port and address?"
        return Finding("problem", text, advice)
    return Finding("ok", f"{where} is open")


# --- TLS ----------------------------------------------------------------------------

#: When it is time to renew a certificate by hand, in seconds before its end.
_SOON: Final = 14 * 86400.0
_NAMES_SHOWN: Final = 5
#: X509_V_FLAG_NO_CHECK_TIME, which Python has no name for.
_ANY_TIME: Final = 0x200000
#: By OpenSSL's X509_V_ERR_* code.
_EARLY, _EXPIRED, _UNKNOWN_SIGNER, _WRONG_HOST = (9,), (10,), (18, 19, 20, 21), (62, 64)

#: A certificate as Python describes it.
_Certificate: TypeAlias = Mapping[str, Any]


def _shake_hands(endpoint: Endpoint, context: Context) -> Finding:
    tls, host = endpoint.tls, endpoint.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if tls is None:
        text = f"the connection to {host} is not encrypted"
        if address.is_loopback if address else host == "localhost":
            return Finding("ok", text)
        risk = "Passwords and events can be read on the way."
        advice = f"{risk} Where the broker offers TLS: amqps://, rediss:// or --tls."
        return Finding("note", text, advice)
    now = context.clock.wall()
    try:
        with _wrapped(endpoint, context_of(tls)) as sock:
            certificate: _Certificate = sock.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return _untrusted(error, endpoint, now)
    except OSError as error:
        if finding := _not_ours(endpoint):
            return finding
        diagnosis = diagnose(error, context.settings)
        text, advice = diagnosis.text, diagnosis.hint
        if address and not tls.server_name:
            text += f"; {host} is an address, so that we asked for no name"
            shared = "Where several brokers share a port, each goes by its name:"
            advice = f"{shared} --tls-server-name NAME. {advice}"
        return Finding("problem", text, advice)
    if tls.verify == "none":
        risk = "Any server that answers at that address gets the password"
        advice = f"{risk}: leave out --tls-verify none, and name the CA with --tls-ca FILE."
        return Finding("warning", "the broker's certificate is not checked", advice)
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - now
    subject, issuer = _name_in(certificate, "subject"), _name_in(certificate, "issuer")
    text = f"certificate of {subject}, signed by {issuer}, good for another {human_age(left)}"
    if left < _SOON:
        return Finding("warning", text, "Renew it on the broker in time.")
    return Finding("ok", text)


def _untrusted(error: ssl.SSLCertVerificationError, endpoint: Endpoint, now: float) -> Finding:
    code, shown = error.verify_code, None
    if code in (*_EARLY, *_EXPIRED, *_UNKNOWN_SIGNER, *_WRONG_HOST):
        with suppress(OSError):
            shown = _certificate_of(endpoint)
    if shown is None:  # it is described in OpenSSL's words
        return Finding("problem", f"the certificate: {error.verify_message}")
    subject = _name_in(shown, "subject")
    if code in _EXPIRED:
        ago = human_age(now - ssl.cert_time_to_seconds(shown["notAfter"]))
        text = f"the certificate of {subject} expired {ago} ago"
        advice = "Renew it on the broker. Or is this host's clock wrong?\n  date -u"
    elif code in _EARLY:
        ahead = human_age(ssl.cert_time_to_seconds(shown["notBefore"]) - now)
        text = f"the certificate of {subject} is not valid before {ahead} from now"
        advice = "Is this host's clock wrong?\n  date -u"
    elif code in _UNKNOWN_SIGNER:
        ours = (endpoint.tls and endpoint.tls.ca) or "this system"
        signer = _name_in(shown, "issuer")
        text = f"the certificate is signed by {signer}, whom {ours} does not trust"
        advice = "Get the certificate of that CA from the broker's administrator: --tls-ca FILE"
    else:
        names = [str(name) for _, name in shown.get("subjectAltName", ())]
        shown_for = ", ".join(names[:_NAMES_SHOWN]) or subject
        text = f"the certificate is for {shown_for}, and not for {endpoint.server_name}"
        advice = "Use such a name in the URL; or, if that cannot be: --tls-server-name NAME"
    return Finding("problem", text, advice)


def _certificate_of(endpoint: Endpoint) -> _Certificate:
    # Whatever the broker shows, trusted or not.  Python parses only what it trusts: so let it
    # trust just this one.
    context = _credulous()
    with _wrapped(endpoint, context) as sock:
        der = sock.getpeercert(binary_form=True)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _ANY_TIME
    context.load_verify_locations(cadata=der or b"")
    with _wrapped(endpoint, context) as sock:
        return sock.getpeercert() or {}


def _credulous() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _wrapped(endpoint: Endpoint, context: ssl.SSLContext) -> ssl.SSLSocket:
    sock = _connected(endpoint)
    try:
        return context.wrap_socket(sock, server_hostname=endpoint.server_name)
    except BaseException:
        sock.close()
        raise


def _name_in(certificate: _Certificate, whose: str) -> str:
    pairs = dict(pair for part in certificate.get(whose, ()) for pair in part)
    common = pairs.get("commonName") or pairs.get("organizationName")
    return common or ", ".join(pairs.values()) or "(no name)"


check_name, check_port, check_tls = map(_of_each, (_look_up, _connect_to, _shake_hands))

# --- login --------------------------------------------------------------------------

#: By the layer where a driver says that it went wrong: the check that is about it.
_CHECKS: Final[Mapping[str, str]] = {
    "DNS": "name", "TCP": "port", "TLS": "tls", "permission": "permissions", "vhost": "vhost",
    "database": "database", "timeout": "answer",
}  # fmt: skip
#: Layers where it may be that the other side speaks something else.
_BEFORE_LOGIN: Final = ("TCP", "TLS", "timeout", "")
#: As long as the header of AMQP, and not one: every server answers with what it speaks.
_GREETING: Final = b"PING\r\n\r\n"
#: How answers to that begin.  Redis has errors for strangers.
_ANSWERS: Final[Mapping[bytes, str]] = {
    b"AMQP": "amqp", b"+PONG": "redis", b"-NOAUTH": "redis", b"-DENIED": "redis", b"HTTP/": "http"
}  # fmt: skip
#: By protocol: what to call it, and what to do about it.
_SPOKEN: Final[Mapping[str, tuple[str, str]]] = {
    "amqp": ("AMQP", "Use amqp:// in the URL"),
    "redis": ("the protocol of Redis", "Use redis:// in the URL"),
    "http": ("HTTP", ("RabbitMQ has its pages at port 15672; events come from port 5672,"
             " or 5671 with TLS.")),
}  # fmt: skip


def check_login(context: Context) -> Iterator[Finding]:
    """Connect, log in, choose the virtual host or database."""
    settings = context.settings
    try:
        # Between two questions nothing would answer the broker's heartbeats.
        connection = connect(replace(settings, heartbeat=0.0), attempt=context.attempt)
        try:
            context.opened = _inspector_of(settings)(connection, settings)
        except BaseException:
            connection.release()
            raise
    except FAILURES as error:
        yield _refused(diagnose(error, settings), context)
    else:
        yield Finding("ok", f"logged in to {context.inspector.server}")


def _inspector_of(settings: ConnectionSettings) -> type[BrokerInspector]:
    family = kind_of(parse(settings.addresses()[0]).scheme).family
    return _INSPECTORS.get(family, BrokerInspector)


def _refused(diagnosis: Diagnosis, context: Context) -> Finding:
    endpoint, text = context.endpoints.get(context.attempt), diagnosis.text
    if endpoint is not None and diagnosis.layer in _BEFORE_LOGIN:
        if finding := _not_ours(endpoint):
            return finding
        if diagnosis.layer == "TLS" and endpoint.tls is not None:
            # After a handshake that went well for us.
            why = "the broker wants a certificate of us"
            advice = "Give it one: --tls-cert FILE --tls-key FILE"
            if endpoint.tls.cert:
                why = "the handshake is broken off after the certificate was shown"
                advice = "The broker's administrator knows whose certificates it accepts."
            return Finding("problem", f"{why}: {text}", advice, "tls")
    check = _CHECKS.get(diagnosis.layer, "login")
    if check == "answer":
        text = f"the port is open, but there is no answer from a broker: {text}"
    return Finding("problem", text, advise(diagnosis, context), check)


def advise(diagnosis: Diagnosis, context: Context) -> str:
    """Return what to do about a refusal, with an administrator's command if there is one."""
    settings = context.settings
    command = _inspector_of(settings).remedy(diagnosis, settings, context.attempt)
    return f"{diagnosis.hint}\n  {command}" if command else diagnosis.hint


def _not_ours(endpoint: Endpoint) -> Finding | None:
    # What is spoken there, if it is not what we speak.
    text, answer = f"port {endpoint.port} of {endpoint.host} speaks", b""
    with suppress(OSError), _connected(endpoint) as sock:
        sock.sendall(_GREETING)
        answer = sock.recv(64)
    protocol = next((name for begin, name in _ANSWERS.items() if answer.startswith(begin)), "")
    name, advice = _SPOKEN.get(protocol, ("", ""))
    if endpoint.tls is not None:
        without = Finding("problem", f"{text} {name} without TLS", advice, "tls")
        return without if protocol else None
    if protocol:
        other = Finding("problem", f"{text} {name}", advice, "answer")
        return other if protocol != endpoint.protocol else None
    with suppress(OSError):
        _wrapped(endpoint, _credulous()).close()
        advice = "Use amqps:// or rediss:// in the URL, or --tls"
        return Finding("problem", f"{text} TLS, and we do not", advice, "tls")
    return None
