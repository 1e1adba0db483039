"""The programs: which tool is called, what goes wrong on stderr, the exit status."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from evtools import __version__
from evtools.cli import frozen
from evtools.cli.tools import TOOLS, TOPICS, command, family
from evtools.errors import BrokerUnavailable, EvtoolsError, FilterError, OutputError

if TYPE_CHECKING:
    import click

#: All exit statuses, for the manual.
EXIT_CODES: Final = {
    0: "Ended as asked: by a limit, at the end of a file, by ctrl-c or SIGTERM.",
    1: "An unexpected error, or nothing matched --expect.",
    2: "Wrong usage: an option, a filter, a template, a broker without events.",
    69: "The broker cannot be reached or refuses the connection.",
    70: "The camera failed too often.",
    73: "A file cannot be created or written.",
    78: "The settings file is wrong.",
    124: "--timeout came before --count was reached.",
    130: "Ended by a second ctrl-c.",
    141: "The reader of the output closed it.",
}
_USAGE: Final = 2
_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141
_OFF: Final = ("", "0", "false", "no", "off")
#: A disk is full: not a bug.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


# --- entry points -------------------------------------------------------------------


def evtop() -> int:
    """Run evtop."""
    return start("top", sys.argv[1:])


def evdump() -> int:
    """Run evdump."""
    return start("dump", sys.argv[1:])


def evcam() -> int:
    """Run evcam."""
    return start("cam", sys.argv[1:])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool that the program's name or first argument names: `evtools dump`."""
    frozen.prepare()
    program, *arguments = sys.argv if argv is None else argv
    name = program.rpartition("/")[2].removeprefix("ev")
    if name in TOOLS:
        return start(name, arguments)
    if "_EVTOOLS_COMPLETE" in os.environ:
        return _plainly("evtools", lambda: _complete(""))
    word, *rest = arguments or [""]
    if word == "help" and rest:
        word, rest = rest[0], ["--help"]
        if word in TOPICS:
            return _plainly("evtools", lambda: _say(topic(word)))
    name = word.removeprefix("ev")
    return (
        start(name, rest)
        if name in TOOLS
        else _plainly("evtools", lambda: _answer(word, arguments))
    )


def start(name: str, arguments: Sequence[str]) -> int:
    """Run a tool; return its exit status."""
    program = TOOLS[name].program
    if "_EVTOOLS_COMPLETE" in os.environ:
        return _plainly(program, lambda: _complete(name))
    if list(arguments) == ["-V"]:
        # Programs ask this often: it does without click.
        return _plainly(program, lambda: _say(f"{family(program)} {__version__}"))
    if "--version" in arguments and {"--version", "--json"}.issuperset(arguments):
        return _plainly(program, lambda: _versions(program, arguments))
    return run(program, lambda: command(name), arguments)


def _complete(name: str) -> int:
    from evtools.cli.completion import complete

    return complete(name)


def _answer(word: str, arguments: Sequence[str]) -> int:
    """Answer evtools itself, without a tool."""
    if word == "-V":
        return _say(f"evtools {__version__}")
    if word == "--version":
        return _versions("evtools", arguments)
    if word in ("-h", "--help", "help"):
        return _say(_help())
    if not word:
        return _say(_help(), _USAGE)
    print(_unknown(word), file=sys.stderr)
    return _USAGE


def _versions(program: str, arguments: Sequence[str]) -> int:
    from evtools.cli import version

    return _say(version.report(family(program), "--json" in arguments))


def _say(answer: str, status: int = 0) -> int:
    print(answer)
    return status


def _help() -> str:
    width = max(map(len, (*TOOLS, *TOPICS)))
    tools = [f"  {name:<{width}}  {tool.purpose}" for name, tool in TOOLS.items()]
    topics = [f"  {name:<{width}}  {what}" for name, what in TOPICS.items()]
    lines = [
        "Usage: evtools TOOL [OPTION]...",
        "",
        "  Watch Celery clusters through their event stream.",
        "",
        "Tools:",
        *tools,
        "",
        "Topics:",
        *topics,
        "",
        "See evtools help TOOL or TOPIC, and evtools(1); evtools --version lists all",
        "components. evtop, evdump and evcam are also programs of their own.",
    ]
    return "\n".join(lines)


def topic(name: str) -> str:
    """Return the page of one of the TOPICS."""
    if name == "filter":
        from evtools.filters.help import page

        return page()
    from evtools.top.keys import CONTEXTS, Keymap, keys_text

    lines = [
        "The keys of evtop. In evtop, ? lists those of the view; [keys] in the settings",
        "file assigns other keys to a command, here in parentheses.",
    ]
    keymap = Keymap()
    for context, title in CONTEXTS.items():
        rows = [(keys_text(one), one) for one in keymap.help([context])]
        width = max(len(keys) for keys, _ in rows)
        lines.append(f"\n{title}")
        lines += [f"  {keys:<{width}}  {one.help} ({one.command})" for keys, one in rows]
    return "\n".join(lines)


