"""Connection settings from the command line, and programs that know the broker's URL."""

import atexit
import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import click
from click.core import ParameterSource

from evtools.cli import config
from evtools.cli.options import build, is_given, is_typed
from evtools.cli.types import BROKER, Broker, read_url, split_name
from evtools.errors import BrokerUnavailable, UsageError
from evtools.text import hide_credentials, sanitize
from evtools.transport import TLS, ConnectionSettings
from evtools.transport.settings import DEFAULT_URL, Renewal
from evtools.transport.url import with_password

#: Options that are transport options of the same name.
_TRANSPORT_OPTIONS: Final = ("fanout_prefix", "fanout_patterns", "global_keyprefix")
#: Fields of TLS with an option --tls-NAME.
_TLS_FIELDS: Final = ("ca", "cert", "key", "verify", "check_hostname", "server_name")
#: The timeout of --broker-command, in seconds: it may have to ask a remote service.
_COMMAND_TIMEOUT: Final = 30.0
#: Seconds that we wait for its start, to end it: its file may be on a dead file system.
_START_TIMEOUT: Final = 2.0
_ANSWER_MAX_BYTES: Final = 64 * 1024
_SHOWN_CHARS: Final = 300
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def connection_settings(ctx: click.Context) -> tuple[ConnectionSettings, ...]:
    """Return the settings of each cluster that the parsed command line of `ctx` asks for.

    They differ in their address and name.  Raise UsageError or ImproperlyConfigured.
    """
    brokers: tuple[Broker | None, ...] = ctx.params["broker"] or (None,)
    # A replay or demo ignores a broker that it was not given on its command line: what the
    # environment or a file has may be wrong then.
    if (ctx.params.get("demo") or ctx.params.get("read")) and not is_typed(ctx, "broker"):
        return (_settings(ctx),)
    if brokers == (None,) and ctx.get_parameter_source("broker") is ParameterSource.DEFAULT_MAP:
        hint = f"as in: broker = {DEFAULT_URL!r}, or leave it out for that"
        raise UsageError(f"{config.origin(ctx, 'broker')}: broker is an empty list", hint)
    if len(brokers) > 1:
        _check_several(ctx, [broker for broker in brokers if broker is not None])
    return tuple(_settings(ctx, **_address(ctx, broker)) for broker in brokers)


def _check_several(ctx: click.Context, brokers: Sequence[Broker]) -> None:
    place, named = config.origin(ctx, "broker"), dict[str, str]()
    for broker in brokers:
        if not broker.cluster:
            hint = "as in: -b prod=URL -b eu=URL; brokers to fail over to are one: -b 'URL;URL'"
            raise UsageError(f"{place}: there are several brokers, and not all have a name", hint)
        if broker.cluster in named:
            hint = "give each a name of its own"
            raise UsageError(f"{place}: two brokers are called {broker.cluster}", hint)
        named[broker.cluster] = broker.url
    same = [name for name, url in named.items() if list(named.values()).count(url) > 1]
    if same:
        hint = "its events would come once for each name: leave out all but one"
        raise UsageError(f"{place}: {' and '.join(same[:2])} are the same broker", hint)
    if ctx.params["broker_command"]:
        hint = "several can be read from files: -b prod=@FILE"
        raise UsageError("--broker-command is about one broker, and several are given", hint)


def one_cluster(clusters: Sequence[ConnectionSettings], who: str) -> ConnectionSettings:
    """Return the settings of the only cluster; raise UsageError if there are several.

    `who` says what can look at one alone, as the beginning of a sentence.
    """
    if len(clusters) > 1:
        names = ", ".join(each.cluster for each in clusters)
        raise UsageError(f"{who} one cluster at a time", f"choose one of {names}: give one -b")
    return clusters[0]


def _settings(ctx: click.Context, **address: Any) -> ConnectionSettings:
    values = ctx.params
    sources = config.sources_of(ctx)
    # An application's transport options may be for another transport unless they are given
    # here as well, and so may those that have an option for Redis.
    foreign = sources.app_options
    if is_given(ctx, "broker_option"):
        foreign -= dict(values["broker_option"]).keys()
    more = sources.settings.get(config.TLS_MORE)
    tls = {name: values[f"tls_{name}"] for name in _TLS_FIELDS}
    fields = {
        "tls": TLS(enabled=values["tls"], **tls, **(more.value if more else {})),
        "options": transport_options(ctx),
        "may_ignore": foreign | frozenset(_TRANSPORT_OPTIONS),
        "event_queue": values.get("queue") or "",
        "tool": ctx.command.name or "evtools",
        "buffer_bytes": values["buffer_size"],
        # None is a value of these.
        "event_queue_ttl": values["event_queue_ttl"],
        "event_queue_expires": values["event_queue_expires"],
        **address,
    }
    # Empty means the default.
    routing_keys, accept = values["event_routing_key"] or None, values["accept"] or None
    given = values | {"routing_keys": routing_keys, "accept": accept}
    return build(ConnectionSettings, given, **fields)


