"""Options: their class, those that all tools share, and those that several have alike."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from evtools.cli import types

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


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Return what a shell may complete the value of an option or argument to."""
    from evtools.cli.completion import candidates

    return candidates(ctx, param, incomplete)


class Option(click.Option):
    """An option with its group in --help and its key in the settings file.

    The metavar may follow `names`.  A tuple of choices as `kind` replaces CHOICES in the help text,
    and `helps` has those of tools where they differ.  `shown` is the default in --help.  `shared`
    options are those of all tools: EVTOOLS_<NAME> in the environment sets them, <TOOL>_<NAME>
    those of a tool, unless `envvar` says otherwise.  Not all make sense `in_file`, the settings.
    """

    def __init__(
        self,
        group: str,
        names: str,
        help: str,  # noqa: A002  (as click calls it)
        kind: Any = None,
        *,
        shown: str = "",
        shared: bool = False,
        in_file: bool = True,
        helps: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        words = names.split()
        if not (words[-1].startswith("-") or words[-1].islower()):
            attributes["metavar"] = words.pop()
        if kind in (FLAG, SWITCH):
            attributes |= {"is_flag": True} | ({"default": None} if kind is SWITCH else {})
        elif isinstance(kind, tuple):
            attributes["type"] = click.Choice(kind)
            help = help.replace("CHOICES", f"{', '.join(kind[:-1])} or {kind[-1]}")  # noqa: A001
        else:
            attributes["type"] = kind
        super().__init__(words, help=help, shell_complete=complete, **attributes)
        self.group, self.shared, self.in_file, self.helps = group, shared, in_file, helps or {}
        if shared:
            self.name_variable("EVTOOLS")
        default = attributes.get("default")
        if isinstance(default, bool):
            negative = self.secondary_opts
            default = (self.opts if default else negative)[0].lstrip("-") if negative else ""
        self.shown = shown or ("" if default is None else str(default))

    def name_variable(self, prefix: str) -> None:
        """Let <prefix>_<NAME> in the environment set the option, unless it has a variable."""
        if self.envvar is None:
            long = next(name for name in self.opts if name.startswith("--"))
            self.envvar = f"{prefix}_{long[2:].replace('-', '_').upper()}"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        text = self.helps.get(ctx.command.name or "", self.help or "")
        return record and (record[0], f"{text}  [{self.shown}]" if self.shown else text)


def is_typed(ctx: click.Context, name: str) -> bool:
    """Return whether an option is on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def is_given(ctx: click.Context, name: str) -> bool:
    """Return whether an option is on the command line or in the environment."""
    return is_typed(ctx, name) or ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT


def file_options(tool: click.Command) -> list[Option]:
    """Return the options that can be in the settings file."""
    return [each for each in tool.params if isinstance(each, Option) and each.in_file]


def build(kind: Callable[..., T], values: Mapping[str, Any], **computed: Any) -> T:
    """Return the options of a tool, a dataclass: `computed`, and each given option by its name."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if name in names and value is not None}
    return kind(**(given | computed))


FILTERS: Final = click.Argument(
    ["filters"], nargs=-1, type=types.FILTER, metavar="[FILTER]...", shell_complete=complete
)

_opt = partial(Option, shared=True)

# fmt: off
SHARED: Final = (
    _opt("Common", "-b --broker URL|@FILE|-", "Broker to watch: redis://, rediss://,"
         " sentinel://, amqp://, amqps://. @FILE and - (stdin) keep the password out of the process"
         " list. Several clusters have a name each: -b prod=URL -b eu=URL.",
         types.BROKER, multiple=True, envvar=BROKER_VARIABLES, shown="amqp://guest@localhost//",
         helps={"evdoctor": "Broker to examine: redis://, rediss://, sentinel://, amqp://,"
                " amqps://. @FILE and - (stdin) keep the password out of the process list."}),
    _opt("Broker", "-A --app APP", "Take the settings of a Celery application, as celery -A does."),
    _opt("Broker", "--broker-command", "Run this program, without a shell, to get the broker's URL"
         " or its password: at the start, and whenever the broker refuses the last one.",
         types.COMMAND),
    _opt("Broker", "--broker-option", "Transport option; the value is JSON or text, as in"
         " master_name=mymaster for Sentinel. Repeatable.", types.KEYVALUE, multiple=True),
    _opt("Broker", "--login-method NAME", "AMQP login: CHOICES.",
         ("PLAIN", "AMQPLAIN", "EXTERNAL", "GSSAPI"), shown="PLAIN"),
    _opt("Broker", "--connect-timeout", "Timeout for one attempt to connect, and for each answer.",
         types.POSITIVE_DURATION, default="4s"),
    _opt("Broker", "--heartbeat", "Treat the connection as dead after two missed heartbeats of this"
         " interval; 0 disables heartbeats.", types.DURATION, default="10s"),
    _opt("Broker", "--reconnect/--no-reconnect", "Reconnect forever, or exit with status 69.",
         default=True),
    _opt("Broker", "--buffer-size", "Memory for events waiting to be processed; events that do not"
         " fit are dropped and counted.", types.SIZE, default="256M"),
    _opt("Broker", "--fanout-prefix", "Redis: prefix of the event channels, as set on the workers;"
         " 'off' for none.", types.FANOUT_PREFIX, shown="/{db}."),
    _opt("Broker", "--fanout-patterns/--no-fanout-patterns", "Redis: whether channels are named"
         " after the event, as set on the workers.", SWITCH, shown="fanout-patterns"),
    _opt("Broker", "--global-keyprefix TEXT", "Redis: prefix of all keys and channels, as set on"
         " the workers."),
    _opt("TLS", "--tls/--no-tls", "Encrypt the connection; rediss:// and amqps:// always do.",
         SWITCH),
    _opt("TLS", "--tls-ca FILE", "CA certificates to trust.", shown="the system's"),
    _opt("TLS", "--tls-cert FILE", "Client certificate, if the broker asks for one."),
    _opt("TLS", "--tls-key FILE", "Private key for --tls-cert."),
    _opt("TLS", "--tls-verify HOW", "Check the broker's certificate: CHOICES.",
         ("required", "optional", "none"), shown="required"),
    _opt("TLS", "--tls-check-hostname/--no-tls-check-hostname", "Whether the certificate must match"
         " the host name.", SWITCH, shown="tls-check-hostname"),
    _opt("TLS", "--tls-server-name NAME", "Server name to ask for, which the certificate must"
         " match.", shown="the host"),
    _opt("Events", "--event-routing-key", "Subscribe to these events only: task.# for all task"
         " events, worker.heartbeat for one type. Repeatable.",
         types.ROUTING_KEY, multiple=True, shown="#"),
    _opt("Events", "--event-exchange NAME", "Event exchange, as set on the workers.",
         default="celeryev"),
    _opt("Events", "--event-queue-prefix NAME", "Prefix of the names of event queues.",
         default="celeryev"),
    _opt("Events", "--event-queue-ttl", "RabbitMQ drops events that were not fetched within this"
         " time; 'none' disables.", types.DURATION_OR_NONE, default="5s"),
    _opt("Events", "--event-queue-expires", "RabbitMQ deletes our queue after it has been unused"
         " for this long; 'none' disables.", types.DURATION_OR_NONE, default="60s"),
    _opt("Events", "--event-queue-exclusive/--no-event-queue-exclusive", "Delete our queue when we"
         " disconnect.", default=True),
    _opt("Events", "--event-queue-durable/--no-event-queue-durable", "Keep our queue when the"
         " broker restarts; excludes --event-queue-exclusive.", default=False),
    _opt("Events", "--control-exchange NAME", "Remote control exchange, as set on the workers.",
         default="celery"),
    _opt("Events", "--wakeup/--no-wakeup", "Ask the workers for a heartbeat after connecting.",
         default=True),
    _opt("Events", "--enable-events", "Tell the workers to send task events, as celery control"
         " enable_events does.", FLAG),
    _opt("Events", "--read-only", "Never publish anything; works with a read-only broker user.",
         FLAG),
    _opt("Events", "--accept NAME", "Serializers to accept: json, msgpack, yaml, pickle."
         " Repeatable.",
         ("json", "msgpack", "yaml", "pickle"), multiple=True, shown="json msgpack yaml"),
    _opt("Output", "--redact", "Mask secrets before anything is shown or written: the value of"
         " NAME, kwargs.NAME, or whatever /REGEX/ matches in any text. Repeatable.",
         types.REDACTION, multiple=True),
    _opt("Output", "--color WHEN", "Colours: CHOICES; NO_COLOR and FORCE_COLOR are respected.",
         ("auto", "always", "never"), default="auto"),
    _opt("Output", "-q --quiet", "Print less.", FLAG, helps={
        "evdump": "Print less: no summary, no notices, only type and name.",
        "evtop": "Log errors only; with -B, print nothing but the rows.",
        "evcam": "Log warnings and errors only.",
        "evdoctor": "Leave out everything that is in order.",
        "evreport": "Print warnings only, and no progress.",
    }),
    _opt("Output", "-v --verbose", "Print more.", count=True, helps={
        "evdump": "Print more: arguments and results; -vv: tracebacks, too.",
        "evtop": "Log more: actions as well as failures.",
        "evcam": "Log everything, as -l DEBUG does.",
        "evdoctor": "List all workers and queues, however many there are.",
    }),
    _opt("Settings", "--config FILE", "Settings file.",
         in_file=False, shown="~/.config/evtools/evtools.toml"),
    _opt("Settings", "--profile NAME", "Use [profile.NAME] of the settings file.", in_file=False),
    _opt("Settings", "--show-config", "Print the effective settings and where each comes from, and"
         " exit.", FLAG, in_file=False),
    _opt("Other", "--debug", "Log everything; show tracebacks.", FLAG),
    _opt("Other", "--version", "Print the versions of all components (--json for programs), and"
         " exit.", FLAG, in_file=False, expose_value=False),
    _opt("Other", "-V version_line", "Print the version only, and exit.",
         FLAG, in_file=False, expose_value=False, envvar=()),
)
# fmt: on


# --- options of several tools, each with a variable of its own ----------------------


def memory(group: str) -> tuple[Option, ...]:
    return (
        Option(group, "--max-tasks N", "Maximum number of tasks to remember; finished ones are"
               " dropped first.", types.COUNT, default=100_000),
        Option(group, "--max-memory", "Memory limit for tasks and workers; the rest is dropped.",
               types.SIZE, default="256M"),
    )  # fmt: skip


def replay(
    read: str = "-r --read", *, group: str = "Recording", speed: str = "max"
) -> tuple[Option, ...]:
    """Return the options of a replay; `read` has the names of the first one, in `group`."""
    reads = read.split(maxsplit=1)[0]
    # fmt: off
    return (
        Option(group, read, "Read events from a recording instead of a broker; - for stdin."
               " Repeatable; 'rec-*.jsonl' reads several files in order of time. sqlite:FILE and"
               " postgres:URL read what evcam wrote.",
               types.RECORDING, metavar="FILE", in_file=False, multiple=True),
        Option("Recording", "--speed", f"Replay {reads} at 1x, 10x, ... or max.",
               types.SPEED, shown=speed),
        *span("Recording", reads),
    )
    # fmt: on


_unsaved: Final = partial(Option, in_file=False)


def span(
    group: str, reads: str = "", option: Callable[..., Option] = _unsaved
) -> tuple[Option, ...]:
    """Return the options for a part of a recording; `reads` is the one that it requires."""
    start, stop = (f"With {reads}, start", f"With {reads}, stop") if reads else ("Start", "Stop")
    # fmt: off
    return (
        option(group, "-S --since", f"{start} at this time: 14:30 (of the recording), 10m (ago),"
               " 2026-11-20T14:00Z.", types.TIMESTAMP),
        option(group, "-U --until", f"{stop} after this time.", types.TIMESTAMP),
    )
    # fmt: on


def selection(group: str, option: Callable[..., Option] = Option) -> tuple[Option, ...]:
    """Return the options that add to the filters of events."""
    # fmt: off
    return (
        option(group, "-x --exclude", "Leave out events that match this filter. Repeatable.",
               types.FILTER, multiple=True),
        option(group, "-F --filter-file FILE", "Read a filter from FILE; lines starting with #"
               " are comments.", types.FILTER_FILE),
    )
    # fmt: on
