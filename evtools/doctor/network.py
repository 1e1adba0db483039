"""Checks on the way to the broker: its kind, name, port, TLS, login."""

import ipaddress
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

from evtools.doctor.context import Context, Finding
from evtools.doctor.inspect import BrokerInspector, amqp, redis
from evtools.doctor.netprobe import (
    Certificate,
    Endpoint,
    certificate_of,
    endpoints,
    handshake,
    open_socket,
    resolve,
    speaks_tls,
    spoken,
)
from evtools.text import human_age
from evtools.transport import ConnectionSettings, connect
from evtools.transport.errors import FAILURES, Diagnosis, diagnose
from evtools.transport.url import kind_of, parse

#: When it is time to renew a certificate by hand, in seconds before its end.
_SOON: Final = 14 * 86400.0
_NAMES_SHOWN: Final = 5
_ADDRESSES_MAX: Final = 16

#: By the layer where a driver says that it went wrong: the check that is about it.
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
        "RabbitMQ has its pages at port 15672; events come from port 5672, or 5671 with TLS.",
    ),
}


def check_kind(context: Context) -> Iterator[Finding]:
    """See whether this kind of broker can carry events; nothing is connected."""
    settings = context.settings
    settings.refresh()
    for attempt, _ in enumerate(settings.addresses()):
        connect(settings, attempt=attempt).release()  # which connects nothing yet
    context.endpoints = dict(enumerate(endpoints(settings)[:_ADDRESSES_MAX]))
    yield Finding("broker", "ok", f"{settings.masked()} ({settings.source_of_url})")


def check_name(context: Context) -> Iterator[Finding]:
    return _probe_all(context, _look_up)


def check_port(context: Context) -> Iterator[Finding]:
    return _probe_all(context, _connect_to)


def check_tls(context: Context) -> Iterator[Finding]:
    """Shake hands where encryption is asked for, and look at the certificates."""
    probe = partial(_encrypt, settings=context.settings, now=context.clock.wall())
    return _probe_all(context, probe)


def _probe_all(context: Context, probe: Callable[[Endpoint], Finding]) -> Iterator[Finding]:
    """Yield what the probe finds at each endpoint; go on with those that passed."""
    found = {number: probe(endpoint) for number, endpoint in context.endpoints.items()}
    passed = [n for n, finding in found.items() if finding.severity != "problem"]
    for finding in found.values():
        # The tools take the next address then.
        tolerable = finding.severity == "problem" and passed
        yield replace(finding, severity="warning") if tolerable else finding
    context.endpoints = {number: context.endpoints[number] for number in passed}


def _look_up(endpoint: Endpoint) -> Finding:
    host = endpoint.host
    try:
        found = ", ".join(dict.fromkeys(resolve(endpoint)))
    except OSError as error:
        text = f"the name {host} has no address: {error.strerror or error}"
        advice = f"Check the spelling and this host's DNS:\n  getent hosts {host}"
        return Finding("name", "problem", text, advice)
    if found == host:
        return Finding("name", "ok", f"{found} is an address, not a name")
    return Finding("name", "ok", f"{host} is {found}")


def _connect_to(endpoint: Endpoint) -> Finding:
    where = f"port {endpoint.port} of {endpoint.host}"
    try:
        open_socket(endpoint).close()
    except TimeoutError:
        text = f"{where} does not answer within {endpoint.connect_timeout:g}s"
        advice = "A firewall may drop what we send, or the host is down."
        return Finding("port", "problem", text, advice)
    except OSError as error:
        text = f"{where}: {(error.strerror or str(error)).lower()}"
        advice = "Does the broker run, and does it listen on this port and address?"
        return Finding("port", "problem", text, advice)
    return Finding("port", "ok", f"{where} is open")


# -- TLS ------------------------------------------------------------------------


