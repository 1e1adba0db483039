"""Celery's names for settings, old and new, and our options for them."""

import ssl
from collections.abc import Mapping
from typing import Any, Final

#: Celery's new name: our option.  Where two name the same, the later wins.
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
}

_MODES: Final[Mapping[Any, str]] = {
    ssl.CERT_REQUIRED: "required",
    ssl.CERT_OPTIONAL: "optional",
    ssl.CERT_NONE: "none",
    None: "none",
}
#: Settings for which None means something else than "not set".
_NONE_MEANS_NEVER: Final = ("event_queue_ttl", "event_queue_expires")


class BadSetting(ValueError):
    """A Celery setting has a value that nothing can be made of."""


def new_name(name: str) -> str:
    """Return Celery's new name: `event_queue_ttl` for CELERY_EVENT_QUEUE_TTL."""
    if name.isupper():
        return name.lower().removeprefix("celery_")
    return name


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Translate Celery settings (new names) into values of our options.

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
        elif name in _NONE_MEANS_NEVER:
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
    for key, setting in value.items():
        name = str(key).removeprefix("ssl_")
        if name not in TLS_OPTIONS:
            raise BadSetting(
                f"broker_use_ssl: unknown key {key}"
                f" (known: {', '.join(TLS_OPTIONS)}, with or without ssl_)"
            )
        if name == "cert_reqs":
            options["tls_verify"] = _verify(setting)
        elif setting is not None:
            options[TLS_OPTIONS[name]] = setting
    return options


def _verify(setting: Any) -> str:
    if isinstance(setting, str):
        return setting.lower().removeprefix("cert_")
    if setting not in _MODES:
        raise BadSetting(f"broker_use_ssl: cert_reqs is {setting!r}")
    return _MODES[setting]
