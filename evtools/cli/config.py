"""Settings that are not on the command line: the settings file, and a Celery application."""

import difflib
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import count
from operator import or_
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

import click
from click.core import ParameterSource

from evtools.cli.options import BROKER_VARIABLES, Option, file_options, is_given
from evtools.cli.types import PAIRS, split_name
from evtools.errors import ConfigError, UsageError
from evtools.text import decode_text, encoding_of
from evtools.top.options import VIEWS
from evtools.trust import distrusted

_META: Final = "evtools.sources"
#: Where the context keeps the options that were typed, each with its value, in their order.
IN_ORDER: Final = "evtools.in_order"
#: Settings of evtop that may also be a table, with a value for each view.
_BY_VIEW: Final[Mapping[str, type[Any]]] = {"columns": list, "sort": str}
#: Tables that are not settings; [keys] has evtop's commands and the keys for them,
#: [command.NAME] its programs, and [alert.NAME] what it and evcam watch for.
_TABLES: Final = ("evtop", "evdump", "evcam", "celery", "keys", "command", "alert")
_MANUAL: Final = "see evtools.toml(5)"
# fmt: off
_TOML_NAMES: Final[Mapping[type[Any], str]] = {
    bool: "true or false", str: "a text", int: "a whole number", float: "a number",
    dict: "a table",
}
# fmt: on
_OTHERS_MAY_READ: Final = 0o004


