"""Settings that are not on the command line: the settings file, and a Celery application."""

import difflib
import os
import ssl
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import click
from click.core import ParameterSource

from evtools.cli.options import BROKER_VARIABLES, Option, is_given, option_of, variable_of
from evtools.cli.types import PAIRS
from evtools.errors import ConfigError, UsageError
from evtools.text import decode_text
from evtools.trust import distrusted

FILE_NAME: Final = "evtools/evtools.toml"
_META: Final = "evtools.sources"
#: Tables that are not settings; [keys] has evtop's commands and the keys for them.
_TABLES: Final = ("evtop", "evdump", "evcam", "celery", "keys")
_MANUAL: Final = "see evtools.toml(5)"
_TOML_NAMES: Final[Mapping[type[Any], str]] = {
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    float: "a number",
}
_OTHERS_MAY_READ: Final = 0o004


class Setting(NamedTuple):
    """A value and where it comes from."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Sources:
    """The settings that neither flags nor environment gave, by option name.

    `path` is the settings file, if there is one, `warnings` are for the user, `keys` is
    evtop's table of keys, and `app_options` names the transport options that an application
    sets.
    """

    settings: Mapping[str, Setting] = field(default_factory=dict)
    path: Path | None = None
    warnings: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    app_options: frozenset[str] = frozenset()


def sources_of(ctx: click.Context) -> Sources:
    """Return the sources that the command of `ctx` was parsed with."""
    found = ctx.meta.get(_META)
    return found if isinstance(found, Sources) else Sources()


def read_sources(ctx: click.Context, given: Mapping[str, Any]) -> None:
    """Make the settings of the file and of the application the defaults of `ctx`.

    `given` has what is on the command line, by option name, as it was typed.
    """
    path = given.get("config") or os.environ.get("EVTOOLS_CONFIG")
    sources = load(ctx.command, path, given.get("profile") or os.environ.get("EVTOOLS_PROFILE"))
    settings = dict(sources.settings)
    # Below `celery -A`, its object has the application.
    app = getattr(ctx.parent.obj, "app", None) if ctx.parent else None
    app = app or given.get("app") or os.environ.get("EVTOOLS_APP")
    app = app or ("app" in settings and settings["app"].value)
    app_options: frozenset[str] = frozenset()
    if app:
        theirs = _of_application(app, ctx, given)
        app_options = _option_names(theirs) - _option_names(settings)
        settings = _merge(theirs, settings)
    if "broker" in given or any(map(os.environ.get, BROKER_VARIABLES)):
        # Otherwise the program of the file would overrule them, or its password would be
        # sent to another broker.
        settings.pop("broker_command", None)
    ctx.meta[_META] = replace(sources, settings=settings, app_options=app_options)
    ctx.default_map = {name: setting.value for name, setting in settings.items()}


def origin(ctx: click.Context, name: str) -> str:
    """Return where the value of an option comes from."""
    source = ctx.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return f"{option_of(ctx, name).opts[0]} flag"
    if source is ParameterSource.ENVIRONMENT:
        return variable_of(ctx, name)
    if source is ParameterSource.DEFAULT_MAP:
        return sources_of(ctx).settings[name].origin
    return "Celery's default" if name == "broker" else "default"


def merged_pairs(ctx: click.Context, name: str) -> dict[str, Any]:
    """Return the values of a NAME=VALUE option; flags win over the settings file."""
    setting = sources_of(ctx).settings.get(name)
    pairs = dict(setting.value) if setting else {}
    return pairs | dict(ctx.params[name]) if is_given(ctx, name) else pairs


def explain_bad_value(error: click.BadParameter, ctx: click.Context) -> Exception:
    """Return the error for a bad value, with its place if it was not on the command line."""
    name = (error.param and error.param.name) or ""
    if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP:
        return error
    place = sources_of(ctx).settings[name].origin
    if place.startswith("-A"):
        return UsageError(f"{place}: {name}: {error.message}")
    return ConfigError(f"{place}: {name}: {error.message}", _MANUAL)


# --- a Celery application -----------------------------------------------------------


def _of_application(app: Any, ctx: click.Context, given: Mapping[str, Any]) -> dict[str, Setting]:
    from evtools.cli import logs
    from evtools.transport.celery_app import celery_settings

    # An application may log when it is imported.
    wanted = {"quiet": given.get("quiet"), "debug": given.get("debug")}
    logs.set_up(ctx.info_name or "evtools", wanted)
    place = f"-A {app}" if isinstance(app, str) else "-A"
    try:
        options = options_from(celery_settings(app))
    except BadSetting as error:
        raise UsageError(f"{place}: {error}") from None
    if "broker_option" in options:
        options["broker_option"] = list(options["broker_option"].items())
    return {name: Setting(value, place) for name, value in options.items()}


def _option_names(settings: Mapping[str, Setting]) -> frozenset[str]:
    options = settings.get("broker_option")
    return frozenset(dict(options.value) if options else ())


def _merge(below: Mapping[str, Setting], above: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return both, with the transport options of both."""
    merged = {**below, **above}
    if "broker_option" in below and "broker_option" in above:
        upper, lower = above["broker_option"], below["broker_option"]
        options = dict(lower.value) | dict(upper.value)
        merged["broker_option"] = Setting(list(options.items()), upper.origin)
    return merged


