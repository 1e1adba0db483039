"""The options that all tools share, in one decorator."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import click

from evtools.cli import params

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

#: Groups of --help, in their order; a tool's own come after the first.
GROUPS: Final = ("Common", "Broker", "TLS", "Events", "Output", "Settings", "Other")

#: decisions: EVTOOLS_BROKER_URL, then what Celery itself reads events from.
BROKER_VARIABLES: Final = (
    *("EVTOOLS_BROKER_URL", "CELERY_BROKER_READ_URL"),
    *("CELERY_BROKER_URL", "BROKER_URL"),
)


class Option(click.Option):
    """An option with its place in --help.

    `shared` tells the options of all tools from a tool's own; an option that
    is not `in_file` makes no sense in the settings file.  `helps` has what it
    does in each tool, where that is not the same in all.
    """

    def __init__(
        self,
        *args: Any,
        group: str = "Other",
        shared: bool = False,
        in_file: bool = True,
        helps: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self._helps = helps or {}
        self.group = group
        self.shared = shared
        self.in_file = in_file

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the names of the option, and what it does in this tool."""
        record = super().get_help_record(ctx)
        own = self._helps.get(ctx.command.name or "")
        return record if record is None or own is None else (record[0], own)


def option(*names: str, prefix: str, **attributes: Any) -> Decorator[Any]:
    """Declare an option that `<prefix>_<NAME>` in the environment sets, too."""
    if "envvar" not in attributes:
        attributes["envvar"] = _variable(prefix, names)
    return click.option(*names, cls=Option, **attributes)


def _variable(prefix: str, names: Sequence[str]) -> str:
    long = next(name for name in names if name.startswith("--"))
    name = long.partition("/")[0].removeprefix("--")
    return f"{prefix}_{name.replace('-', '_').upper()}"


_shared = partial(option, prefix="EVTOOLS", shared=True)
_switch: Final[dict[str, Any]] = {"is_flag": True, "default": None}
_several: Final[dict[str, Any]] = {"multiple": True}
_seconds: Final[dict[str, Any]] = {"type": params.DURATION}

