"""From the command line's values to connection settings."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import click
from click.core import ParameterSource

from evtools.cli.broker_command import ask
from evtools.cli.celery_names import TLS_MORE
from evtools.cli.command import sources_of
from evtools.cli.params import BROKER, Broker, address_in
from evtools.errors import UsageError
from evtools.transport import TLS, ConnectionSettings
from evtools.transport.settings import DEFAULT_URL, Renewal

_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
#: Options that are transport options under the same name.
_TRANSPORT_OPTIONS = ("fanout_prefix", "fanout_patterns", "global_keyprefix")
#: Option: field, where they differ.
FIELDS: Final = {"event_routing_key": "routing_keys", "buffer_size": "buffer_bytes"}
_SAME = (
    *("login_method", "connect_timeout", "heartbeat", "event_exchange"),
    *("event_queue_prefix", "event_queue_ttl", "event_queue_expires"),
    *("event_queue_exclusive", "event_queue_durable", "control_exchange"),
    *("accept", "reconnect", "wakeup", "enable_events", "read_only"),
)
CONNECTION_FIELDS: Final = frozenset((*_SAME, *FIELDS.values()))
#: Empty means: as ConnectionSettings has it.
_EMPTY_IS_DEFAULT = ("event_routing_key", "accept", "login_method")


def connection_settings(ctx: click.Context) -> ConnectionSettings:
    """Return the settings that the parsed command line of `ctx` asks for.

    Raise UsageError or ImproperlyConfigured.
    """
    values = ctx.params
    fields: dict[str, Any] = {
        FIELDS.get(name, name): values[name]
        for name in (*_SAME, *FIELDS)
        if values[name] or name not in _EMPTY_IS_DEFAULT
    }
    if not _is_idle(ctx):
        if values["broker"] is not None:
            fields["urls"] = values["broker"].url
            fields["source_of_url"] = broker_origin(ctx)
        read = _reader(ctx)
        if values["broker_command"]:
            fields["source_of_url"] = "--broker-command"
            read = partial(ask, values["broker_command"], read or (lambda: urls))
        urls = fields.get("urls", DEFAULT_URL)
        if read is not None:
            due = bool(values["broker_command"])
            fields["renewal"] = Renewal(urls, read, due=due)
    return ConnectionSettings(
        **fields,
        options=transport_options(ctx),
        may_ignore=_for_others(ctx),
        tls=_tls(ctx),
        tool=ctx.command.name or "evtools",
    )


def _reader(ctx: click.Context) -> Callable[[], str] | None:
    """Return what reads the broker's URL again, if it stands in a file."""
    broker = ctx.params["broker"]
    if broker is not None and broker.path:
        return partial(_address_in, broker.path)
    config = sources_of(ctx).config
    if ctx.get_parameter_source("broker") is not ParameterSource.DEFAULT_MAP:
        return None
    if config is None or not broker_origin(ctx).startswith(str(config)):
        return None  # it is the application's
    return partial(_address_of_settings, ctx, str(config.absolute()))


def _address_in(path: str) -> str:
    try:
        return address_in(path)
    except ValueError as error:
        raise UsageError(f"-b @FILE: {error}") from None


def _address_of_settings(ctx: click.Context, path: str) -> str:
    from evtools.cli import config  # noqa: PLC0415  (rarely needed)

    loaded = config.load(
        path,
        ctx.params["profile"],
        tool=ctx.command.name or "",
        options=ctx.command.params,
        environ=os.environ,
    )
    setting = loaded.settings.get("broker")
    if setting is None:
        raise UsageError(f"{path}: it has no broker any more")
    try:
        broker: Broker = BROKER.convert(setting.value, None, ctx)
    except click.BadParameter as error:
        raise UsageError(f"{path}: broker: {error.message}") from None
    return broker.url


def _is_idle(ctx: click.Context) -> bool:
    """Whether the broker is none of this command's business, and was not given to it.

    What the environment or a file says of it may be wrong then.
    """
    given = ctx.get_parameter_source("broker") is ParameterSource.COMMANDLINE
    return not given and bool(ctx.params.get("demo") or ctx.params.get("read"))


def broker_origin(ctx: click.Context) -> str:
    """Say where the broker's URL stands."""
    origin = sources_of(ctx).origin(ctx, "broker")
    via = ctx.params["broker"].via if ctx.params["broker"] else ""
    if not via:
        return origin
    # "-b @FILE" says it all; a variable or file that names a file does not.
    return via if origin == "-b flag" else f"{origin} ({via.removeprefix('-b ')})"


def transport_options(ctx: click.Context) -> dict[str, Any]:
    """Return the transport options; those of the flags over those of the file."""
    options = merged_pairs(ctx, "broker_option")
    for name in _TRANSPORT_OPTIONS:
        if ctx.params[name] is not None:
            options[name] = ctx.params[name]
    return options


def _for_others(ctx: click.Context) -> frozenset[str]:
    """Return the names of transport options that may be for another transport.

    Those of an application, unless they are given here; and ours, which say that
    they are for Redis.
    """
    names = sources_of(ctx).app_options
    if ctx.get_parameter_source("broker_option") in _GIVEN:
        names -= dict(ctx.params["broker_option"]).keys()
    return names | frozenset(_TRANSPORT_OPTIONS)


def merged_pairs(ctx: click.Context, name: str) -> dict[str, Any]:
    """Return what a NAME=VALUE option gives; flags over the settings file."""
    setting = sources_of(ctx).settings.get(name)
    pairs = dict(setting.value) if setting else {}
    if ctx.get_parameter_source(name) in _GIVEN:
        pairs |= dict(ctx.params[name])
    return pairs


def _tls(ctx: click.Context) -> TLS:
    values = ctx.params
    more = sources_of(ctx).settings.get(TLS_MORE)
    return TLS(
        enabled=values["tls"],
        ca=values["tls_ca"],
        cert=values["tls_cert"],
        key=values["tls_key"],
        verify=values["tls_verify"],
        check_hostname=values["tls_check_hostname"],
        server_name=values["tls_server_name"],
        **(more.value if more else {}),
    )