# --- Celery's names for settings, old and new ----------------------------------------

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


# --- the settings file --------------------------------------------------------------


def load(command: click.Command, path: str | None, profile: str | None) -> Sources:
    """Read the settings file for one of the tools.

    Without a `path` it is searched for, and need not exist.  Raise ConfigError, with file
    and key, for any mistake in it.
    """
    warnings: list[str] = []
    found = _given(path) if path else find(warnings)
    if found is None:
        if profile:
            raise ConfigError(
                f"there is no settings file for --profile {profile}",
                f"looked for: {', '.join(map(str, places()))}",
            )
        return Sources(warnings=tuple(warnings))
    table = _parse(found)
    reader = _Reader(found, command)
    settings = reader.settings(table, profile)
    keys = reader.keys(table, profile)
    if found.stat().st_mode & _OTHERS_MAY_READ and _has_secret(table):
        warnings.append(f"{found} holds a password and is readable by everyone: chmod 600 {found}")
    return Sources(settings, found, tuple(warnings), keys)


def places() -> list[Path]:
    """Return where a settings file may be, as XDG has it."""
    home = os.environ.get("HOME", "")
    user = os.environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
    system = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    return [Path(folder) / FILE_NAME for folder in (user, *system.split(":")) if folder]


def find(warnings: list[str]) -> Path | None:
    """Return the first settings file there is; add warnings of those that root refuses."""
    for path in places():
        if path.is_file():
            culprit = distrusted(path)
            if culprit is None:
                return path
            warnings.append(_refusal(path, culprit))
    return None


def _given(text: str) -> Path:
    path = Path(text).expanduser()
    culprit = distrusted(path)
    if culprit is not None:
        hint = "make root its owner, in a directory of root's, or run this as its owner"
        raise ConfigError(_refusal(path, culprit), hint)
    return path


