"""evtools config: the settings of all tools, a first settings file, and changes to it."""

import io
import logging
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import TextWrapper
from typing import Any, Final

import click

from evtools.cli import types
from evtools.cli.command import ARGUMENTS, ToolCommand, hide_secrets
from evtools.cli.config import Statement, TomlPath, places, sources_of, statements
from evtools.cli.options import FLAG, GROUPS, Option, file_options
from evtools.cli.show_config import aligned, head, rows_of, tables_of, toml, toml_key
from evtools.cli.tools import TOOLS, command
from evtools.errors import ConfigError
from evtools.text import encoding_of
from evtools.top.options import Settings
from evtools.trust import distrusted, make_folders

_HELP: Final = """\
Print every setting and where it comes from: first those of all tools, then what each
tool has in addition, or set differently.

\b
Examples:
  evtools config
  evtools config --profile prod
  mkdir -p ~/.config/evtools
  evtools config --default > ~/.config/evtools/evtools.toml

For one tool, including the options of its command line: evtop --show-config.
"""
_EPILOG: Final = (
    "Passwords are masked; the value of an option that is not set is -."
    " evtools.toml(5) describes the settings file."
)
#: The tools with settings of their own.
_CONFIGURED: Final = ("top", "dump", "cam")


def run(ctx: click.Context) -> int:
    if ctx.params["default"]:
        click.echo(settings_file(), nl=False)
        return 0
    from evtools.cli import logs
    from evtools.cli.connection import connection_settings

    logs.set_up("evtools config", {"debug": ctx.params["debug"]})
    for warning in sources_of(ctx).warnings:
        logging.getLogger(__name__).warning(warning)
    settings = connection_settings(ctx)
    hide_secrets(sys.argv, [each.urls for each in settings])
    common = rows_of(ctx, settings)
    lines = [head(ctx), *aligned(common)]
    stdin = sys.stdin
    typed = [each.url for each in ctx.params["broker"] if each.via.endswith("(stdin)")]
    for name in _CONFIGURED:
        if typed:  # it has been read already
            sys.stdin = io.TextIOWrapper(io.BytesIO("\n".join(typed).encode()))
        try:
            words = list(ctx.meta[ARGUMENTS])
            with command(name).make_context(TOOLS[name].program, words) as tool:
                rows = rows_of(tool, connection_settings(tool))
        finally:
            sys.stdin = stdin
        lines += ["", f"[{tool.command.name}]"]
        lines += aligned([row for row in rows if row not in common])
        # Its alerts are those of evtop.
        lines += tables_of(tool) if tool.command.name != "evcam" else ()
    click.echo("\n".join(lines))
    return 0


_FILE_HEAD: Final = """\
# Settings of evtop, evdump, evcam and evtools doctor; see evtools.toml(5).
#
# Remove the # in front of a setting to set it.  Its value here is the default, or an
# example if there is none.  evtools config prints the effective settings.\
"""
_FILE_KEYS: Final = """\

# Keys of evtop: commands, and the key or keys for each; [] removes them.
[keys]
"""
_FILE_TAIL: Final = """\

# A profile, selected with --profile NAME, overrides the settings above.  It may have
# tables of its own, such as [profile.NAME.evdump].
#
# [profile.NAME]
# broker = "redis://localhost:6379/0"

# Columns and order of the views of evtop; :save in evtop writes these tables.
#
# [evtop.columns]
# tasks = ["state", "name", "kwargs.tenant"]
# [evtop.sort]
# tasks = "-runtime"
# [evtop.colours]
# failure = "bold red"

# Programs that evtop runs on a row.
#
# [command.trace]
# run = ["xdg-open", "https://traces.company/search?id={uuid}"]
# key = "B"

# What evtop watches for, and evtop --check alerts reports; evcam runs a program then.
#
# [alert.failing]
# view = "types"
# filter = "share>5 failed>=20"
# for = "1m"
# run = "notify.sh --team web"

# Celery's names for settings work, too: here, or at the top.
#
# [celery]
# broker_url = "redis://localhost:6379/0"
"""
_wrap: Final = TextWrapper(width=82, break_on_hyphens=False).wrap
#: Examples for options without a default, by type and by metavar.
# fmt: off
_EXAMPLES: Final[Mapping[Any, Any]] = {
    types.BROKER: "amqp://guest@localhost//", types.COUNT: 100, types.DURATION: "10s",
    types.FANOUT_PREFIX: "/{db}.", types.FILTER: "state:FAILURE", types.GROUP: "celery",
    types.POSITIVE_DURATION: "10s", types.RATE: "10/m", types.REGEX: "Error", types.SIZE: "100M",
    types.SPEED: "1x", types.UMASK: "027", types.USER: "celery", types.WHOLE: 1,
    "FILE": "/path/to/file", "DIR": "/path/to/folder", "HOST:PORT": "127.0.0.1:9808",
}
# fmt: on