def _encrypt(endpoint: Endpoint, settings: ConnectionSettings, now: float) -> Finding:
    if endpoint.tls is None:
        return _unencrypted(endpoint)
    try:
        certificate = handshake(endpoint)
    except ssl.SSLCertVerificationError as error:
        return untrusted(error, endpoint, now)
    except OSError as error:
        return _not_ours(endpoint) or _failed_handshake(diagnose(error, settings), endpoint)
    if endpoint.tls.verify == "none":
        return Finding(
            "tls",
            "warning",
            "the broker's certificate is not checked",
            "Any server that answers at that address gets the password: leave out"
            " --tls-verify none, and name the CA with --tls-ca FILE.",
        )
    return trusted(certificate, now)


def _unencrypted(endpoint: Endpoint) -> Finding:
    text = f"the connection to {endpoint.host} is not encrypted"
    address = _as_address(endpoint.host)
    if address.is_loopback if address else endpoint.host == "localhost":
        return Finding("tls", "ok", text)
    advice = (
        "Passwords and events can be read on the way. Where the broker offers TLS:"
        " amqps://, rediss:// or --tls."
    )
    return Finding("tls", "note", text, advice)


def _as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _failed_handshake(diagnosis: Diagnosis, endpoint: Endpoint) -> Finding:
    """Say that the handshake failed, and that a name may be missing in it."""
    text, advice = diagnosis.text, diagnosis.hint
    if endpoint.tls and not endpoint.tls.server_name and _as_address(endpoint.host):
        text += f"; {endpoint.host} is an address, so that we asked for no name"
        advice = (
            "Where several brokers share a port, each goes by its name:"
            f" --tls-server-name NAME. {advice}"
        )
    return Finding("tls", "problem", text, advice)


def trusted(certificate: Certificate, now: float) -> Finding:
    left = certificate.not_after - now
    text = (
        f"certificate of {certificate.subject}, signed by {certificate.issuer},"
        f" good for another {human_age(left)}"
    )
    if left < _SOON:
        return Finding("tls", "warning", text, "Renew it on the broker in time.")
    return Finding("tls", "ok", text)


#: By OpenSSL's X509_V_ERR_* code.
_EARLY, _EXPIRED, _UNKNOWN_SIGNER, _WRONG_HOST = (9,), (10,), (18, 19, 20, 21), (62, 64)


def untrusted(error: ssl.SSLCertVerificationError, endpoint: Endpoint, now: float) -> Finding:
    """Say what is wrong with the certificate shown: in OpenSSL's words if it cannot be read."""
    text, advice, code = f"the certificate: {error.verify_message}", "", error.verify_code
    if code not in (*_EARLY, *_EXPIRED, *_UNKNOWN_SIGNER, *_WRONG_HOST):
        return Finding("tls", "problem", text)
    try:
        shown = certificate_of(endpoint)
    except OSError:
        return Finding("tls", "problem", text)
    if code in _EXPIRED:
        ago = human_age(now - shown.not_after)
        text = f"the certificate of {shown.subject} expired {ago} ago"
        advice = "Renew it on the broker. Or is this host's clock wrong?\n  date -u"
    elif code in _EARLY:
        ahead = human_age(shown.not_before - now)
        text = f"the certificate of {shown.subject} is not valid before {ahead} from now"
        advice = "Is this host's clock wrong?\n  date -u"
    elif code in _UNKNOWN_SIGNER:
        ours = (endpoint.tls and endpoint.tls.ca) or "this system"
        text = f"the certificate is signed by {shown.issuer}, whom {ours} does not trust"
        advice = "Get the certificate of that CA from the broker's administrator: --tls-ca FILE"
    else:
        names = ", ".join(shown.names[:_NAMES_SHOWN]) or shown.subject
        text = f"the certificate is for {names}, and not for {endpoint.server_name}"
        advice = "Use such a name in the URL; or, if that cannot be: --tls-server-name NAME"
    return Finding("tls", "problem", text, advice)


# -- login ----------------------------------------------------------------------

