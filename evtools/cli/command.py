"""The command of a tool: parsing, grouped help, and what all tools do first."""

import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

import click

from evtools import __version__
from evtools.cli import main, options
from evtools.cli.options import FLAG, Option, is_typed
from evtools.cli.tools import CONTEXT, family
from evtools.errors import EvtoolsError, UsageError

if TYPE_CHECKING:
    from evtools.transport import ConnectionSettings

T = TypeVar("T")

#: Where the context keeps the arguments as they were typed.
ARGUMENTS: Final = "evtools.arguments"
#: The width of the first column, the same in all groups of --help.
_NAMES_WIDTH: Final = 27
#: Options for which no settings are read: those may be wrong.
_ANSWERED_FIRST: Final = frozenset({"help", "version", "version_line", "default"})
_FORCE_COLOUR: Final = ("FORCE_COLOR", "CLICOLOR_FORCE")


class ToolCommand(click.Command):
    """A tool; `groups` are those of its --help, in order."""

    def __init__(self, *args: Any, groups: Sequence[str] = options.GROUPS, **more: Any) -> None:
        super().__init__(*args, **{"context_settings": dict(CONTEXT), **more})
        self.groups = groups

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            from evtools.cli.config import explain_bad_value

            raise explain_bad_value(error, ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {group: [] for group in self.groups}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                group = getattr(param, "group", "Other")
                records[group].append((record[0].ljust(_NAMES_WIDTH), record[1]))
        for group, lines in records.items():
            with formatter.section(group):
                formatter.write_dl(lines, col_max=_NAMES_WIDTH)


class Plugin(ToolCommand):
    """A tool as a subcommand of celery: `celery -A proj evtop`; it fails in its own way."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except EvtoolsError as error:
            sys.exit(main.fail(str(self.name), error))

    def invoke(self, ctx: click.Context) -> Any:
        body = partial(super().invoke, ctx)
        ctx.exit(main.guard(str(self.name), body, debug=bool(ctx.params.get("debug"))))


def plugin(tool: ToolCommand) -> Plugin:
    """Return a tool as celery takes it."""
    return Plugin(
        tool.name,
        groups=tool.groups,
        callback=tool.callback,
        params=tool.params,
        help=tool.help,
        epilog=tool.epilog,
    )


# --- options of the command itself --------------------------------------------------


def _read_settings(ctx: click.Context, given: Mapping[str, Any]) -> None:
    if _ANSWERED_FIRST.isdisjoint(given):
        from evtools.cli.config import read_sources

        read_sources(ctx, given)


def _print_version(ctx: click.Context, given: Mapping[str, Any]) -> None:
    if "version_line" in given or "version" in given:
        from evtools.cli import version

        # `evtools doctor` is evtools; below celery, a tool is itself.
        tool = family(ctx.info_name or "evtools")
        short = "version_line" in given
        click.echo(
            f"{tool} {__version__}" if short else version.report(tool, "json_output" in given)
        )
        ctx.exit()


_opt = partial(Option, prefix="EVTOOLS", shared=True)

# fmt: off
SHARED: Final = (
    *options.SHARED,
    _opt("Settings", "--config", metavar="FILE", in_file=False, first=_read_settings,
         help="Settings file.", shown="~/.config/evtools/evtools.toml"),
    _opt("Settings", "--profile", metavar="NAME", in_file=False,
         help="Use [profile.NAME] of the settings file."),
    _opt("Settings", "--show-config", FLAG, in_file=False,
         help="Print the effective settings and where each comes from, and exit."),
    _opt("Other", "--debug", FLAG, help="Log everything; show tracebacks."),
    _opt("Other", "--version", FLAG, in_file=False, expose_value=False, first=_print_version,
         help="Print the versions of all components (--json for programs), and exit."),
    _opt("Other", "-V version_line", FLAG, in_file=False, expose_value=False, envvar=(),
         help="Print the version only, and exit."),
)
# fmt: on


# --- what all tools do first --------------------------------------------------------


def setup(
    ctx: click.Context, *, secrets: Iterable[str] = (), level: str = "warning"
) -> "ConnectionSettings | None":
    """Return the connection settings of the command line, or None after --show-config.

    Warnings about settings are logged at `level`; passwords and `secrets` are removed from
    the process list.  Raise UsageError or ImproperlyConfigured.
    """
    import logging

    from evtools.cli.config import sources_of
    from evtools.cli.connection import connection_settings

    log = getattr(logging.getLogger(__name__), level)

    for warning in sources_of(ctx).warnings:
        log(warning)
    settings = connection_settings(ctx)
    hide_secrets(sys.argv, settings.urls, secrets)
    if ctx.params["show_config"]:
        from evtools.cli.show_config import show_config

        click.echo(show_config(ctx, settings))
        return None
    if "pickle" in settings.accept:
        log("pickled events are decoded, if they are harmless")
    return settings


def hide_secrets(arguments: Sequence[str], urls: str, others: Iterable[str] = ()) -> None:
    """Remove the passwords of `urls`, and others, from the command line that ps shows.

    They are visible for a moment after the start; `-b @FILE` never shows them at all.
    """
    from evtools.text import hide_credentials
    from evtools.transport.url import MASK, secrets

    title = hidden = " ".join(arguments)
    for secret in sorted({*secrets(urls), *others} - {""}, key=len, reverse=True):
        hidden = hidden.replace(secret, MASK)
    hidden = hide_credentials(hidden)  # those of --broker-command, for example
    if hidden != title:
        import setproctitle

        setproctitle.setproctitle(hidden)


def wants_colour(when: str, stream: TextIO) -> bool:
    """Return whether to write colours to a stream.

    `when` is the option --color.  On auto, NO_COLOR wins over FORCE_COLOR, that over a
    dumb terminal, and that over whether the stream is a terminal.
    """
    if when != "auto":
        return when == "always"
    if os.environ.get("EVTOOLS_NO_COLOR") or os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in _FORCE_COLOUR):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


# --- options of a tool --------------------------------------------------------------


def build(kind: Callable[..., T], values: Mapping[str, Any], **computed: Any) -> T:
    """Return the options of a tool, a dataclass.

    Each field is the option of its name, unless it is among `computed`; an option that was
    not given leaves the default of the field.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if name in names and value is not None}
    return kind(**(given | computed))