def _refusal(path: Path, culprit: Path) -> str:
    return f"as root, settings in {path} are not used: others than root can write {culprit}"


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(decode_text(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", _MANUAL) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text in UTF-8 or UTF-16", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", _MANUAL) from None


class _Reader:
    """Take the tables of one file apart, for one tool."""

    def __init__(self, path: Path, command: click.Command) -> None:
        self._path = path
        self._tool = command.name or ""
        self._options = {
            option.name: option
            for option in command.params
            if isinstance(option, Option) and option.in_file and option.name
        }

    def settings(self, table: Mapping[str, Any], profile: str | None) -> dict[str, Setting]:
        """Return the settings of the top, of the tool's table, and of the profile's."""
        profiles = self._table(table, "profile", "")
        layers = self._layers(table, "")
        # A mistake in a profile is reported even if the profile is not used.
        named = {
            name: self._layers(self._table(profiles, name, "profile"), f"profile.{name}")
            for name in profiles
        }
        if profile:
            if profile not in named:
                hint = _did_you_mean(profile, named)
                raise ConfigError(f"{self._path}: there is no [profile.{profile}]", hint)
            layers += named[profile]
        settings: dict[str, Setting] = {}
        for layer in layers:
            if "broker" in layer:
                settings.pop("broker_command", None)  # it is for another broker
            settings |= layer
        return settings

    def keys(self, table: Mapping[str, Any], profile: str | None) -> dict[str, Any]:
        """Return the keys of evtop that are not the built-in ones, by command."""
        keys = dict(self._table(table, "keys", ""))
        if profile:
            keys |= self._table(table["profile"][profile], "keys", f"profile.{profile}")
        for command, value in keys.items():
            several = value if isinstance(value, list) else [value]
            if not all(isinstance(key, str) for key in several):
                self._fail("keys", command, "must be a text or a list of texts")
        return keys

    def _layers(self, table: Mapping[str, Any], section: str) -> list[dict[str, Setting]]:
        nested = _TABLES if section else (*_TABLES, "profile")
        shared = {key: value for key, value in table.items() if key not in nested}
        celery = self._table(table, "celery", section)
        own = self._table(table, self._tool, section)
        return [
            self._layer(shared, celery, section, own=False),
            self._layer(own, {}, _join(section, self._tool), own=True),
        ]

    def _table(self, table: Mapping[str, Any], key: str, section: str) -> Mapping[str, Any]:
        value = table.get(key, {})
        if not isinstance(value, dict):
            self._fail(section, key, "must be a table")
        return dict(value)

    def _layer(
        self, table: Mapping[str, Any], celery: Mapping[str, Any], section: str, *, own: bool
    ) -> dict[str, Setting]:
        """Return the settings of one table, under our names and under Celery's."""
        place = f"{self._path} [{section}]" if section else str(self._path)
        ours: dict[str, str] = {}
        settings: dict[str, Setting] = {}
        theirs: dict[str, Any] = {}
        for key, value in table.items():
            option = self._options.get(key.replace("-", "_"))
            if option is None:
                self._add_celery(theirs, key, value, section)
                continue
            name = option.name or ""
            if not (own or option.shared):
                self._fail(section, key, f"belongs in [{self._tool}]")
            if name in ours:
                self._fail(section, key, f"is also set as {ours[name]}")
            ours[name] = key
            settings[name] = Setting(self._convert(option, value, key, section), place)
        for key, value in celery.items():
            self._add_celery(theirs, key, value, _join(section, "celery"))
        for name, value in self._translated(theirs).items():
            if name in ours:
                self._fail(section, ours[name], "is also set under Celery's name")
            if name == TLS_MORE:
                settings[name] = Setting(value, place)
            elif name in self._options:  # the other tools ignore those of evcam's process
                converted = self._convert(self._options[name], value, name, section)
                settings[name] = Setting(converted, place)
        return settings

    def _add_celery(self, theirs: dict[str, Any], key: str, value: Any, section: str) -> None:
        name = new_name(key)
        if name not in OPTIONS:
            known = [*self._options, *OPTIONS, *_TABLES, "profile"]
            hint = _did_you_mean(key.replace("-", "_"), known)
            self._fail(section, key, "there is no such setting", hint)
        if name in theirs:
            self._fail(section, key, "is set twice, under its old and its new name")
        theirs[name] = value

    def _translated(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return options_from(theirs)
        except BadSetting as error:
            raise ConfigError(f"{self._path}: {error}", _MANUAL) from None

    def _convert(self, option: Option, value: Any, key: str, section: str) -> Any:
        """Check the TOML type of a value and return it as click takes it."""
        if option.type in PAIRS:
            if not isinstance(value, dict):
                self._fail(section, key, "must be a table")
            return list(value.items())
        if option.multiple:
            value = [value] if isinstance(value, str) else value
            if not isinstance(value, list):
                self._fail(section, key, "must be a text or a list of texts")
            return value
        kinds: tuple[type[Any], ...] = (str, *getattr(option.type, "kinds", ()))
        if option.is_flag:
            kinds = (bool,)
        elif option.count:
            kinds = (int,)
        elif isinstance(option.type, click.IntRange):
            kinds = (str, int)
        if type(value) not in kinds:
            names = " or ".join(_TOML_NAMES[kind] for kind in kinds)
            self._fail(section, key, f"must be {names}")
        return value

    def _fail(self, section: str, key: str, what: str, hint: str = "") -> NoReturn:
        raise ConfigError(f"{self._path}: {_join(section, key)}: {what}", hint or _MANUAL)


def _join(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _has_secret(value: Any, name: str = "") -> bool:
    from evtools.transport import url

    if isinstance(value, Mapping):
        return any(_has_secret(item, str(key)) for key, item in value.items())
    if isinstance(value, list):
        return any(_has_secret(item, name) for item in value)
    if not isinstance(value, str) or not value:
        return False
    return url.is_secret(name) or ("://" in value and bool(url.secrets(value)))


# --- reading it again ---------------------------------------------------------------


def reloader(
    ctx: click.Context, level: Callable[[Mapping[str, Any]], int]
) -> Callable[[], Mapping[str, Any]]:
    """Return a function that reads the settings file of `ctx` again.

    It returns the options that have changed since the last time, with their values as they
    are in the file, or None for those no longer in it; `loglevel` is a number of the logging
    module, from `level`.  Options set on the command line or in the environment stay in
    force and are left out.  It raises ConfigError for a file that is wrong.
    """
    sources = sources_of(ctx)
    # Absolute: a daemon changes its working directory.
    path = str(sources.path.absolute()) if sources.path else ""
    before = {name: each.value for name, each in sources.settings.items()}

    def reload() -> Mapping[str, Any]:
        nonlocal before
        if not path:
            return {}
        loaded = load(ctx.command, path, ctx.params["profile"])
        after = {name: each.value for name, each in loaded.settings.items()}
        changed = {
            name: after.get(name)
            for name in before.keys() | after.keys()
            if name in ctx.params
            and before.get(name) != after.get(name)
            and not is_given(ctx, name)
        }
        if "loglevel" in changed:
            try:
                changed["loglevel"] = level(ctx.params | {"loglevel": changed["loglevel"]})
            except KeyError:
                word = changed["loglevel"]
                raise ConfigError(f"{path}: loglevel: invalid level {word}") from None
        before = after
        return changed

    return reload
