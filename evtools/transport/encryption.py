"""TLS settings, checked, in the words of each driver."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from evtools.errors import ImproperlyConfigured, UsageError
from evtools.transport.brokers import kind_of
from evtools.transport.settings import TLS, Verify
from evtools.transport.url import Address

_MODES: Final[Mapping[Verify, ssl.VerifyMode]] = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}
_PREFIX = "ssl_"


def tls_for(tls: TLS, address: Address) -> TLS | None:
    """Merge what the URL says into `tls`; None means without encryption.

    Options beat the URL's parameters.  Raise UsageError or
    ImproperlyConfigured, also when a certificate file is no good: better
    here, with the option's name, than deep in a driver.
    """
    kind = kind_of(address.scheme)
    given = {
        name: value
        for name, value in address.parameters.items()
        if name.startswith(_PREFIX)
    }
    if kind.tls and tls.enabled is False:
        raise ImproperlyConfigured(
            f"--no-tls contradicts {address.scheme}://",
            f"use {address.scheme[:-1]}:// or leave --no-tls out",
        )
    if not (tls.enabled or (tls.enabled is None and (kind.tls or given))):
        return None
    if kind.family not in _DRIVER_WORDS:
        raise ImproperlyConfigured(
            f"{address.scheme}:// knows no TLS", "leave out --tls and the URL's ssl_*"
        )
    merged = _merge(tls, given)
    _check_files(merged)
    return merged


def _merge(tls: TLS, given: Mapping[str, str]) -> TLS:
    defaults: dict[str, Any] = {"verify": "required", "check_hostname": True}
    for name, text in given.items():
        field, convert = _parameter(name)
        defaults[field] = convert(text)
    unset = {name: value for name, value in defaults.items() if _lacks(tls, name)}
    return replace(tls, enabled=True, **unset)


def _lacks(tls: TLS, name: str) -> bool:
    return getattr(tls, name) is None


def _parameter(name: str) -> tuple[str, Callable[[str], Any]]:
    try:
        return _PARAMETERS[name]
    except KeyError:
        raise UsageError(
            f"unknown parameter {name} in the broker URL",
            f"known are: {', '.join(_PARAMETERS)}",
        ) from None


def _verify(text: str) -> str:
    verify = text.lower().removeprefix("cert_")
    if verify not in _MODES:
        raise UsageError(
            f"ssl_cert_reqs: {text!r} is not one of {', '.join(_MODES)}",
            "it stands in the broker URL",
        )
    return verify


def _is_not_false(text: str) -> bool:
    return text.lower() not in {"false", "0", "no", "off"}


#: URL parameter (redis-py's names, which Celery's URLs use): our field.
_PARAMETERS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "ssl_ca_certs": ("ca", str),
    "ssl_certfile": ("cert", str),
    "ssl_keyfile": ("key", str),
    "ssl_cert_reqs": ("verify", _verify),
    "ssl_check_hostname": ("check_hostname", _is_not_false),
}


def _check_files(tls: TLS) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca:
        try:
            context.load_verify_locations(cafile=tls.ca)
        except OSError as error:
            raise UsageError(
                f"--tls-ca {tls.ca}: {_reason(error)}",
                "it must be a PEM file with the certificates to trust",
            ) from None
    if tls.cert:
        try:
            context.load_cert_chain(tls.cert, tls.key or None, password=_no_password)
        except OSError as error:
            files = tls.cert if not tls.key else f"{tls.cert}, {tls.key}"
            raise UsageError(
                f"--tls-cert, --tls-key {files}: {_reason(error)}",
                "they must be PEM files and belong together",
            ) from None


def _no_password() -> str:
    # Without a callback OpenSSL would ask on the terminal, in a daemon too.
    raise UsageError(
        "--tls-key is encrypted with a pass phrase",
        "decrypt it into a file that only we can read: openssl pkey -in KEY -out PLAIN",
    )


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not a usable PEM file"
    return error.strerror or type(error).__name__


def driver_words(tls: TLS, address: Address) -> dict[str, Any]:
    """Return kombu's `ssl` argument for the driver behind `address`."""
    return _DRIVER_WORDS[kind_of(address.scheme).family](tls, address)


def _amqp(tls: TLS, address: Address) -> dict[str, Any]:
    words: dict[str, Any] = {
        "ca_certs": tls.ca or None,
        "certfile": tls.cert or None,
        "keyfile": tls.key or None,
        "cert_reqs": _mode(tls),
    }
    if tls.check_hostname and tls.verify != "none":
        # py-amqp checks the name if and only if it is given one.
        words["server_hostname"] = address.hostname or "localhost"
    return words


def _redis(tls: TLS, address: Address) -> dict[str, Any]:
    del address  # redis-py takes the name from the connection
    return {
        "ssl_ca_certs": tls.ca or None,
        "ssl_certfile": tls.cert or None,
        "ssl_keyfile": tls.key or None,
        "ssl_cert_reqs": _mode(tls),
        "ssl_check_hostname": bool(tls.check_hostname) and tls.verify != "none",
    }


def _mode(tls: TLS) -> ssl.VerifyMode:
    return _MODES[tls.verify or "required"]


_DRIVER_WORDS: Final[Mapping[str, Callable[[TLS, Address], dict[str, Any]]]] = {
    "amqp": _amqp,
    "redis": _redis,
    "sentinel": _redis,
}