def check_conflicts(
    ctx: click.Context, needs: Mapping[str, Sequence[str]], exclusive: Iterable[tuple[str, str]]
) -> None:
    """Raise UsageError for options that exclude each other or need another one.

    `needs` has an option, and those that require it; the latter count only if they are
    typed, since the environment and the settings file may set them for other runs.
    """
    values = ctx.params
    for needed, names in needs.items():
        for name in names:
            if not values[needed] and is_typed(ctx, name):
                raise UsageError(
                    f"{flag(name)} requires {flag(needed)}",
                    f"add {flag(needed)}, or leave out {flag(name)}",
                )
    for left, right in exclusive:
        if values[left] and values[right]:
            raise UsageError(
                f"{flag(left)} and {flag(right)} exclude each other", "leave one of them out"
            )
    since, until = values.get("since"), values.get("until")
    if isinstance(since, float) and isinstance(until, float):
        is_backwards = until <= since
    else:  # a time of day is compared only where it is known which day it is on
        is_backwards = since is not None and since == until
    if is_backwards:
        raise UsageError(
            "--until is before --since", "both are points in time; 10m means ten minutes ago"
        )


def flag(name: str) -> str:
    """Return an option as users write it."""
    return {"json_output": "--json", "ts_count": "-t"}.get(name) or "--" + name.replace("_", "-")


# --- the words of a filter ----------------------------------------------------------


def filter_of(words: Sequence[str], *, reading: bool = False) -> str:
    """Return the filter on the command line, "" for none.

    Raise UsageError where the words are a broker's URL, the rest of a filter that the shell
    took apart, or, when `reading` a recording, the files of an unquoted pattern.
    """
    from evtools.filters import shell_trap

    if any("://" in word.partition(" ")[0] for word in words[:1]):
        # Not quoted: it may hold a password.
        raise UsageError("a filter looks like a broker URL", "give the URL with -b URL")
    for word in words:
        if reading and ("." in word or "/" in word) and os.path.isfile(word):  # noqa: PTH113
            raise UsageError(
                f"{word} is a file, not a filter",
                "for several recordings quote the pattern, -r 'rec-*.jsonl', or repeat -r",
            )
    # The shell takes > for a redirection.
    for word in words if _is_file(sys.stdout) else ():
        warning = shell_trap(word)
        if warning:
            raise UsageError(f"the filter is just {word!r}", warning)
    return " ".join(words)


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False
