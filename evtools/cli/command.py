"""A click command that reads the settings file and groups its help."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from evtools.cli.entry import family
from evtools.cli.options import BROKER_VARIABLES, GROUPS
from evtools.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

#: What every command's context has; Celery's has no -h.
CONTEXT: Final[Mapping[str, Any]] = {"help_option_names": ["-h", "--help"]}

_META: Final = "evtools.sources"
#: The same column in all groups of --help.
_NAMES_WIDTH: Final = 27


@dataclass(slots=True)
class Sources:
    """Where the values come from that neither flags nor environment gave.

    `settings` are by option name, `config` is the settings file if there is
    one, `warnings` are for the user, `keys` is evtop's table of keys, and
    `app_options` names the transport options that an application sets.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    config: "Path | None" = None
    warnings: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    app_options: frozenset[str] = frozenset()

    def origin(self, ctx: click.Context, name: str) -> str:
        """Say where the value of an option comes from."""
        source = ctx.get_parameter_source(name)
        if source is ParameterSource.COMMANDLINE:
            return f"{_flag(ctx, name)} flag"
        if source is ParameterSource.ENVIRONMENT:
            return variable_of(ctx, name)
        if source is ParameterSource.DEFAULT_MAP:
            return str(self.settings[name].origin)
        return "Celery's default" if name == "broker" else "default"


def sources_of(ctx: click.Context) -> Sources:
    """Return the sources that the command of `ctx` was parsed with."""
    found = ctx.meta.get(_META)
    return found if isinstance(found, Sources) else Sources()


def variable_of(ctx: click.Context, name: str) -> str:
    """Return the environment variable that sets an option, or would."""
    option = _option(ctx, name)
    names = option.envvar or ()
    names = [names] if isinstance(names, str) else list(names)
    return next((name for name in names if os.environ.get(name)), names[0])


def _flag(ctx: click.Context, name: str) -> str:
    return _option(ctx, name).opts[0]


def _option(ctx: click.Context, name: str) -> click.Parameter:
    return next(option for option in ctx.command.params if option.name == name)


class ToolCommand(click.Command):
    """One of the tools; `groups` are those of its --help, in their order."""

    def __init__(self, *args: Any, groups: Sequence[str] = GROUPS, **attributes: Any) -> None:
        super().__init__(*args, **{"context_settings": dict(CONTEXT), **attributes})
        self.groups = groups

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with the settings file and the application as defaults."""
        given, *_ = self.make_parser(ctx).parse_args(args=list(args))
        self._answer_version(ctx, given)
        helping = self.get_help_option(ctx)
        if helping is None or helping.name not in given:
            sources = self._sources(ctx, given)
            ctx.meta[_META] = sources
            ctx.default_map = {name: setting.value for name, setting in sources.settings.items()}
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            raise _from_file(error, ctx) from None

    def _answer_version(self, ctx: click.Context, given: Mapping[str, Any]) -> None:
        if "version_line" in given or "version" in given:
            from evtools.cli import version  # noqa: PLC0415  (start-up time)

            # `evtools doctor` is evtools; below celery, a tool is itself.
            tool = family(ctx.info_name or "evtools")
            if "version_line" in given:
                click.echo(version.line(tool))
            else:
                click.echo(version.report(tool, as_json="json_output" in given))
            ctx.exit()

    def _sources(self, ctx: click.Context, given: Mapping[str, Any]) -> Sources:
        from evtools.cli import config  # noqa: PLC0415  (start-up time)

        loaded = config.load(
            given.get("config") or os.environ.get("EVTOOLS_CONFIG"),
            given.get("profile") or os.environ.get("EVTOOLS_PROFILE"),
            tool=self.name or "",
            options=self.params,
            environ=os.environ,
        )
        settings = dict(loaded.settings)
        app = _application(ctx) or given.get("app") or os.environ.get("EVTOOLS_APP")
        if not app and "app" in settings:
            app = settings["app"].value
        app_options: frozenset[str] = frozenset()
        if app:
            _log_plainly(ctx.info_name or "evtools", given)
            theirs = _of_application(app)
            app_options = _option_names(theirs) - _option_names(settings)
            settings = _over(theirs, settings)
        if "broker" in given or any(map(os.environ.get, BROKER_VARIABLES)):
            # Else the file's program would have the last word, or tell its password
            # to another broker.
            settings.pop("broker_command", None)
        return Sources(settings, loaded.path, loaded.warnings, loaded.keys, app_options)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        records: dict[str, list[tuple[str, str]]] = {group: [] for group in self.groups}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                names, text = record
                group = getattr(param, "group", "Other")
                records[group].append((names.ljust(_NAMES_WIDTH), text))
        for group, lines in records.items():
            with formatter.section(group):
                formatter.write_dl(lines, col_max=_NAMES_WIDTH)


def _application(ctx: click.Context) -> Any:
    """Return the application when we run below `celery -A`."""
    return getattr(ctx.parent.obj, "app", None) if ctx.parent else None


def _log_plainly(tool: str, given: Mapping[str, Any]) -> None:
    """Log to stderr what an application has to say when it is imported."""
    from evtools.cli import logs  # noqa: PLC0415  (start-up time)

    quiet, debug = bool(given.get("quiet")), bool(given.get("debug"))
    logs.set_up(tool, verbosity=0, quiet=quiet, debug=debug)


def _of_application(app: Any) -> dict[str, Any]:
    from evtools.cli import celery_names  # noqa: PLC0415  (start-up time)
    from evtools.cli.config import Setting  # noqa: PLC0415  (start-up time)
    from evtools.transport.celery_app import celery_settings  # noqa: PLC0415  (Celery)

    origin = f"-A {app}" if isinstance(app, str) else "-A"
    try:
        options = celery_names.options_from(celery_settings(app))
    except celery_names.BadSetting as error:
        raise UsageError(f"{origin}: {error}") from None
    if "broker_option" in options:
        options["broker_option"] = list(options["broker_option"].items())
    return {name: Setting(value, origin) for name, value in options.items()}


def _option_names(settings: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the transport options that are set."""
    options = settings.get("broker_option")
    return frozenset(dict(options.value) if options else ())


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over others; transport options are merged."""
    merged = {**below, **above}
    if "broker_option" in below and "broker_option" in above:
        upper, lower = above["broker_option"], below["broker_option"]
        options = dict(lower.value) | dict(upper.value)
        merged["broker_option"] = type(upper)(list(options.items()), upper.origin)
    return merged


def _from_file(error: click.BadParameter, ctx: click.Context) -> Exception:
    """Say where a bad value stands if it was not on the command line."""
    name = (error.param and error.param.name) or ""
    sources = sources_of(ctx)
    if (
        name not in sources.settings
        or ctx.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP
    ):
        return error
    origin = sources.settings[name].origin
    if origin.startswith("-A"):
        return UsageError(f"{origin}: {name}: {error.message}")
    return ConfigError(f"{origin}: {name}: {error.message}", "see evtools.toml(5)")