_SHARED: Final[tuple[Decorator[Any], ...]] = (
    _shared(
        *("-b", "--broker"),
        group="Common",
        type=params.BROKER,
        envvar=BROKER_VARIABLES,
        metavar="URL|@FILE|-",
        help="Broker to watch: redis://, rediss://, sentinel://, amqp://, amqps://."
        " @FILE and - (stdin) keep its password out of the process list."
        "  [amqp://guest@localhost//]",
    ),
    _shared(
        *("-A", "--app"),
        group="Broker",
        metavar="APP",
        help="Take the settings of a Celery application, as celery -A does.",
    ),
    _shared(
        *("--broker-command",),
        group="Broker",
        type=params.COMMAND,
        help="Run this, without a shell, for the broker's URL or its password: at the"
        " start, and when the broker refuses the last one.",
    ),
    _shared(
        *("--broker-option",),
        group="Broker",
        type=params.KEYVALUE,
        **_several,
        help="Transport option, the value as JSON or text, such as"
        " master_name=mymaster for Sentinel. Repeatable.",
    ),
    _shared(
        *("--login-method",),
        group="Broker",
        type=click.Choice(["PLAIN", "AMQPLAIN", "EXTERNAL", "GSSAPI"]),
        metavar="NAME",
        help="AMQP login: PLAIN, AMQPLAIN, EXTERNAL or GSSAPI.  [PLAIN]",
    ),
    _shared(
        *("--connect-timeout",),
        group="Broker",
        type=params.POSITIVE_DURATION,
        default=4.0,
        help="Deadline of one attempt to connect, and of each answer.  [4s]",
    ),
    _shared(
        *("--heartbeat",),
        group="Broker",
        **_seconds,
        default=10.0,
        help="Give the broker up after two of these without a sign of life;"
        " 0 switches that off.  [10s]",
    ),
    _shared(
        *("--reconnect/--no-reconnect",),
        group="Broker",
        default=True,
        help="Reconnect for ever, or end with status 69.  [reconnect]",
    ),
    _shared(
        *("--buffer-size",),
        group="Broker",
        type=params.SIZE,
        default=256 * 1024 * 1024,
        help="Memory for events that wait to be handled; what does not fit is"
        " dropped and counted.  [256M]",
    ),
    _shared(
        *("--fanout-prefix",),
        group="Broker",
        type=params.FANOUT_PREFIX,
        help="Redis: prefix of the event channels, as the workers have it; off: none.  [/{db}.]",
    ),
    _shared(
        *("--fanout-patterns/--no-fanout-patterns",),
        group="Broker",
        **_switch,
        help="Redis: whether the channels name the event, as the workers have"
        " it.  [fanout-patterns]",
    ),
    _shared(
        *("--global-keyprefix",),
        group="Broker",
        metavar="TEXT",
        help="Redis: prefix of everything, as the workers have it.",
    ),
    _shared(
        *("--tls/--no-tls",),
        group="TLS",
        **_switch,
        help="Encrypt; rediss:// and amqps:// do so anyway.",
    ),
    _shared(
        *("--tls-ca",),
        group="TLS",
        metavar="FILE",
        help="CA certificates to trust.  [the system's]",
    ),
    _shared(
        *("--tls-cert",),
        group="TLS",
        metavar="FILE",
        help="Our certificate, where the broker wants one.",
    ),
    _shared(*("--tls-key",), group="TLS", metavar="FILE", help="Its key."),
    _shared(
        *("--tls-verify",),
        group="TLS",
        type=click.Choice(["required", "optional", "none"]),
        metavar="HOW",
        help="Check the broker's certificate: required, optional or none.  [required]",
    ),
    _shared(
        *("--tls-check-hostname/--no-tls-check-hostname",),
        group="TLS",
        **_switch,
        help="Whether the certificate must be for the host.  [tls-check-hostname]",
    ),
    _shared(
        *("--tls-server-name",),
        group="TLS",
        metavar="NAME",
        help="Name to ask for, and that the certificate must be for.  [the host]",
    ),
    _shared(
        *("--event-routing-key",),
        group="Events",
        type=params.ROUTING_KEY,
        **_several,
        help="Ask the broker for these events only: task.# is all about tasks,"
        " worker.heartbeat one type. Repeatable.  [#]",
    ),
    _shared(
        *("--event-exchange",),
        group="Events",
        default="celeryev",
        metavar="NAME",
        help="Exchange of the events, as the workers have it.  [celeryev]",
    ),
    _shared(
        *("--event-queue-prefix",),
        group="Events",
        default="celeryev",
        metavar="NAME",
        help="What the names of our queues begin with.  [celeryev]",
    ),
    _shared(
        *("--event-queue-ttl",),
        group="Events",
        type=params.DURATION_OR_NONE,
        default=5.0,
        help="RabbitMQ drops events we have not fetched after this; none: never.  [5s]",
    ),
    _shared(
        *("--event-queue-expires",),
        group="Events",
        type=params.DURATION_OR_NONE,
        default=60.0,
        help="RabbitMQ deletes our queue this long after we are gone; none: never.  [60s]",
    ),
    _shared(
        *("--event-queue-exclusive/--no-event-queue-exclusive",),
        group="Events",
        default=True,
        help="Whether our queue goes with our connection.  [event-queue-exclusive]",
    ),
    _shared(
        *("--event-queue-durable/--no-event-queue-durable",),
        group="Events",
        default=False,
        help="Whether our queue survives a restart of the broker; then it"
        " cannot be exclusive.  [no-event-queue-durable]",
    ),
    _shared(
        *("--control-exchange",),
        group="Events",
        default="celery",
        metavar="NAME",
        help="Exchange of remote control, as the workers have it.  [celery]",
    ),
    _shared(
        *("--wakeup/--no-wakeup",),
        group="Events",
        default=True,
        help="Ask the workers for a heartbeat when we connect.  [wakeup]",
    ),
    _shared(
        *("--enable-events",),
        group="Events",
        is_flag=True,
        help="Tell the workers to send task events, as celery control enable_events does.",
    ),
    _shared(
        *("--read-only",),
        group="Events",
        is_flag=True,
        help="Publish nothing at all; a user without write permission will do.",
    ),
    _shared(
        *("--accept",),
        group="Events",
        type=click.Choice(["json", "msgpack", "yaml", "pickle"]),
        metavar="NAME",
        **_several,
        help="Serialisers to decode: json, msgpack, yaml, pickle. Repeatable.  [json msgpack yaml]",
    ),
    _shared(
        *("--redact",),
        group="Events",
        type=params.REDACTION,
        metavar="PATTERN",
        **_several,
        help="Mask secrets before anything is shown or written: what has NAME in"
        " front of it, kwargs.NAME, or /REGEX/ in any text. Repeatable.",
    ),
    _shared(
        *("--color",),
        group="Output",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        metavar="WHEN",
        help="Colours: auto, always or never; NO_COLOR and FORCE_COLOR are heeded.  [auto]",
    ),
    _shared(
        *("-q", "--quiet"),
        group="Output",
        is_flag=True,
        help="Say less.",
        helps={
            "evdump": "Say less: no summary, no notices, type and name only.",
            "evtop": "Log errors only; with -B, say nothing beside the rows.",
            "evcam": "Log warnings and errors only.",
            "evdoctor": "Leave out what is as it should be.",
        },
    ),
    _shared(
        *("-v", "--verbose"),
        group="Output",
        count=True,
        help="Say more.",
        helps={
            "evdump": "Say more: arguments and results; -vv tracebacks, too.",
            "evtop": "Log more: what is done, not only what goes wrong.",
            "evcam": "Log everything, as -l DEBUG does.",
            "evdoctor": "Name all workers and queues, however many there are.",
        },
    ),
    _shared(
        *("--config",),
        group="Settings",
        metavar="FILE",
        in_file=False,
        help="Settings file.  [~/.config/evtools/evtools.toml]",
    ),
    _shared(
        *("--profile",),
        group="Settings",
        metavar="NAME",
        in_file=False,
        help="Use [profile.NAME] of the settings file.",
    ),
    _shared(
        *("--show-config",),
        group="Settings",
        is_flag=True,
        in_file=False,
        help="Print each setting and where it comes from, and end.",
    ),
    _shared(*("--debug",), group="Other", is_flag=True, help="Log everything; show tracebacks."),
    _shared(
        *("--version",),
        group="Other",
        is_flag=True,
        in_file=False,
        expose_value=False,
        help="Show the versions of all parts (--json: for programs), and end.",
    ),
    _shared(
        *("-V", "version_line"),
        group="Other",
        is_flag=True,
        in_file=False,
        expose_value=False,
        envvar=(),
        help="Show our version only, and end.",
    ),
)


def shared_options(function: F) -> F:
    """Give a tool's command the options that all tools share."""
    for declare in reversed(_SHARED):
        function = declare(function)
    return function