_Remedy: TypeAlias = Callable[..., str]
#: By family of brokers: its inspector, and the commands against its refusals.
_INSPECTORS: Final[Mapping[str, tuple[type[BrokerInspector], _Remedy]]] = {
    "amqp": (amqp.AMQPInspector, amqp.remedy),
    **dict.fromkeys(("redis", "socket", "sentinel"), (redis.RedisInspector, redis.remedy)),
}


def _kind(settings: ConnectionSettings) -> tuple[type[BrokerInspector], _Remedy]:
    family = kind_of(parse(settings.addresses()[0]).scheme).family
    return _INSPECTORS.get(family, (BrokerInspector, lambda *_, **__: ""))


def open_inspector(settings: ConnectionSettings, *, attempt: int = 0) -> BrokerInspector:
    """Connect, log in and return an inspector.

    `attempt` picks the address where there are several.  Raise UsageError, and whatever
    the drivers raise.
    """
    # Between two questions nothing would answer the broker's heartbeats.
    connection = connect(replace(settings, heartbeat=0.0), attempt=attempt)
    try:
        return _kind(settings)[0](connection, settings)
    except BaseException:
        connection.release()
        raise


def remedy(diagnosis: Diagnosis, settings: ConnectionSettings, *, attempt: int = 0) -> str:
    """Return the command that an administrator needs against a refusal, if any."""
    return _kind(settings)[1](diagnosis, settings, attempt=attempt)


def check_login(context: Context) -> Iterator[Finding]:
    """Connect, log in, choose the virtual host or database."""
    settings = context.settings
    try:
        context.opened = open_inspector(settings, attempt=context.attempt)
    except FAILURES as error:
        yield _refused(diagnose(error, settings), context)
    else:
        yield Finding("login", "ok", f"logged in to {context.inspector.server}")


def _refused(diagnosis: Diagnosis, context: Context) -> Finding:
    endpoint = context.endpoints.get(context.attempt)
    if endpoint is not None and diagnosis.layer in _BEFORE_LOGIN:
        finding = _not_ours(endpoint) or _broken_off(diagnosis, endpoint)
        if finding is not None:
            return finding
    check = _CHECKS.get(diagnosis.layer, "login")
    text = diagnosis.text
    if check == "answer":
        text = f"the port is open, but there is no answer from a broker: {diagnosis.text}"
    return Finding(check, "problem", text, advise(diagnosis, context))


def advise(diagnosis: Diagnosis, context: Context) -> str:
    """Return what to do about a refusal, with the command for it if there is one."""
    command = remedy(diagnosis, context.settings, attempt=context.attempt)
    return f"{diagnosis.hint}\n  {command}" if command else diagnosis.hint


def _not_ours(endpoint: Endpoint) -> Finding | None:
    """Say what is spoken there, if it is not what we speak."""
    text = f"port {endpoint.port} of {endpoint.host} speaks"
    protocol = spoken(endpoint)
    if protocol not in _SPOKEN:
        if endpoint.tls is None and speaks_tls(endpoint):
            advice = "Use amqps:// or rediss:// in the URL, or --tls"
            return Finding("tls", "problem", f"{text} TLS, and we do not", advice)
        return None
    name, advice = _SPOKEN[protocol]
    if endpoint.tls is not None:
        return Finding("tls", "problem", f"{text} {name} without TLS", advice)
    if protocol != endpoint.protocol:
        return Finding("answer", "problem", f"{text} {name}", advice)
    return None


def _broken_off(diagnosis: Diagnosis, endpoint: Endpoint) -> Finding | None:
    """Explain an end after a handshake that went well for us."""
    if diagnosis.layer != "TLS" or endpoint.tls is None:
        return None
    if endpoint.tls.cert:
        text = "the handshake is broken off after the certificate was shown"
        advice = "The broker's administrator knows whose certificates it accepts."
    else:
        text = "the broker wants a certificate of us"
        advice = "Give it one: --tls-cert FILE --tls-key FILE"
    return Finding("tls", "problem", f"{text}: {diagnosis.text}", advice)
