"""Options: their class, those that all tools share, and those that several have alike."""

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from evtools.cli import types

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

T = TypeVar("T")

#: The groups of --help, in order; those of a tool come after the first.
GROUPS: Final = ("Common", "Broker", "TLS", "Events", "Output", "Settings", "Other")

#: EVTOOLS_BROKER_URL, then what Celery itself reads events from.
BROKER_VARIABLES: Final = (
    "EVTOOLS_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_URL", "BROKER_URL",
)  # fmt: skip

#: The types of flags: one that is off by default, and one that is neither on nor off.
FLAG: Final = "flag"
SWITCH: Final = "switch"


def complete(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Return what a shell may complete the value of an option or argument to."""
    from evtools.cli.completion import candidates

    return candidates(ctx, param, incomplete)


class Option(click.Option):
    """An option with its group in --help and its key in the settings file.

    `names` are separated by blanks.  A tuple of choices as `kind` replaces CHOICES in the help
    text.  `shown` is the default as --help has it, where that is
    not `default`.  `shared` options are those of all tools: EVTOOLS_<NAME> in the environment
    sets them, too, and <TOOL>_<NAME> those of a tool, unless `envvar` says otherwise.  One that
    is not `in_file` makes no sense in the settings file.  `helps` has the help texts of tools
    where they differ.
    """

    def __init__(
        self,
        group: str,
        names: str,
        kind: Any = None,
        help: str = "",  # noqa: A002  (as click calls it)
        *,
        shown: str = "",
        shared: bool = False,
        in_file: bool = True,
        helps: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        if kind in (FLAG, SWITCH):
            attributes |= {"is_flag": True} | ({"default": None} if kind is SWITCH else {})
        elif isinstance(kind, tuple):
            attributes["type"] = click.Choice(kind)
            help = help.replace("CHOICES", f"{', '.join(kind[:-1])} or {kind[-1]}")  # noqa: A001
        else:
            attributes["type"] = kind
        super().__init__(names.split(), help=help, shell_complete=complete, **attributes)
        if shared:
            self.name_variable("EVTOOLS")
        default = attributes.get("default")
        if isinstance(default, bool):
            negative = self.secondary_opts
            default = (self.opts if default else negative)[0].lstrip("-") if negative else ""
        self.shown = shown or ("" if default is None else str(default))
        self.group = group
        self.shared = shared
        self.in_file = in_file
        self.helps = helps or {}

    def name_variable(self, prefix: str) -> None:
        """Let <prefix>_<NAME> in the environment set the option, unless it has a variable."""
        if self.envvar is None:
            long = next(name for name in self.opts if name.startswith("--"))
            self.envvar = f"{prefix}_{long[2:].replace('-', '_').upper()}"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None:
            return None
        text = self.helps.get(ctx.command.name or "", self.help or "")
        return record[0], f"{text}  [{self.shown}]" if self.shown else text


def is_typed(ctx: click.Context, name: str) -> bool:
    """Return whether an option is on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def is_given(ctx: click.Context, name: str) -> bool:
    """Return whether an option is on the command line or in the environment."""
    return is_typed(ctx, name) or ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT


def variable_of(ctx: click.Context, name: str) -> str:
    """Return the environment variable that sets an option."""
    names = option_of(ctx, name).envvar or ()
    names = [names] if isinstance(names, str) else list(names)
    return next((name for name in names if os.environ.get(name)), names[0])


def option_of(ctx: click.Context, name: str) -> click.Parameter:
    """Return the option of a name."""
    return next(option for option in ctx.command.params if option.name == name)


def file_options(tool: click.Command) -> list[Option]:
    """Return the options that can be in the settings file."""
    return [each for each in tool.params if isinstance(each, Option) and each.in_file]


def build(kind: Callable[..., T], values: Mapping[str, Any], **computed: Any) -> T:
    """Return the options of a tool, a dataclass.

    Each field is the option of its name, unless it is among `computed`; an option that was
    not given leaves the default of the field.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if name in names and value is not None}
    return kind(**(given | computed))


FILTERS: Final = click.Argument(
    ["filters"], nargs=-1, type=types.FILTER, metavar="[FILTER]...", shell_complete=complete
)

_opt = partial(Option, shared=True)

# fmt: off
SHARED: Final = (
    _opt("Common", "-b --broker", types.BROKER, envvar=BROKER_VARIABLES, metavar="URL|@FILE|-",
         help="Broker to watch: redis://, rediss://, sentinel://, amqp://, amqps://. @FILE and -"
              " (stdin) keep the password out of the process list.",
         shown="amqp://guest@localhost//"),
    _opt("Broker", "-A --app", metavar="APP",
         help="Take the settings of a Celery application, as celery -A does."),
    _opt("Broker", "--broker-command", types.COMMAND,
         help="Run this program, without a shell, to get the broker's URL or its password: at"
              " the start, and whenever the broker refuses the last one."),
    _opt("Broker", "--broker-option", types.KEYVALUE, multiple=True,
         help="Transport option; the value is JSON or text, as in master_name=mymaster for"
              " Sentinel. Repeatable."),
    _opt("Broker", "--login-method", ("PLAIN", "AMQPLAIN", "EXTERNAL", "GSSAPI"), metavar="NAME",
         help="AMQP login: CHOICES.", shown="PLAIN"),
    _opt("Broker", "--connect-timeout", types.POSITIVE_DURATION, default="4s",
         help="Timeout for one attempt to connect, and for each answer."),
    _opt("Broker", "--heartbeat", types.DURATION, default="10s",
         help="Treat the connection as dead after two missed heartbeats of this interval; 0"
              " disables heartbeats."),
    _opt("Broker", "--reconnect/--no-reconnect", default=True,
         help="Reconnect forever, or exit with status 69."),
    _opt("Broker", "--buffer-size", types.SIZE, default="256M",
         help="Memory for events waiting to be processed; events that do not fit are dropped and"
              " counted."),
    _opt("Broker", "--fanout-prefix", types.FANOUT_PREFIX, shown="/{db}.",
         help="Redis: prefix of the event channels, as set on the workers; 'off' for none."),
    _opt("Broker", "--fanout-patterns/--no-fanout-patterns", SWITCH, shown="fanout-patterns",
         help="Redis: whether channels are named after the event, as set on the workers."),
    _opt("Broker", "--global-keyprefix", metavar="TEXT",
         help="Redis: prefix of all keys and channels, as set on the workers."),
    _opt("TLS", "--tls/--no-tls", SWITCH,
         help="Encrypt the connection; rediss:// and amqps:// always do."),
    _opt("TLS", "--tls-ca", metavar="FILE",
         help="CA certificates to trust.", shown="the system's"),
    _opt("TLS", "--tls-cert", metavar="FILE",
         help="Client certificate, if the broker asks for one."),
    _opt("TLS", "--tls-key", metavar="FILE", help="Private key for --tls-cert."),
    _opt("TLS", "--tls-verify", ("required", "optional", "none"), metavar="HOW", shown="required",
         help="Check the broker's certificate: CHOICES."),
    _opt("TLS", "--tls-check-hostname/--no-tls-check-hostname", SWITCH, shown="tls-check-hostname",
         help="Whether the certificate must match the host name."),
    _opt("TLS", "--tls-server-name", metavar="NAME", shown="the host",
         help="Server name to ask for, which the certificate must match."),
    _opt("Events", "--event-routing-key", types.ROUTING_KEY, multiple=True, shown="#",
         help="Subscribe to these events only: task.# for all task events, worker.heartbeat for"
              " one type. Repeatable."),
    _opt("Events", "--event-exchange", default="celeryev", metavar="NAME",
         help="Event exchange, as set on the workers."),
    _opt("Events", "--event-queue-prefix", default="celeryev", metavar="NAME",
         help="Prefix of the names of event queues."),
    _opt("Events", "--event-queue-ttl", types.DURATION_OR_NONE, default="5s",
         help="RabbitMQ drops events that were not fetched within this time; 'none' disables."),
    _opt("Events", "--event-queue-expires", types.DURATION_OR_NONE, default="60s",
         help="RabbitMQ deletes our queue after it has been unused for this long; 'none'"
              " disables."),
    _opt("Events", "--event-queue-exclusive/--no-event-queue-exclusive", default=True,
         help="Delete our queue when we disconnect."),
    _opt("Events", "--event-queue-durable/--no-event-queue-durable", default=False,
         help="Keep our queue when the broker restarts; excludes --event-queue-exclusive."),
    _opt("Events", "--control-exchange", default="celery", metavar="NAME",
         help="Remote control exchange, as set on the workers."),
    _opt("Events", "--wakeup/--no-wakeup", default=True,
         help="Ask the workers for a heartbeat after connecting."),
    _opt("Events", "--enable-events", FLAG,
         help="Tell the workers to send task events, as celery control enable_events does."),
    _opt("Events", "--read-only", FLAG,
         help="Never publish anything; works with a read-only broker user."),
    _opt("Events", "--accept", ("json", "msgpack", "yaml", "pickle"), metavar="NAME",
         multiple=True, shown="json msgpack yaml",
         help="Serializers to accept: json, msgpack, yaml, pickle. Repeatable."),
    _opt("Events", "--redact", types.REDACTION, multiple=True,
         help="Mask secrets before anything is shown or written: the value of NAME,"
              " kwargs.NAME, or whatever /REGEX/ matches in any text. Repeatable."),
    _opt("Output", "--color", ("auto", "always", "never"), default="auto", metavar="WHEN",
         help="Colours: CHOICES; NO_COLOR and FORCE_COLOR are respected."),
    _opt("Output", "-q --quiet", FLAG, help="Print less.", helps={
        "evdump": "Print less: no summary, no notices, only type and name.",
        "evtop": "Log errors only; with -B, print nothing but the rows.",
        "evcam": "Log warnings and errors only.",
        "evdoctor": "Leave out everything that is in order.",
    }),
    _opt("Output", "-v --verbose", count=True, help="Print more.", helps={
        "evdump": "Print more: arguments and results; -vv: tracebacks, too.",
        "evtop": "Log more: actions as well as failures.",
        "evcam": "Log everything, as -l DEBUG does.",
        "evdoctor": "List all workers and queues, however many there are.",
    }),
    _opt("Settings", "--config", metavar="FILE", in_file=False,
         help="Settings file.", shown="~/.config/evtools/evtools.toml"),
    _opt("Settings", "--profile", metavar="NAME", in_file=False,
         help="Use [profile.NAME] of the settings file."),
    _opt("Settings", "--show-config", FLAG, in_file=False,
         help="Print the effective settings and where each comes from, and exit."),
    _opt("Other", "--debug", FLAG, help="Log everything; show tracebacks."),
    _opt("Other", "--version", FLAG, in_file=False, expose_value=False,
         help="Print the versions of all components (--json for programs), and exit."),
    _opt("Other", "-V version_line", FLAG, in_file=False, expose_value=False, envvar=(),
         help="Print the version only, and exit."),
)
# fmt: on


# --- options of several tools, each with a variable of its own ----------------------


def memory(group: str) -> tuple[Option, ...]:
    return (
        Option(
            group, "--max-tasks", types.COUNT, default=100_000, metavar="N",
            help="Maximum number of tasks to remember; finished ones are dropped first.",
        ),
        Option(
            group, "--max-memory", types.SIZE, default="256M",
            help="Memory limit for tasks and workers; the rest is dropped.",
        ),
    )  # fmt: skip


def replay(
    read: str = "-r --read", *, group: str = "Recording", speed: str = "max"
) -> tuple[Option, ...]:
    """Return the options of a replay.

    `read` has the names of the first one, in `group`; `speed` is the default speed.
    """
    reads = read.split(maxsplit=1)[0]
    # fmt: off
    return (
        Option(group, read, types.RECORDING, in_file=False, multiple=True, metavar="FILE",
               help="Read events from a recording instead of a broker; - for stdin. Repeatable;"
                    " 'rec-*.jsonl' reads several files in order of time."),
        Option("Recording", "--speed", types.SPEED, shown=speed,
               help=f"Replay {reads} at 1x, 10x, ... or max."),
        Option("Recording", "-S --since", types.TIMESTAMP, in_file=False,
               help=f"With {reads}, start at this time: 14:30 (of the recording), 10m (ago),"
                    " 2026-11-20T14:00Z."),
        Option("Recording", "-U --until", types.TIMESTAMP, in_file=False,
               help=f"With {reads}, stop after this time."),
    )
    # fmt: on