def settings_file() -> str:
    """Return a settings file in which everything can be set and nothing is."""
    from evtools.top.keys import BINDINGS

    tools = [command(name) for name in _CONFIGURED]
    shared = [each for each in file_options(tools[0]) if each.shared]
    lines = [_FILE_HEAD]
    for option in sorted(shared, key=lambda each: GROUPS.index(each.group)):
        lines += _commented(option)
    for tool in tools:
        lines += ["", f"[{tool.name}]"]
        for option in file_options(tool):
            lines += [] if option.shared else _commented(option)
    lines.append(_FILE_KEYS)
    for binding in BINDINGS:
        lines += [f"# {binding.help}", f"#{toml_key(binding.command)} = {toml(binding.keys)}"]
    return "\n".join((*lines, _FILE_TAIL))


def _commented(option: Option) -> Iterator[str]:
    yield ""
    yield from (f"# {line}" for line in _wrap(option.help or ""))
    # Its default, or an example; click has a value of its own for options without a default.
    value = option.get_default(click.Context(click.Command("evtools")))
    if option.type in types.PAIRS:
        value = {}
    elif option.multiple and option.type is not types.BROKER:
        value = []
    elif not isinstance(value, bool | int | float | str):
        metavar = option.metavar or ""
        choices = getattr(option.type, "choices", None)
        example = _EXAMPLES.get(option.type, _EXAMPLES.get(metavar, metavar))
        value = True if option.is_flag else choices[0] if choices else example
    yield f"#{option.name} = {toml(value)}"


# --- changes -------------------------------------------------------------------------

# A library that keeps comments (tomlkit) is as large as all of cli.  This one writes values in
# the place of others and adds lines; where that is not enough, nothing is changed.

_NEW_FILE: Final = "# Settings of evtools; see evtools.toml(5).\n"


def change_settings(path: Path | None, changes: Settings, profile: str = "") -> str:
    """Change settings in a file, or in a new one in the usual place; return its path.

    What the user has written there, comments included, stays.  Settings that the `profile` has
    are changed there.  Raise ConfigError, and change nothing, if that is impossible.
    """
    usual = places()
    if path is None and not usual:
        raise ConfigError("no settings can be saved: there is no HOME", "set HOME")
    path = usual[0] if path is None else path.expanduser()
    culprit = distrusted(path)
    if culprit is not None:
        problem = f"as root, settings in {path} are not changed: others than root can write"
        raise ConfigError(f"{problem} {culprit}", "save them as its owner")
    try:
        # A link to it stays.
        target = path.resolve()
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: settings can be saved in plain files only")
        data = target.read_bytes() if path.exists() else _NEW_FILE.encode()
        encoding = encoding_of(data).removesuffix("-sig")
        text = _changed(data.decode(encoding), changes, profile)
        _replace(target, text.encode(encoding))
    except OSError as error:
        hint = f"copy it to {usual[0]} to have your own" if usual and path != usual[0] else ""
        raise ConfigError(f"{path}: {error.strerror}", hint) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text in UTF-8 or UTF-16", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: nothing is saved: {error}", "mend it, and save again") from None
    except _CannotEdit as refusal:
        problem = f"{path}: nothing is saved: its settings are written in another way"
        raise ConfigError(problem, f"write by hand: {refusal}") from None
    return str(path)


