"""TLS settings, checked, and how each driver comes to speak it."""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from amqp.transport import SSLTransport
from redis.connection import SSLConnection

from evtools.errors import ImproperlyConfigured, UsageError
from evtools.transport.settings import TLS, VERIFY
from evtools.transport.url import Address, kind_of

#: The families of brokers that speak TLS.
_FAMILIES: Final = ("amqp", "redis", "sentinel")
_ANY_VERSION: Final = frozenset({"TLS", "TLS_CLIENT", "SSLv23"})


def tls_version(value: Any) -> ssl.TLSVersion | None:
    """Return the version that a constant of `ssl`, or its name, stands for.

    None leaves it to OpenSSL, as ssl.PROTOCOL_TLS does.  Raise ValueError.
    """
    if isinstance(value, ssl.TLSVersion):
        return value
    text = value if isinstance(value, str) else ssl._SSLMethod(value).name  # noqa: SLF001
    name = text.removeprefix("PROTOCOL_").replace(".", "_")
    if name in _ANY_VERSION:
        return None
    if name not in ssl.TLSVersion.__members__:
        raise ValueError(f"{value!r} is no version of TLS")
    return ssl.TLSVersion[name]


def _verify(text: str) -> str:
    verify = text.lower().removeprefix("cert_")
    if verify not in VERIFY:
        raise ValueError(f"{text!r} is not one of {', '.join(VERIFY)}")
    return verify


# fmt: off
#: URL parameter (redis-py's names, which Celery's URLs use): our field, how it is read, a hint.
_PARAMETERS: Final[Mapping[str, tuple[str, Callable[[str], Any], str]]] = {
    "ssl_ca_certs":       ("ca", str, ""),
    "ssl_certfile":       ("cert", str, ""),
    "ssl_keyfile":        ("key", str, ""),
    "ssl_cert_reqs":      ("verify", _verify, "it stands in the broker URL"),
    "ssl_check_hostname": ("check_hostname",
                           lambda text: text.lower() not in {"false", "0", "no", "off"}, ""),
    "ssl_ca_path":        ("ca_folder", str, ""),
    "ssl_ca_data":        ("ca_data", str, ""),
    "ssl_password":       ("key_password", str, ""),
    "ssl_ciphers":        ("ciphers", str, ""),
    "ssl_min_version":    ("min_version", tls_version, "as in TLSv1_2"),
}
# fmt: on


def tls_for(tls: TLS, address: Address) -> TLS | None:
    """Merge the URL's parameters into `tls`, which wins; None means without encryption.

    Raise UsageError or ImproperlyConfigured, also when a certificate file is no good: better here,
    with the option's name, than deep in a driver.
    """
    kind, scheme = kind_of(address.scheme), address.scheme
    given = {name: text for name, text in address.parameters.items() if name.startswith("ssl_")}
    if kind.tls and tls.enabled is False:
        raise ImproperlyConfigured(
            f"--no-tls contradicts {scheme}://", f"use {scheme[:-1]}:// or leave --no-tls out"
        )
    if not (tls.enabled or (tls.enabled is None and (kind.tls or given))):
        return None
    if kind.family not in _FAMILIES:
        raise ImproperlyConfigured(
            f"{scheme}:// knows no TLS", "leave out --tls and the URL's ssl_*"
        )
    values: dict[str, Any] = {"verify": "required", "check_hostname": True}
    for name, text in given.items():
        if name not in _PARAMETERS:
            known = f"known are: {', '.join(_PARAMETERS)}"
            raise UsageError(f"unknown parameter {name} in the broker URL", known)
        field, convert, hint = _PARAMETERS[name]
        try:
            values[field] = convert(text)
        except ValueError as error:
            raise UsageError(f"{name}: {error}", hint) from None
    unset = {name: value for name, value in values.items() if getattr(tls, name) is None}
    merged = replace(tls, enabled=True, **unset)
    context_of(merged)
    return merged


def context_of(tls: TLS) -> ssl.SSLContext:
    """Return the context to shake hands in; the files are read each time, as they may be renewed.

    Raise UsageError, with the option's name, for what OpenSSL cannot use.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # In this order: without a check of the certificate there is none of the name.
    context.check_hostname = bool(tls.check_hostname) and tls.verify != "none"
    context.verify_mode = ssl.VerifyMode[f"CERT_{tls.verify or 'required'}".upper()]
    flags = (context.verify_flags | tls.more_flags) & ~tls.fewer_flags
    context.verify_flags = ssl.VerifyFlags(flags)
    context.minimum_version = tls.min_version or context.minimum_version
    context.maximum_version = tls.max_version or context.maximum_version
    if tls.ciphers:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError:
            raise UsageError(
                f"OpenSSL knows none of these ciphers: {tls.ciphers}",
                "they stand in broker_use_ssl, or in the URL as ssl_ciphers",
            ) from None
    trusted = (tls.ca or None, tls.ca_folder or None, tls.ca_data or None)
    name = f"--tls-ca {tls.ca or tls.ca_folder or ''}"
    hint = "it must be a PEM file with the certificates to trust"
    try:
        if any(trusted):
            context.load_verify_locations(*trusted)
        else:
            context.load_default_certs()
        name = f"--tls-cert, --tls-key {', '.join(filter(None, (tls.cert, tls.key)))}"
        hint = "they must be PEM files and belong together"
        if tls.cert:
            password = tls.key_password or _no_password
            context.load_cert_chain(tls.cert, tls.key or None, password=password)
    except ssl.SSLError:
        raise UsageError(f"{name}: not a usable PEM file", hint) from None
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or type(error).__name__}", hint) from None
    return context


def _no_password() -> str:
    # Without a callback OpenSSL would ask on the terminal, in a daemon too.
    raise UsageError(
        "--tls-key is encrypted with a pass phrase",
        "decrypt it into a file that only we can read: openssl pkey -in KEY -out PLAIN",
    )


def wrapped(sock: socket.socket, tls: TLS, host: str, *, shake: bool = True) -> ssl.SSLSocket:
    """Encrypt a connection to `host`, whose name a server may choose its certificate by."""
    name = tls.server_name or host  # even if it is not checked
    return context_of(tls).wrap_socket(sock, server_hostname=name, do_handshake_on_connect=shake)


class AMQPTransport(SSLTransport):  # type: ignore[misc]  # it is untyped
    """py-amqp's transport; its own names no host that it does not check."""

    def _wrap_socket(self, sock: socket.socket, tls: TLS, host: str) -> ssl.SSLSocket:
        return wrapped(sock, tls, host, shake=False)


class RedisConnection(SSLConnection):
    """redis-py's connection; the host of a master that Sentinels name is known only now."""

    def __init__(self, *, tls: TLS, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._tls = tls

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> ssl.SSLSocket:
        return wrapped(sock, self._tls, self.host)