def _address(ctx: click.Context, broker: Broker | None) -> dict[str, Any]:
    # Where the broker is, and how its URL is read again if it comes from a file.
    command = ctx.params["broker_command"]
    fields: dict[str, Any] = {}
    read: Callable[[], str] | None = None
    if broker is not None:
        origin = broker_origin(ctx, broker)
        fields = {"urls": broker.url, "source_of_url": origin, "cluster": broker.cluster}
        path = config.sources_of(ctx).path
        from_settings = ctx.get_parameter_source("broker") is ParameterSource.DEFAULT_MAP
        if broker.path:
            read = partial(_url_in_file, broker.path)
        elif path and from_settings and origin.startswith(str(path)):
            # Otherwise it is the application's.
            read = partial(_url_in_settings, ctx, str(path.absolute()), broker.cluster)
    urls = fields.get("urls", DEFAULT_URL)
    if command:
        fields["source_of_url"] = "--broker-command"
        read = partial(ask, command, read or (lambda: urls))
    if read is not None:
        fields["renewal"] = Renewal(urls, read, due=bool(command))
    return fields


def _url_in_file(path: str) -> str:
    try:
        return read_url(path)
    except ValueError as error:
        raise UsageError(f"-b @FILE: {error}") from None


def _url_in_settings(ctx: click.Context, path: str, cluster: str) -> str:
    setting = config.load(ctx.command, path, ctx.params["profile"]).settings.get("broker")
    if setting is None:
        raise UsageError(f"{path}: it no longer has a broker")
    # The others may be in files, or on a stdin that was read.
    found = [text for text in map(str, setting.value) if split_name(text)[0] == cluster]
    if not found:
        raise UsageError(f"{path}: it no longer has the broker of {cluster or 'one cluster'}")
    try:
        broker: Broker = BROKER.convert(found[0], None, ctx)
    except click.BadParameter as error:
        raise UsageError(f"{path}: broker: {error.message}") from None
    return broker.url


def broker_origin(ctx: click.Context, broker: Broker | None = None) -> str:
    """Return where the URL of a broker, by default those of all, comes from."""
    origin = config.origin(ctx, "broker")
    if broker is None:
        origins = [broker_origin(ctx, each) for each in ctx.params["broker"]]
        return ", ".join(dict.fromkeys(origins)) or origin
    if not broker.via:
        return origin
    # "-b @FILE" is enough; a variable or a settings file with the name of a file is not.
    return broker.via if origin == "-b flag" else f"{origin} ({broker.via.removeprefix('-b ')})"


def transport_options(ctx: click.Context) -> dict[str, Any]:
    """Return the transport options; flags win over the settings file."""
    given = {name: ctx.params[name] for name in _TRANSPORT_OPTIONS}
    options = config.merged_pairs(ctx, "broker_option")
    return options | {name: value for name, value in given.items() if value is not None}


# --- --broker-command ---------------------------------------------------------------


def ask(command: Sequence[str], base: Callable[[], str]) -> str:
    """Return the URL that `command` prints, or that of `base` with the password it prints.

    No shell is involved, and the output is not shown anywhere.  Raise BrokerUnavailable
    if it fails, and UsageError if it cannot be run at all.
    """
    try:
        process = _start(command)
    except OSError as error:
        raise UsageError(
            f"--broker-command: cannot run {command[0]}: {error.strerror}",
            "it is run without a shell: a program and its arguments",
        ) from None
    with process:
        try:
            out, errors = process.communicate(timeout=_COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.end()
            raise _failed(command, f"no answer in {_COMMAND_TIMEOUT:g}s", b"") from None
        except BaseException:
            process.end()
            raise
        finally:
            atexit.unregister(process.end)
    if process.returncode != 0:
        status = process.returncode
        how = f"status {status}" if status > 0 else f"signal {-status}"
        raise _failed(command, f"it ended with {how}", errors)
    try:
        answer = out.decode().strip()
    except UnicodeDecodeError:
        raise _failed(command, "its output is not text", b"") from None
    if not answer or not answer.isprintable() or len(out) > _ANSWER_MAX_BYTES:
        raise _failed(command, "it must print one line: the URL, or a password", errors)
    return answer if _URL.match(answer) else with_password(base(), answer)


def _start(command: Sequence[str]) -> "_Program":
    if threading.current_thread() is not threading.main_thread():
        return _Program(command)
    from concurrent.futures import ThreadPoolExecutor

    # A signal may raise between any two steps of the main thread, and so between the start
    # of the program and our noting its number.  In another thread it cannot.
    with ThreadPoolExecutor(1) as starter:
        return starter.submit(_Program, command).result()


class _Program(subprocess.Popen[bytes]):
    # In a session of its own it cannot prompt on our terminal, and can be killed with
    # everything it has started.

    def __init__(self, command: Sequence[str]) -> None:
        # It must not outlive us.  This may be a thread, which ours need not wait for to end:
        # perhaps while it is starting the program, whose number is known only then.
        self._starting = threading.Lock()
        atexit.register(self.end)
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        try:
            with self._starting:
                super().__init__(
                    command, stdin=nothing, stdout=pipe, stderr=pipe, start_new_session=True
                )
        except OSError:
            atexit.unregister(self.end)
            raise

    def end(self) -> None:
        if self._starting.acquire(timeout=_START_TIMEOUT):
            self._starting.release()
        pid = getattr(self, "pid", None)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _failed(command: Sequence[str], why: str, errors: bytes) -> BrokerUnavailable:
    said = " ".join(errors.decode(errors="replace").split())[:_SHOWN_CHARS]
    # Its arguments may be secrets.
    what = f"--broker-command {command[0]}: {why}"
    return BrokerUnavailable(hide_credentials(sanitize(f"{what}: {said}" if said else what)))