class Setting(NamedTuple):
    """A value and where it comes from."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Sources:
    """The settings that neither flags nor environment gave, by option name.

    `path` is the settings file, if there is one, `warnings` are for the user, `keys` is evtop's
    table of keys, and `app_options` names the transport options that an application sets.
    `profiles` are the names of all profiles of the file.  `tables` has evtop's: `columns` and
    `sort`, by view, `colours`, by style, and `command` and `alert`, by name; evcam has `alert`.
    """

    settings: Mapping[str, Setting] = field(default_factory=dict)
    path: Path | None = None
    warnings: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    app_options: frozenset[str] = frozenset()
    profiles: tuple[str, ...] = ()
    tables: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)


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
        if below := options.get("broker_option"):
            ours = settings.get("broker_option", Setting({}, place))
            app_options = frozenset(below.keys() - ours.value.keys())
            settings["broker_option"] = ours._replace(value=below | ours.value)
        settings = {name: Setting(value, place) for name, value in options.items()} | settings
    if "broker" in given or any(map(os.environ.get, BROKER_VARIABLES)):
        # Otherwise the program of the file would overrule them, or its password would be
        # sent to another broker.
        settings.pop("broker_command", None)
    ctx.meta[_META] = replace(sources, settings=settings, app_options=app_options)
    # Pairs are taken as if they had been typed one by one.
    ctx.default_map = {
        name: list(value.items()) if isinstance(value, dict) else value
        for name, (value, _) in settings.items()
    }


def origin(ctx: click.Context, name: str) -> str:
    """Return where the value of an option comes from."""
    source = ctx.get_parameter_source(name)
    option = next(each for each in ctx.command.params if each.name == name)
    if source is ParameterSource.COMMANDLINE:
        return f"{option.opts[0]} flag"
    if source is ParameterSource.ENVIRONMENT:
        names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
        return next(name for name in names if os.environ.get(name))
    if source is ParameterSource.DEFAULT_MAP:
        return sources_of(ctx).settings[name].origin
    return "Celery's default" if name == "broker" else "default"


def merged_pairs(ctx: click.Context, name: str) -> dict[str, Any]:
    """Return the values of a NAME=VALUE option; flags win over the settings file."""
    setting = sources_of(ctx).settings.get(name)
    pairs = dict(setting.value) if setting else {}
    return pairs | dict(ctx.params[name]) if is_given(ctx, name) else pairs


#: The options of one alert on the command line, and the keys of [alert.NAME] that they are.
ALERT_KEYS: Final[Mapping[str, str]] = {
    "view": "view",
    "over": "window",
    "count": "count",
    "for": "for",
    "group": "group",
    "first_seen": "first_seen",
    "cooldown": "cooldown",
    "run": "run",
    "webhook": "webhook",
    "headers": "headers",
    "hook_timeout": "timeout",
}
_NAME_CHARS: Final = 40


def alerts_of(ctx: click.Context) -> dict[str, Setting]:
    """Return the alerts of the settings file and of the command line, by name.

    There each begins with --on, and the options after it are its own.  Raise UsageError for a
    mistake in one of those.
    """
    from evtools.alerts import parse_rule

    found = dict(sources_of(ctx).tables.get("alert", {}))
    for table in _typed_alerts(ctx):
        name = re.sub(r"[^\w]+", "-", table["filter"], flags=re.ASCII).strip("-")[:_NAME_CHARS]
        name = name.strip("-").lower() or "alert"
        same = next(n for n in count(1) if (f"{name}-{n}" if n > 1 else name) not in found)
        name = f"{name}-{same}" if same > 1 else name
        try:
            found[name] = Setting(parse_rule(name, "--on", table), "--on flag")
        except ConfigError as error:
            key, _, what = error.message.removeprefix("--on.").partition(": ")
            flags = {value: f"--{name.replace('_', '-')}" for name, value in ALERT_KEYS.items()}
            raise UsageError(f"{flags.get(key, '--on')}: {what}", error.hint) from None
    return found


def _typed_alerts(ctx: click.Context) -> Iterator[dict[str, Any]]:
    # What was typed for each alert, as a table of the settings file.
    table: dict[str, Any] | None = None
    for option, value in ctx.meta.get(IN_ORDER, ()):
        if option == "on":
            if table is not None:
                yield table
            table = {"filter": value}
            continue
        key = ALERT_KEYS.get(option)
        if key is None:
            continue
        flag = f"--{option.replace('_', '-')}"
        if table is None:
            hint = "as in --on 'state:failure' --run notify.sh"
            raise UsageError(f"{flag} is about the --on before it, and there is none", hint)
        if key == "run":
            table.setdefault(key, []).append(_words_of(value))
        elif key == "webhook":
            table.setdefault(key, []).append(value)
        elif key in table:
            raise UsageError(f"{flag} is given twice for --on {table['filter']}", "give it once")
        elif key == "count":
            table[key] = int(value) if value.isdecimal() else value
        else:
            table[key] = True if key == "first_seen" else value
    if table is not None:
        yield table


def _words_of(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--run: {str(error).lower()}", "quote it as for a shell") from None


def explain_bad_value(error: click.BadParameter, ctx: click.Context) -> Exception:
    """Return the error for a bad value, with its place if it was not on the command line."""
    name = (error.param and error.param.name) or ""
    if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP:
        return error
    place = sources_of(ctx).settings[name].origin
    if place.startswith("-A"):
        return UsageError(f"{place}: {name}: {error.message}")
    return ConfigError(f"{place}: {name}: {error.message}", _MANUAL)


# --- Celery's names for settings, old and new ----------------------------------------

# fmt: off
#: Celery's new name: the option.  If two are of the same option, the later wins.
OPTIONS: Final[Mapping[str, str]] = {
    "broker_url": "broker", "broker_read_url": "broker", "broker_use_ssl": "tls",
    "broker_transport_options": "broker_option", "broker_connection_timeout": "connect_timeout",
    "broker_heartbeat": "heartbeat", "broker_login_method": "login_method",
    **{name: name for name in (
        "event_exchange", "event_queue_prefix", "event_queue_ttl", "event_queue_expires",
        "event_queue_exclusive", "event_queue_durable", "control_exchange", "redbeat_key_prefix",
    )},
    **{f"events_{name}": name for name in (
        "logfile", "pidfile", "uid", "gid", "umask", "executable",
    )},
}
#: TLS settings without an option are one setting of this name: keys, and fields of TLS.
TLS_MORE: Final = "tls_more"

#: Keys of broker_use_ssl, as py-amqp and as redis-py call them, and their options.
_TLS_OPTIONS: Final = {
    "ca_certs": "tls_ca", "certfile": "tls_cert", "keyfile": "tls_key", "cert_reqs": "tls_verify",
    "check_hostname": "tls_check_hostname", "server_hostname": "tls_server_name",
}
#: Keys for which there are fields of TLS only: with texts, versions, and flags.
_TEXTS: Final = {
    "ca_path": "ca_folder", "ca_data": "ca_data", "password": "key_password", "ciphers": "ciphers",
}
_VERSIONS: Final = {
    "ssl_version": ("min_version", "max_version"), "version": ("min_version", "max_version"),
    "min_version": ("min_version",),
    "tls_minimum_version": ("min_version",), "tls_maximum_version": ("max_version",),
}
_FLAGS: Final = {"include_verify_flags": "more_flags", "exclude_verify_flags": "fewer_flags"}
#: Keys that are about py-amqp's socket, and have no effect here.
_IGNORED: Final = ("server_side", "do_handshake_on_connect", "suppress_ragged_eofs", "purpose")
#: Keys that have another name in py-amqp's `context`.
_CONTEXT: Final = {"cafile": "ca_certs", "capath": "ca_path", "cadata": "ca_data"}
#: Values of cert_reqs: those of the module ssl.
_MODES: Final = {None: "none", 0: "none", 1: "optional", 2: "required"}
# fmt: on


class BadSetting(ValueError):
    """A Celery setting has an unusable value."""


def options_from(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Translate Celery settings (new names) into values of options.

    Raise BadSetting, with the key in its text.
    """
    options: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        value = settings.get(name)
        if name == "broker_use_ssl":
            options |= _tls(value)
        elif value is None:
            # Of these alone, None does not mean "not set".
            if name in settings and name in ("event_queue_ttl", "event_queue_expires"):
                options[option] = "none"
        elif option == "broker_option" and not isinstance(value, Mapping):
            raise BadSetting(f"{name}: not a table")
        elif option == "broker":
            # A list is of brokers to fail over to.
            options[option] = [";".join(map(str, value)) if isinstance(value, list) else value]
        else:
            options[option] = dict(value) if option == "broker_option" else value
    return options


