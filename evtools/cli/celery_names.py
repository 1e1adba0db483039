"""Celery's names for settings, old and new, and the options for them."""

import ssl
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any, Final

#: Celery's new name: the option.  If two are of the same option, the later wins.
OPTIONS: Final[Mapping[str, str]] = {
    "broker_url": "broker",
    "broker_read_url": "broker",
    "broker_use_ssl": "tls",
    "broker_transport_options": "broker_option",
    "broker_connection_timeout": "connect_timeout",
    "broker_heartbeat": "heartbeat",
    "broker_login_method": "login_method",
    "event_exchange": "event_exchange",
    "event_queue_prefix": "event_queue_prefix",
    "event_queue_ttl": "event_queue_ttl",
    "event_queue_expires": "event_queue_expires",
    "event_queue_exclusive": "event_queue_exclusive",
    "event_queue_durable": "event_queue_durable",
    "control_exchange": "control_exchange",
    "events_logfile": "logfile",
    "events_pidfile": "pidfile",
    "events_uid": "uid",
    "events_gid": "gid",
    "events_umask": "umask",
    "events_executable": "executable",
}

#: Keys of broker_use_ssl, as py-amqp and as redis-py call them.
TLS_OPTIONS: Final[Mapping[str, str]] = {
    "ca_certs": "tls_ca",
    "certfile": "tls_cert",
    "keyfile": "tls_key",
    "cert_reqs": "tls_verify",
    "check_hostname": "tls_check_hostname",
    "server_hostname": "tls_server_name",
}
#: TLS settings without an option are one setting of this name: keys, and fields of TLS.
TLS_MORE: Final = "tls_more"
_MORE: Final[Mapping[str, str]] = {
    "ca_path": "ca_folder",
    "ca_data": "ca_data",
    "password": "key_password",
    "ciphers": "ciphers",
}
_VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "ssl_version": ("min_version", "max_version"),
    "version": ("min_version", "max_version"),
    "min_version": ("min_version",),
    "tls_minimum_version": ("min_version",),
    "tls_maximum_version": ("max_version",),
}
_FLAGS: Final[Mapping[str, str]] = {
    "include_verify_flags": "more_flags",
    "exclude_verify_flags": "fewer_flags",
}
#: Keys that are about py-amqp's socket, and have no effect here.
_IGNORED: Final = frozenset(
    {"server_side", "do_handshake_on_connect", "suppress_ragged_eofs", "purpose"}
)
#: Keys that have another name in py-amqp's `context`.
_CONTEXT: Final[Mapping[str, str]] = {
    "cafile": "ca_certs",
    "capath": "ca_path",
    "cadata": "ca_data",
}

_MODES: Final[Mapping[Any, str]] = {
    ssl.CERT_REQUIRED: "required",
    ssl.CERT_OPTIONAL: "optional",
    ssl.CERT_NONE: "none",
    None: "none",
}
#: Settings whose None does not mean "not set".
_NONE_DISABLES: Final = ("event_queue_ttl", "event_queue_expires")


class BadSetting(ValueError):
    """A Celery setting has an unusable value."""


def new_name(name: str) -> str:
    """Return Celery's new name: `event_queue_ttl` for CELERY_EVENT_QUEUE_TTL."""
    if name.isupper():
        return name.lower().removeprefix("celery_")
    return name


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Translate Celery settings (new names) into values of options.

    Raise BadSetting, with the key in its text.
    """
    options: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        if name not in settings:
            continue
        value = settings[name]
        if name == "broker_use_ssl":
            options |= _tls(value)
        elif value is not None:
            options[option] = _plain(name, value)
        elif name in _NONE_DISABLES:
            options[option] = "none"
    return options


def _plain(name: str, value: Any) -> Any:
    if name in {"broker_url", "broker_read_url"} and isinstance(value, list):
        return ";".join(map(str, value))
    if name == "broker_transport_options":
        if not isinstance(value, Mapping):
            raise BadSetting(f"{name}: not a table")
        return dict(value)
    return value


def _tls(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {"tls": True} if value else {}
    options: dict[str, Any] = {"tls": True}
    more: dict[str, Any] = {}
    for key, setting in _flat(value):
        name = key if key in _VERSIONS else key.removeprefix("ssl_")
        if name in TLS_OPTIONS:
            fitting = _verify(setting) if name == "cert_reqs" else setting
            if fitting is not None:
                options[TLS_OPTIONS[name]] = fitting
        elif setting is not None and name not in _IGNORED:
            more |= _more(name, key, setting)
    return options | ({TLS_MORE: more} if more else {})


def _flat(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, setting in value.items():
        if key == "context" and isinstance(setting, Mapping):
            for name, inner in setting.items():
                yield _CONTEXT.get(name, name), inner
        else:
            yield str(key), setting


def _more(name: str, key: str, setting: Any) -> dict[str, Any]:
    """Return the fields of TLS for a key without an option."""
    if name in _MORE:
        if not isinstance(setting, str if name == "ciphers" else (str, bytes)):
            raise BadSetting(f"broker_use_ssl: {key} must be a text")
        return {_MORE[name]: setting}
    if name in _FLAGS:
        flags = setting if isinstance(setting, (list, tuple, set)) else [setting]
        try:
            return {_FLAGS[name]: reduce(or_, map(int, flags), 0)}
        except (TypeError, ValueError):
            raise BadSetting(f"broker_use_ssl: {key} is {setting!r}") from None
    if name in _VERSIONS:
        from evtools.transport.tls import tls_version

        try:
            return dict.fromkeys(_VERSIONS[name], tls_version(setting))
        except ValueError:
            raise BadSetting(f"broker_use_ssl: {key} is {setting!r}") from None
    if "ocsp" in name:
        if not setting:
            return {}
        raise BadSetting(f"broker_use_ssl: evtools cannot check OCSP, which {key} asks for")
    raise BadSetting(
        f"broker_use_ssl: unknown key {key}"
        f" (known: {', '.join((*TLS_OPTIONS, *_MORE, *_VERSIONS))},"
        " with or without ssl_)"
    )


def _verify(setting: Any) -> str:
    if isinstance(setting, str):
        return setting.lower().removeprefix("cert_")
    try:
        return _MODES[setting]
    except (KeyError, TypeError):
        raise BadSetting(f"broker_use_ssl: cert_reqs is {setting!r}") from None
