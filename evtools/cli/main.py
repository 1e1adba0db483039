"""The programs: which tool is called, what goes wrong on stderr, the exit status."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from evtools import __version__
from evtools.cli import frozen
from evtools.cli.tools import TOOLS, TOPICS, command, family
from evtools.errors import BrokerUnavailable, ConfigError, EvtoolsError, FilterError, OutputError

if TYPE_CHECKING:
    import click

#: All exit statuses, for the manual.
EXIT_CODES: Final = {
    0: "Ended as asked: by a limit, at the end of a file, by ctrl-c or SIGTERM.",
    1: "An unexpected error, nothing matched --expect, or evtools diff found something worse.",
    2: "Wrong usage: an option, a filter, a template, a broker without events.",
    69: "The broker cannot be reached or refuses the connection.",
    70: "The camera failed too often.",
    73: "A file cannot be created or written.",
    78: "The settings file is wrong.",
    124: "--timeout came before --count was reached.",
    130: "Ended by a second ctrl-c.",
    141: "The reader of the output closed it.",
}
_HELP: Final = """\
Usage: evtools TOOL [OPTION]...

  Watch Celery clusters through their event stream.

Tools:
{}
Topics:
{}
See evtools help TOOL or TOPIC, and evtools(1); evtools --version lists all
components. evtop, evdump and evcam are also programs of their own."""
_OFF: Final = ("", "0", "false", "no", "off")
#: A disk is full: not a bug.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool that the program's name or first argument names: `evtools dump`."""
    frozen.prepare()
    program, *arguments = sys.argv if argv is None else argv
    name = program.rpartition("/")[2].removeprefix("ev")
    if name in TOOLS:
        return start(name, arguments)
    if arguments[:1] == ["help"] and arguments[1:] and arguments[1] not in TOPICS:
        arguments = [arguments[1], "--help"]
    name = arguments[0].removeprefix("ev") if arguments else ""
    if name in TOOLS and "_EVTOOLS_COMPLETE" not in os.environ:
        return start(name, arguments[1:])
    return start("", arguments)


