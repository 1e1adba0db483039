"""Connection settings from the command line, and programs that know the broker's URL."""

import atexit
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import click
from click.core import ParameterSource

from evtools.cli import config
from evtools.cli.config import TLS_MORE, merged_pairs, sources_of
from evtools.cli.options import is_given, is_typed
from evtools.cli.types import BROKER, Broker, read_url
from evtools.errors import BrokerUnavailable, UsageError
from evtools.text import hide_credentials, sanitize
from evtools.transport import TLS, ConnectionSettings
from evtools.transport.settings import DEFAULT_URL, Renewal
from evtools.transport.url import with_password

#: Options that are transport options of the same name.
_TRANSPORT_OPTIONS: Final = ("fanout_prefix", "fanout_patterns", "global_keyprefix")
#: Options with a field of ConnectionSettings: its name, where it is another one.
FIELDS: Final = {"event_routing_key": "routing_keys", "buffer_size": "buffer_bytes"} | {
    name: name
    for name in (
        "login_method", "connect_timeout", "heartbeat", "event_exchange", "event_queue_prefix",
        "event_queue_ttl", "event_queue_expires", "event_queue_exclusive", "event_queue_durable",
        "control_exchange", "accept", "reconnect", "wakeup", "enable_events", "read_only",
    )
}  # fmt: skip
#: Empty means the default of ConnectionSettings.
_EMPTY_IS_DEFAULT: Final = ("event_routing_key", "accept", "login_method")
#: The timeout of --broker-command, in seconds: it may have to ask a remote service.
_COMMAND_TIMEOUT: Final = 30.0
_ANSWER_MAX_BYTES: Final = 64 * 1024
_SHOWN_CHARS: Final = 300
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def connection_settings(ctx: click.Context) -> ConnectionSettings:
    """Return the settings that the parsed command line of `ctx` asks for.

    Raise UsageError or ImproperlyConfigured.
    """
    values = ctx.params
    fields: dict[str, Any] = {
        field: values[name]
        for name, field in FIELDS.items()
        if values[name] or name not in _EMPTY_IS_DEFAULT
    }
    # A replay or demo ignores a broker that it was not given on its command line: what the
    # environment or a file has may be wrong then.
    if is_typed(ctx, "broker") or not (values.get("demo") or values.get("read")):
        if values["broker"] is not None:
            fields["urls"] = values["broker"].url
            fields["source_of_url"] = broker_origin(ctx)
        urls = fields.get("urls", DEFAULT_URL)
        read = _url_reader(ctx)
        if values["broker_command"]:
            fields["source_of_url"] = "--broker-command"
            read = partial(ask, values["broker_command"], read or (lambda: urls))
        if read is not None:
            fields["renewal"] = Renewal(urls, read, due=bool(values["broker_command"]))
    return ConnectionSettings(
        **fields,
        options=transport_options(ctx),
        may_ignore=_optional(ctx),
        tls=_tls(ctx),
        event_queue=values.get("queue") or "",
        tool=ctx.command.name or "evtools",
    )


def _url_reader(ctx: click.Context) -> Callable[[], str] | None:
    """Return a function that reads the broker's URL again, if it comes from a file."""
    broker = ctx.params["broker"]
    if broker is not None and broker.path:
        return partial(_url_in_file, broker.path)
    path = sources_of(ctx).path
    if ctx.get_parameter_source("broker") is not ParameterSource.DEFAULT_MAP:
        return None
    if path is None or not broker_origin(ctx).startswith(str(path)):
        return None  # it is the application's
    return partial(_url_in_settings, ctx, str(path.absolute()))


def _url_in_file(path: str) -> str:
    try:
        return read_url(path)
    except ValueError as error:
        raise UsageError(f"-b @FILE: {error}") from None


def _url_in_settings(ctx: click.Context, path: str) -> str:
    loaded = config.load(ctx.command, path, ctx.params["profile"])
    setting = loaded.settings.get("broker")
    if setting is None:
        raise UsageError(f"{path}: it no longer has a broker")
    try:
        broker: Broker = BROKER.convert(setting.value, None, ctx)
    except click.BadParameter as error:
        raise UsageError(f"{path}: broker: {error.message}") from None
    return broker.url


def broker_origin(ctx: click.Context) -> str:
    """Return where the broker's URL comes from."""
    origin = config.origin(ctx, "broker")
    via = ctx.params["broker"].via if ctx.params["broker"] else ""
    if not via:
        return origin
    # "-b @FILE" is enough; a variable or a settings file with the name of a file is not.
    return via if origin == "-b flag" else f"{origin} ({via.removeprefix('-b ')})"


def transport_options(ctx: click.Context) -> dict[str, Any]:
    """Return the transport options; flags win over the settings file."""
    options = merged_pairs(ctx, "broker_option")
    given = {name: ctx.params[name] for name in _TRANSPORT_OPTIONS}
    return options | {name: value for name, value in given.items() if value is not None}


def _optional(ctx: click.Context) -> frozenset[str]:
    """Return the transport options that may be for another transport.

    Those of an application, unless they are given here as well, and those that have an
    option for Redis.
    """
    names = sources_of(ctx).app_options
    if is_given(ctx, "broker_option"):
        names -= dict(ctx.params["broker_option"]).keys()
    return names | frozenset(_TRANSPORT_OPTIONS)


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


# --- --broker-command ---------------------------------------------------------------


def ask(command: Sequence[str], base: Callable[[], str]) -> str:
    """Return the URL that `command` prints, or that of `base` with the password it prints.

    No shell is involved, and the output is not shown anywhere.  Raise BrokerUnavailable
    if it fails, and UsageError if it cannot be run at all.
    """
    out, errors, status = _run(command)
    if status != 0:
        how = f"status {status}" if status > 0 else f"signal {-status}"
        raise _failed(command, f"it ended with {how}", errors)
    try:
        answer = out.decode().strip()
    except UnicodeDecodeError:
        raise _failed(command, "its output is not text", b"") from None
    if not answer or not answer.isprintable() or len(out) > _ANSWER_MAX_BYTES:
        raise _failed(command, "it must print one line: the URL, or a password", errors)
    return answer if _URL.match(answer) else with_password(base(), answer)


def _run(command: Sequence[str]) -> tuple[bytes, bytes, int]:
    try:
        # In a session of its own it cannot prompt on our terminal, and can be killed with
        # everything it has started.
        process = subprocess.Popen(  # noqa: S603  (what the user typed)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(
            f"--broker-command: cannot run {command[0]}: {error.strerror}",
            "it is run without a shell: a program and its arguments",
        ) from None
    # This may be a thread, and the program must not outlive ours.
    atexit.register(_kill, process)
    with process:
        try:
            out, errors = process.communicate(timeout=_COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise _failed(command, f"no answer in {_COMMAND_TIMEOUT:g}s", b"") from None
        except BaseException:
            _kill(process)
            raise
        finally:
            atexit.unregister(_kill)
    return out, errors, process.returncode


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _failed(command: Sequence[str], why: str, errors: bytes) -> BrokerUnavailable:
    said = " ".join(errors.decode(errors="replace").split())[:_SHOWN_CHARS]
    # Its arguments may be secrets.
    what = f"--broker-command {command[0]}: {why}"
    return BrokerUnavailable(hide_credentials(sanitize(f"{what}: {said}" if said else what)))
