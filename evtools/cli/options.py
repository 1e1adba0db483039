"""Options: their class, those that all tools share, and those that several have alike."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from evtools.cli import types

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: The groups of --help, in order; those of a tool come after the first.
GROUPS: Final = ("Common", "Broker", "TLS", "Events", "Output", "Settings", "Other")

#: EVTOOLS_BROKER_URL, then what Celery itself reads events from.
BROKER_VARIABLES: Final = (
    "EVTOOLS_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_URL", "BROKER_URL",
)  # fmt: skip

#: The types of flags: one that is off by default, and one that is neither on nor off.
FLAG: Final = "flag"
SWITCH: Final = "switch"


class Option(click.Option):
    """An option with its group in --help and its key in the settings file.

    `names` are separated by blanks.  A tuple of choices as `kind` replaces CHOICES in the
    help text.  `shown` is the default as --help has it, where that is not `default`.
    `<prefix>_<NAME>` in the environment sets the option, too, unless `envvar` says
    otherwise.  `shared` options are those of all tools; one that is not `in_file` makes no
    sense in the settings file.  `helps` has the help texts of tools where they differ.
    `first` is called before any other option is processed, with what was typed for each.
    """

    def __init__(
        self,
        group: str,
        names: str,
        kind: Any = None,
        help: str = "",  # noqa: A002  (as click calls it)
        *,
        prefix: str,
        shown: str = "",
        shared: bool = False,
        in_file: bool = True,
        helps: Mapping[str, str] | None = None,
        first: Callable[[click.Context, Mapping[str, Any]], None] | None = None,
        **attributes: Any,
    ) -> None:
        if kind in (FLAG, SWITCH):
            attributes |= {"is_flag": True} | ({"default": None} if kind is SWITCH else {})
        elif isinstance(kind, tuple):
            attributes["type"] = click.Choice(kind)
            help = help.replace("CHOICES", f"{', '.join(kind[:-1])} or {kind[-1]}")  # noqa: A001
        else:
            attributes["type"] = kind
        if "envvar" not in attributes:
            long = next(name for name in names.split() if name.startswith("--"))
            name = long.partition("/")[0].removeprefix("--").replace("-", "_")
            attributes["envvar"] = f"{prefix}_{name.upper()}"
        super().__init__(names.split(), help=help, **attributes)
        self.group = group
        self.shared = shared
        self.in_file = in_file
        self.helps = helps or {}
        self.first = first
        self.is_eager = first is not None
        self.shown = shown or self._shown(attributes.get("default"))

    def _shown(self, default: Any) -> str:
        if isinstance(default, bool):
            negative = self.secondary_opts
            return (self.opts if default else negative)[0].lstrip("-") if negative else ""
        return "" if default is None else str(default)

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        if self.first is not None and not ctx.resilient_parsing:
            self.first(ctx, opts)
        return super().handle_parse_result(ctx, opts, args)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None:
            return None
        text = self.helps.get(ctx.command.name or "", self.help or "")
        return record[0], f"{text}  [{self.shown}]" if self.shown else text

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        from evtools.cli.completion import candidates

        return candidates(self, ctx, incomplete)


class Argument(click.Argument):
    """The arguments of a tool; completed like an option of the same type."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        from evtools.cli.completion import candidates

        return candidates(self, ctx, incomplete)


def is_typed(ctx: click.Context, name: str) -> bool:
    """Return whether an option is on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def is_given(ctx: click.Context, name: str) -> bool:
    """Return whether an option is on the command line or in the environment."""
    given = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return ctx.get_parameter_source(name) in given


def variable_of(ctx: click.Context, name: str) -> str:
    """Return the environment variable that sets an option."""
    names = option_of(ctx, name).envvar or ()
    names = [names] if isinstance(names, str) else list(names)
    return next((name for name in names if os.environ.get(name)), names[0])


def option_of(ctx: click.Context, name: str) -> click.Parameter:
    """Return the option of a name."""
    return next(option for option in ctx.command.params if option.name == name)


FILTERS: Final = Argument(["filters"], nargs=-1, type=types.FILTER, metavar="[FILTER]...")

_opt = partial(Option, prefix="EVTOOLS", shared=True)

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
)
# fmt: on


# --- options of several tools, each with a variable of its own ----------------------


def demo_option(prefix: str, group: str = "Other") -> Option:
    text = "Use a simulated cluster; needs no broker."
    return Option(group, "--demo", FLAG, text, prefix=prefix, in_file=False)


def json_option(prefix: str, group: str = "Output") -> Option:
    names, text = "--json json_output", "Same as -o json."
    return Option(group, names, FLAG, text, prefix=prefix, in_file=False, envvar=())


def memory_options(prefix: str, group: str) -> tuple[Option, Option]:
    opt = partial(Option, group, prefix=prefix)
    # fmt: off
    return (
        opt("--max-tasks", types.COUNT, default=100_000, metavar="N",
            help="Maximum number of tasks to remember; finished ones are dropped first."),
        opt("--max-memory", types.SIZE, default="256M",
            help="Memory limit for tasks and workers; the rest is dropped."),
    )
    # fmt: on


def recording_options(
    prefix: str, read: str = "-r --read", *, group: str = "Recording", speed: str = "max"
) -> tuple[Option, ...]:
    """Return the options of a replay.

    `read` has the names of the first one, in `group`; `speed` is the default speed.
    """
    opt = partial(Option, prefix=prefix)
    reads = read.split(maxsplit=1)[0]
    # fmt: off
    return (
        opt(group, read, types.RECORDING, in_file=False, multiple=True, metavar="FILE",
            help="Read events from a recording instead of a broker; - for stdin. Repeatable;"
                 " 'rec-*.jsonl' reads several files in order of time."),
        opt("Recording", "--speed", types.SPEED, shown=speed,
            help=f"Replay {reads} at 1x, 10x, ... or max."),
        opt("Recording", "-S --since", types.TIMESTAMP, in_file=False,
            help=f"With {reads}, start at this time: 14:30 (of the recording), 10m (ago),"
                 " 2026-11-20T14:00Z."),
        opt("Recording", "-U --until", types.TIMESTAMP, in_file=False,
            help=f"With {reads}, stop after this time."),
    )
    # fmt: on
