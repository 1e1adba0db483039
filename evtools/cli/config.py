"""The settings file: TOML, profiles, our names and Celery's."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from evtools.cli import celery_names
from evtools.cli.options import Option
from evtools.cli.params import PAIRS
from evtools.errors import ConfigError
from evtools.text import decode_text
from evtools.trust import distrusted

FILE_NAME: Final = "evtools/evtools.toml"
TOOLS: Final = ("evtop", "evdump", "evcam")
_CELERY: Final = "celery"
_PROFILE: Final = "profile"
#: evtop's keys: a command, and the keys that mean it.
_KEYS: Final = "keys"
#: Tables that are no settings.
_TABLES: Final = (*TOOLS, _CELERY, _KEYS)
_TOML_NAMES: Final[Mapping[type[Any], str]] = {
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    float: "a number",
}
_OTHERS_MAY_READ = 0o004


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it comes from."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a settings file says; by option name, and evtop's keys by command."""

    path: Path | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)


def load(
    path: str | None,
    profile: str | None,
    *,
    tool: str,
    options: Sequence[click.Parameter],
    environ: Mapping[str, str],
) -> Loaded:
    """Read the settings file for `tool`, whose options are `options`.

    `path` None means the usual places, where there may be none.  Raise
    ConfigError, with file and key, for whatever is wrong with it.
    """
    warnings: list[str] = []
    found = _given(path) if path else find(environ, warnings)
    if found is None:
        if profile:
            raise ConfigError(
                f"there is no settings file for --profile {profile}",
                f"looked for: {', '.join(map(str, places(environ)))}",
            )
        return Loaded(warnings=tuple(warnings))
    reader = _Reader(found, tool, options)
    table = _read(found)
    settings = reader.layers(table, profile)
    keys = reader.keys(table, profile)
    warnings += _too_open(found, table)
    return Loaded(found, settings, tuple(warnings), keys)


def places(environ: Mapping[str, str]) -> list[Path]:
    """Return where a settings file may be, as XDG has it."""
    home = environ.get("HOME", "")
    user = environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
    system = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    folders = [user, *system.split(":")]
    return [Path(folder) / FILE_NAME for folder in folders if folder]


def find(environ: Mapping[str, str], warnings: list[str]) -> Path | None:
    """Return the first settings file there is, and warn of those not for root."""
    for path in places(environ):
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
        raise ConfigError(
            _refusal(path, culprit),
            "give it to root, in a folder of root's, or run this as who owns it",
        )
    return path


def _refusal(path: Path, culprit: Path) -> str:
    return f"root obeys no settings in {path}: others than root can write {culprit}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(decode_text(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "see evtools.toml(5)") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: it is no text in UTF-8 or UTF-16", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", "see evtools.toml(5)") from None


