"""The tools of evtools: what each is called, and how it starts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from evtools import __version__

if TYPE_CHECKING:
    import click


class Tool(NamedTuple):
    """A tool: how users call it, `module:attribute` of its command, its purpose."""

    program: str
    command: str
    what: str


TOOLS: Final[Mapping[str, Tool]] = {
    "top": Tool("evtop", "evtools.cli.top_command:evtop", "the cluster live on a full screen"),
    "cam": Tool(
        "evcam", "evtools.cli.cam_command:evcam", "snapshots of the cluster's state, as a service"
    ),
    "dump": Tool(
        "evdump", "evtools.cli.dump_command:evdump", "every event, for people or as JSON Lines"
    ),
    "doctor": Tool(
        "evtools doctor",
        "evtools.cli.doctor_command:evdoctor",
        "why nothing shows, and what to type",
    ),
    "config": Tool(
        "evtools config",
        "evtools.cli.config_command:evconfig",
        "what is set, and where; a settings file to begin with",
    ),
    "completion": Tool(
        "evtools completion",
        "evtools.cli.completion_command:completion",
        "what lets bash, zsh or fish complete our options",
    ),
    "selftest": Tool(
        "evtools selftest",
        "evtools.cli.selftest_command:selftest",
        "is all of this program here, and working",
    ),
}


def start(name: str, arguments: Sequence[str]) -> int:
    """Run a tool; return its exit status."""
    program = TOOLS[name].program
    from evtools.cli import failure  # noqa: PLC0415  (start-up time)

    if list(arguments) == ["-V"]:
        # The one thing asked by programs, often: not even click is needed.
        return failure.run_plainly(program, lambda: say(f"{family(program)} {__version__}"))
    if "--version" in arguments and {"--version", "--json"}.issuperset(arguments):
        return failure.run_plainly(program, lambda: tell_versions(program, arguments))
    return failure.run(program, lambda: command(name), arguments)


def command(name: str) -> "click.Command":
    """Return the command of a tool."""
    from importlib import import_module  # noqa: PLC0415  (start-up time)

    module, _, attribute = TOOLS[name].command.partition(":")
    found: click.Command = getattr(import_module(module), attribute)
    return found


def family(program: str) -> str:
    """Return the program that a tool belongs to: evtools, of evtools doctor."""
    return program.partition(" ")[0]


def tell_versions(program: str, arguments: Sequence[str]) -> int:
    """Print the versions of all parts, as JSON if that is among the arguments."""
    from evtools.cli import version  # noqa: PLC0415  (start-up time)

    return say(version.report(family(program), as_json="--json" in arguments))


def say(answer: str, status: int = 0) -> int:
    """Print what was asked for; return the status."""
    print(answer)  # noqa: T201  (a command's answer)
    return status