def _tls(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {"tls": True} if value else {}
    options: dict[str, Any] = {"tls": True}
    more: dict[str, Any] = {}
    keys = {str(key): setting for key, setting in value.items()}
    if isinstance(keys.get("context"), Mapping):
        context = keys.pop("context")
        keys |= {_CONTEXT.get(name, name): setting for name, setting in context.items()}
    for key, setting in keys.items():
        name = key if key in _VERSIONS else key.removeprefix("ssl_")
        if name == "cert_reqs":
            if isinstance(setting, str):
                setting = setting.lower().removeprefix("cert_")  # noqa: PLW2901
            elif not isinstance(setting, int | None) or setting not in _MODES:
                raise BadSetting(f"broker_use_ssl: cert_reqs is {setting!r}")
            options["tls_verify"] = _MODES.get(setting, setting)
        elif setting is None or name in _IGNORED:
            continue
        elif name in _TLS_OPTIONS:
            options[_TLS_OPTIONS[name]] = setting
        else:
            more |= _tls_fields(name, key, setting)
    return options | ({TLS_MORE: more} if more else {})


def _tls_fields(name: str, key: str, setting: Any) -> dict[str, Any]:
    # The fields of TLS for a key without an option.
    if name in _TEXTS:
        if not isinstance(setting, str if name == "ciphers" else (str, bytes)):
            raise BadSetting(f"broker_use_ssl: {key} must be a text")
        return {_TEXTS[name]: setting}
    try:
        if name in _FLAGS:
            flags = setting if isinstance(setting, (list, tuple, set)) else [setting]
            return {_FLAGS[name]: reduce(or_, map(int, flags), 0)}
        if name in _VERSIONS:
            from evtools.transport.tls import tls_version

            return dict.fromkeys(_VERSIONS[name], tls_version(setting))
    except (TypeError, ValueError):
        raise BadSetting(f"broker_use_ssl: {key} is {setting!r}") from None
    if "ocsp" not in name:
        known = f"known: {', '.join((*_TLS_OPTIONS, *_TEXTS, *_VERSIONS))}, with or without ssl_"
        raise BadSetting(f"broker_use_ssl: unknown key {key} ({known})")
    if setting:
        raise BadSetting(f"broker_use_ssl: evtools cannot check OCSP, which {key} asks for")
    return {}


# --- the settings file --------------------------------------------------------------


def places() -> list[Path]:
    """Return where a settings file may be, as XDG has it."""
    home = os.environ.get("HOME", "")
    user = os.environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
    system = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    folders = (user, *system.split(":"))
    return [Path(folder) / "evtools" / "evtools.toml" for folder in folders if folder]


def load(command: click.Command, path: str | None, profile: str | None) -> Sources:
    """Read the settings file for one of the tools.

    Without a `path` it is searched for, and need not exist; what root may not trust is passed
    over.  Raise ConfigError, with file and key, for any mistake in it.
    """
    warnings: list[str] = []
    for file in [Path(path).expanduser()] if path else places():
        try:
            if not path and not file.is_file():
                continue
        except OSError as error:  # as where HOME is still that of another user
            warnings.append(f"settings in {file} are not used: {error.strerror}")
            continue
        culprit = distrusted(file)
        if culprit is None:
            return _Reader(file, command).read(profile, warnings)
        refusal = f"as root, settings in {file} are not used: others than root can write {culprit}"
        if path:
            hint = "make root its owner, in a directory of root's, or run this as its owner"
            raise ConfigError(refusal, hint)
        warnings.append(refusal)
    if profile:
        hint = f"looked for: {', '.join(map(str, places()))}"
        raise ConfigError(f"there is no settings file for --profile {profile}", hint)
    return Sources(warnings=tuple(warnings))


class _Reader:
    # Takes one file apart, for one tool.

    def __init__(self, path: Path, command: click.Command) -> None:
        self._path = path
        self._tool = command.name or ""
        self._options = {option.name or "": option for option in file_options(command)}

    def _load(self) -> dict[str, Any]:
        path = self._path
        try:
            return tomllib.loads(decode_text(path.read_bytes()))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", _MANUAL) from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not text in UTF-8 or UTF-16", "save it as UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}", _MANUAL) from None

    def read(self, profile: str | None, warnings: list[str]) -> Sources:
        path = self._path
        whole = self._load()
        settings: dict[str, Setting] = {}
        keys: dict[str, Any] = {}
        tables: dict[str, dict[str, Setting]] = {}
        profiles = self._table(whole, "profile", "")
        for name in ("", *profiles):
            # `prefix` stands before the keys of a table, as in profile.NAME.heartbeat.
            prefix = f"profile.{name}." if name else ""
            table = self._table(profiles, name, "profile.") if name else whole
            own = dict(self._table(table, self._tool, prefix))
            found = self._of_evtop(own, table, prefix) if self._tool == "evtop" else {}
            if self._tool == "evcam" and (alerts := self._table(table, "alert", prefix)):
                found["alert"] = self._named("alert", alerts, prefix)
            nested = _TABLES if name else (*_TABLES, "profile")
            shared = {key: value for key, value in table.items() if key not in nested}
            # A mistake in a profile is reported even if the profile is not used.
            layers = [
                self._layer(shared, self._table(table, "celery", prefix), prefix, own=False),
                self._layer(own, {}, f"{prefix}{self._tool}.", own=True),
            ]
            for layer in layers if name in ("", profile) else ():
                if "broker" in layer:
                    settings.pop("broker_command", None)  # it is for another broker
                settings |= layer
            if name in ("", profile):
                keys |= self._table(table, "keys", prefix)
                for kind, values in found.items():
                    tables.setdefault(kind, {}).update(values)
        if profile and profile not in profiles:
            hint = _did_you_mean(profile, profiles)
            raise ConfigError(f"{path}: there is no [profile.{profile}]", hint)
        for command, value in keys.items():
            several = value if isinstance(value, list) else [value]
            if not all(isinstance(key, str) for key in several):
                self._fail(f"keys.{command}", "must be a text or a list of texts")
        if path.stat().st_mode & _OTHERS_MAY_READ and _has_secret(whole):
            risk = "holds a password and is readable by everyone"
            warnings.append(f"{path} {risk}: chmod 600 {path}")
        return Sources(
            settings, path, tuple(warnings), keys, profiles=tuple(profiles), tables=tables
        )

    def _table(self, table: Mapping[str, Any], key: str, prefix: str) -> dict[str, Any]:
        value = table.get(key, {})
        if not isinstance(value, dict):
            self._fail(prefix + key, "must be a table")
        return value

    def _of_evtop(
        self, own: dict[str, Any], around: Mapping[str, Any], prefix: str
    ) -> dict[str, dict[str, Setting]]:
        # The tables of evtop, taken out of `own`; a text is for the first view.
        tables: dict[str, dict[str, Setting]] = {}
        for owner in ("command", "alert"):
            if named := self._table(around, owner, prefix):
                tables[owner] = self._named(owner, named, prefix)
        if "colours" in own:
            looks = self._table(own, "colours", f"{prefix}evtop.")
            tables["colours"] = self._colours(looks, f"{prefix}evtop.colours")
            del own["colours"]
        for name, kind in _BY_VIEW.items():
            if not isinstance(own.get(name), dict):
                continue
            key = f"{prefix}evtop.{name}"
            tables[name] = {}
            for view, value in own.pop(name).items():
                if view not in VIEWS:
                    hint = _did_you_mean(view, VIEWS) or f"there are {', '.join(VIEWS)}"
                    self._fail(f"{key}.{view}", "there is no such view", hint)
                if type(value) is not kind or not all(isinstance(one, str) for one in value):
                    self._fail(
                        f"{key}.{view}", f"must be a {'text' if kind is str else 'list of texts'}"
                    )
                tables[name][view] = Setting(value, f"{self._path} [{key}]")
        return tables

    def _named(self, kind: str, tables: Mapping[str, Any], prefix: str) -> dict[str, Setting]:
        # Tables with names of the user's: [command.NAME] and [alert.NAME].
        parse: Callable[..., Any]
        if kind == "alert":
            from evtools.alerts import parse_rule as parse
        else:
            from evtools.top.programs import parse_program as parse
        found = {}
        for name, table in tables.items():
            key = f"{prefix}{kind}.{name}"
            if not isinstance(table, dict):
                self._fail(key, "must be a table")
            found[name] = Setting(parse(name, f"{self._path}: {key}", table), str(self._path))
        return found

    def _colours(self, table: Mapping[str, Any], key: str) -> dict[str, Setting]:
        from evtools.top.ui.theme import STYLES, parse_look

        found = {}
        for name, value in table.items():
            style = name.replace("_", "-")
            if style not in STYLES:
                hint = _did_you_mean(style, STYLES) or f"there are {', '.join(STYLES)}"
                self._fail(f"{key}.{name}", "there is no such style", hint)
            if not isinstance(value, str):
                self._fail(f"{key}.{name}", "must be a text")
            try:
                parse_look(value)
            except ValueError as error:
                self._fail(f"{key}.{name}", str(error))
            found[style] = Setting(value, f"{self._path} [{key}]")
        return found

    def _layer(
        self, table: Mapping[str, Any], celery: Mapping[str, Any], prefix: str, *, own: bool
    ) -> dict[str, Setting]:
        # The settings of one table, under our names and under Celery's.
        place = f"{self._path} [{prefix.removesuffix('.')}]" if prefix else str(self._path)
        settings: dict[str, Setting] = {}
        ours: dict[str, str] = {}
        theirs: dict[str, Any] = {}
        for key, value in table.items():
            name = key.replace("-", "_")
            option = self._options.get(name)
            if option is None:
                self._add_celery(theirs, key, value, prefix)
            elif not (own or option.shared):
                self._fail(prefix + key, f"belongs in [{self._tool}]")
            elif name in ours:
                self._fail(prefix + key, f"is also set as {ours[name]}")
            else:
                ours[name] = key
                settings[name] = Setting(self._convert(option, value, prefix + key), place)
        for key, value in celery.items():
            self._add_celery(theirs, key, value, f"{prefix}celery.")
        try:
            translated = options_from(theirs)
        except BadSetting as error:
            raise ConfigError(f"{self._path}: {error}", _MANUAL) from None
        for name, value in translated.items():
            if name in ours:
                self._fail(prefix + ours[name], "is also set under Celery's name")
            option = self._options.get(name)
            if option is not None:
                settings[name] = Setting(self._convert(option, value, prefix + name), place)
            elif name == TLS_MORE:  # the other tools ignore those of evcam's process
                settings[name] = Setting(value, place)
        return settings

    def _add_celery(self, theirs: dict[str, Any], key: str, value: Any, prefix: str) -> None:
        # The old names are in capitals: CELERY_EVENT_QUEUE_TTL.
        name = key.lower().removeprefix("celery_") if key.isupper() else key
        if name not in OPTIONS:
            known = [*self._options, *OPTIONS, *_TABLES, "profile"]
            hint = _did_you_mean(key.replace("-", "_"), known)
            self._fail(prefix + key, "there is no such setting", hint)
        if name in theirs:
            self._fail(prefix + key, "is set twice, under its old and its new name")
        theirs[name] = value

    def _convert(self, option: Option, value: Any, key: str) -> Any:
        # Checks the TOML type of a value and returns it as click takes it.
        kinds: tuple[type[Any], ...] = (str, *getattr(option.type, "kinds", ()))
        if option.type in PAIRS:
            kinds = (dict,)
        elif option.multiple:
            value = [value] if isinstance(value, str) else value
            if not isinstance(value, list):
                self._fail(key, "must be a text or a list of texts")
            return value
        elif option.is_flag or option.count:
            kinds = (bool if option.is_flag else int,)
        elif isinstance(option.type, click.IntRange):
            kinds = (str, int)
        if type(value) not in kinds:
            self._fail(key, f"must be {' or '.join(_TOML_NAMES[kind] for kind in kinds)}")
        return value

    def _fail(self, key: str, what: str, hint: str = "") -> NoReturn:
        raise ConfigError(f"{self._path}: {key}: {what}", hint or _MANUAL)


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
    address = split_name(value)[1]
    is_secret = url.is_secret(name) or (name == "headers" and not value.startswith("@"))
    return is_secret or ("://" in address and bool(url.secrets(address)))