def start(
    name: str, arguments: Sequence[str] | None = None, *, parent: "click.Context | None" = None
) -> int:
    """Run a tool, or evtools itself for ""; return its exit status.

    `arguments` are by default those of this process; `parent` is the context of celery, for
    its subcommand.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    program = TOOLS[name].program if name else "evtools"
    variable = os.environ.get("EVTOOLS_DEBUG", "").lower()

    def body() -> int:
        if "_EVTOOLS_COMPLETE" in os.environ:
            from evtools.cli.completion import complete

            return complete(name)
        if list(arguments) == ["-V"]:
            # Programs ask this often: it does without click.
            print(f"{family(program)} {__version__}")
        elif "--version" in arguments and {"--version", "--json"}.issuperset(arguments):
            from evtools.cli import version

            print(version.report(family(program), "--json" in arguments))
        else:
            return _run(name, program, arguments, parent) if name else _answer(arguments)
        return 0

    return run(program, body, debug="--debug" in arguments or variable not in _OFF)


#: The programs that are tools.
evtop, evdump, evcam = partial(start, "top"), partial(start, "dump"), partial(start, "cam")


def run(tool: str, body: Callable[[], int], *, debug: bool = False) -> int:
    """Return the status that `body` returns, or that of the error it raises, which is printed."""
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, stream) is None:
            # The caller has closed it, and the next file or socket would get its number.
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            setattr(sys, stream, os.fdopen(null, "w" if number else "r"))
    for output in (sys.stdout, sys.stderr):
        # Messages are UTF-8 as events are, whatever the locale is: an ASCII one would raise.
        if hasattr(output, "reconfigure"):
            output.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        status = body()
        sys.stdout.flush()  # later, a failure would go unnoticed
    except BrokenPipeError:
        # Die silently, as programs do whose reader has gone.
        import signal

        _discard_output()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
        return 141
    except KeyboardInterrupt:
        from evtools.signals import end_echo

        end_echo()
        return 130
    except Exception as error:  # noqa: BLE001  (reported, with a status)
        return fail(tool, error, debug=debug)
    return status


def _answer(arguments: Sequence[str]) -> int:
    word = arguments[0] if arguments else ""
    purposes = {name: tool.purpose for name, tool in TOOLS.items()}
    if word == "help" and arguments[1:] and arguments[1] in TOPICS:
        print(topic(arguments[1]))
        return 0
    if word in ("", "-h", "--help", "help"):
        width = max(map(len, purposes | TOPICS))
        row = f"  {{:<{width}}}  {{}}\n".format
        pages = ["".join(row(*pair) for pair in each.items()) for each in (purposes, TOPICS)]
        print(_HELP.format(*pages))
        return 0 if word else 2
    import difflib

    if word.startswith("-"):
        own = difflib.get_close_matches(word, ("--help", "--version"), n=1)
        meant = f" Did you mean {own[0]}?" if own else ""
        hint = "the options of a tool follow its name, as in evtools top --help"
        _print_error(f"evtools: there is no option {word}.{meant}", hint)
        return 2
    near = difflib.get_close_matches(word.removeprefix("ev"), purposes | TOPICS, n=1)
    meant = f" Did you mean {'help ' * (near[0] in TOPICS)}{near[0]}?" if near else ""
    _print_error(f"evtools: there is no tool {word}.{meant}", f"tools: {', '.join(TOOLS)}")
    return 2


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


def _run(name: str, program: str, arguments: Sequence[str], parent: "click.Context | None") -> int:
    import click

    tool = command(name)
    try:
        with tool.make_context(program, list(arguments), parent=parent) as ctx:
            return int(tool.invoke(ctx) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        hint = f"{program} --help lists all options"
        if isinstance(error, click.BadParameter) and error.ctx and error.param:
            name = error.param.name or ""
            if error.ctx.get_parameter_source(name) is click.core.ParameterSource.ENVIRONMENT:
                from evtools.cli.config import origin

                hint = f"given with the variable {origin(error.ctx, name)}"
        _print_error(f"{program}: {error.format_message()}", hint)
        return error.exit_code


def fail(tool: str, error: Exception, *, debug: bool = False) -> int:
    """Print an error on stderr, with its traceback to `debug`; return its exit status."""
    if debug:
        import traceback

        from evtools.text import hide_credentials, sanitize_lines

        # What caused the error may quote whole URLs.
        lines = "".join(traceback.format_exception(error))
        print(sanitize_lines(hide_credentials(lines)), file=sys.stderr)
    if isinstance(error, OSError) and error.errno in _FULL:
        try:
            sys.stdout.flush()
        except OSError:
            _discard_output()
        where = f" to {error.filename}" if error.filename else ""  # only opened files have one
        error = OutputError(f"cannot write{where}: {error.strerror}")
    if not isinstance(error, EvtoolsError):
        hint = "" if debug else "this is a bug in evtools; --debug shows the traceback"
        text = " ".join(str(error).split())
        _print_error(f"{tool}: unexpected {type(error).__name__}: {text}", hint)
        return 1
    hint, below = error.hint, ""
    if isinstance(error, FilterError):
        from evtools.filters import caret

        below = caret(error)
    if isinstance(error, BrokerUnavailable):
        from evtools.transport.source import DOCTOR

        hint = f"{hint}\n{DOCTOR}".lstrip("\n")
    message = error.message
    if isinstance(error, ConfigError):
        from evtools.cli.config import line_of

        line = line_of(message)
        message += f" (line {line})" if line else ""
    _print_error(f"{tool}: {message}", hint, below=below)
    return error.exit_code


def _print_error(message: str, hint: str, *, below: str = "") -> None:
    from evtools.text import hide_credentials, sanitize

    lines = [sanitize(hide_credentials(message)), *filter(None, (below,))]
    lines += [f"  {sanitize(line)}" for line in hint.splitlines()]
    print(*lines, sep="\n", file=sys.stderr)


def _discard_output() -> None:
    # Flushing what is buffered at exit would fail again.
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (start-up time)
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