class _CannotEdit(Exception):
    # With what the user could write.
    pass


def _replace(path: Path, data: bytes) -> None:
    # Atomically; the mode stays.
    make_folders(path.parent)
    before = path.stat() if path.exists() else None
    if before is not None and before.st_uid != os.geteuid() != 0:
        raise PermissionError(0, f"it belongs to user {before.st_uid}")
    new = path.with_name(f".{path.name}.{os.getpid()}")
    # It may have passwords.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if before is not None:
                with suppress(PermissionError):  # a group that this user is not in
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                shutil.copystat(path, new)
                os.utime(new)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _changed(text: str, changes: Settings, profile: str) -> str:
    # The text of a settings file with other values.
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    wanted = _parsed(text)
    found = [(_place_of(wanted, setting, profile), value) for setting, value in changes.items()]
    lines = "; ".join(f"{'.'.join(map(toml_key, place))} = {toml(value)}" for place, value in found)
    for place, value in found:
        text = _with_value(text, place, toml(value))
        table = wanted
        for name in place[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise _CannotEdit(lines)
        table[place[-1]] = value if isinstance(value, str | bool) else list(value)
        # Whatever is written in a way that this does not know shows here.
        try:
            is_right = _parsed(text) == wanted
        except tomllib.TOMLDecodeError:
            is_right = False
        if not is_right:
            raise _CannotEdit(lines)
    return mark + text


def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text.replace("\r\n", "\n"))


def _place_of(whole: Mapping[str, Any], setting: TomlPath, profile: str) -> TomlPath:
    # Where a setting is, under either spelling: in the profile, or in the file.
    for prefix in (("profile", profile), ()) if profile else ((),):
        table: Any = whole
        for name in (*prefix, *setting[:-1]):
            table = table.get(name) if isinstance(table, dict) else None
        for key in table if isinstance(table, dict) else ():
            if key.replace("-", "_") == setting[-1]:
                return (*prefix, *setting[:-1], key)
    return setting


def _with_value(text: str, place: TomlPath, value: str) -> str:
    found, table = list(statements(text)), place[:-1]
    end = "\r\n" if "\r\n" in text else "\n"
    last: Statement | None = None
    for one in found:
        if one.key and one.table + one.key == place:
            kept = "".join(f"{comment}{end}" for comment in one.comments)
            before, after = text[: one.start] + kept, text[one.end :]
            return f"{before}{text[one.start : one.value]}{value}{after}"
        # The line goes after the last one of its table, or after others with dotted keys.
        is_dotted = one.key and len(one.table) < len(table) < len(one.table + one.key)
        if one.table == table or (is_dotted and (one.table + one.key)[: len(table)] == table):
            last = one
    if last is not None:
        line = ".".join(map(toml_key, place[len(last.table) :]))
        return f"{text[: last.line_end]}{end}{line} = {value}{text[last.line_end :]}"
    blank = "" if not text else end if text.endswith("\n") else end * 2
    header = ".".join(map(toml_key, table))
    return f"{text}{blank}[{header}]{end}{toml_key(place[-1])} = {value}{end}"


_DEFAULT: Final = Option(
    "Common", "--default", "Print a settings file with every setting in a comment, and its"
    " default.", FLAG, envvar=(), in_file=False,
)  # fmt: skip
evconfig: Final = ToolCommand("evconfig", run, [_DEFAULT], help=_HELP, epilog=_EPILOG)