def _rules(sources: Sources) -> dict[str, Any]:
    # The file may have been named otherwise.
    alerts = sources.tables.get("alert", {})
    return {name: replace(each.value, place="") for name, each in alerts.items()}


def reloader(
    ctx: click.Context, level: Callable[[Mapping[str, Any]], int]
) -> Callable[[], Mapping[str, Any]]:
    """Return a function that reads the settings file of `ctx` again; it raises ConfigError.

    It returns the options that have changed since the last time, but for those of the command
    line or the environment, with their values in the file, or None for those no longer in it;
    `loglevel` is a number of the logging module, from `level`; `alert` stands for the alerts.
    """
    sources = sources_of(ctx)
    # Absolute: a daemon changes its working directory.
    path = str(sources.path.absolute()) if sources.path else ""
    before = {name: each.value for name, each in sources.settings.items()}
    alerts = _rules(sources)

    def reload() -> Mapping[str, Any]:
        nonlocal before, alerts
        if not path:
            return {}
        loaded = load(ctx.command, path, ctx.params["profile"])
        after = {name: each.value for name, each in loaded.settings.items()}
        changed = {
            name: after.get(name)
            for name in before.keys() | after.keys()
            if name in ctx.params and before.get(name) != after.get(name)
            and not is_given(ctx, name)
        }  # fmt: skip
        if "loglevel" in changed:
            try:
                changed["loglevel"] = level(ctx.params | {"loglevel": changed["loglevel"]})
            except KeyError:
                word = changed["loglevel"]
                raise ConfigError(f"{path}: loglevel: invalid level {word}") from None
        if _rules(loaded) != alerts:
            changed["alert"] = None
        before, alerts = after, _rules(loaded)
        return changed

    return reload