class _Reader:
    """Take the layers of one file apart."""

    def __init__(self, path: Path, tool: str, options: Sequence[click.Parameter]) -> None:
        self._path = path
        self._tool = tool
        self._options = {
            option.name: option
            for option in options
            if isinstance(option, Option) and option.in_file and option.name
        }

    def layers(self, table: Mapping[str, Any], profile: str | None) -> dict[str, Setting]:
        """Return the settings of all layers; the later ones win."""
        profiles = self._table(table, _PROFILE, "")
        tables = list(self._layer(table, ""))
        # A mistake in a profile shall not wait until the profile is used.
        named = {
            name: list(self._layer(self._table(profiles, name, ""), f"{_PROFILE}.{name}"))
            for name in profiles
        }
        if profile:
            if profile not in named:
                raise ConfigError(
                    f"{self._path}: there is no [{_PROFILE}.{profile}]",
                    _did_you_mean(profile, named),
                )
            tables += named[profile]
        settings: dict[str, Setting] = {}
        for layer in tables:
            if "broker" in layer:
                settings.pop("broker_command", None)  # it is for another one
            settings |= layer
        return settings

    def keys(self, table: Mapping[str, Any], profile: str | None) -> dict[str, Any]:
        """Return the keys that are not the built-in ones, by command."""
        keys = dict(self._table(table, _KEYS, ""))
        if profile:
            section = _join(_PROFILE, profile)
            keys |= self._table(table[_PROFILE][profile], _KEYS, section)
        for command, value in keys.items():
            several = value if isinstance(value, list) else [value]
            if not all(isinstance(key, str) for key in several):
                self._fail(_KEYS, command, "must be a text or a list of texts")
        return keys

    def _layer(self, table: Mapping[str, Any], section: str) -> Iterator[dict[str, Setting]]:
        nested = _TABLES if section else (*_TABLES, _PROFILE)
        shared = {key: value for key, value in table.items() if key not in nested}
        celery = self._table(table, _CELERY, section)
        yield dict(self._values(shared, celery, section))
        own = self._table(table, self._tool, section)
        yield dict(self._values(own, {}, _join(section, self._tool), own=True))

    def _table(self, table: Mapping[str, Any], key: str, section: str) -> Mapping[str, Any]:
        value = table.get(key, {})
        if not isinstance(value, dict):
            self._fail(section, key, "must be a table")
        return dict(value)

    def _values(
        self,
        table: Mapping[str, Any],
        celery: Mapping[str, Any],
        section: str,
        *,
        own: bool = False,
    ) -> Iterator[tuple[str, Setting]]:
        ours: dict[str, tuple[str, Any]] = {}
        theirs: dict[str, Any] = {}
        for key, value in table.items():
            name = key.replace("-", "_")
            if name in self._options:
                self._check_place(name, key, section, own=own)
                if name in ours:
                    self._fail(section, key, f"is also set as {ours[name][0]}")
                ours[name] = (key, value)
            else:
                self._celery_value(key, value, theirs, section)
        for key, value in celery.items():
            self._celery_value(key, value, theirs, _join(section, _CELERY))
        yield from self._joined(ours, theirs, section)

    def _check_place(self, name: str, key: str, section: str, *, own: bool) -> None:
        if not own and not self._options[name].shared:
            self._fail(section, key, f"belongs into [{self._tool}]")

    def _celery_value(self, key: str, value: Any, theirs: dict[str, Any], section: str) -> None:
        name = celery_names.new_name(key)
        if name not in celery_names.OPTIONS:
            known = [*self._options, *celery_names.OPTIONS, *_TABLES, _PROFILE]
            hint = _did_you_mean(key.replace("-", "_"), known)
            self._fail(section, key, "there is no such setting", hint)
        if name in theirs:
            self._fail(section, key, "is set twice, under its old and its new name")
        theirs[name] = value

    def _joined(
        self, ours: dict[str, tuple[str, Any]], theirs: dict[str, Any], section: str
    ) -> Iterator[tuple[str, Setting]]:
        try:
            translated = celery_names.options_from(theirs)
        except celery_names.BadSetting as error:
            raise ConfigError(f"{self._path}: {error}", "see evtools.toml(5)") from None
        both = translated.keys() & ours.keys()
        if both:
            name = min(both)
            self._fail(section, ours[name][0], "is also set under Celery's name")
        # What Celery names for evcam's process says nothing to the other tools.
        known = {n: (n, v) for n, v in translated.items() if n in self._options}
        everything = known | ours
        origin = f"{self._path} [{section}]" if section else str(self._path)
        if celery_names.TLS_MORE in translated:
            more = translated[celery_names.TLS_MORE]
            yield celery_names.TLS_MORE, Setting(more, origin)
        for name, (key, value) in everything.items():
            fitted = self._fit(self._options[name], value, key, section)
            yield name, Setting(fitted, origin)

    def _fit(self, option: Option, value: Any, key: str, section: str) -> Any:
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
        types = _toml_types(option)
        if type(value) not in types:
            names = " or ".join(_TOML_NAMES[kind] for kind in types)
            self._fail(section, key, f"must be {names}")
        return value

    def _fail(self, section: str, key: str, what: str, hint: str = "") -> None:
        raise ConfigError(
            f"{self._path}: {_join(section, key)}: {what}", hint or "see evtools.toml(5)"
        )


def _toml_types(option: Option) -> tuple[type[Any], ...]:
    """Return the types that a value of a plain option may have in TOML."""
    if option.is_flag:
        return (bool,)
    if option.count:
        return (int,)
    if isinstance(option.type, (click.types.StringParamType, click.Choice)):
        return (str,)
    return (str, *getattr(option.type, "kinds", ()))


def _join(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _did_you_mean(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _too_open(path: Path, table: Mapping[str, Any]) -> Iterator[str]:
    if path.stat().st_mode & _OTHERS_MAY_READ and _holds_secret(table):
        yield (f"{path} holds a password and everybody on this host may read it: chmod 600 {path}")


def _holds_secret(value: Any, name: str = "") -> bool:
    from evtools.transport import url  # noqa: PLC0415  (start-up time)

    if isinstance(value, Mapping):
        return any(_holds_secret(item, str(key)) for key, item in value.items())
    if isinstance(value, list):
        return any(_holds_secret(item, name) for item in value)
    if not isinstance(value, str) or not value:
        return False
    return url.is_secret(name) or ("://" in value and bool(url.secrets(value)))
