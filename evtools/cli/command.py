"""The command of a tool: parsing, grouped help, and what all tools do first."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from evtools import __version__
from evtools.cli import main
from evtools.cli.options import GROUPS, SHARED, Option, is_typed
from evtools.cli.tools import CONTEXT, family
from evtools.errors import UsageError

if TYPE_CHECKING:
    from evtools.cli import types
    from evtools.transport import ConnectionSettings

#: Where the context keeps the arguments as they were typed.
ARGUMENTS: Final = "evtools.arguments"
#: And the names of options that count as not typed.
WITHOUT: Final = "evtools.without"
#: Of a tool that is a program.
_EPILOG: Final = (
    "Every option can be set in the environment ({variables}) and in the settings file;"
    " --show-config prints the effective settings. See also {name}(1), evfilter(7) and"
    " evtools.toml(5)."
)
#: The width of the first column, the same in all groups of --help.
_NAMES_WIDTH: Final = 27


class ToolCommand(click.Command):
    """A tool: `run` gets its context, with all values, and returns the exit status.

    `own` are its options and arguments but for those that all tools share, `groups` those of
    its --help, in order; those of others are taken and not shown.  Its epilog names some
    `variables`, if there is no other.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[click.Context], int],
        own: Sequence[click.Parameter],
        *,
        groups: Sequence[str] = GROUPS,
        help: str,  # noqa: A002  (as click calls it)
        epilog: str = "",
        variables: str = "",
    ) -> None:
        options = [each for each in own if isinstance(each, Option)]
        arguments = [each for each in own if not isinstance(each, Option)]
        epilog = epilog or _EPILOG.format(name=name, variables=variables)
        params = [*arguments, *SHARED, *options]
        super().__init__(name, dict(CONTEXT), params=params, help=help, epilog=epilog)
        self.run, self.groups = run, groups
        for option in options:
            option.name_variable(name.upper())

    def make_parser(self, ctx: click.Context) -> Any:
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> tuple[dict[str, Any], list[str], list[click.Parameter]]:
            found, rest, order = parse(args)
            for name in ctx.meta.get(WITHOUT, ()):
                found.pop(name, None)
            return found, rest, order

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        given, _, order = self.make_parser(ctx).parse_args(list(args))
        # For these no settings are read, which may be wrong.
        answered = {getattr(self.get_help_option(ctx), "name", None), "default"}
        if ctx.resilient_parsing or not answered.isdisjoint(given):
            return super().parse_args(ctx, args)
        from evtools.cli import config, version

        tool = family(ctx.info_name or "evtools")
        if "version_line" in given or "version" in given:
            line = f"{tool} {__version__}"
            is_short = "version_line" in given
            click.echo(line if is_short else version.report(tool, "json_output" in given))
            ctx.exit()
        left = {name: iter(value) for name, value in given.items() if isinstance(value, list)}
        ctx.meta[config.IN_ORDER] = [
            (each.name, next(left[each.name]) if each.name in left else given.get(each.name or ""))
            for each in order
        ]
        config.read_sources(ctx, given)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            raise config.explain_bad_value(error, ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {group: [] for group in self.groups}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            group = getattr(param, "group", "Other")
            # Some take options that have no effect, so that one settings file works for all.
            group = "Broker" if param.name == "broker" and "Broker" not in records else group
            if record is not None and isinstance(param, click.Option) and group in records:
                records[group].append((record[0].ljust(_NAMES_WIDTH), record[1]))
        for group, lines in records.items():
            with formatter.section(group):
                formatter.write_dl(lines, col_max=_NAMES_WIDTH)

    def invoke(self, ctx: click.Context) -> int:
        return self.run(ctx)


class Plugin(click.Command):
    """A tool as a subcommand of celery, `celery -A proj evtop`; it ends in its own way there."""

    def __init__(self, tool: ToolCommand) -> None:
        super().__init__(tool.name, params=tool.params, help=tool.help)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = args
        return super().parse_args(ctx, args) if ctx.resilient_parsing else args

    def invoke(self, ctx: click.Context) -> None:
        name = str(self.name)
        ctx.exit(main.start(name.removeprefix("ev"), ctx.args, parent=ctx.parent))


def setup(
    ctx: click.Context, *, secrets: Iterable[str] = (), level: str = "warning"
) -> "tuple[ConnectionSettings, ...]":
    """Return the settings of each cluster on the command line; print them, and exit, if asked to.

    Warnings about settings are logged at `level`; passwords and `secrets` are removed from
    the process list.  Raise UsageError or ImproperlyConfigured.
    """
    import logging

    from evtools.cli.config import sources_of
    from evtools.cli.connection import connection_settings

    log = getattr(logging.getLogger(__name__), level)

    for warning in sources_of(ctx).warnings:
        log(warning)
    clusters = connection_settings(ctx)
    hide_secrets(sys.argv, [each.urls for each in clusters], secrets)
    if ctx.params["show_config"]:
        from evtools.cli.show_config import show_config

        click.echo(show_config(ctx, clusters))
        ctx.exit()
    if "pickle" in clusters[0].accept:
        log("pickled events are decoded, if they are harmless")
    return clusters


def hide_secrets(arguments: Sequence[str], urls: Iterable[str], others: Iterable[str] = ()) -> None:
    """Remove the passwords of `urls`, and others, from the command line that ps shows.

    They are visible for a moment after the start; `-b @FILE` never shows them at all.
    """
    from evtools.text import hide_credentials
    from evtools.transport.url import MASK, secrets

    title = hidden = " ".join(arguments)
    for secret in sorted(
        {*chain.from_iterable(map(secrets, urls)), *others} - {""}, key=len, reverse=True
    ):
        hidden = hidden.replace(secret, MASK)
    hidden = hide_credentials(hidden)  # those of --broker-command, for example
    if hidden != title:
        import setproctitle

        setproctitle.setproctitle(hidden)


def wants_colour(when: str, stream: TextIO) -> bool:
    """Return whether to write colours to a stream; `when` is the option --color.

    On auto, NO_COLOR wins over FORCE_COLOR, that over a dumb terminal, and that over whether
    the stream is a terminal.
    """
    variable = os.environ.get
    if when != "auto":
        return when == "always"
    if variable("EVTOOLS_NO_COLOR") or variable("NO_COLOR"):
        return False
    if any(variable(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return stream.isatty() and variable("TERM") != "dumb"


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
                hint = f"add {flag(needed)}, or leave out {flag(name)}"
                raise UsageError(f"{flag(name)} requires {flag(needed)}", hint)
    for left, right in exclusive:
        if values[left] and values[right]:
            raise excluding(flag(left), flag(right))
    if is_typed(ctx, "speed"):
        from evtools.transport.recording.database import is_database

        if any(map(is_database, values["read"])):
            text = "--speed is about recordings: a database is read at once"
            raise UsageError(text, "leave it out")
    check_span(values)


def check_span(values: Mapping[str, Any]) -> None:
    """Raise UsageError where a recording would be left before it is entered."""
    since, until = values.get("since"), values.get("until")
    if isinstance(since, float) and isinstance(until, float):
        is_backwards = until <= since
    else:  # a time of day is compared only where it is known which day it is on
        is_backwards = since is not None and since == until
    if is_backwards:
        hint = "both are points in time; 10m means ten minutes ago"
        raise UsageError("--until is before --since", hint)


def excluding(left: str, right: str) -> UsageError:
    """Return the error for options that exclude each other."""
    return UsageError(f"{left} and {right} exclude each other", "leave one of them out")


def flag(name: str) -> str:
    """Return an option as users write it."""
    return {"json_output": "--json", "ts_count": "-t"}.get(name) or "--" + name.replace("_", "-")


def file_filter(file: "types.TextFile | None") -> str:
    """Return the filter in a file, without its comments; "" for no file."""
    lines = file.text.splitlines() if file else ()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#")).strip()


def filter_of(words: Sequence[str], *, reading: bool = False) -> str:
    """Return the filter on the command line, "" for none.

    Raise UsageError where the words are a broker's URL, the rest of a filter that the shell
    took apart, or, when `reading` a recording, the files of an unquoted pattern.
    """
    from evtools.filters import shell_trap

    if any("://" in word.partition(" ")[0] for word in words[:1]):
        # Not quoted: it may hold a password.
        raise UsageError("a filter looks like a broker URL", "give the URL with -b URL")
    into_file = False  # the shell takes > for a redirection
    with contextlib.suppress(OSError, ValueError):  # stdout may have no descriptor
        into_file = stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    for word in words:
        if reading and ("." in word or "/" in word) and os.path.isfile(word):  # noqa: PTH113
            hint = "for several recordings quote the pattern, -r 'rec-*.jsonl', or repeat -r"
            raise UsageError(f"{word} is a file, not a filter", hint)
        if into_file and (warning := shell_trap(word)):
            raise UsageError(f"the filter is just {word!r}", warning)
    return " ".join(words)