# --- the text of a file -----------------------------------------------------------------

#: The names of tables, and that of a key.
TomlPath: TypeAlias = tuple[str, ...]
#: A text, a comment, or else what may end a value, a key or a line.
_PIECE: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|"(?:\\.|[^"\\\n])*"'''
    r"""|'{3}.*?'{3,5}|'[^'\n]*'"""
    r"""|\#[^\n]*|[\n\[\]{}=]|[^"'\#\n\[\]{}=]+""",
    re.DOTALL,
)
_AFTER_FILE: Final = re.compile(r": | \[")


class Statement(NamedTuple):
    """A header, which has no `key`, or a key and its value, in the text of a settings file.

    Places in the text are where its line starts, its value starts and ends, and its last line
    ends; `comments` are those within the value.
    """

    table: TomlPath
    key: TomlPath
    start: int
    value: int
    end: int
    line_end: int
    comments: list[str]


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of a text that is known to be TOML."""
    table: TomlPath = ()
    depth, start, equals, end, comments = 0, -1, -1, 0, list[str]()
    for match in _PIECE.finditer(f"{text}\n"):
        piece = match[0]
        if piece == "\n" and depth == 0:
            if start >= 0:
                is_header = equals < 0
                written = text[start:end] if is_header else f"{text[start:equals]}= 0"
                path = _path_of(tomllib.loads(written))
                table = path if is_header else table
                space = len(text[equals + 1 : end]) - len(text[equals + 1 : end].lstrip())
                line_end = match.start() - text[: match.start()].endswith("\r")
                yield Statement(
                    table, () if is_header else path, start, equals + 1 + space, end, line_end,
                    comments,
                )  # fmt: skip
            start, equals, comments = -1, -1, []
        elif piece.startswith("#"):
            comments += [piece.rstrip()] if depth else []
        elif piece.strip():
            start = match.start() + len(piece) - len(piece.lstrip()) if start < 0 else start
            end = match.start() + len(piece.rstrip())
            equals = match.start() if piece == "=" and equals < 0 and not depth else equals
            depth += (piece in "[{") - (piece in "]}")


def line_of(message: str) -> int | None:
    """Return the number of the line of a settings file that a message is about, if it is of one.

    Such a message begins with a file and a key or a table, as in `FILE: evtop.sort: ...`,
    `FILE [evtop.columns]: ...` and `FILE [evdump]: filter_file: ...`.
    """
    for match in _AFTER_FILE.finditer(message):
        path = Path(message[: match.start()])
        with suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            if not path.is_file():
                continue
            data = path.read_bytes()
            text = data.decode(encoding_of(data)).removeprefix("\ufeff").replace("\r\n", "\n")
            key, *rest = re.split("]: |]|: ", message[match.end() :], maxsplit=2)
            lines = {
                ".".join(one.table + one.key): text.count("\n", 0, one.start) + 1
                for one in statements(text)
            }
            in_table = f"{key}.{rest[0]}" if rest else ""
            # A key that is missing is missing in its table.
            return lines.get(in_table) or lines.get(key) or lines.get(key.rpartition(".")[0])
    return None


def _path_of(nested: Any) -> TomlPath:
    path: TomlPath = ()
    while isinstance(nested, dict | list) and nested:
        if isinstance(nested, dict):
            [(name, nested)] = nested.items()
            path += (name,)
        else:
            nested = nested[0]
    return path