def _unknown(word: str) -> str:
    import difflib

    from evtools.text import sanitize

    near = difflib.get_close_matches(word.removeprefix("ev"), (*TOOLS, *TOPICS), n=1)
    meant = f"help {near[0]}" if near and near[0] in TOPICS else "".join(near)
    question = f" Did you mean {meant}?" if near else ""
    return f"evtools: there is no tool {sanitize(word)}.{question}\n  tools: {', '.join(TOOLS)}"


# --- running ------------------------------------------------------------------------


def run(tool: str, load: "Callable[[], click.Command]", arguments: Sequence[str]) -> int:
    """Run the command that `load` returns; print errors; return the exit status."""
    variable = os.environ.get("EVTOOLS_DEBUG", "").lower()
    debug = "--debug" in arguments or variable not in _OFF
    return _plainly(tool, lambda: _run(tool, load, arguments), debug=debug)


def _plainly(tool: str, body: Callable[[], int], *, debug: bool = False) -> int:
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # Messages are UTF-8 as events are, whatever the locale is: an ASCII one would raise.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return guard(tool, body, debug=debug)


def _open_closed_streams() -> None:
    """Open /dev/null where the caller closed a standard stream.

    Otherwise the next file or socket would get its number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            setattr(sys, name, os.fdopen(null, "w" if number else "r"))


def guard(tool: str, body: Callable[[], int | None], *, debug: bool) -> int:
    """Return the status that `body` returns, or that of the error it raises."""
    try:
        status = int(body() or 0)
        sys.stdout.flush()  # later, a failure would go unnoticed
    except BrokenPipeError:
        return _die_of_broken_pipe()
    except KeyboardInterrupt:
        from evtools.signals import end_echo

        end_echo()
        return _INTERRUPTED
    except EvtoolsError as error:
        return fail(tool, error, debug=debug)
    except Exception as error:  # noqa: BLE001  (reported, with a status)
        return _unexpected(tool, error, debug=debug)
    return status


def _run(tool: str, load: "Callable[[], click.Command]", arguments: Sequence[str]) -> int:
    import click

    try:
        command = load()
        with command.make_context(tool, list(arguments)) as ctx:
            return int(command.invoke(ctx) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return _INTERRUPTED
    except click.ClickException as error:
        _report(tool, error.format_message(), _usage_hint(tool, error))
        return error.exit_code


def _usage_hint(tool: str, error: "click.ClickException") -> str:
    import click
    from click.core import ParameterSource

    if isinstance(error, click.BadParameter) and error.ctx and error.param:
        name = error.param.name or ""
        if error.ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
            from evtools.cli.options import variable_of

            return f"given with the variable {variable_of(error.ctx, name)}"
    return f"{tool} --help lists all options"


# --- errors -------------------------------------------------------------------------


def fail(tool: str, error: EvtoolsError, *, debug: bool = False) -> int:
    """Print an error on stderr; return its exit status."""
    if debug:
        _print_traceback(error)
    hint, below = error.hint, ""
    if isinstance(error, FilterError):
        from evtools.filters import caret

        below = caret(error)
    if isinstance(error, BrokerUnavailable):
        from evtools.transport.source import DOCTOR

        hint = f"{hint}\n{DOCTOR}" if hint else DOCTOR
    _report(tool, error.message, hint, below=below)
    return error.exit_code


def _report(tool: str, message: str, hint: str, *, below: str = "") -> None:
    from evtools.text import hide_credentials, sanitize

    lines = [f"{tool}: {sanitize(hide_credentials(message))}"]
    lines += [below] if below else []
    lines += [f"  {sanitize(line)}" for line in hint.splitlines()]
    print(*lines, sep="\n", file=sys.stderr)


def _unexpected(tool: str, error: Exception, *, debug: bool) -> int:
    if isinstance(error, OSError) and error.errno in _FULL:
        return fail(tool, _unwritable(error), debug=debug)
    if debug:
        _print_traceback(error)
    hint = "" if debug else "this is a bug in evtools; --debug shows the traceback"
    _report(tool, f"unexpected {type(error).__name__}: {' '.join(str(error).split())}", hint)
    return 1


def _unwritable(error: OSError) -> OutputError:
    """Return the error for a full disk; only opened files have a name."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
    where = f" to {error.filename}" if error.filename else ""
    return OutputError(f"cannot write{where}: {error.strerror}")


def _print_traceback(error: Exception) -> None:
    import traceback

    from evtools.text import hide_credentials, sanitize_lines

    # What caused the error may quote whole URLs.
    lines = "".join(traceback.format_exception(error))
    print(sanitize_lines(hide_credentials(lines)), file=sys.stderr)


def _die_of_broken_pipe() -> int:
    """Die silently, as programs do whose reader has gone."""
    import signal

    _discard_output()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return _BROKEN_PIPE


def _discard_output() -> None:
    """Drop the buffered output: flushing it at exit would fail again."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (start-up time)
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
